import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type PermissionViolationError,
} from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { secure } from '../../src/bus/secure.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { addBrokerUser } from '../../src/setup/broker-users.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { createRealm } from '../../src/setup/realm.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { RunningRealm } from './running-realm.ts'

const DAY_MS = 86_400_000

let running: RunningRealm
let root: string
beforeAll(async () => {
  running = await RunningRealm.create()
  root = `subrosa.v1.${running.realm.key}`
  const { realm } = running
  await addAgent(realm, { name: 'billing', pub: ['bills.>'], sub: ['orders.>'], denySub: ['orders.secret'] })
  await addAgent(realm, { name: 'orders', pub: ['orders.>'], denyPub: ['orders.old'], sub: ['bills.*'] })
  await addAgent(realm, { name: 'silent' })
  await running.startServer()
})
afterAll(() => running.stop())

const ca = () => ({ caFile: realmLayout(running.realm.dir).caCertificate })
const creds = async (agent: string) =>
  credsAuthenticator(await readFile(agentPaths(running.realm.dir, agent).creds))

describe('the broker of a realm', () => {
  test('lets an agent in by TLS, with its login', async () => {
    const connection = await running.login({ agent: 'billing' })
    expect(connection.info).toMatchObject({
      tls_required: true,
      auth_required: true,
      max_payload: 1024 * 1024,
    })
  })

  test('is refused by a client that trusts another certificate authority', async () => {
    const other = await createRealm({ dir: join(running.folder, 'other-ca') })
    const tls = { caFile: realmLayout(other.dir).caCertificate }
    const options = { servers: running.realm.server, tls, authenticator: await creds('billing') }
    await expect(connect(options)).rejects.toMatchObject({
      code: expect.stringMatching(/^UNABLE_TO|^SELF_|^CERT/),
    })
  })

  test('refuses a login of another realm, one that has expired, and none', async () => {
    const other = await createRealm({ dir: join(running.folder, 'other-logins') })
    const stranger = await readFile(await addBrokerUser(other, 'stranger'))
    const past = { now: () => Date.now() - 2 * DAY_MS, monotonic: () => 0, after: () => () => {} }
    const expired = await readFile(
      await addBrokerUser(running.realm, 'expired', { clock: past, expiresInMs: DAY_MS }),
    )
    const servers = running.realm.server
    for (const login of [stranger, expired]) {
      const options = { servers, tls: ca(), authenticator: credsAuthenticator(login) }
      await expect(connect(options)).rejects.toBeInstanceOf(errors.AuthorizationError)
    }
    await expect(connect({ servers, tls: ca() })).rejects.toBeInstanceOf(errors.AuthorizationError)
  })

  test('refuses the login of one key with the token of another', async () => {
    const [billing, orders] = await Promise.all(
      ['billing', 'orders'].map((name) => readFile(agentPaths(running.realm.dir, name).creds, 'utf8')),
    )
    const seed = /SU[A-Z2-7]{56}/
    const mixed = (billing ?? '').replace(seed, seed.exec(orders ?? '')?.[0] ?? '')
    const options = {
      servers: running.realm.server,
      tls: ca(),
      authenticator: credsAuthenticator(Buffer.from(mixed)),
    }
    await expect(connect(options)).rejects.toBeInstanceOf(errors.AuthorizationError)
  })

  test('takes a login with a long list of patterns', async () => {
    const pub = Array.from({ length: 200 }, (_, i) => `department-${i}.orders.>`)
    await addAgent(running.realm, { name: 'many', pub })
    const connection = await running.login({ agent: 'many' })
    expect(await mayPublish(connection, 'department-199.orders.new')).toBe(true)
  })

  test('starts from a folder with spaces and quotes in its name', async () => {
    const spaced = await RunningRealm.create()
    try {
      const realm = await createRealm({
        dir: join(spaced.folder, 'a "quoted" realm'),
        port: Number(new URL(spaced.realm.server).port),
      })
      const config = await readFile(realmLayout(realm.dir).serverConfig, 'utf8')
      await writeFile(realmLayout(spaced.realm.dir).serverConfig, config)
      await spaced.startServer()
    } finally {
      await spaced.stop()
    }
  })
})

