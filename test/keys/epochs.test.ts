import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { CLOCK_WINDOW_MS } from '../../src/base/limits.ts'
import {
  deriveEpoch,
  type Epoch,
  type EpochPlan,
  Epochs,
  epochHash,
  numberAt,
} from '../../src/keys/epochs.ts'
import { checkPlan, type Schedule } from '../../src/wire/plans.ts'
import { engines } from '../crypto/vectors.ts'
import { engine } from '../support/identities.ts'
import { laterSchedule, plan, rotators, schedule, T0 } from '../wire/samples.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const endOfUse = ({ notAfter, graceMs }: Epoch): number => notAfter + graceMs + CLOCK_WINDOW_MS
const hashes = (epochs: readonly Epoch[]): readonly string[] => epochs.map(({ hash }) => hex(hash))
const numbers = (epochs: readonly Epoch[]): readonly number[] => epochs.map(({ number }) => number)

/** The epochs of a plan that begin by `untilMs` and are of use at `atMs` or later, newest first, by counting them. */
function epochsOf(of: EpochPlan, untilMs: number, atMs: number): readonly Epoch[] {
  const first = of.schedules[0]?.first ?? 0
  const longest = Math.max(
    ...of.schedules.map(({ periodMs, leadMs, graceMs }) => periodMs + leadMs + graceMs),
  )
  const derived: Epoch[] = []
  for (let number = numberAt(of, untilMs); number >= first; number--) {
    const epoch = deriveEpoch(engine, of, number)
    if (epoch.notBefore + longest + CLOCK_WINDOW_MS < atMs) break
    if (epoch.notBefore <= untilMs && endOfUse(epoch) >= atMs) derived.push(epoch)
  }
  return derived
}

/** Those that are current, in the same way. */
function currentOf(of: EpochPlan, nowMs: number, latestMs = 0): readonly Epoch[] {
  const endMs = Math.max(nowMs, latestMs)
  return epochsOf(of, nowMs + CLOCK_WINDOW_MS, endMs).filter(({ notAfter }) => endMs < notAfter)
}

const times = fc
  .record({
    periodMs: fc.oneof(fc.integer({ min: SECOND, max: MINUTE }), fc.integer({ min: MINUTE, max: 12 * HOUR })),
    leadShare: fc.double({ min: 0, max: 1, noNaN: true }),
    graceMs: fc.integer({ min: 0, max: 15 * MINUTE }),
  })
  .map(({ periodMs, leadShare, graceMs }) => ({
    periodMs,
    leadMs: Math.max(SECOND, Math.round(periodMs * leadShare)),
    graceMs,
  }))

const salts = fc.uint8Array({ minLength: 16, maxLength: 16 })
const firsts = fc
  .record({ times, salt: salts, first: fc.integer({ min: 0, max: 2 ** 40 }) })
  .map(({ times: of, salt, first }) => schedule({ ...of, salt, first }))

/** Two schedules as a plan may have them. */
const pairs = fc
  .record({ first: firsts, times, salt: salts, after: fc.integer({ min: 1, max: 500 }) })
  .map(({ first, times: of, salt, after }): readonly [Schedule, Schedule] => {
    const periodMs = Math.max(of.periodMs, first.leadMs)
    const originMs = first.originMs + after * first.periodMs
    return [first, schedule({ ...of, periodMs, salt, first: first.first + after, originMs })]
  })

