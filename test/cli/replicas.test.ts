import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { observeRealm } from '../../src/bus/realm/observe-realm.ts'
import { secure } from '../../src/bus/secure.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { addBrokerUser } from '../../src/setup/broker-users.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  decodeEpoch,
  decodeStatement,
  decodeTick,
  encodeQuery,
  QueryKind,
  type Tick,
} from '../../src/wire/statements.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { engine } from '../support/identities.ts'
import { collectStatus } from '../support/realm.ts'
import { until } from '../support/until.ts'
import { hasLogged, readStderr } from './log-lines.ts'
import { type RunningCommand, run, spawnCli, start } from './run.ts'

/** What the issue of a lost leader may cost. */
const HAND_OVER_MS = 5000

let running: RunningRealm
let dir: string
let root: string
const children: ReturnType<typeof spawnCli>[] = []
const commands: RunningCommand[] = []

beforeEach(async () => {
  running = await RunningRealm.create()
  dir = running.realm.dir
  root = `subrosa.v1.${running.realm.key}`
  await addAgent(running.realm, { name: 'rotator', roles: ['rotator'] })
})
afterEach(async () => {
  for (const { child, outcome } of children.splice(0)) {
    child.kill('SIGKILL')
    await outcome
  }
  for (const command of commands.splice(0)) {
    command.interrupt()
    await command.outcome
  }
  await running.stop()
})

const leadings = (stderr: string): number =>
  readStderr(stderr).log.filter(({ event }) => event === 'leading').length

const folder = (name: string): string => join(running.folder, name)

/** A replica as a process of its own. */
async function replica(name: string, ...argv: readonly string[]) {
  const spawned = spawnCli(['rotator', '--realm', dir, '--jetstream', '--state', folder(name), ...argv])
  children.push(spawned)
  await until(`${name} runs`, () => spawned.said().includes('runs on'))
  return spawned
}

async function joinAs(name: string): Promise<SecureConnection> {
  return secure(await running.login({ agent: name }), {
    identity: await loadIdentity(`file:${agentPaths(dir, name).identity}`),
    trust: { authority: running.realm.authority },
    state: 'memory',
  })
}

/** What a tap sees of the rotation service. */
class Tap {
  readonly ticks: { readonly tick: Tick; readonly at: number }[] = []
  readonly hashes = new Map<number, Set<string>>()
  readonly nc: NatsConnection

  static async open(): Promise<Tap> {
    const nc = await running.login({ path: await addBrokerUser(running.realm, 'tap') })
    const tap = new Tap(nc)
    await nc.flush()
    return tap
  }

  private constructor(nc: NatsConnection) {
    this.nc = nc
    nc.subscribe(`${root}.tick`, {
      callback: (_error, { data }) => {
        const tick = decodeTick(decodeStatement(WireType.tick, data).structure)
        this.ticks.push({ tick, at: performance.now() })
        this.#note(tick.number, tick.epochHash)
      },
    })
    nc.subscribe(`${root}.epoch`, {
      callback: (_error, { data }) => {
        const { structure } = decodeStatement(WireType.epoch, data)
        this.#note(decodeEpoch(structure).number, engine.sha256(structure))
      },
    })
  }

  /** How many epochs there are of the number of which there are most. */
  get forks(): number {
    return Math.max(...[...this.hashes.values()].map(({ size }) => size))
  }

  #note(number: number, hash: Uint8Array): void {
    this.hashes.set(number, (this.hashes.get(number) ?? new Set()).add(hex(hash)))
  }
}

