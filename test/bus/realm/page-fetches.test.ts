import { beforeEach, describe, expect, it } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { PageFetches } from '../../../src/bus/realm/page-fetches.ts'
import { encodePage, type Page, type Query, QueryKind } from '../../../src/wire/queries.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { codeOf } from '../../support/statements.ts'

interface Asked extends Query {
  readonly rotator: string
}

const NEXT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)

let machine: ManualClock
let clock: HouseClock
let fetches: PageFetches
let asked: Asked[]
/** What came of fetches, in order: pages by their statements, and at the end whether they were whole. */
let events: (readonly number[] | boolean)[]

beforeEach(() => {
  machine = new ManualClock()
  clock = houseClock(machine)
  asked = []
  events = []
  fetches = new PageFetches({
    engine,
    clock,
    timers: clock,
    ask: (rotator, query) => asked.push({ rotator, ...query }),
  })
})

function begin(rotator = 'A', kind: QueryKind = QueryKind.revocations, isOfUse = true): boolean {
  return fetches.begin({
    rotator,
    kind,
    onPage: (statements) => {
      events.push(statements.map((bytes) => bytes[0] ?? -1))
      return isOfUse
    },
    onEnd: (isWhole) => events.push(isWhole),
  })
}

/** Answers a query. Default: the last one. */
function answer(page: Partial<Page> = {}, query = asked.at(-1)): void {
  if (query === undefined) throw new Error('nothing was asked')
  const whole = { nonce: query.nonce, kind: query.kind, statements: [], next: undefined, ...page }
  fetches.take(encodePage(whole))
}

const statement = (value: number): Uint8Array => Uint8Array.of(value)

describe('a fetch', () => {
  it('asks for page after page, each with a nonce of its own, until there is no next one', () => {
    begin()
    answer({ statements: [statement(1), statement(2)], next: NEXT })
    answer({ statements: [statement(3)] })
    expect(events).toEqual([[1, 2], [3], true])
    expect(asked.map(({ cursor }) => cursor)).toEqual([undefined, NEXT])
    expect(asked[0]?.nonce).not.toEqual(asked[1]?.nonce)
    expect(fetches.isUnderWay({ rotator: 'A', kind: QueryKind.revocations })).toBe(false)
  })

  it('takes no page that nobody asked for, of another kind, or of a page before', () => {
    begin()
    const [first] = asked
    answer({ nonce: engine.randomBytes(16), statements: [statement(9)], next: NEXT })
    answer({ kind: QueryKind.announcements, statements: [statement(9)] })
    expect([events, asked.length]).toEqual([[], 1])
    answer({ statements: [statement(1)], next: NEXT })
    answer({ statements: [statement(9)] }, first)
    answer({ statements: [], next: undefined }, first)
    expect(events).toEqual([[1]])
  })

  it('is ended by no empty page of one that was given up', () => {
    begin()
    const [first] = asked
    machine.advance(2000)
    expect(asked).toHaveLength(2)
    answer({}, first)
    expect(events).toEqual([])
    answer({ statements: [statement(1)] })
    expect(events).toEqual([[1], true])
  })

  it('asks again for a page that does not come, from where it was', () => {
    begin()
    answer({ statements: [statement(1)], next: NEXT })
    machine.advance(2000)
    expect(asked.map(({ cursor }) => cursor)).toEqual([undefined, NEXT, NEXT])
  })

  it('ends after ten seconds, however slowly pages come', () => {
    begin()
    for (let i = 0; i < 20; i++) {
      machine.advance(900)
      if (events.at(-1) !== false) answer({ statements: [statement(i)], next: NEXT })
    }
    expect(events.at(-1)).toBe(false)
    expect(asked.length).toBeLessThanOrEqual(12)
    expect(clock.monotonic()).toBeGreaterThan(10_000)
  })

  it('ends after ten seconds where nothing comes', () => {
    begin()
    machine.advance(9999)
    expect(events).toEqual([])
    machine.advance(1)
    expect([events, asked.length]).toEqual([[false], 5])
  })

  it('takes a whole directory in more pages and in more time, as long as pages come', () => {
    begin('A', QueryKind.announcements)
    const page = { statements: Array.from({ length: 60 }, () => new Uint8Array(15_000)), next: NEXT }
    for (let i = 0; i < 70; i++) {
      machine.advance(1500)
      answer(page)
    }
    expect([asked.length, events.includes(false)]).toEqual([71, false])
    answer({ statements: [statement(1)] })
    expect(events.at(-1)).toBe(true)
  })

  it('ends after 64 MiB of a whole directory, and 10 s after the last page', () => {
    begin('A', QueryKind.announcements)
    const page = { statements: Array.from({ length: 60 }, () => new Uint8Array(65_000)), next: NEXT }
    for (let i = 0; i < 30 && events.at(-1) !== false; i++) answer(page)
    expect([asked.length, events.at(-1)]).toEqual([18, false])
    begin('B', QueryKind.announcements)
    answer({ statements: [statement(1)], next: NEXT })
    machine.advance(9999)
    expect(events.at(-1)).not.toBe(false)
    machine.advance(1)
    expect(events.at(-1)).toBe(false)
  })

  it('ends after 64 pages', () => {
    begin()
    for (let i = 0; i < 70 && events.at(-1) !== false; i++) answer({ statements: [statement(i)], next: NEXT })
    expect([asked.length, events.length, events.at(-1)]).toEqual([64, 65, false])
  })

  it('ends after 16 MiB', () => {
    begin()
    const page = { statements: Array.from({ length: 60 }, () => new Uint8Array(65_000)), next: NEXT }
    for (let i = 0; i < 10 && events.at(-1) !== false; i++) answer(page)
    expect([asked.length, events.at(-1)]).toEqual([5, false])
  })

  it('ends with an empty page that promises more', () => {
    begin()
    answer({ next: NEXT })
    expect(events).toEqual([[], false])
  })

  it('ends when what comes is of no use', () => {
    begin('A', QueryKind.plan, false)
    answer({ statements: [statement(1)], next: NEXT })
    expect([asked.length, events]).toEqual([1, [[1], false]])
  })

  it('ends when what comes cannot be read, and another one may begin', () => {
    fetches.begin({
      rotator: 'A',
      kind: QueryKind.buckets,
      onPage: () => {
        throw new TypeError('junk')
      },
      onEnd: (isWhole) => events.push(isWhole),
    })
    expect(() => answer({ statements: [statement(1)] })).toThrow('junk')
    expect(events).toEqual([false])
    expect(begin('A', QueryKind.buckets)).toBe(true)
  })

  it('goes on where a page with its nonce is cut short', () => {
    begin()
    const [{ nonce, kind } = { nonce: statement(0), kind: QueryKind.tick }] = asked
    const whole = encodePage({ nonce, kind, statements: [statement(1)], next: undefined })
    expect(codeOf(() => fetches.take(whole.subarray(0, -1)))).toBe('ERR_MALFORMED')
    fetches.take(whole)
    expect(events).toEqual([[1], true])
  })

  it('keeps out no other, of another service or kind, and is one at a time of its own', () => {
    expect([begin('A'), begin('A'), begin('B'), begin('A', QueryKind.plan)]).toEqual([
      true,
      false,
      true,
      true,
    ])
    answer({ statements: [statement(2)] }, asked[1])
    expect(events).toEqual([[2], true])
    answer({ statements: [statement(1)] }, asked[0])
    expect(events).toEqual([[2], true, [1], true])
    expect(begin('A')).toBe(true)
  })
})
