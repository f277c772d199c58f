import { afterEach, describe, expect, it } from 'vitest'
import { CLOCK_WINDOW_MS, MAX_SESSION_MS, PING_INTERVAL_MS, PING_SPREAD_MS } from '../../src/base/limits.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { collectStatus, type Tapped, TestRealm } from '../support/realm.ts'
import { MINUTE } from '../support/statements.ts'
import { until } from '../support/until.ts'

const PATIENT = { timeout: 120_000 }

let realm: TestRealm
afterEach(() => realm.stop())

const isOf =
  (type: number) =>
  ({ data }: Tapped): boolean =>
    wireType(data) === type

/** Alice, who pays, and bob on a machine of his own: its clocks move with all others, and its wall clock can be set. */
async function start() {
  const clock = new ManualClock()
  const own = new ManualClock(clock.now())
  const clocks = {
    advance: (ms: number): void => {
      clock.advance(ms)
      own.advance(ms)
    },
  }
  realm = await TestRealm.start({ clock, schedule: { periodMs: 235 * MINUTE } })
  const alice = await passing(clocks, realm.agent('alice', {}, PATIENT))
  const bob = await passing(clocks, realm.agent('bob', {}, { ...PATIENT, clock: own }))
  await passing(clocks, alice.waitForAudience('orders.new', { timeout: 60_000 }))
  const got: string[] = []
  bob.subscribe('orders.new', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  const seen = await realm.tap('>')
  const broker = await realm.connection()
  const events = collectStatus(bob)
  const pay = async (): Promise<void> => {
    const before = got.length
    alice.publish('orders.new', 'pay 100 to carol', { to: ['bob'] })
    await until('it has come', () => got.length === before + 1)
    await realm.settled()
  }
  let recorded: readonly Tapped[] | undefined
  /** Plays again what alice had said to bob in sessions when this was first done, handshakes first. */
  const playAgain = async (): Promise<void> => {
    recorded ??= [...seen.filter(isOf(WireType.handshake)), ...seen.filter(isOf(WireType.frame))]
    for (const { subject, data } of recorded) broker.publish(subject, data)
    await broker.flush()
    await bob.flush()
    await realm.settled()
  }
  const freshAgain = async (): Promise<void> => {
    const before = events.filter(({ type }) => type === 'fresh').length
    await passingUntil(
      clocks,
      'bob is fresh again',
      () => events.filter(({ type }) => type === 'fresh').length > before,
    )
  }
  return { clocks, own, alice, bob, got, events, pay, playAgain, freshAgain }
}

describe('a broker that plays a session again', () => {
  it.each([MAX_SESSION_MS + CLOCK_WINDOW_MS, MAX_SESSION_MS + 4 * MINUTE, 200 * MINUTE])(
    'has nothing delivered twice after the wall clock of the receiver was ahead for a moment, by %i ms',
    async (ahead) => {
      const { clocks, own, bob, got, events, pay, playAgain, freshAgain } = await start()
      await pay()
      await playAgain()
      expect([got, bob.rejections()]).toEqual([['pay 100 to carol'], { replay: 1 }])
      own.jump(ahead)
      // Bob looks at his clock when something comes, and at all that he holds.
      await playAgain()
      await passingUntil(clocks, 'bob has noticed', () => events.some(({ type }) => type === 'stale'))
      own.jump(-ahead)
      await freshAgain()
      const before = { ...bob.rejections() }
      await playAgain()
      expect(got).toEqual(['pay 100 to carol'])
      expect(bob.rejections()).toEqual({ ...before, replay: (before.replay ?? 0) + 1 })
      await pay()
      expect(got).toHaveLength(2)
    },
  )

  it.each([CLOCK_WINDOW_MS - 10_000, CLOCK_WINDOW_MS + 30_000, 30 * MINUTE])(
    'has nothing delivered twice after the wall clock was set back, once the session was forgotten, by %i ms',
    async (back) => {
      const { clocks, own, bob, got, pay, playAgain, freshAgain } = await start()
      const passTo = (ms: number): Promise<void> =>
        passingUntil(clocks, 'it is so late', () => own.now() >= ms, 1000)
      await pay()
      const end = own.now() + MAX_SESSION_MS
      await passTo(end - 3000)
      // In the same session, at its end.
      await pay()
      // It looks at the time with each answer of a rotation service.
      await passTo(end + CLOCK_WINDOW_MS + PING_INTERVAL_MS + PING_SPREAD_MS + 5000)
      await playAgain()
      expect([got.length, bob.rejections()]).toEqual([2, { time: 3 }])
      own.jump(-back)
      if (back <= CLOCK_WINDOW_MS) await freshAgain()
      await playAgain()
      expect(got).toHaveLength(2)
    },
  )
})
