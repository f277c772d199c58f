import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { Trust } from '../../src/identity/trust.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { createIdentity, type NewIdentity, renewIdentity } from '../../src/setup/identities.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { createRealm } from '../../src/setup/realm.ts'
import { ManualClock } from '../support/clock.ts'
import { failure } from '../support/until.ts'
import { temporaryFolder } from './running-realm.ts'

const DAY_MS = 86_400_000
const engine = chooseEngine()
const realm = encodeNkey('U', engine.ed25519KeyPair().publicKey)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let path: string
let clock: ManualClock
beforeEach(async () => {
  folder = await temporaryFolder()
  path = join(folder.path, 'billing.identity')
  clock = new ManualClock()
})
afterEach(() => folder.remove())

const create = (options: Partial<NewIdentity> = {}) =>
  createIdentity({ path, name: 'billing', clock, ...options })
const renew = (options: Partial<NewIdentity> = {}) =>
  renewIdentity({ path, name: 'billing', clock, ...options })
const load = () => loadIdentity(`file:${path}`)

describe('createIdentity', () => {
  test('writes an identity that trust by pins takes, for its owner alone', async () => {
    const { publicKey, token } = await create({ realm })
    expect(await load()).toMatchObject({
      name: 'billing',
      publicKey,
      token,
      claims: { realm, issuer: publicKey },
    })
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const trust = new Trust(engine, { realm, pins: { billing: publicKey } })
    expect(trust.verify(token, clock.now()).expiresAt).toBe(Math.floor((clock.now() + 90 * DAY_MS) / 1000))
  })

  test('is its own realm when none is given, as the rotation service needs it', async () => {
    const { publicKey, claims } = await create({ name: 'rotator' })
    expect(claims.realm).toBe(publicKey)
  })

  test('takes a key that is there already', async () => {
    const seed = engine.randomBytes(32)
    const expected = encodeNkey('U', engine.ed25519KeyPair(seed).publicKey)
    expect((await create({ seed })).publicKey).toBe(expected)
    expect((await load()).publicKey).toBe(expected)
  })

  test('never overwrites a file', async () => {
    await create()
    const before = await readFile(path, 'utf8')
    expect(await failure(() => create())).toMatchObject({
      code: 'ERR_SETUP',
      message: `${path} exists already`,
    })
    expect(await readFile(path, 'utf8')).toBe(before)
  })

  test('refuses a name, a realm or a lifetime that is none', async () => {
    expect(await failure(() => create({ name: 'a.b' }))).toBeInstanceOf(TypeError)
    expect(await failure(() => create({ realm: 'A' }))).toMatchObject({ code: 'ERR_KEY_INVALID' })
    expect(await failure(() => create({ expiresInMs: 10 }))).toBeInstanceOf(RangeError)
    expect(await failure(() => load())).toMatchObject({ code: 'ERR_KEY_FILE' })
  })
})

describe('renewIdentity', () => {
  test('keeps the key, the name and the realm', async () => {
    const before = await create({ realm })
    clock.advance(80 * DAY_MS)
    const { token } = await renew({ expiresInMs: 10 * DAY_MS })
    const after = await load()
    expect(after.sign(Uint8Array.of(1))).toEqual(before.sign(Uint8Array.of(1)))
    expect(after.token).toBe(token)
    expect(after.claims).toMatchObject({
      name: 'billing',
      realm,
      expiresAt: Math.floor((clock.now() + 10 * DAY_MS) / 1000),
    })
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test('refuses a file of another name or realm, and one of an authority', async () => {
    await create({ realm })
    const other = encodeNkey('U', engine.ed25519KeyPair().publicKey)
    for (const wrong of [{ name: 'orders' }, { realm: other }])
      expect(await failure(() => renew(wrong))).toMatchObject({ code: 'ERR_SETUP' })
    expect(await failure(() => renew({ path: join(folder.path, 'nothing') }))).toMatchObject({
      code: 'ERR_KEY_FILE',
    })
    const dir = join(folder.path, 'realm')
    await addAgent(await createRealm({ dir }), { name: 'billing' })
    const issued = agentPaths(dir, 'billing').identity
    expect(await failure(() => renew({ path: issued }))).toMatchObject({
      code: 'ERR_SETUP',
      hint: expect.stringContaining('subrosa agent add billing --renew'),
    })
  })
})
