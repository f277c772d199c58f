import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openBroker, trustOf } from '../../../src/cli/realm/broker.ts'
import type { BrokerOptions } from '../../../src/cli/realm/broker-options.ts'
import { engineFor } from '../../../src/crypto/engine.ts'
import { generateSigningKey } from '../../../src/identity/signing-key.ts'
import { addAgent } from '../../../src/setup/agents.ts'
import { agentPaths, realmLayout } from '../../../src/setup/layout.ts'
import { RunningRealm, temporaryFolder } from '../../setup/running-realm.ts'
import { startTestServer, type TestServer } from '../../support/server.ts'
import { failure } from '../../support/until.ts'
import { terminalThat } from '../run.ts'

const user = generateSigningKey(engineFor(), 'U')

let running: RunningRealm
let plain: TestServer
let byToken: TestServer
beforeAll(async () => {
  running = await RunningRealm.create()
  await addAgent(running.realm, { name: 'billing', sub: ['orders.>'] })
  await running.startServer()
  plain = await startTestServer(
    `authorization { users: [{ user: ann, password: hunter2 }, { nkey: ${user.key.publicKey} }] }`,
  )
  byToken = await startTestServer('authorization { token: opensesame }')
})
afterAll(async () => {
  await running.stop()
  await plain.stop()
  await byToken.stop()
})

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let said: string[]
const opened: NatsConnection[] = []
beforeEach(async () => {
  folder = await temporaryFolder()
  said = []
})
afterEach(async () => {
  for (const nc of opened.splice(0)) await nc.close()
  await folder.remove()
})

type Environment = Record<string, string>

const terminal = (env: Environment) =>
  terminalThat({ env: { HOME: folder.path, ...env }, say: (line) => void said.push(line) })

async function open(options: BrokerOptions, env: Environment = {}): Promise<NatsConnection> {
  const nc = await openBroker(terminal(env), options, 'test')
  opened.push(nc)
  return nc
}

async function saveContext(name: string, fields: Record<string, unknown>): Promise<void> {
  const contexts = join(folder.path, '.config', 'nats', 'context')
  await mkdir(contexts, { recursive: true })
  await writeFile(join(contexts, `${name}.json`), JSON.stringify(fields))
}

async function selectContext(name: string): Promise<void> {
  await writeFile(join(folder.path, '.config', 'nats', 'context.txt'), name)
}

const ANN = { user: 'ann', password: 'hunter2' }
const refused = { code: 'ERR_CONNECTION', message: expect.stringContaining('refuses this login') }

describe('openBroker', () => {
  it('takes address and login from the environment', async () => {
    const env = { NATS_URL: plain.url, NATS_USER: 'ann', NATS_PASSWORD: 'hunter2' }
    expect((await open({}, env)).getServer()).toBe(plain.url)
  })

  it('takes the command line before the environment', async () => {
    const env = { NATS_URL: 'nats://127.0.0.1:1', NATS_USER: 'bob', NATS_PASSWORD: 'wrong' }
    expect((await open({ server: plain.url, ...ANN }, env)).getServer()).toBe(plain.url)
    expect(await failure(() => open({ server: plain.url }, env))).toMatchObject(refused)
  })

  it('joins a user of the command line with a password of the environment', async () => {
    await open({ server: plain.url, user: 'ann' }, { NATS_PASSWORD: 'hunter2' })
    const env = { NATS_PASSWORD: 'hunter2', NATS_CREDS: '/nowhere' }
    await open({ server: plain.url, user: 'ann' }, env)
  })

  it('takes a user without a password for a token, and a token', async () => {
    await open({ server: byToken.url, user: 'opensesame' })
    await open({ server: byToken.url, token: 'opensesame' })
    await open({ server: byToken.url }, { NATS_TOKEN: 'opensesame' })
  })

  it('takes a login that is written into the address', async () => {
    await open({ server: `nats://ann:hunter2@${plain.url}` })
    await open({ server: `nats://opensesame@${byToken.url}` })
    const error = await failure(() => open({ server: `nats://ann:wrong-secret@${plain.url}` }))
    expect(error).toMatchObject(refused)
    expect(`${error.message} ${error.hint} ${said}`).not.toContain('wrong-secret')
  })

  it('logs in with an nkey', async () => {
    const path = join(folder.path, 'user.nk')
    await writeFile(path, `# mine\n${user.seedText}\n`, { mode: 0o600 })
    await open({ server: plain.url, nkey: path })
    await writeFile(path, 'nothing', { mode: 0o600 })
    expect(await failure(() => open({ server: plain.url, nkey: path }))).toMatchObject({
      code: 'ERR_KEY_FILE',
    })
  })

  it('asks for a login where the broker does and there is none', async () => {
    expect(await failure(() => open({ server: plain.url }))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining('the broker asks for a login'),
      hint: expect.stringContaining('--creds'),
    })
  })

  it('connects as an agent of the realm’s folder, by TLS', async () => {
    const nc = await open({ realm: running.realm.dir, as: 'billing' })
    expect(nc.info?.tls_required).toBe(true)
    await open({}, { SUBROSA_REALM: running.realm.dir, SUBROSA_AGENT: 'billing' })
  })

  it('refuses creds that others can read, and files that are none', async () => {
    const { creds, identity } = agentPaths(running.realm.dir, 'billing')
    const path = join(folder.path, 'x.creds')
    await writeFile(path, await readFile(creds), { mode: 0o600 })
    await chmod(path, 0o644)
    const base = { realm: running.realm.dir }
    expect(await failure(() => open({ ...base, creds: path }))).toMatchObject({
      code: 'ERR_KEY_FILE_PERMISSIONS',
    })
    expect(await failure(() => open({ ...base, creds: identity }))).toMatchObject({
      code: 'ERR_KEY_FILE',
      hint: expect.stringContaining('this is an identity file'),
    })
    expect(await failure(() => open({ ...base, creds: '/nowhere' }))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })

  it('refuses an agent of the environment whose name leaves the folder', async () => {
    const env = { SUBROSA_REALM: running.realm.dir, SUBROSA_AGENT: '../agents/billing' }
    expect(await failure(() => open({}, env))).toBeInstanceOf(RangeError)
  })

  it('refuses to go without a proxy that is asked for', async () => {
    const env = { NATS_SOCKS_PROXY: '127.0.0.1:1080' }
    expect(await failure(() => open({ server: plain.url, ...ANN }, env))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining('NATS_SOCKS_PROXY'),
    })
  })

  it('takes a time from the environment, and none that is none', async () => {
    const env = { NATS_TIMEOUT: 'soon', NATS_URL: plain.url }
    const error = await failure(() => open(ANN, env))
    expect(error).toBeInstanceOf(RangeError)
    expect(error.message).toContain('NATS_TIMEOUT')
    await open(ANN, { ...env, NATS_TIMEOUT: '3s' })
  })
})

