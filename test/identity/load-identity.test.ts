import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { encodeIdentityFile } from '../../src/identity/identity.ts'
import type { IdentitySource, LoadIdentityOptions } from '../../src/identity/keyfiles/identity-source.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { decodeNkey, encodeNkey, encodeSeed } from '../../src/identity/nkey.ts'
import { verifySelfSignedToken } from '../../src/identity/token.ts'
import { ManualClock } from '../support/clock.ts'
import { failure } from '../support/until.ts'
import { PASSPHRASE, publicKeyOf, sample } from './sample-keys.ts'
import { agent, engine, issue } from './tokens.ts'

const DAY_MS = 86_400_000
const identityFile = encodeIdentityFile(issue(), agent.seed)
const realm = encodeNkey('U', engine.ed25519KeyPair().publicKey)

let folder: string
let sshKey: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-load-'))
  sshKey = await write('id_ed25519', sample('openssh-encrypted'))
})
afterAll(() => rm(folder, { recursive: true }))
beforeEach(() => {
  vi.unstubAllEnvs()
})

/** A source that names a file of the owner's. */
async function write(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return `file:${path}`
}

/** A token for a sample key. */
async function tokenFor(name: string): Promise<string> {
  return issue({ identity: await publicKeyOf(sample(name)) })
}

describe('an identity file in an environment variable', () => {
  const oneLine = identityFile.replaceAll('\n', '\\n')
  const base64 = Buffer.from(identityFile).toString('base64')
  it.each([
    ['as it is', identityFile],
    ['with its line ends written out', oneLine],
    ['with the line ends of Windows written out', identityFile.replaceAll('\n', '\\r\\n')],
    ['in base64', base64],
    ['in base64 that is broken into lines', base64.replaceAll(/(.{76})/g, '$1\n')],
    ['with spaces for line ends', identityFile.replaceAll('\n', ' ')],
  ])('is read %s', async (_, text) => {
    vi.stubEnv('BILLING_IDENTITY', text)
    expect((await loadIdentity('env:BILLING_IDENTITY')).publicKey).toBe(agent.publicKey)
  })

  it('must be there', async () => {
    for (const text of [undefined, '']) {
      vi.stubEnv('BILLING_IDENTITY', text)
      expect(await failure(() => loadIdentity('env:BILLING_IDENTITY'))).toMatchObject({
        code: 'ERR_KEY_FILE',
        message: 'the environment variable BILLING_IDENTITY is not set',
      })
    }
  })

  it('is quoted in no error', async () => {
    for (const text of [base64.slice(0, -8), oneLine.replace('SEED', 'SED'), encodeSeed('U', agent.seed)]) {
      vi.stubEnv('BILLING_IDENTITY', text)
      const rendered = inspect(await failure(() => loadIdentity('env:BILLING_IDENTITY')), { depth: 9 })
      expect(rendered).not.toContain(encodeSeed('U', agent.seed).slice(4, 24))
      expect(rendered).not.toContain(base64.slice(40, 80))
    }
  })

  it('is not unfolded in a file, whose line ends are its own', async () => {
    const source = await write('folded', base64)
    expect(await failure(() => loadIdentity(source))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })
})

describe('a key and its token', () => {
  it.each([
    ['openssh', {}],
    ['openssh-encrypted', { passphrase: () => PASSPHRASE }],
    ['pkcs8.pem', {}],
    ['pkcs8-encrypted.pem', { passphrase: async () => PASSPHRASE }],
  ])('make an identity of %s', async (name, options) => {
    const token = await tokenFor(name)
    const identity = await loadIdentity({ key: await write(name, sample(name)), token }, options)
    expect(identity).toMatchObject({ name: 'billing', publicKey: await publicKeyOf(sample(name)), token })
    const message = utf8('message')
    expect(engine.verify(decodeNkey('U', identity.publicKey), message, identity.sign(message))).toBe(true)
  })

  it.each([
    ['an nkey seed', encodeSeed('U', agent.seed)],
    ['an identity file', identityFile],
  ])('make an identity of %s', async (_, text) => {
    const key = await write('seed', text)
    expect((await loadIdentity({ key, token: issue() })).publicKey).toBe(agent.publicKey)
  })

  it('come from files and variables: of a file of tokens the newest, which stands first', async () => {
    const token = await tokenFor('pkcs8.pem')
    vi.stubEnv('KEY', sample('pkcs8.pem').replaceAll('\n', '\\n'))
    vi.stubEnv('TOKEN', `${token}\n`)
    // A token is no secret.
    const file = await write('billing.jwt', `${token}\n${issue()}\n`, 0o644)
    for (const source of ['env:TOKEN', file, token])
      expect((await loadIdentity({ key: 'env:KEY', token: source })).token).toBe(token)
  })

  it('need each other: a key alone says so', async () => {
    const error = await failure(() => loadIdentity(sshKey))
    expect(error).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `${sshKey} is a private key without the token that says whose it is`,
      hint: expect.stringContaining(`{ key: "${sshKey}", token: "file:NAME.jwt" }`),
    })
    expect(error.hint).toContain('subrosa agent add NAME --key')
    const seed = await write('seed', encodeSeed('U', agent.seed))
    expect(await failure(() => loadIdentity(seed))).toMatchObject({
      message: expect.stringContaining('without the token'),
    })
  })

  it.each(['rsa.pem', 'openssh-rsa', 'rsa-pkcs1.pem', 'x25519.pem'])(
    'are not of the kind in %s, and a key alone says which work',
    async (name) => {
      const key = await write(name, sample(name))
      for (const source of [key, { key, token: issue() }]) {
        expect(await failure(() => loadIdentity(source))).toMatchObject({
          code: 'ERR_KEY_INVALID',
          message: expect.stringContaining(`${key} is an `),
          hint: expect.stringContaining('Ed25519'),
        })
      }
    },
  )

  it('must fit: the error has both fingerprints', async () => {
    const publicKey = await publicKeyOf(sample('openssh'))
    const error = await failure(() =>
      loadIdentity({ key: sshKey, token: issue() }, { passphrase: () => PASSPHRASE }),
    )
    expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID', hint: expect.stringContaining(publicKey) })
    expect(error.message).toContain(fingerprint(agent.publicKey))
    expect(error.message).toContain(fingerprint(publicKey))
  })

  it('are not read where others can read the key', async () => {
    const key = await write('open', sample('openssh'), 0o644)
    expect(await failure(() => loadIdentity({ key, token: issue() }))).toMatchObject({
      code: 'ERR_KEY_FILE_PERMISSIONS',
    })
  })
})