describe('two replicas', () => {
  test('hand over within 5 s when the leader is killed: no message, no revocation is lost, nothing forks', async () => {
    const agents = ['orders', 'billing', 'intern', 'guest']
    for (const name of agents) await addAgent(running.realm, { name, pub: ['orders.>'], sub: ['orders.>'] })
    await running.startServer()
    const first = await replica('first', '--tick', '500ms')
    await replica('second', '--tick', '500ms')
    const tap = await Tap.open()
    const orders = await joinAs('orders')
    const billing = await joinAs('billing')
    const events = [collectStatus(orders), collectStatus(billing)]
    const got: number[] = []
    billing.subscribe('orders.new', { callback: (_error, m) => got.push(Number(m.string())) })
    await billing.flush()
    await orders.waitForAudience('orders.new', { atLeast: 1 })
    let sent = 0
    const sending = setInterval(() => orders.publish('orders.new', String(sent++)), 5)
    try {
      expect(await run('agent', 'revoke', 'guest', '--realm', dir)).toMatchObject({ code: 0 })
      const before = tap.ticks.length
      const killedAt = performance.now()
      first.child.kill('SIGKILL')
      const revoked = run('agent', 'revoke', 'intern', '--realm', dir)
      await first.outcome
      await until('the other one ticks', () => tap.ticks.length > before + 1)
      const next = tap.ticks.find(({ at }) => at > killedAt + 50)
      const handOverMs = (next?.at ?? Number.POSITIVE_INFINITY) - killedAt
      console.log(`hand-over: ${Math.round(handOverMs)} ms`)
      expect(handOverMs).toBeLessThan(HAND_OVER_MS)
      expect(await revoked).toMatchObject({ code: 0 })
      expect(await run('rotate', 'now', '--realm', dir)).toMatchObject({ code: 0, stdout: '2' })
    } finally {
      clearInterval(sending)
    }
    const { newest, revocations } = await observeRealm(tap.nc, {
      trust: { authority: running.realm.authority },
    })
    expect(newest.number).toBe(2)
    expect(newest.revocations).toHaveLength(2)
    expect(revocations).toHaveLength(2)
    await orders.flush()
    await until('the last message has come', () => got.length >= sent)
    expect(got).toEqual(Array.from({ length: sent }, (_, i) => i))
    expect(sent).toBeGreaterThan(100)
    const alarms = events.flat().filter(({ type }) => type === 'rollback' || type === 'stale')
    expect(alarms).toEqual([])
    expect(tap.hashes.size).toBe(2)
    expect(tap.forks).toBe(1)
    await orders.close()
    await billing.close()
  })

  test('do not contradict each other when the leader stood still past its lease', async () => {
    await addAgent(running.realm, { name: 'orders', pub: ['orders.>'], sub: ['orders.>'] })
    await running.startServer()
    const first = await replica('first', '--tick', '200ms', '--lease', '1s')
    const second = await replica('second', '--tick', '200ms', '--lease', '1s')
    const tap = await Tap.open()
    const orders = await joinAs('orders')
    const events = collectStatus(orders)
    first.child.kill('SIGSTOP')
    await until('the other one leads', () => hasLogged([second.said()], 'leading'))
    expect(await run('rotate', 'now', '--realm', dir)).toMatchObject({ code: 0, stdout: '2' })
    // What waits for it when it goes on: somebody who asks, and an order.
    const query = encodeQuery({ nonce: engine.randomBytes(16), kind: QueryKind.tick, cursor: undefined })
    tap.nc.publish(`${root}.query`, query, { reply: `${root}.inbox.0011223344556677` })
    await tap.nc.flush()
    const before = tap.ticks.length
    first.child.kill('SIGCONT')
    await until('it has noticed', () => hasLogged([first.said()], 'following', { level: 'warn' }))
    await until('both have had their time', () => tap.ticks.length > before + 5)
    const ticks = tap.ticks.map(({ tick }) => tick)
    const isGrowing = ticks.every(({ now, number }, i) => {
      const former = ticks[i - 1]
      return former === undefined || (now > former.now && number >= former.number)
    })
    expect(isGrowing).toBe(true)
    expect(ticks.slice(before).every(({ number }) => number === 2)).toBe(true)
    await orders.flush()
    expect(events.filter(({ type }) => type === 'rollback' || type === 'stale')).toEqual([])
    expect(tap.forks).toBe(1)
    // It knows by then what has happened, and can lead again.
    second.child.kill('SIGTERM')
    await until('it leads again', () => leadings(first.said()) > 1)
    expect(await run('rotate', 'now', '--realm', dir)).toMatchObject({ code: 0, stdout: '3' })
    expect(tap.forks).toBe(1)
    await orders.close()
  })
})

describe('subrosa rotator --jetstream', () => {
  /** A replica in this process, on the realm's own folder. */
  async function runs(...argv: readonly string[]): Promise<RunningCommand> {
    const command = start(['rotator', '--realm', dir, ...argv])
    commands.push(command)
    await until('it runs', () => command.said.some((line) => line.includes('runs on')))
    return command
  }

  async function end(command: RunningCommand): Promise<void> {
    command.interrupt()
    expect(await command.outcome).toMatchObject({ code: 0 })
  }

  const rotator = (...argv: readonly string[]) => run('rotator', '--realm', dir, ...argv)

  test('runs after init as it is, takes a folder that ran without, and does not give it back by itself', async () => {
    await running.startServer()
    await end(await runs())
    const replica = await runs('--jetstream')
    expect(hasLogged(replica.said, 'leading')).toBe(true)
    expect(hasLogged(replica.said, 'epoch')).toBe(false)
    await end(replica)
    expect(await rotator()).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /this is the record of a replica, up to epoch 1: .*\[ERR_STATE\]\n.*--jetstream.*--alone/,
      ),
    })
    const alone = await runs('--alone')
    expect(alone.said.join('\n')).not.toContain('replica')
    await end(alone)
    // From then on it is as before.
    await end(await runs())
    await end(await runs('--jetstream'))
  })

  test('gives each replica a folder of its own', async () => {
    await running.startServer()
    await runs('--jetstream')
    expect(await rotator('--jetstream')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another rotation service runs on .*\n.*--state/),
    })
    const { said } = await runs('--jetstream', '--state', folder('second'))
    expect(hasLogged(said, 'following', { level: 'info' })).toBe(true)
  })

  test.each([
    [['--alone', '--jetstream'], /cannot be used with/],
    [['--jetstream', '--lease', '1ms'], /leaseMs must be 300 to 60000/],
    [['--jetstream', '--lease', 'soon'], /Use a duration/],
  ])('with %j is not understood', async (argv, message) => {
    await running.startServer()
    expect(await rotator(...argv)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  })

  test('says what to do about a broker without JetStream, and a login without rights to it', async () => {
    await addAgent(running.realm, { name: 'orders', pub: ['orders.>'], sub: ['orders.>'] })
    await running.startServer()
    const creds = agentPaths(dir, 'orders').creds
    expect(await rotator('--jetstream', '--creds', creds)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('subrosa agent add rotator --renew'),
    })
    await running.stopServer()
    const { serverConfig } = realmLayout(dir)
    const config = await readFile(serverConfig, 'utf8')
    await writeFile(serverConfig, config.replace(/jetstream \{[^}]*\}/, ''))
    await running.startServer()
    expect(await rotator('--jetstream')).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/JetStream does not answer in time \[ERR_TIMEOUT\]\n.*turned on/),
    })
    // Without replicas it needs none, and nothing was left locked.
    await runs()
  })
})