describe('contexts', () => {
  it('come after the command line and the environment, field by field', async () => {
    await saveContext('prod', { url: 'nats://127.0.0.1:1', user: 'ann', password: 'hunter2' })
    await open({ context: 'prod', server: plain.url })
    await open({ context: 'prod' }, { NATS_URL: plain.url })
    await open({}, { NATS_CONTEXT: 'prod', NATS_URL: plain.url })
    expect(await failure(() => open({ context: 'prod' }))).toMatchObject({
      message: expect.stringContaining('127.0.0.1:1: nothing listens there'),
    })
    const bob = { user: 'bob', password: 'x' }
    expect(await failure(() => open({ context: 'prod', server: plain.url, ...bob }))).toMatchObject(refused)
  })

  it('count when they are selected, and not with --no-context', async () => {
    await saveContext('dev', { url: plain.url, ...ANN })
    await selectContext('dev')
    await open({})
    expect(await failure(() => open({ context: false, server: plain.url }))).toMatchObject({
      message: expect.stringContaining('asks for a login'),
    })
  })

  it('that do not exist are named, with those that do', async () => {
    await saveContext('dev', {})
    const error = await failure(() => open({ context: 'prod' }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', hint: 'there are: dev' })
    await selectContext('gone')
    expect(await failure(() => open({}))).toMatchObject({ message: 'there is no context "gone"' })
  })

  it('that are only selected do not count where a realm or an agent is named', async () => {
    await saveContext('dev', { url: plain.url, ...ANN })
    await selectContext('dev')
    const nc = await open({ realm: running.realm.dir, as: 'billing' })
    expect(`tls://${nc.getServer()}`).toBe(running.realm.server)
  })

  it('that are named come before the realm’s folder, with their own certificate authority', async () => {
    const { caCertificate } = realmLayout(running.realm.dir)
    const { creds } = agentPaths(running.realm.dir, 'billing')
    await saveContext('tls', { url: running.realm.server, ca: caCertificate, creds })
    await open({ context: 'tls' })
    await saveContext('bare', { url: running.realm.server, creds })
    const error = await failure(() => open({ context: 'bare', realm: running.realm.dir }))
    expect(error).toMatchObject({ message: expect.stringContaining('no certificate authority') })
  })

  it('may hold a JWT and its seed, and an inbox prefix', async () => {
    const text = await readFile(agentPaths(running.realm.dir, 'billing').creds, 'utf8')
    const [, user_jwt] = /USER JWT-+\s+(\S+)/.exec(text) ?? []
    const [, user_seed] = /NKEY SEED-+\s+(\S+)/.exec(text) ?? []
    const ca = realmLayout(running.realm.dir).caCertificate
    await saveContext('jwt', { url: running.realm.server, ca, user_jwt, user_seed, inbox_prefix: '_MINE' })
    const nc = await open({ context: 'jwt' })
    expect(nc.info?.tls_required).toBe(true)
    await saveContext('jwt', { url: running.realm.server, ca, user_jwt, user_seed: 'SUWRONG' })
    const error = await failure(() => open({ context: 'jwt' }))
    expect(error).toMatchObject({ code: 'ERR_KEY_INVALID' })
    expect(error.message).not.toContain('SUWRONG')
  })

  it('with fields that are not known say so', async () => {
    await saveContext('odd', { url: plain.url, ...ANN, pigeon: 'x' })
    await open({ context: 'odd' })
    expect(said.join('\n')).toContain('has fields that are not known here: pigeon')
  })
})

describe('TLS', () => {
  it.each([
    ['tls://127.0.0.1', {}],
    ['127.1', {}],
    ['nats://127.0.0.1', { tlsfirst: true as const }],
  ])('is required for %s with %j', async (address, options) => {
    const port = plain.url.split(':')[1]
    const error = await failure(() => open({ server: `${address}:${port}`, ...ANN, ...options }))
    expect(error).toMatchObject({ code: 'ERR_CONNECTION' })
    expect(said).toEqual([])
  })

  it('is required where a certificate authority is known, whatever the address says', async () => {
    const { caCertificate: tlsca } = realmLayout(running.realm.dir)
    for (const options of [{ tlsca }, { realm: running.realm.dir }]) {
      const error = await failure(() => open({ server: `nats://${plain.url}`, ...ANN, ...options }))
      expect(error).toMatchObject({ message: expect.stringContaining('it offers no TLS') })
    }
  })

  it('is used where it is offered, and its certificate is checked', async () => {
    const address = running.realm.server.replace('tls:', 'nats:')
    const { creds } = agentPaths(running.realm.dir, 'billing')
    expect(await failure(() => open({ server: address, creds }))).toMatchObject({
      message: expect.stringContaining('no certificate authority that this machine knows'),
      hint: expect.stringContaining('--tlsca'),
    })
    await open({ server: address, creds, tlsca: realmLayout(running.realm.dir).caCertificate })
  })

  it('may be missing on this machine, and elsewhere for nats:// with a warning', async () => {
    await open({ server: plain.url, ...ANN })
    expect(said).toEqual([])
    const elsewhere = `127.1:${plain.url.split(':')[1]}`
    await open({ server: `nats://${elsewhere}`, ...ANN })
    expect(said.join('\n')).toContain(`warning: nats://${elsewhere} does not insist on TLS`)
    expect(said.join('\n')).not.toContain('hunter2')
  })

  it('names the file that it cannot read', async () => {
    for (const option of ['tlsca', 'tlscert', 'tlskey'])
      expect(await failure(() => open({ server: plain.url, ...ANN, [option]: '/nowhere' }))).toMatchObject({
        code: 'ERR_SETUP',
        message: expect.stringContaining('/nowhere'),
      })
  })
})

describe('trustOf', () => {
  const trust = (options: BrokerOptions, env: Environment = {}) => trustOf(terminal(env), options)
  const { publicKey: other } = generateSigningKey(engineFor(), 'A').key

  it('is the authority that is named, or that of the realm’s folder', async () => {
    const { key, dir } = running.realm
    expect(await trust({ realm: dir })).toEqual({ authority: [key] })
    expect(await trust({}, { SUBROSA_REALM: dir })).toEqual({ authority: [key] })
    expect(await trust({ realm: dir, authority: `${key},${other}` })).toEqual({ authority: [key, other] })
    expect(await trust({}, { SUBROSA_AUTHORITY: `${key} ${other}` })).toEqual({ authority: [key, other] })
  })

  it('is by pins where a file of them is named', async () => {
    const path = join(folder.path, 'pins.json')
    const pins = { realm: user.key.publicKey, pins: { ann: user.key.publicKey } }
    await writeFile(path, JSON.stringify(pins), { mode: 0o600 })
    expect(await trust({ pins: path })).toEqual(pins)
    expect(await trust({}, { SUBROSA_PINS: path })).toEqual(pins)
  })

  it('is not by both, and not by nothing', async () => {
    expect(await failure(() => trust({ pins: 'x', authority: other }))).toBeInstanceOf(RangeError)
    expect(await failure(() => trust({}))).toMatchObject({
      code: 'ERR_SETUP',
      hint: expect.stringContaining('--authority'),
    })
    expect(await failure(() => trust({ realm: join(folder.path, 'none') }))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('there is no realm in'),
    })
  })
})