describe('an epoch', () => {
  it('follows from the schedule: its times, and its number at a time', () => {
    const of = plan({ schedules: [schedule({ first: 5 })] })
    const { notBefore, notAfter, graceMs, suites, realm } = deriveEpoch(engine, of, 7)
    expect(realm).toBe(of.realm)
    expect(notBefore).toBe(T0 + 2 * 55 * MINUTE)
    expect(notAfter).toBe(notBefore + 60 * MINUTE)
    expect(graceMs).toBe(5 * MINUTE)
    expect(suites).toEqual([1])
    expect([notBefore - 1, notBefore, notBefore + 55 * MINUTE - 1].map((at) => numberAt(of, at))).toEqual([
      6, 7, 7,
    ])
  })

  it('is the first one at any time before the plan has any, and none has a lower number', () => {
    const of = plan({ schedules: [schedule({ first: 5 })] })
    expect(numberAt(of, T0 - DAY)).toBe(5)
    expect(() => deriveEpoch(engine, of, 4)).toThrow(RangeError)
  })

  it.each(engines)('has a hash that covers each of its fields, on $name', (by) => {
    const { hash, ...terms } = deriveEpoch(by, plan(), 3)
    expect(epochHash(by, terms)).toEqual(hash)
    for (const changes of [
      { realm: plan({ realm: `A${'C'.repeat(55)}` }).realm },
      { number: 4 },
      { notBefore: terms.notBefore + 1 },
      { notAfter: terms.notAfter + 1 },
      { graceMs: 0 },
      { suites: [1, 2] },
      { salt: new Uint8Array(16) },
    ])
      expect(epochHash(by, { ...terms, ...changes })).not.toEqual(hash)
  })

  it('begins the second schedule where the first one would have begun it, and is of the second alone', () => {
    const [one, two] = [schedule(), laterSchedule(40)]
    const both = plan({ schedules: [one, two] })
    expect(numberAt(both, two.originMs - 1)).toBe(39)
    expect(numberAt(both, two.originMs)).toBe(40)
    const [last, next] = [39, 40].map((number) => deriveEpoch(engine, both, number))
    expect(last?.notBefore).toBe(two.originMs - one.periodMs)
    expect(last?.notAfter).toBe(two.originMs + one.leadMs)
    expect(next?.notBefore).toBe(two.originMs)
    expect(next?.notAfter).toBe(two.originMs + two.periodMs + two.leadMs)
    expect(deriveEpoch(engine, plan({ schedules: [one] }), 40).hash).not.toEqual(next?.hash)
  })

  it('has one hash for one number under any two plans that agree on the past', () => {
    fc.assert(
      fc.property(pairs, fc.integer({ min: 0, max: 2000 }), fc.nat(7), ([one, two], ahead, version) => {
        const before = plan({ schedules: [one] })
        const both = plan({
          schedules: [one, two],
          version: version + 2,
          rotators: rotators(3),
          threshold: 2,
          made: T0 + version,
          until: T0 + DAY,
        })
        checkPlan(both)
        const after = plan({ schedules: [two], version: version + 3 })
        const number = one.first + ahead
        const hash = hex(deriveEpoch(engine, both, number).hash)
        const other = number < two.first ? before : after
        expect(hex(deriveEpoch(engine, other, number).hash)).toBe(hash)
      }),
    )
  })

  it('is one of two at most at any time, also where two schedules meet, and their numbers follow each other', () => {
    fc.assert(
      fc.property(pairs, fc.double({ min: -3, max: 3, noNaN: true }), ([one, two], share) => {
        const of = plan({ schedules: [one, two] })
        const span = share < 0 ? one.periodMs : two.periodMs
        const at = Math.max(one.originMs, Math.round(two.originMs + share * span))
        const number = numberAt(of, at)
        const near = [-3, -2, -1, 0, 1]
          .filter((step) => number + step >= one.first)
          .map((step) => deriveEpoch(engine, of, number + step))
        const running = near.filter(({ notBefore, notAfter }) => notBefore <= at && at < notAfter)
        expect(running.length).toBeLessThanOrEqual(2)
        expect(numbers(running).at(-1)).toBe(number)
        expect(numberAt(of, deriveEpoch(engine, of, number + 1).notBefore)).toBe(number + 1)
      }),
    )
  })
})

