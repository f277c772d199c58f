import { afterEach, describe, expect, it } from 'vitest'
import { MAX_ORDERS_PER_EPOCH, MAX_SESSION_MS, MIN_ORDER_INTERVAL_MS } from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { Schedule } from '../../src/wire/plans.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { until } from '../support/until.ts'
import { type End, SealedWorld, type SessionEnds } from './sealed-world.ts'

const HOUR = 3_600_000
/** From what is joined in one frame to what takes several. */
const LENGTHS = [1, 20, 300, 5000, 20, 70_000, 20, 1, 300, 20, 5000, 20, 1, 200_000, 20, 300]

let world: SealedWorld
afterEach(() => world.stop())

/** What both sides of a session have said so far, and what they heard. */
class Talk {
  readonly session: SessionEnds
  readonly sent = { client: [] as string[], server: [] as string[] }
  readonly failures: unknown[] = []

  constructor(session: SessionEnds) {
    this.session = session
  }

  /** One message each way. Nobody waits for it to go. */
  say(): void {
    for (const who of ['client', 'server'] as const) {
      const sent = this.sent[who]
      const text = `${sent.length} `.padEnd(LENGTHS[sent.length % LENGTHS.length] ?? 1, '.')
      sent.push(text)
      this.session[who].send(text).catch((error: unknown) => this.failures.push(error))
    }
  }

  /** Whether an end is over, or everything has come. */
  get isDone(): boolean {
    const { client, server } = this.session
    const isOver = client.isOver || server.isOver
    return (
      isOver ||
      (client.got.length === this.sent.server.length && server.got.length === this.sent.client.length)
    )
  }

  expectWhole(): void {
    const { client, server } = this.session
    expect([client.why, server.why, this.failures]).toEqual([undefined, undefined, []])
    expect([client.closed, server.closed]).toEqual([[], []])
    for (const [end, sent] of [
      [client, this.sent.server],
      [server, this.sent.client],
    ] as const)
      expect(inBrief(end.got)).toEqual(inBrief(sent))
  }
}

/** Long texts make unreadable differences. */
const inBrief = (texts: End['got']): string[] => texts.map((text) => `${text.slice(0, 8)} ${text.length}`)

describe('a session lives through changes of keys', () => {
  it('every second and a half, at full speed and in both directions, with nothing lost and in order', async () => {
    const schedule = { periodMs: 1500, leadMs: 1500, graceMs: 4000 }
    world = await SealedWorld.start({ schedule, rotation: { tickMs: 250 } })
    const replicas = [await world.replica(), await world.replica()]
    const clients = [await world.client('laptop'), await world.client('desk')]
    const talks: Talk[] = []
    for (const client of [...clients, ...clients]) talks.push(new Talk(await world.open(client, replicas)))
    const buses = [...replicas, ...clients].map(({ bus }) => bus)
    const first = Math.min(...buses.map(({ epoch }) => epoch))
    while (Math.min(...buses.map(({ epoch }) => epoch)) < first + 3) {
      for (const talk of talks) talk.say()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await until('the last ones have come', () => talks.every(({ isDone }) => isDone))
    for (const talk of talks) talk.expectWhole()
    expect(talks.reduce((sum, { sent }) => sum + sent.client.length, 0)).toBeGreaterThan(100)
    expect(buses.map((bus) => bus.rejections())).toEqual(buses.map(() => ({})))
  })

  it('that are ordered one after the other within an epoch, with agents that come and go meanwhile', async () => {
    const { clock, files, laptop, talk } = await startSlowly()
    const announced = await world.realm.tap(`${world.realm.root}.announce.*.*`)
    const keysOf = ({ bus }: { readonly bus: SecureConnection }): number =>
      announced.filter(({ subject }) => subject.endsWith(bus.instance)).length
    for (let round = 1; round <= MAX_ORDERS_PER_EPOCH; round++) {
      await world.realm.orderFreshKeys()
      const guest = await passing(clock, world.client(`guest${round}`), 200)
      const endMs = clock.now() + MIN_ORDER_INTERVAL_MS
      await passingUntil(
        clock,
        'both have fresh keys, and more may be ordered',
        () => {
          talk.say()
          return clock.now() > endMs && [laptop, files].every((one) => keysOf(one) >= round)
        },
        500,
      )
      if (round % 2 === 1) await guest.bus.close()
    }
    await until('the last ones have come', () => talk.isDone)
    talk.expectWhole()
    expect([keysOf(laptop), keysOf(files)]).toEqual([MAX_ORDERS_PER_EPOCH, MAX_ORDERS_PER_EPOCH])
    expect([laptop.bus.epoch, files.bus.epoch]).toEqual([1, 1])
    expect([files.bus.rejections(), laptop.bus.rejections()]).toEqual([{}, {}])
  })

  it('over epochs that are each longer than a session of the bus may live', async () => {
    const { clock, files, laptop, talk } = await startSlowly({ periodMs: 2 * MAX_SESSION_MS })
    const handshakes = await world.realm.tap(world.realm.inboxOf(files.bus))
    let step = 0
    await passingUntil(
      clock,
      'two epochs have passed',
      () => {
        if (step++ % 20 === 0) talk.say()
        return laptop.bus.epoch >= 3 && files.bus.epoch >= 3
      },
      2000,
    )
    await until('the last ones have come', () => talk.isDone)
    talk.expectWhole()
    // Two lives of a session in each epoch.
    const sessions = handshakes.filter(({ data }) => wireType(data) === WireType.handshake)
    expect(sessions.length).toBeGreaterThanOrEqual(4)
    expect([files.bus.rejections(), laptop.bus.rejections()]).toEqual([{}, {}])
  })
})

/** A session in a realm in which time passes when a test says so: no sign of life is missed meanwhile. */
async function startSlowly(schedule: Partial<Schedule> = {}) {
  const clock = new ManualClock()
  world = await SealedWorld.start({ clock, schedule })
  const files = await passing(clock, world.replica({ clock, heartbeat: 10 * HOUR, lease: 100 * HOUR }))
  const laptop = await passing(clock, world.client('laptop'))
  const talk = new Talk(await passing(clock, world.open(laptop, [files], { clock, timeout: HOUR / 60 })))
  return { clock, files, laptop, talk }
}
