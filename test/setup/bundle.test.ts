import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeIdentityFile, parseIdentityFile } from '../../src/identity/identity.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { formatBundle, parseBundle } from '../../src/setup/bundle.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { newestPlan } from '../../src/setup/plan-records.ts'
import { makeNextPlan } from '../../src/setup/plans.ts'
import type { Realm } from '../../src/setup/realm.ts'
import { revokeAgent } from '../../src/setup/revocations.ts'
import { engine } from '../support/identities.ts'
import { failure } from '../support/until.ts'
import { createWholeRealm, temporaryFolder } from './running-realm.ts'

const SECRET = /S[UAO][A-Z2-7]{56}|PRIVATE KEY|IDENTITY SEED|eyJ/

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let realm: Realm
let other: Realm
let text: string
let strange: string
/** The private key of `elsewhere`, which the realm never sees. */
let seed: Uint8Array
beforeAll(async () => {
  folder = await temporaryFolder()
  realm = await createWholeRealm({ dir: join(folder.path, 'realm'), hosts: ['nats.example.com'] })
  other = await createWholeRealm({ dir: join(folder.path, 'other') })
  seed = engine.randomBytes(32)
  const key = encodeNkey('U', engine.ed25519KeyPair(seed).publicKey)
  await addAgent(realm, { name: 'files', mcpServe: true })
  await addAgent(realm, { name: 'laptop', mcpUse: ['files'] })
  await addAgent(realm, { name: 'elsewhere', key })
  await addAgent(other, { name: 'files' })
  text = await formatBundle(realm, 'files')
  strange = await formatBundle(other, 'files')
})
afterAll(() => folder.remove())

const parse = (value: unknown) => parseBundle(JSON.stringify(value), 'x.subrosa')
const fields = () => JSON.parse(text) as Record<string, unknown>

/** Every secret of a realm's folder by the file that it is in, as it would show in any other text. */
async function secretsOf({ dir }: Realm): Promise<Map<string, readonly string[]>> {
  const files = await readdir(dir, { recursive: true, withFileTypes: true })
  const secrets = new Map<string, readonly string[]>()
  for (const file of files.filter((one) => one.isFile())) {
    const path = join(file.parentPath, file.name)
    const content = await readFile(path, 'utf8')
    const seeds = content.match(/S[UAO][A-Z2-7]{56}/g) ?? []
    const [, body = ''] = /PRIVATE KEY-----\n([\s\S]+?)\n-----END/.exec(content) ?? []
    const lines = body.split('\n').filter((line) => line.length > 8)
    if (seeds.length + lines.length > 0) secrets.set(path, [...seeds, ...lines])
  }
  return secrets
}