describe('the epochs around now', () => {
  const holding = (of: EpochPlan = plan(), latest?: () => number): Epochs => {
    const epochs = new Epochs({ engine, ...(latest === undefined ? {} : { latest }) })
    epochs.adopt(of)
    return epochs
  }
  const second = deriveEpoch(engine, plan(), 2)

  it('are none without a plan, and none before it begins', () => {
    const epochs = new Epochs({ engine })
    expect(epochs.hold(T0)).toBe(false)
    expect(epochs.current(T0)).toEqual([])
    expect(epochs.at(T0)).toBeUndefined()
    expect(epochs.byHash(second.hash)).toBeUndefined()
    epochs.adopt(plan())
    expect(epochs.at(T0 - CLOCK_WINDOW_MS - 1)).toBeUndefined()
    expect(epochs.at(T0 - CLOCK_WINDOW_MS)?.number).toBe(1)
  })

  it('are current from two minutes before they begin, for clocks that differ, until they end', () => {
    const epochs = holding()
    const { notBefore } = second
    const first = deriveEpoch(engine, plan(), 1)
    expect(numbers(epochs.current(notBefore - CLOCK_WINDOW_MS - 1))).toEqual([1])
    expect(numbers(epochs.current(notBefore - CLOCK_WINDOW_MS))).toEqual([2, 1])
    expect(numbers(epochs.current(first.notAfter - 1))).toEqual([2, 1])
    expect(numbers(epochs.current(first.notAfter))).toEqual([2])
  })

  it('are over by the latest confirmed time, whatever a clock says that was set back', () => {
    let latestMs = 0
    const epochs = holding(plan(), () => latestMs)
    latestMs = deriveEpoch(engine, plan(), 1).notAfter
    expect(numbers(epochs.current(second.notBefore))).toEqual([2])
  })

  it('begin a search for recipients with the one that has begun last', () => {
    const epochs = holding()
    const { notBefore } = second
    expect(epochs.at(notBefore - 1)?.number).toBe(1)
    expect(epochs.at(notBefore)?.number).toBe(2)
  })

  it('are known by hash before they begin, by as much as clocks differ and the lead', () => {
    const { leadMs } = schedule()
    const at = second.notBefore - CLOCK_WINDOW_MS - leadMs
    const early = holding()
    expect(early.hold(at - 1)).toBe(true)
    expect(early.byHash(second.hash)).toBeUndefined()
    expect(early.hold(at)).toBe(true)
    expect(early.byHash(second.hash)).toEqual(second)
    expect(early.hold(at)).toBe(false)
  })

  it('come into reach by a message alone, when the confirmed time has moved on', () => {
    let latestMs = T0
    const epochs = holding(plan(), () => latestMs)
    epochs.hold(T0)
    expect(epochs.byHash(second.hash)).toBeUndefined()
    latestMs = second.notBefore
    expect(epochs.byHash(second.hash)).toEqual(second)
  })

  it('are kept until no message of theirs can come, by the latest confirmed time', () => {
    let latestMs = T0
    const epochs = holding(plan(), () => latestMs)
    epochs.hold(T0)
    const first = epochs.at(T0)
    const end = first === undefined ? 0 : endOfUse(first)
    expect(numbers(epochs.all())).toEqual([1])
    epochs.hold(T0 + 400 * DAY)
    expect(epochs.all()).toContain(first)
    latestMs = end
    epochs.hold(T0)
    expect(epochs.all()).toContain(first)
    latestMs = end + 1
    expect(epochs.hold(T0)).toBe(true)
    expect(epochs.all()).not.toContain(first)
  })

  it('that a clock brought which was far ahead go when it is right again', () => {
    const latestMs = T0
    const epochs = holding(plan(), () => latestMs)
    epochs.hold(T0)
    const right = epochs.all()
    for (const days of [1, 40, 400, 4000]) epochs.hold(T0 + days * DAY)
    epochs.hold(T0)
    expect(epochs.all()).toEqual(right)
    expect(epochs.all().every((epoch, i) => epoch === right[i])).toBe(true)
  })

  it('go and come as a clock is set back and forth by a millisecond, before any time is confirmed', () => {
    const epochs = holding()
    const first = deriveEpoch(engine, plan(), 1)
    const third = deriveEpoch(engine, plan(), 3)
    const begins = third.notBefore - CLOCK_WINDOW_MS - schedule().leadMs
    for (const [at, held] of [
      [begins, [3, 2]],
      [begins - 1, [2]],
      [begins, [3, 2]],
      [endOfUse(first) + 1, [2]],
      [endOfUse(first), [2, 1]],
      [endOfUse(first) + 1, [2]],
      [second.notBefore, [2, 1]],
      [T0 - DAY, []],
    ] as const) {
      epochs.hold(at)
      expect(numbers(epochs.all())).toEqual(held)
    }
  })

  it('are forgotten when they are asked to be, and are derived again only where they are of use', () => {
    const epochs = holding()
    epochs.hold(second.notBefore)
    expect(numbers(epochs.all())).toEqual([2, 1])
    const first = deriveEpoch(engine, plan(), 1)
    expect(epochs.prune(endOfUse(first))).toBe(false)
    expect(epochs.prune(endOfUse(first) + 1)).toBe(true)
    expect(numbers(epochs.all())).toEqual([2])
  })

  it('are few where epochs are short, and as many as can be of use', () => {
    const short = plan({ schedules: [schedule({ periodMs: SECOND, leadMs: SECOND, graceMs: SECOND })] })
    const epochs = holding(short)
    epochs.hold(T0 + HOUR)
    expect(epochs.all().length).toBeLessThan(300)
    expect(epochs.at(T0 + HOUR)?.number).toBe(3601)
    expect(epochs.current(T0 + HOUR)).toEqual(currentOf(short, T0 + HOUR))
  })
})

