import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { Child } from '../support/child.ts'
import { newIdentity } from '../support/identities.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

let realm: TestRealm
let folder: string
let alice: SecureConnection
const children: Child[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'subrosa-restart-'))
  realm = await TestRealm.start()
  alice = await realm.agent('alice')
  const { file } = newIdentity(realm.authority, 'worker', { issuedAtMs: Date.now() - 60_000 })
  writeFileSync(join(folder, 'worker.identity'), file, { mode: 0o600 })
})
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill()
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A process of the agent "worker", always with the same identity and the same state. */
async function startWorker(): Promise<{ child: Child; instance: string }> {
  const child = Child.start(
    'restart-agent.mjs',
    realm.server.url,
    join(folder, 'worker.identity'),
    realm.authority.publicKey,
    join(folder, 'state'),
  )
  children.push(child)
  const { joined } = await child.message('it joined', (message) => 'joined' in message)
  const instance = String(joined)
  await until('alice knows it', () => workers().includes(instance))
  return { child, instance }
}

const workers = (): string[] =>
  alice.audience('orders.new').flatMap(({ name, instance }) => (name === 'worker' ? [instance] : []))

const read = (child: Child): unknown[] =>
  child.messages.flatMap(({ got }) => (got === undefined ? [] : [got]))

describe('an agent that leaves', () => {
  it.each([
    ['is not named in its state any more', 'close', true],
    ['is not named in its state any more where it has no subscription to drain', 'drain', true],
    ['stays named in its state where nothing can be published: a later process retires it', 'close', false],
  ] as const)('%s', async (_what, end, canPublish) => {
    const nc = await realm.connection()
    const root = join(folder, 'state')
    const bus = await realm.agent('lea', {}, { over: nc, state: root })
    const { instance } = bus
    if (!canPublish) {
      vi.spyOn(nc, 'publish').mockImplementation(() => {
        throw new Error('no room')
      })
    }
    await bus[end]()
    const path = join(root, realm.authority.publicKey, 'lea', '0', 'state.json')
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({
      instances: canPublish ? [] : [{ instance }],
    })
  })
})

describe('an agent that is killed with SIGKILL and started again', () => {
  it('retires its former instance, and opens nothing that was sealed to it', async () => {
    const broker = await realm.connection()
    const captured = await realm.tap('orders.>')
    const first = await startWorker()
    for (let i = 0; i < 50; i++) alice.publish('orders.new', String(i))
    await first.child.message('it has read them', ({ got }) => got === '49')
    const isOfMessage = ({ data }: Tapped): boolean => wireType(data) !== WireType.handshake
    await until('the broker has them', () => captured.filter(isOfMessage).length === 50)
    await first.child.kill()
    expect(workers()).toEqual([first.instance])
    const second = await startWorker()
    expect(second.instance).not.toBe(first.instance)
    await until('the former instance has retired', () => !workers().includes(first.instance))
    expect(workers()).toEqual([second.instance])
    // The same minutes, the same epoch, the same identity, the same state: the clock alone would let them pass.
    const old = [...captured]
    for (const { subject, data } of old) broker.publish(subject, data)
    await broker.flush()
    alice.publish('orders.new', 'marker')
    await second.child.message('the marker behind them has come', ({ got }) => got === 'marker')
    expect(read(second.child)).toEqual(['marker'])
    second.child.send({ report: true })
    const { rejections } = await second.child.message('it reports', (message) => 'rejections' in message)
    expect(rejections).toEqual({})
  })

  it('at any point leaves one live instance, however often', async () => {
    let last = ''
    for (let round = 0; round < 3; round++) {
      const { child, instance } = await startWorker()
      for (let i = 0; i < 20; i++) alice.publish('orders.new', `${round} ${i}`)
      await child.message('it reads', (message) => 'got' in message)
      await child.kill()
      last = instance
    }
    const { instance } = await startWorker()
    await until('the former instances have retired', () => workers().length === 1)
    expect(workers()).toEqual([instance])
    expect(instance).not.toBe(last)
    const slots = readdirSync(join(folder, 'state', realm.authority.publicKey, 'worker'))
    expect(slots).toEqual(['0'])
  })

  it('leaves its plan on disk, whatever moment it was killed at', async () => {
    const { child } = await startWorker()
    const first = realm.kept
    const second = realm.nextPlan()
    const broker = await realm.connection()
    broker.publish(`${realm.root}.plan`, second.plan)
    await broker.flush()
    await child.kill()
    const path = join(folder, 'state', realm.authority.publicKey, 'worker', '0', 'state.json')
    const { plan } = JSON.parse(readFileSync(path, 'utf8'))
    const wires = [first, second].map(({ plan: wire }) => Buffer.from(wire).toString('base64'))
    expect(wires).toContain(plan.wire)
    expect(plan.list).toEqual([])
  })

  it('answers with keys of its own: what it says afterwards is believed, under its new instance', async () => {
    const first = await startWorker()
    await first.child.kill()
    const second = await startWorker()
    const got: string[] = []
    alice.subscribe('replies.new', { callback: (_error, m) => got.push(m.sender.instance) })
    await alice.flush()
    second.child.send({ say: 'hello' })
    await until('it was heard', () => got.length === 1)
    expect(got).toEqual([second.instance])
  })
})