describe('a bundle', () => {
  test('has all that the agent needs elsewhere', async () => {
    const paths = agentPaths(realm.dir, 'files')
    expect(parseBundle(text, 'x')).toEqual({
      authority: [realm.key],
      server: 'tls://nats.example.com:4222',
      ca: await readFile(realmLayout(realm.dir).caCertificate, 'utf8'),
      plan: (await newestPlan(realm)).kept,
      planVersion: 1,
      token: (await readFile(paths.tokens, 'utf8')).trim(),
      claims: expect.objectContaining({ name: 'files', realm: realm.key }),
      identity: await readFile(paths.identity, 'utf8'),
      creds: await readFile(paths.creds, 'utf8'),
    })
  })

  test('has the secrets of its agent in it and none besides', async () => {
    const own = Object.values(agentPaths(realm.dir, 'files'))
    const secrets = await secretsOf(realm)
    // The authority, the operator, the account, two keys for TLS, and two secrets each of three agents, one of the last.
    expect([...secrets.keys()].map((path) => path.slice(realm.dir.length + 1)).sort()).toEqual([
      'account.seed',
      'agents/elsewhere.creds',
      'agents/files.creds',
      'agents/files.identity',
      'agents/laptop.creds',
      'agents/laptop.identity',
      'agents/rotator.creds',
      'agents/rotator.identity',
      'authority.seed',
      'operator.seed',
      'tls/ca.key',
      'tls/server.key',
    ])
    for (const [path, parts] of secrets)
      for (const part of parts) expect(text.includes(part), path).toBe(own.includes(path))
  })

  test('has no private key of the certificate authority in it, also where one stands beside the certificate', async () => {
    const { caCertificate, caKey } = realmLayout(realm.dir)
    const certificate = await readFile(caCertificate, 'utf8')
    const key = await readFile(caKey, 'utf8')
    try {
      for (const both of [`${certificate}${key}`, `# mine\n${key}${certificate}`]) {
        await writeFile(caCertificate, both)
        const made = await formatBundle(realm, 'files')
        expect(made).not.toContain('PRIVATE KEY')
        expect(parseBundle(made, 'x').ca).toBe(certificate)
      }
      await writeFile(caCertificate, key)
      expect(await failure(() => formatBundle(realm, 'files'))).toMatchObject({
        code: 'ERR_SETUP',
        message: expect.stringContaining('there is no certificate in'),
      })
    } finally {
      await writeFile(caCertificate, certificate)
    }
  })

  test('of an agent whose key was made elsewhere has its token, and no private key', async () => {
    const made = await formatBundle(realm, 'elsewhere')
    expect(made).not.toContain('IDENTITY SEED')
    expect(parseBundle(made, 'x')).toMatchObject({ identity: undefined, claims: { name: 'elsewhere' } })
  })

  test('has the newest token of such an agent', async () => {
    const { claims } = await addAgent(realm, { name: 'elsewhere', renew: true, sub: ['orders.>'] })
    const bundle = parseBundle(await formatBundle(realm, 'elsewhere'), 'x')
    expect(bundle.claims).toEqual(claims)
  })

  test('has the newest plan, with all revocations that it names', async () => {
    const whole = await createWholeRealm({ dir: join(folder.path, 'renewed') })
    await addAgent(whole, { name: 'files' })
    await addAgent(whole, { name: 'intern' })
    const { statement } = await revokeAgent(whole, { name: 'intern' })
    const { kept } = await makeNextPlan(whole, { renewsSalt: true }, { former: await newestPlan(whole) })
    const bundle = parseBundle(await formatBundle(whole, 'files'), 'x')
    expect(bundle).toMatchObject({ plan: kept, planVersion: 2 })
    expect(bundle.plan.list).toEqual([statement])
  })

  test('is not made for who is not there, and not of files that others can read', async () => {
    expect(await failure(() => formatBundle(realm, 'nobody'))).toMatchObject({
      code: 'ERR_SETUP',
      message: `there is no agent nobody in ${realm.dir}`,
    })
    const { creds } = agentPaths(realm.dir, 'laptop')
    await rm(creds)
    expect(await failure(() => formatBundle(realm, 'laptop'))).toMatchObject({ code: 'ERR_KEY_FILE' })
    await writeFile(creds, 'x', { mode: 0o644 })
    expect(await failure(() => formatBundle(realm, 'laptop'))).toMatchObject({
      code: 'ERR_KEY_FILE_PERMISSIONS',
    })
    await rm(creds)
    await appendFile(creds, 'no creds', { mode: 0o600 })
    expect(await failure(() => formatBundle(realm, 'laptop'))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'the bundle of laptop is no bundle, or it is damaged',
    })
  })
})

