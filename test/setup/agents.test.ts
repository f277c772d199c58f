import { readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { decodeJwt } from '../../src/identity/jwt.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { Trust } from '../../src/identity/trust.ts'
import { RevocationSet } from '../../src/keys/revocations.ts'
import { findAgent, listAgents } from '../../src/setup/agent-records.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { addBrokerUser } from '../../src/setup/broker-users.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { createRealm, type Realm } from '../../src/setup/realm.ts'
import { listRevocations } from '../../src/setup/revocation-records.ts'
import { revokeAgent } from '../../src/setup/revocations.ts'
import { ManualClock } from '../support/clock.ts'
import { failure } from '../support/until.ts'
import { temporaryFolder } from './running-realm.ts'

const DAY_MS = 86_400_000

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let realm: Realm
let clock: ManualClock
beforeEach(async () => {
  folder = await temporaryFolder()
  clock = new ManualClock()
  realm = await createRealm({ dir: join(folder.path, 'realm'), clock })
})
afterEach(() => folder.remove())

const paths = (name: string) => agentPaths(realm.dir, name)
const identity = (name: string) => loadIdentity(`file:${paths(name).identity}`)
const creds = (name: string) => readFile(paths(name).creds, 'utf8')
const verify = (token: string) =>
  new Trust(chooseEngine(), { authority: realm.authority }).verify(token, clock.now())

/** The claims of the broker's token in a creds file. */
async function loginClaims(name: string) {
  const [, jwt = ''] = (await creds(name)).split('\n')
  return decodeJwt(jwt).claims
}

describe('addAgent', () => {
  test('writes an identity, a login and a public token', async () => {
    const request = { name: 'billing', pub: ['bills.>'], sub: ['orders.*'], maxInstances: 2, clock }
    const { claims } = await addAgent(realm, { ...request, expiresInMs: 10 * DAY_MS })
    const { token, publicKey } = await identity('billing')
    expect(verify(token)).toEqual(claims)
    expect(claims).toMatchObject({
      name: 'billing',
      realm: realm.key,
      identity: publicKey,
      roles: [],
      maxInstances: 2,
      permissions: { pub: { allow: ['bills.>'], deny: [] }, sub: { allow: ['orders.*'], deny: [] } },
      expiresAt: (clock.now() + 10 * DAY_MS) / 1000,
    })
    expect(await readFile(paths('billing').tokens, 'utf8')).toBe(`${token}\n`)
    expect((await loginClaims('billing'))['exp']).toBe(claims.expiresAt)
  })

  test('lets only the owner read what is secret', async () => {
    await addAgent(realm, { name: 'billing', clock })
    const mode = async (path: string) => (await stat(path)).mode & 0o777
    const { identity: identityPath, creds: credsPath, tokens } = paths('billing')
    expect([await mode(identityPath), await mode(credsPath), await mode(tokens)]).toEqual([
      0o600, 0o600, 0o644,
    ])
  })

  test('logs in with a key that is not the identity', async () => {
    await addAgent(realm, { name: 'billing', clock })
    const { publicKey } = await identity('billing')
    const { sub } = await loginClaims('billing')
    expect(sub).toMatch(/^U[A-Z2-7]{55}$/)
    expect(sub).not.toBe(publicKey)
    const seed = /SU[A-Z2-7]{56}/
    const text = await readFile(paths('billing').identity, 'utf8')
    expect(seed.exec(text)?.[0]).not.toBe(seed.exec(await creds('billing'))?.[0])
    expect(await creds('billing')).not.toContain(publicKey)
  })

  test('lasts 90 days when nothing else is said', async () => {
    const { claims } = await addAgent(realm, { name: 'billing', clock })
    expect(claims.expiresAt * 1000).toBe(clock.now() + 90 * DAY_MS)
  })

  test('does not replace an agent that is there, or whose record is lost', async () => {
    await addAgent(realm, { name: 'billing', clock })
    const before = await readFile(paths('billing').identity, 'utf8')
    const expected = { code: 'ERR_SETUP', hint: expect.stringContaining('--renew') }
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject(expected)
    await rm(paths('billing').tokens)
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject(expected)
    expect(await readFile(paths('billing').identity, 'utf8')).toBe(before)
  })

  test.each([
    [{ name: 'a.b' }, TypeError],
    [{ name: '' }, TypeError],
    [{ name: '../x' }, TypeError],
    [{ name: '_' }, TypeError],
    [{ name: 'x', pub: ['a b'] }, TypeError],
    [{ name: 'x', denySub: ['a..b'] }, TypeError],
    [{ name: 'x', maxInstances: 0 }, RangeError],
    [{ name: 'x', maxInstances: 1025 }, RangeError],
    [{ name: 'x', expiresInMs: 0 }, RangeError],
    [{ name: 'x', expiresInMs: Number.NaN }, RangeError],
  ])('refuses %j and writes nothing', async (request, kind) => {
    expect(await failure(() => addAgent(realm, request))).toBeInstanceOf(kind)
    expect(await readdir(realm.dir)).not.toContain('agents')
  })

  test('refuses more patterns than a token holds', async () => {
    const pub = Array.from({ length: 2000 }, (_, i) => `subject.${i}`)
    const error = await failure(() => addAgent(realm, { name: 'wide', pub, clock }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', hint: 'use fewer and wider patterns' })
  })

  test.each(['>', 'subrosa.>', 'subrosa.v1.*.tick', '_INBOX.>', '*.*.*.announce.*.*'])(
    'refuses to deny %s, which would cut the agent off',
    async (pattern) => {
      const error = await failure(() => addAgent(realm, { name: 'billing', denySub: [pattern], clock }))
      expect(error).toMatchObject({ code: 'ERR_SETUP', message: expect.stringContaining(pattern) })
    },
  )

  test('denies what only looks like a subject of the protocol', async () => {
    const denySub = ['*.secret', 'subrosa', 'subrosa.v2.>', '_INBOX']
    const { claims } = await addAgent(realm, { name: 'billing', sub: ['>'], denySub, clock })
    expect(claims.permissions.sub.deny).toEqual(denySub)
    const { nats } = await loginClaims('billing')
    expect(nats).toMatchObject({ type: 'user', version: 2, sub: { deny: denySub } })
  })

  test("needs the realm's own authority", async () => {
    const other = await createRealm({ dir: join(folder.path, 'other') })
    await writeFile(
      realmLayout(realm.dir).authoritySeed,
      await readFile(realmLayout(other.dir).authoritySeed, 'utf8'),
    )
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
  })
})

describe('a renewal', () => {
  test('keeps the identity key and what is not given, with a new token and a new login', async () => {
    const request = { name: 'billing', pub: ['bills.>'], sub: ['orders.*'], maxInstances: 3, clock }
    await addAgent(realm, { ...request, denySub: ['orders.old'], roles: ['revoker'] })
    const before = { identity: await identity('billing'), login: await loginClaims('billing') }
    clock.advance(30 * DAY_MS)
    const { claims } = await addAgent(realm, { name: 'billing', pub: ['invoices.>'], renew: true, clock })
    const after = await identity('billing')
    expect(after.publicKey).toBe(before.identity.publicKey)
    expect(after.sign(Uint8Array.of(1))).toEqual(before.identity.sign(Uint8Array.of(1)))
    expect(after.token).not.toBe(before.identity.token)
    expect((await loginClaims('billing'))['sub']).not.toBe(before.login['sub'])
    expect(claims).toMatchObject({
      roles: ['revoker'],
      maxInstances: 3,
      permissions: { pub: { allow: ['invoices.>'] }, sub: { allow: ['orders.*'], deny: ['orders.old'] } },
      expiresAt: (clock.now() + 90 * DAY_MS) / 1000,
    })
    expect((await stat(paths('billing').identity)).mode & 0o777).toBe(0o600)
  })

  test('says since when the identity has the name, however often it is renewed', async () => {
    const { claims: first } = await addAgent(realm, { name: 'billing', clock })
    expect(first.since).toBe(first.issuedAt)
    for (let i = 0; i < 2; i++) {
      clock.advance(DAY_MS)
      const { claims } = await addAgent(realm, { name: 'billing', renew: true, clock })
      expect(claims).toMatchObject({ since: first.issuedAt, issuedAt: Math.floor(clock.now() / 1000) })
    }
  })

  test('remembers the earlier token for as long as it is good', async () => {
    await addAgent(realm, { name: 'billing', expiresInMs: 50 * DAY_MS, clock })
    clock.advance(DAY_MS)
    const shorter = await addAgent(realm, { name: 'billing', expiresInMs: 10 * DAY_MS, renew: true, clock })
    expect(shorter.tokens).toHaveLength(2)
    expect(shorter.lastExpiresAt - shorter.claims.expiresAt).toBe((39 * DAY_MS) / 1000)
    clock.advance(60 * DAY_MS)
    expect((await addAgent(realm, { name: 'billing', renew: true, clock })).tokens).toHaveLength(1)
  })

  test('is of an agent that is there', async () => {
    const error = await failure(() => addAgent(realm, { name: 'billing', renew: true, clock }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', message: 'there is no agent billing to renew' })
  })

  test('is refused when the identity file is of another agent', async () => {
    await addAgent(realm, { name: 'billing', clock })
    await addAgent(realm, { name: 'orders', clock })
    const text = await readFile(paths('orders').identity, 'utf8')
    await writeFile(paths('billing').identity, text)
    const error = await failure(() => addAgent(realm, { name: 'billing', renew: true, clock }))
    expect(error).toMatchObject({ code: 'ERR_SETUP' })
  })
})

describe('an agent whose adding was cut short', () => {
  /** As a kill leaves it before the last file. */
  async function cutShort(name: string, adding: string): Promise<void> {
    await rm(paths(name).creds)
    await writeFile(paths(name).adding, `${adding}\n`)
  }

  test('gets another key by the same request where its own was never written', async () => {
    // Nothing takes the name of a link: so it ends after the token, before the identity.
    await addAgent(realm, { name: 'orders', clock })
    await symlink('nowhere', paths('billing').identity)
    const add = () => addAgent(realm, { name: 'billing', pub: ['bills.>'], clock })
    expect(await failure(add)).toMatchObject({ message: `${paths('billing').identity} exists already` })
    await rm(paths('billing').identity)
    const lost = await findAgent(realm, 'billing')
    expect(await failure(() => addAgent(realm, { name: 'billing', renew: true, clock }))).toMatchObject({
      message: 'the adding of billing was cut short, and its key was never written',
    })
    const added = await add().catch((error: unknown) => error)
    const { publicKey, token } = await identity('billing')
    expect(added).toMatchObject({
      claims: { identity: publicKey, permissions: { pub: { allow: ['bills.>'] } } },
    })
    expect(publicKey).not.toBe(lost?.claims.identity)
    expect(verify(token)).toMatchObject({ identity: publicKey })
    expect(await creds('billing')).toContain('JWT')
    expect(await readdir(realmLayout(realm.dir).agents)).not.toContain('billing.adding')
  })

  test('keeps the key that was written', async () => {
    const { claims } = await addAgent(realm, { name: 'billing', pub: ['bills.>'], clock })
    await cutShort('billing', 'here')
    const again = await addAgent(realm, { name: 'billing', pub: ['bills.>'], clock }).catch((error) => error)
    expect(again).toMatchObject({ claims: { identity: claims.identity } })
    expect((await identity('billing')).publicKey).toBe(claims.identity)
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
  })

  test('keeps the key that was made elsewhere, and gives the name to no other', async () => {
    const key = encodeNkey('U', chooseEngine().ed25519KeyPair().publicKey)
    await addAgent(realm, { name: 'billing', key, clock })
    await cutShort('billing', key)
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject({
      message: 'the adding of billing was cut short',
      hint: expect.stringContaining(`--key ${key}`),
    })
    const again = await addAgent(realm, { name: 'billing', key, clock }).catch((error) => error)
    expect(again).toMatchObject({ identityPath: undefined, claims: { identity: key } })
  })

  test('is whole once its login is there', async () => {
    const { claims } = await addAgent(realm, { name: 'billing', clock })
    await writeFile(paths('billing').adding, 'here\n')
    await rm(paths('billing').identity)
    expect(await failure(() => addAgent(realm, { name: 'billing', clock }))).toMatchObject({
      message: 'there is an agent billing already',
    })
    expect((await findAgent(realm, 'billing'))?.claims.identity).toBe(claims.identity)
  })
})

describe('an agent whose key was made elsewhere', () => {
  const engine = chooseEngine()
  const newKey = () => encodeNkey('U', engine.ed25519KeyPair().publicKey)
  const exists = async (path: string) => (await readdir(join(path, '..'))).includes(basename(path))

  test('gets a token and a login, and no identity file', async () => {
    const key = newKey()
    const added = await addAgent(realm, { name: 'billing', key, sub: ['orders.*'], clock })
    expect(added).toMatchObject({ identityPath: undefined, claims: { identity: key, name: 'billing' } })
    expect(await exists(paths('billing').identity)).toBe(false)
    const token = (await readFile(paths('billing').tokens, 'utf8')).trim()
    expect(verify(token)).toEqual(added.claims)
    expect((await loginClaims('billing'))['sub']).not.toBe(key)
    expect((await addAgent(realm, { name: 'orders', clock })).identityPath).toBe(paths('orders').identity)
  })

  test('is renewed for the same key, which it may name and cannot change', async () => {
    const key = newKey()
    await addAgent(realm, { name: 'billing', key, sub: ['orders.*'], clock })
    clock.advance(DAY_MS)
    for (const request of [{}, { key }]) {
      const { claims, tokens, identityPath } = await addAgent(realm, {
        name: 'billing',
        renew: true,
        clock,
        ...request,
      })
      expect(claims).toMatchObject({ identity: key, permissions: { sub: { allow: ['orders.*'] } } })
      expect(claims.issuedAt * 1000).toBe(clock.now())
      expect(identityPath).toBeUndefined()
      expect(verify(tokens[0] ?? '')).toEqual(claims)
    }
    const other = newKey()
    const error = await failure(() => addAgent(realm, { name: 'billing', key: other, renew: true, clock }))
    expect(error).toMatchObject({
      code: 'ERR_SETUP',
      hint: expect.stringContaining('agent add billing --succeed'),
    })
    expect(error.message).toContain(fingerprint(key))
    expect(error.message).toContain(fingerprint(other))
    expect(await exists(paths('billing').identity)).toBe(false)
  })

  test('keeps its identity file when it has one and is renewed by its key', async () => {
    const { claims } = await addAgent(realm, { name: 'billing', clock })
    clock.advance(DAY_MS)
    const renewed = await addAgent(realm, { name: 'billing', key: claims.identity, renew: true, clock })
    expect(renewed.identityPath).toBe(paths('billing').identity)
    expect((await identity('billing')).token).toBe(renewed.tokens[0])
  })

  test('cannot have the key of another, nor one that is revoked', async () => {
    const key = newKey()
    await addAgent(realm, { name: 'billing', key, clock })
    expect(await failure(() => addAgent(realm, { name: 'orders', key, clock }))).toMatchObject({
      code: 'ERR_SETUP',
      message: `the key ${fingerprint(key)} is that of billing already`,
    })
    clock.advance(1000)
    await revokeAgent(realm, { name: 'billing', clock })
    // Long after the revocation itself has ended.
    clock.advance(400 * DAY_MS)
    for (const name of ['billing', 'orders']) {
      expect(await failure(() => addAgent(realm, { name, key, clock }))).toMatchObject({
        code: 'ERR_REVOKED',
      })
    }
  })

  test('takes the place of a revoked identity, whose file goes', async () => {
    await addAgent(realm, { name: 'billing', clock })
    clock.advance(1000)
    await revokeAgent(realm, { name: 'billing', clock })
    clock.advance(1000)
    const key = newKey()
    await addAgent(realm, { name: 'billing', key, clock })
    expect(await exists(paths('billing').identity)).toBe(false)
    expect((await addAgent(realm, { name: 'billing', renew: true, clock })).claims.identity).toBe(key)
  })

  test('needs a name that is free, and a key that is one', async () => {
    await addAgent(realm, { name: 'billing', clock })
    const before = await readFile(paths('billing').identity, 'utf8')
    expect(await failure(() => addAgent(realm, { name: 'billing', key: newKey(), clock }))).toMatchObject({
      code: 'ERR_SETUP',
      hint: expect.stringContaining('--renew'),
    })
    expect(await readFile(paths('billing').identity, 'utf8')).toBe(before)
    for (const key of ['', 'x', realm.key]) {
      expect(await failure(() => addAgent(realm, { name: 'orders', key, clock }))).toMatchObject({
        code: 'ERR_KEY_INVALID',
      })
    }
    expect(await findAgent(realm, 'orders')).toBeUndefined()
  })
})

describe('revokeAgent', () => {
  test('signs what agents act on, until the last token of the identity expires', async () => {
    await addAgent(realm, { name: 'intern', expiresInMs: 50 * DAY_MS, clock })
    const { token } = await identity('intern')
    clock.advance(DAY_MS)
    await addAgent(realm, { name: 'intern', expiresInMs: DAY_MS, renew: true, clock })
    const record = await revokeAgent(realm, { name: 'intern', reason: 'left the company', clock })
    expect(record).toMatchObject({ since: clock.now(), until: clock.now() + 49 * DAY_MS })

    const engine = chooseEngine()
    const set = new RevocationSet({ engine, trust: new Trust(engine, { authority: realm.authority }) })
    expect(set.add(record.statement, clock.now())).toMatchObject({
      byAuthority: true,
      revocation: { reason: 'left the company', realm: realm.key },
    })
    expect(set.isRevoked(verify(token))).toBe(true)
    expect(set.isRevoked(verify((await identity('intern')).token))).toBe(true)
  })

  test('is signed again where the first is dated ahead, since no service takes that one', async () => {
    await addAgent(realm, { name: 'intern', clock })
    const ahead = (ms: number) => new ManualClock(clock.now() + ms)
    const early = await revokeAgent(realm, { name: 'intern', clock: ahead(120_001) })
    const second = await revokeAgent(realm, { name: 'intern', clock })
    expect(second).toMatchObject({ identity: early.identity, since: clock.now() })
    expect(await listRevocations(realm, clock.now())).toEqual([second])
  })

  test('is not signed again where every service takes the first', async () => {
    await addAgent(realm, { name: 'intern', clock })
    const ahead = new ManualClock(clock.now() + 120_000)
    const first = await revokeAgent(realm, { name: 'intern', clock: ahead })
    expect(await revokeAgent(realm, { name: 'intern', clock })).toEqual(first)
  })

  test('gives the same statement again, and keeps it in a file', async () => {
    await addAgent(realm, { name: 'intern', clock })
    const first = await revokeAgent(realm, { name: 'intern', reason: 'one', clock })
    clock.advance(1000)
    expect(await revokeAgent(realm, { name: 'intern', reason: 'two', clock })).toEqual(first)
    expect(await listRevocations(realm, clock.now())).toEqual([first])
    expect(await listRevocations(realm, first.until)).toEqual([])
    expect(JSON.parse(await readFile(first.path, 'utf8'))).toMatchObject({ name: 'intern', reason: 'one' })
  })

  test('lasts longer than the tokens where that is asked for, also when they have expired, and is signed once', async () => {
    await addAgent(realm, { name: 'intern', expiresInMs: DAY_MS, clock })
    const short = await revokeAgent(realm, { name: 'intern', clock })
    const request = { name: 'intern', lastsMs: 400 * DAY_MS, clock }
    const long = await revokeAgent(realm, request)
    expect([short.until, long.until]).toEqual([clock.now() + DAY_MS, clock.now() + 400 * DAY_MS])
    clock.advance(DAY_MS - 1)
    expect(await revokeAgent(realm, request)).toEqual(long)
    expect(await listRevocations(realm, clock.now())).toEqual([long])
    clock.advance(DAY_MS)
    const later = await revokeAgent(realm, request)
    expect(later.until).toBe(clock.now() + 400 * DAY_MS)
    // Its name is free.
    expect((await addAgent(realm, { name: 'intern', clock })).claims.identity).not.toBe(long.identity)
  })

  test('leaves the name to a new identity whose tokens say so, also when they are renewed', async () => {
    const { claims: first } = await addAgent(realm, { name: 'intern', clock })
    await revokeAgent(realm, { name: 'intern', clock })
    const { claims: second } = await addAgent(realm, { name: 'intern', clock })
    expect(second.succeeds).toEqual([first.identity])
    const succeed = () => revokeAgent(realm, { name: 'intern', clock })
    const { claims: third } = await addAgent(realm, { name: 'intern', succeed, clock })
    expect(third.succeeds).toEqual([first.identity, second.identity])
    const renewed = await addAgent(realm, { name: 'intern', renew: true, clock })
    expect(renewed.claims.succeeds).toEqual(third.succeeds)
    expect((await addAgent(realm, { name: 'other', clock })).claims.succeeds).toEqual([])
  })

  test('is not signed while the clock is behind the token that it has to reach', async () => {
    await addAgent(realm, { name: 'intern', clock })
    const behind = new ManualClock(clock.now() - DAY_MS)
    const error = await failure(() => revokeAgent(realm, { name: 'intern', clock: behind }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', hint: expect.stringContaining('clock') })
    expect(await listRevocations(realm, 0)).toEqual([])
  })

  test('is not asked for before everything else about a successor is right', async () => {
    await addAgent(realm, { name: 'intern', clock })
    const other = await addAgent(realm, { name: 'other', clock })
    let asked = 0
    const succeed = async () => {
      asked++
    }
    const pub = Array.from({ length: 2000 }, (_, i) => `subject.${i}`)
    for (const wrong of [{ key: other.claims.identity }, { pub }]) {
      const error = await failure(() => addAgent(realm, { name: 'intern', succeed, clock, ...wrong }))
      expect(error).toMatchObject({ code: 'ERR_SETUP' })
    }
    expect(asked).toBe(0)
    const before = await identity('intern')
    const failed = new Error('the broker is not there')
    const refused = { name: 'intern', clock, succeed: () => Promise.reject(failed) }
    expect(await failure(() => addAgent(realm, refused))).toBe(failed)
    expect((await identity('intern')).publicKey).toBe(before.publicKey)
  })

  test('keeps the key from being renewed, and frees the name for a new one', async () => {
    await addAgent(realm, { name: 'intern', sub: ['a'], clock })
    const before = await identity('intern')
    const first = await revokeAgent(realm, { name: 'intern', clock })
    const error = await failure(() => addAgent(realm, { name: 'intern', renew: true, clock }))
    expect(error).toMatchObject({ code: 'ERR_REVOKED' })
    clock.advance(1000)
    const again = await addAgent(realm, { name: 'intern', clock })
    expect(again.claims.identity).not.toBe(before.publicKey)
    expect(again).toMatchObject({ revocation: undefined, tokens: { length: 1 } })
    expect(again.claims.permissions.sub.allow).toEqual([])
    const second = await revokeAgent(realm, { name: 'intern', clock })
    expect(await listRevocations(realm, clock.now())).toEqual(
      [first, second].sort((a, b) => (a.path < b.path ? -1 : 1)),
    )
  })

  test('says who is not there, and when there is nothing left to revoke', async () => {
    expect(await failure(() => revokeAgent(realm, { name: 'nobody', clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
    await addAgent(realm, { name: 'intern', expiresInMs: DAY_MS, clock })
    expect(
      await failure(() => revokeAgent(realm, { name: 'intern', reason: 'é'.repeat(129), clock })),
    ).toBeInstanceOf(RangeError)
    clock.advance(DAY_MS)
    expect(await failure(() => revokeAgent(realm, { name: 'intern', clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
  })
})

describe('listAgents', () => {
  test('lists by name, and takes other files for what they are', async () => {
    expect(await listAgents(realm)).toEqual([])
    for (const name of ['orders', 'billing']) await addAgent(realm, { name, clock })
    await writeFile(join(realmLayout(realm.dir).agents, 'notes.txt'), 'x')
    await writeFile(join(realmLayout(realm.dir).agents, 'a.b.jwt'), 'x')
    expect((await listAgents(realm)).map(({ claims }) => claims.name)).toEqual(['billing', 'orders'])
    expect(await findAgent(realm, 'nobody')).toBeUndefined()
  })

  test('refuses records that were changed', async () => {
    await addAgent(realm, { name: 'billing', clock })
    await addAgent(realm, { name: 'orders', clock })
    const token = await readFile(paths('orders').tokens, 'utf8')
    for (const text of ['', 'x\n', token, token.slice(0, -4)]) {
      await writeFile(paths('billing').tokens, text)
      expect((await failure(() => listAgents(realm))).message).toMatch(/damaged|token/)
    }
  })

  test('refuses a revocation that was changed', async () => {
    await addAgent(realm, { name: 'billing', clock })
    const { path } = await revokeAgent(realm, { name: 'billing', clock })
    for (const text of ['', '{}', 'null']) {
      await writeFile(path, text)
      expect(await failure(() => listAgents(realm))).toMatchObject({ code: 'ERR_SETUP' })
    }
  })
})

describe('addBrokerUser', () => {
  test('writes a login for its owner alone, which is no identity', async () => {
    const path = await addBrokerUser(realm, 'admin')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await failure(() => loadIdentity(`file:${path}`))).toMatchObject({ code: 'ERR_KEY_FILE' })
    expect(await listAgents(realm)).toEqual([])
    expect(await failure(() => addBrokerUser(realm, '../admin'))).toBeInstanceOf(TypeError)
  })
})