describe('the permissions of a login', () => {
  test('are those of the identity, and the subjects of the protocol', async () => {
    const billing = await running.login({ agent: 'billing' })
    expect(await mayPublish(billing, 'bills.7')).toBe(true)
    expect(await mayPublish(billing, 'orders.new')).toBe(false)
    expect(await maySubscribe(billing, 'orders.*')).toBe(true)
    expect(await maySubscribe(billing, 'bills.*')).toBe(false)
    expect(await maySubscribe(billing, 'orders.secret')).toBe(false)
    expect(await maySubscribe(billing, '>')).toBe(false)
    expect(await maySubscribe(billing, '$SYS.>')).toBe(false)
    const sessions = ['inbox.0123456789abcdef', 'session.00', 'handshake.00']
    const asking = ['ping.billing.00', 'query.0011223344556677.billing.00', 'query.any.billing.00']
    for (const subject of ['announce.billing.00', ...asking, 'revoke', 'plan', ...sessions])
      expect(await mayPublish(billing, `${root}.${subject}`), subject).toBe(true)
    expect(await mayPublish(billing, '$JS.API.STREAM.NAMES')).toBe(true)
    for (const subject of ['epoch', 'tick', 'plan', 'rotate', 'announce.*.*', 'revoke', ...sessions])
      expect(await maySubscribe(billing, `${root}.${subject}`), subject).toBe(true)
    for (const subject of ['epoch', 'tick', 'rotate', 'announce.orders.00'])
      expect(await mayPublish(billing, `${root}.${subject}`), subject).toBe(false)
    for (const subject of ['ping.*.*', 'query.*.*.*'])
      expect(await maySubscribe(billing, `${root}.${subject}`), subject).toBe(false)
  })

  test('let nobody ask in the name of another, and everybody who only looks in the common one', async () => {
    const billing = await running.login({ agent: 'billing' })
    for (const subject of ['ping.orders.00', 'query.0011223344556677.orders.00'])
      expect(await mayPublish(billing, `${root}.${subject}`), subject).toBe(false)
    for (const subject of ['ping._.00', 'query.0011223344556677._.00'])
      expect(await mayPublish(billing, `${root}.${subject}`), subject).toBe(true)
  })

  test('keep denied subjects out of a wider pattern', async () => {
    const orders = await running.login({ agent: 'orders' })
    expect(await mayPublish(orders, 'orders.new')).toBe(true)
    expect(await mayPublish(orders, 'orders.old')).toBe(false)
    const billing = await running.login({ agent: 'billing' })
    const seen: string[] = []
    billing.subscribe('orders.*', { callback: (_error, { subject }) => void seen.push(subject) })
    await billing.flush()
    orders.publish('orders.secret')
    orders.publish('orders.new')
    await orders.flush()
    await billing.flush()
    expect(seen).toEqual(['orders.new'])
  })

  test('of an agent without any are the subjects of the protocol alone', async () => {
    const silent = await running.login({ agent: 'silent' })
    expect(await mayPublish(silent, 'anything')).toBe(false)
    expect(await maySubscribe(silent, 'anything')).toBe(false)
    expect(await mayPublish(silent, `${root}.ping.silent.00`)).toBe(true)
  })

  test('of a rotator are what it says and asks in its own name, and no more', async () => {
    const rotator = await running.login({ agent: 'rotator' })
    const query = 'query.0011223344556677'
    for (const subject of [
      'epoch',
      'tick',
      'plan',
      'rotate',
      'inbox.00',
      'ping.rotator.00',
      `${query}.rotator.00`,
    ])
      expect(await mayPublish(rotator, `${root}.${subject}`), subject).toBe(true)
    for (const subject of ['ping.*.*', `${query}.*.*`, 'query.any.*.*', 'announce.*.*', 'rotate', 'inbox.00'])
      expect(await maySubscribe(rotator, `${root}.${subject}`), subject).toBe(true)
    for (const subject of [
      'ping.orders.00',
      `${query}.orders.00`,
      'ping._.00',
      'announce.orders.00',
      'session.00',
    ])
      expect(await mayPublish(rotator, `${root}.${subject}`), subject).toBe(false)
    expect(await maySubscribe(rotator, `${root}.>`)).toBe(false)
    expect(await maySubscribe(rotator, 'orders.>')).toBe(false)
    expect(await mayPublish(rotator, 'orders.new')).toBe(false)
    expect(await mayPublish(rotator, '$JS.API.STREAM.CREATE.x')).toBe(false)
  })

  test('of an administrator are everything', async () => {
    const admin = await running.login({ path: await addBrokerUser(running.realm, 'admin') })
    expect(await maySubscribe(admin, '>')).toBe(true)
    expect(await mayPublish(admin, `${root}.revoke`)).toBe(true)
  })

  test('are enough for agents to exchange sealed requests', async () => {
    const { dir, authority } = running.realm
    const trust = { authority }
    const identity = (name: string) => loadIdentity(`file:${agentPaths(dir, name).identity}`)
    await running.startService()
    const join = async (name: string) =>
      secure(await running.login({ agent: name }), { identity: await identity(name), trust, state: 'memory' })
    const [billing, orders] = [await join('billing'), await join('orders')]
    const frames = await tapFrames(await running.login({ path: await addBrokerUser(running.realm, 'tap') }))
    billing.subscribe('orders.*', { callback: (_error, message) => message?.respond('paid') })
    await billing.flush()
    await orders.waitForAudience('orders.new', { atLeast: 1 })
    // The first one goes before it is known that no stream captures the subject; the others go over sessions.
    for (let i = 0; i < 100 && frames.length === 0; i++)
      expect((await orders.request('orders.new', '7')).string()).toBe('paid')
    expect((await orders.request('orders.new', '7', { mode: 'channel' })).string()).toBe('paid')
    expect(frames.length).toBeGreaterThan(0)
    // Who subscribes late asks for the handshake, and gets it.
    const late = new Promise((resolve) =>
      billing.subscribe('orders.late', { callback: (_error, m) => resolve(m.string()) }),
    )
    await billing.flush()
    orders.publish('orders.late', 'x')
    expect(await late).toBe('x')
    await orders.close()
    await billing.close()
  })
})

async function tapFrames(connection: NatsConnection): Promise<string[]> {
  const frames: string[] = []
  connection.subscribe('orders.*', {
    callback: (_error, { subject, data }) => void (wireType(data) === WireType.frame && frames.push(subject)),
  })
  await connection.flush()
  return frames
}

async function maySubscribe(connection: NatsConnection, subject: string): Promise<boolean> {
  const subscription = connection.subscribe(subject, { callback: () => {} })
  let error: unknown
  void subscription.closed.then((cause) => {
    error = cause
  })
  // The server's refusal comes before its answer to the flush.
  await connection.flush()
  if (error === undefined) subscription.unsubscribe()
  return error === undefined
}

async function mayPublish(connection: NatsConnection, subject: string): Promise<boolean> {
  const refused = new Set<string>()
  const status = connection.status()
  void (async () => {
    for await (const event of status) {
      const error = 'error' in event ? (event.error as Partial<PermissionViolationError>) : {}
      if (error.operation === 'publish' && error.subject !== undefined) refused.add(error.subject)
    }
  })()
  connection.publish(subject)
  await connection.flush()
  await connection.flush()
  return !refused.has(subject)
}