describe('a newer plan', () => {
  const [one, two] = [schedule(), laterSchedule(3)]
  const before = plan({ schedules: [one] })
  const both = plan({ schedules: [one, two], version: 2 })
  const after = plan({ schedules: [two], version: 3 })

  it('leaves the epochs on which it agrees what they are', () => {
    const epochs = new Epochs({ engine })
    epochs.adopt(before)
    epochs.hold(T0)
    const held = epochs.current(T0)
    epochs.adopt(both)
    expect(epochs.current(T0)).toHaveLength(1)
    expect(epochs.current(T0)[0]).toBe(held[0])
  })

  it('takes the place of the older one for what has not begun', () => {
    const epochs = new Epochs({ engine })
    epochs.adopt(before)
    const at = two.originMs - MINUTE
    const wrong = epochs.current(at)[0]
    expect(wrong?.number).toBe(3)
    epochs.adopt(both)
    expect(epochs.byHash(wrong?.hash ?? one.salt)).toBeUndefined()
    expect(epochs.current(at)).toEqual(currentOf(both, at))
    expect(epochs.current(at)[0]?.hash).toEqual(deriveEpoch(engine, both, 3).hash)
  })

  it('leaves those that began before its first schedule until they are over', () => {
    let latestMs = two.originMs
    const epochs = new Epochs({ engine, latest: () => latestMs })
    epochs.adopt(both)
    epochs.hold(two.originMs)
    const last = epochs.all().find(({ number }) => number === 2)
    epochs.adopt(after)
    expect(epochs.current(two.originMs)).toContain(last)
    expect(epochs.byHash(last?.hash ?? one.salt)).toBe(last)
    latestMs = last === undefined ? 0 : endOfUse(last) + 1
    epochs.hold(latestMs)
    expect(epochs.all()).not.toContain(last)
  })

  it('of an authority that contradicts itself takes the place of the older one at once', () => {
    const epochs = new Epochs({ engine })
    epochs.adopt(before)
    const [was] = epochs.current(T0)
    const other = plan({ schedules: [schedule({ salt: new Uint8Array(16).fill(1) })], version: 2 })
    epochs.adopt(other)
    expect(epochs.current(T0)).toEqual(currentOf(other, T0))
    expect(epochs.byHash(was?.hash ?? one.salt)).toBeUndefined()
  })

  it('is known by hash as soon as it is adopted', () => {
    const epochs = new Epochs({ engine })
    epochs.adopt(before)
    epochs.hold(two.originMs)
    epochs.adopt(both)
    const next = deriveEpoch(engine, both, 3)
    expect(epochs.byHash(next.hash)).toEqual(next)
  })
})

type Step =
  | { readonly kind: 'run' | 'set'; readonly ms: number }
  | { readonly kind: 'confirm' | 'right' | 'adopt' | 'hold' | 'ask' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .oneof(fc.integer({ min: 1, max: 5 * SECOND }), fc.integer({ min: 1, max: HOUR }))
      .map((ms) => ({ kind: 'run' as const, ms })),
  },
  {
    weight: 1,
    arbitrary: fc
      .oneof(
        fc.integer({ min: -15 * SECOND, max: 15 * SECOND }),
        fc.integer({ min: -400 * DAY, max: 400 * DAY }),
      )
      .map((ms) => ({ kind: 'set' as const, ms })),
  },
  ...(['confirm', 'right', 'adopt', 'hold', 'ask'] as const).map((kind) => ({
    weight: 2,
    arbitrary: fc.constant({ kind }),
  })),
)

