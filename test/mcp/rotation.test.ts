import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SESSION_MS } from '../../src/base/limits.ts'
import type { RotationOptions } from '../../src/rotation/service.ts'
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
    const times: Partial<RotationOptions> = { epochMs: 4000, leadMs: 2500, graceMs: 4000, tickMs: 250 }
    world = await SealedWorld.start({ rotation: times })
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

  it('that are ordered one right after the other, with agents that come and go meanwhile', async () => {
    const { clock, files, laptop, talk } = await startSlowly()
    const before = laptop.bus.epoch
    for (let round = 0; round < 6; round++) {
      await world.realm.service?.rotate()
      const guest = await passing(clock, world.client(`guest${round}`), 200)
      // An order may follow the last one before everybody has moved over.
      const enough = before + round + (round % 2)
      await passingUntil(
        clock,
        'it has new keys',
        () => {
          talk.say()
          return laptop.bus.epoch >= enough && files.bus.epoch >= enough
        },
        500,
      )
      if (round % 2 === 1) await guest.bus.close()
    }
    await until('the last ones have come', () => talk.isDone)
    talk.expectWhole()
    expect(laptop.bus.epoch).toBeGreaterThanOrEqual(before + 6)
    expect([files.bus.rejections(), laptop.bus.rejections()]).toEqual([{}, {}])
  })

  it('over epochs that are each longer than a session of the bus may live', async () => {
    const { clock, files, laptop, talk } = await startSlowly({ epochMs: 2 * MAX_SESSION_MS })
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
async function startSlowly(rotation: Partial<RotationOptions> = {}) {
  const clock = new ManualClock()
  world = await SealedWorld.start({ clock, rotation })
  const files = await passing(clock, world.replica({ clock, heartbeat: 10 * HOUR, lease: 100 * HOUR }))
  const laptop = await passing(clock, world.client('laptop'))
  const talk = new Talk(await passing(clock, world.open(laptop, [files], { clock, timeout: HOUR / 60 })))
  return { clock, files, laptop, talk }
}