describe('a passphrase', () => {
  const load = async (options: LoadIdentityOptions) =>
    loadIdentity({ key: sshKey, token: await tokenFor('openssh') }, options)

  it('comes from a file, whose last line end is not part of it, a variable or a function', async () => {
    for (const end of ['', '\n', '\r\n'])
      expect((await load({ passphrase: await write('passphrase', PASSPHRASE + end) })).name).toBe('billing')
    vi.stubEnv('KEY_PASSPHRASE', PASSPHRASE)
    expect((await load({ passphrase: 'env:KEY_PASSPHRASE' })).name).toBe('billing')
    expect((await load({ passphrase: async () => PASSPHRASE })).name).toBe('billing')
  })

  it('is missing, wrong, or in a file that others can read', async () => {
    expect(await failure(() => load({}))).toMatchObject({ code: 'ERR_KEY_PASSPHRASE' })
    expect(await failure(() => load({ passphrase: () => 'wrong' }))).toMatchObject({
      code: 'ERR_KEY_PASSPHRASE',
    })
    const open = await write('open-passphrase', PASSPHRASE, 0o644)
    expect(await failure(() => load({ passphrase: open }))).toMatchObject({
      code: 'ERR_KEY_FILE_PERMISSIONS',
    })
    vi.stubEnv('KEY_PASSPHRASE', '')
    expect(await failure(() => load({ passphrase: 'env:KEY_PASSPHRASE' }))).toMatchObject({
      code: 'ERR_KEY_FILE',
    })
  })

  it('is never given as it is, and then stands in no error', async () => {
    const plain = { key: await write('plain', sample('openssh')), token: await tokenFor('openssh') }
    // For a key that needs none too: one day it may.
    for (const task of [load, (options: LoadIdentityOptions) => loadIdentity(plain, options)]) {
      const error = await failure(() => task({ passphrase: PASSPHRASE }))
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).not.toContain(PASSPHRASE)
    }
  })

  it('is a string, whatever a function gives', async () => {
    const passphrase = JSON.parse('{"a": 1}')
    expect(await failure(() => load({ passphrase: () => passphrase }))).toBeInstanceOf(TypeError)
    expect(await failure(() => load({ passphrase }))).toBeInstanceOf(TypeError)
  })
})

describe('a key and a name, for trust by pins', () => {
  it('sign a token of their own, from now on and for 90 days', async () => {
    const clock = new ManualClock()
    const key = await write('pinned', sample('openssh'))
    const { token, claims } = await loadIdentity({ key, name: 'billing', realm }, { clock })
    expect(verifySelfSignedToken(engine, token)).toEqual(claims)
    expect(claims).toMatchObject({
      name: 'billing',
      realm,
      issuer: await publicKeyOf(sample('openssh')),
      roles: [],
      issuedAt: Math.floor(clock.now() / 1000),
      expiresAt: Math.floor((clock.now() + 90 * DAY_MS) / 1000),
    })
    const shorter = await loadIdentity({ key, name: 'billing', realm, expiresInMs: DAY_MS }, { clock })
    expect(shorter.claims.expiresAt).toBe(Math.floor((clock.now() + DAY_MS) / 1000))
  })

  it('are refused when one of them is none', async () => {
    const key = await write('pinned', sample('openssh'))
    const wrong: readonly (readonly [IdentitySource, unknown])[] = [
      [{ key, name: 'a.b', realm }, TypeError],
      [{ key, name: 'billing', realm, expiresInMs: 0 }, RangeError],
      [{ key, name: 'billing', realm, expiresInMs: Number.NaN }, RangeError],
      [{ key: 'pinned', name: 'billing', realm }, TypeError],
    ]
    for (const [source, kind] of wrong) expect(await failure(() => loadIdentity(source))).toBeInstanceOf(kind)
    const authority = encodeNkey('A', engine.ed25519KeyPair().publicKey)
    expect(await failure(() => loadIdentity({ key, name: 'billing', realm: authority }))).toMatchObject({
      code: 'ERR_KEY_INVALID',
    })
  })
})

it.each([
  'null',
  '7',
  '{}',
  '{"key": 1}',
  '{"key": "file:x"}',
  '{"key": "file:x", "name": "x"}',
  '{"key": "file:x", "token": "x"}',
  '{"key": "file:x", "token": 1}',
  '{"key": "x", "token": "eyJ"}',
])('refuses the source %s, which is of no known kind', async (json) => {
  expect(await failure(() => loadIdentity(JSON.parse(json)))).toBeInstanceOf(TypeError)
})