describe('two agents whose clocks go as they like', () => {
  it('never have two hashes for one number, nor two objects for one hash, and lose none that is of use', () => {
    fc.assert(
      fc.property(
        pairs,
        fc.array(fc.record({ step, who: fc.nat(1) }), { minLength: 1, maxLength: 60 }),
        (schedules, steps) => {
          const plans = [[schedules[0]], [...schedules], [schedules[1]]].map((all, i) =>
            plan({ schedules: all, version: i + 1 }),
          )
          const [, both = plan()] = plans
          let trueMs = schedules[1].originMs - 2 * schedules[0].periodMs
          const agents = [0, 1].map(() => new Agent(trueMs, plans))
          const seen = new Map<number, string>()
          const checked = new WeakSet<Epoch>()
          for (const { step: what, who } of steps) {
            if (what.kind === 'run') trueMs += what.ms
            for (const agent of agents) agent.passed(what.kind === 'run' ? what.ms : 0)
            agents[who]?.do(what, trueMs)
            for (const agent of agents) {
              for (const epoch of agent.epochs.all()) {
                const { number, hash, notBefore } = epoch
                // What a plan says that does not know of the next schedule yet is gone when that is known.
                const isDoubtful = notBefore >= schedules[1].originMs && agent.version === 1
                if (checked.has(epoch) || isDoubtful) continue
                checked.add(epoch)
                expect(seen.get(number) ?? hex(hash)).toBe(hex(hash))
                seen.set(number, hex(hash))
                expect(hex(deriveEpoch(engine, both, number).hash)).toBe(hex(hash))
              }
            }
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})

/** What one agent holds, and what it must not have lost. */
class Agent {
  readonly epochs: Epochs
  version = 0
  readonly #plans: readonly ReturnType<typeof plan>[]
  readonly #objects = new Map<string, Epoch>()
  #nowMs: number
  #latestMs = 0

  constructor(nowMs: number, plans: readonly ReturnType<typeof plan>[]) {
    this.#nowMs = nowMs
    this.#plans = plans
    this.epochs = new Epochs({ engine, latest: () => this.#latestMs })
    this.#adopt()
  }

  passed(ms: number): void {
    this.#nowMs += ms
  }

  do(step: Step, trueMs: number): void {
    switch (step.kind) {
      case 'run':
        return
      case 'set':
        this.#nowMs += step.ms
        return
      case 'right':
        this.#nowMs = trueMs
        return
      case 'confirm':
        // An agent is fresh by a clock that is about right.
        if (Math.abs(this.#nowMs - trueMs) <= CLOCK_WINDOW_MS)
          this.#latestMs = Math.max(this.#latestMs, this.#nowMs)
        return this.#check()
      case 'adopt':
        return this.#adopt()
      case 'hold':
        this.epochs.hold(this.#nowMs)
        return this.#check()
      case 'ask':
        return this.#check()
    }
  }

  #adopt(): void {
    const next = this.#plans[this.version]
    if (next === undefined) return
    this.version++
    const before = [...this.#objects.values()]
    this.epochs.adopt(next)
    // What the new plan does not have is gone, and would be another object if it came back.
    for (const epoch of before)
      if (this.epochs.byHash(epoch.hash) === undefined) this.#objects.delete(hex(epoch.hash))
  }

  #check(): void {
    const { epochs } = this
    const held = this.#plans[this.version - 1] ?? plan()
    const current = epochs.current(this.#nowMs)
    const [first] = held.schedules
    const own = current.filter(({ notBefore }) => notBefore >= (first?.originMs ?? 0))
    expect(hashes(own)).toEqual(hashes(currentOf(held, this.#nowMs, this.#latestMs)))
    const all = epochs.all()
    expect(numbers(all)).toEqual(numbers([...all].sort((a, b) => b.notBefore - a.notBefore)))
    expect(current.every((epoch) => all.includes(epoch))).toBe(true)
    const atMs = Math.max(this.#nowMs, this.#latestMs)
    const leadMs = Math.max(...held.schedules.map((one) => one.leadMs))
    const inReach = epochsOf(held, atMs + CLOCK_WINDOW_MS + leadMs, atMs)
    expect(inReach.filter(({ hash }) => epochs.byHash(hash) === undefined)).toEqual([])
    const isOutOfReach = (epoch: Epoch): boolean =>
      endOfUse(epoch) < this.#latestMs || epoch.notBefore > atMs + CLOCK_WINDOW_MS + leadMs
    expect(all.filter((epoch) => isOutOfReach(epoch) || epochs.byHash(epoch.hash) !== epoch)).toEqual([])
    for (const [key, epoch] of this.#objects) if (endOfUse(epoch) < this.#latestMs) this.#objects.delete(key)
    expect([...this.#objects.values()].filter((epoch) => epochs.byHash(epoch.hash) !== epoch)).toEqual([])
    // Something may have been opened in these, by an agent that is fresh.
    if (this.#latestMs < this.#nowMs) return
    for (const epoch of all)
      if (epoch.notBefore - CLOCK_WINDOW_MS <= this.#latestMs) this.#objects.set(hex(epoch.hash), epoch)
  }
}