describe('the reader of bundles', () => {
  test.each([
    ['nothing', ''],
    ['no JSON', 'hello'],
    ['a list', '[]'],
    ['null', 'null'],
    ['an object of another kind', '{}'],
    ['a file of pins', '{"realm": "U", "pins": {}}'],
    ['more than its largest size', `{"type": "subrosa bundle", "x": "${'x'.repeat(8 * 1024 * 1024)}"}`],
  ])('refuses %s', async (_what, damaged) => {
    expect(await failure(() => parseBundle(damaged, 'x.subrosa'))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'x.subrosa is no bundle, or it is damaged',
      hint: expect.stringContaining('--bundle FILE'),
    })
  })

  test('refuses a name that stands there twice, whichever of the two is right', async () => {
    const server = '"server": "tls://evil.example.com:4222"'
    for (const twice of [text.replace('{', `{ ${server},`), text.replace(/\}\s*$/, `, ${server} }`)])
      expect(await failure(() => parseBundle(twice, 'x'))).toMatchObject({
        message: 'x is no bundle, or it is damaged',
      })
  })

  test.each([2, 0, '1', null, undefined])(
    'refuses the version %j, and says that it is one',
    async (version) => {
      expect(await failure(() => parse({ ...fields(), version }))).toMatchObject({
        code: 'ERR_SETUP',
        message: 'x.subrosa is a bundle of another version than 1',
        hint: expect.stringContaining('the same version'),
      })
    },
  )

  test.each(['authority', 'server', 'ca', 'plan', 'identity', 'creds'])(
    'refuses one without %s',
    async (field) => {
      expect(await failure(() => parse({ ...fields(), [field]: undefined }))).toMatchObject({
        message: 'x.subrosa is no bundle, or it is damaged',
      })
      for (const value of [null, 7, '', [], {}])
        expect((await failure(() => parse({ ...fields(), [field]: value }))).message).toMatch(
          /is no bundle, or it is damaged|this is no identity file/,
        )
    },
  )

  test.each<[string, () => Record<string, unknown>]>([
    ['a field that nobody knows', () => ({ more: true })],
    ['an authority that is no key', () => ({ authority: ['A'] })],
    ['an authority of another kind', () => ({ authority: [encodeNkey('U', new Uint8Array(32))] })],
    ['more authorities than it may have', () => ({ authority: Array(17).fill(realm.key) })],
    ['an address of two lines', () => ({ server: 'tls://a\ntls://b' })],
    ['an address that steers a terminal', () => ({ server: 'tls://a\u001b[2J' })],
    ['an address without end', () => ({ server: `tls://${'a'.repeat(2000)}` })],
    ['text around the certificate', () => ({ ca: `x\n${fields()['ca']}` })],
    [
      'a certificate that is none',
      () => ({ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }),
    ],
    ['a token beside the identity', () => ({ token: JSON.parse(strange)['identity'] })],
    ['an identity file for a login', () => ({ creds: fields()['identity'] })],
    ['a login for the identity', () => ({ identity: fields()['creds'] })],
  ])('refuses %s', async (_what, change) => {
    const error = await failure(() => parse({ ...fields(), ...change() }))
    expect(error.message).toMatch(/is no bundle, or it is damaged|this is no identity file/)
    expect(`${error.message} ${error.hint}`).not.toMatch(SECRET)
  })

  test('refuses a certificate that is of no authority, and a private key beside one', async () => {
    const { serverCertificate, caKey } = realmLayout(realm.dir)
    for (const ca of [
      await readFile(serverCertificate, 'utf8'),
      `${fields()['ca']}${await readFile(caKey, 'utf8')}`,
    ]) {
      const error = await failure(() => parse({ ...fields(), ca }))
      expect(error).toMatchObject({ code: 'ERR_SETUP', message: 'x.subrosa is no bundle, or it is damaged' })
      expect(error.cause).toBeUndefined()
    }
  })

  test('refuses a plan of another realm, one that was changed, and one with another list', async () => {
    const { plan } = JSON.parse(text)
    const changed = `${plan.plan.slice(0, -8)}AAAAAAA=`
    for (const broken of [JSON.parse(strange).plan, { ...plan, plan: changed }, { ...plan, plan: 'AAAA' }])
      expect(await failure(() => parse({ ...fields(), plan: broken }))).toMatchObject({
        code: 'ERR_PLAN_INVALID',
        message: expect.stringContaining('the plan in x.subrosa does not hold'),
      })
    await addAgent(realm, { name: 'intern' })
    const { statement } = await revokeAgent(realm, { name: 'intern' })
    const list = [Buffer.from(statement).toString('base64')]
    expect(await failure(() => parse({ ...fields(), plan: { ...plan, list } }))).toMatchObject({
      code: 'ERR_PLAN_INVALID',
      message: 'the list of revocations in x.subrosa is not that of its plan',
    })
  })

  test('refuses an agent that the authority has not signed', async () => {
    const { identity } = JSON.parse(strange)
    expect(await failure(() => parse({ ...fields(), identity }))).toMatchObject({
      code: 'ERR_UNKNOWN_AUTHORITY',
    })
    // Signed by the second authority, and of a realm that the first does not name.
    expect(
      await failure(() => parse({ ...fields(), identity, authority: [realm.key, other.key] })),
    ).toMatchObject({ code: 'ERR_SETUP' })
  })

  test('refuses a token that was changed, and one for another key', async () => {
    const { token } = parseBundle(text, 'x')
    const own = engine.randomBytes(32)
    const error = await failure(() => parse({ ...fields(), identity: encodeIdentityFile(token, own) }))
    expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID' })
    expect(`${error.message} ${error.hint}`).not.toMatch(SECRET)
    const elsewhere = JSON.parse(await formatBundle(realm, 'elsewhere'))
    const [head, body, signature = ''] = String(elsewhere.token).split('.')
    const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
    expect(await failure(() => parse({ ...elsewhere, token: `${head}.${body}.${flipped}` }))).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
    })
  })

  test('takes what it has written, with the white space of another program', () => {
    const { identity } = parse(fields())
    expect(parseIdentityFile(engine, identity ?? '').name).toBe('files')
  })
})
