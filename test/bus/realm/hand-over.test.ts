import { beforeEach, describe, expect, it } from 'vitest'
import { HandOver } from '../../../src/bus/realm/hand-over.ts'
import type { HashQuestion } from '../../../src/bus/realm/hash-lookups.ts'
import type { Fetch } from '../../../src/bus/realm/page-fetches.ts'
import { QueryKind } from '../../../src/wire/queries.ts'
import { ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'

const SECOND = 1000

let clock: ManualClock
let questions: { readonly at: number; readonly question: HashQuestion }[]
let handed: Fetch[]
let rotators: string[]
let own: { readonly hash: Uint8Array; readonly bytes: Uint8Array }[]
let handOver: HandOver

beforeEach(() => {
  clock = new ManualClock()
  questions = []
  handed = []
  rotators = ['A']
  own = [1, 2].map((value) => ({ hash: new Uint8Array(32).fill(value), bytes: Uint8Array.of(value) }))
  handOver = new HandOver({
    engine,
    timers: clock,
    fetches: {
      begin: (fetch) => {
        handed.push(fetch)
        return true
      },
    },
    lookups: { ask: (question) => questions.push({ at: clock.monotonic(), question }) },
    rotators: () => rotators,
    own: () => own,
  })
})

/** The service that was asked last has these of the own announcements. */
function answer(...values: readonly number[]): void {
  const last = questions.at(-1)?.question
  last?.onStatements(values.map((value) => Uint8Array.of(value)))
  last?.onEnd(values.length === 0 ? 'lacking' : 'given')
}

const times = (): readonly number[] => questions.map(({ at }) => at / SECOND)

describe('an instance that has announced itself', () => {
  it('asks after 2, 4, 8, 16, 30, 30 … seconds whether that is held, until it is', () => {
    handOver.announced()
    for (let second = 0; second < 121; second++) {
      clock.advance(SECOND)
      if (times().at(-1) === second + 1) answer()
    }
    expect(times()).toEqual([2, 6, 14, 30, 60, 90, 120])
    expect(questions[0]?.question.hashes).toEqual(own.map(({ hash }) => hash))
    clock.advance(30 * SECOND)
    answer(1, 2)
    clock.advance(3600 * SECOND)
    expect(questions).toHaveLength(8)
  })

  it('hands over what is not there, one after the other, to that service alone', () => {
    handOver.announced()
    clock.advance(2 * SECOND)
    answer()
    expect(handed.map(({ rotator, kind, cursor }) => [rotator, kind, cursor])).toEqual([
      ['A', QueryKind.handOver, own[0]?.bytes],
    ])
    handed[0]?.onEnd(true)
    expect(handed.map(({ cursor }) => cursor)).toEqual(own.map(({ bytes }) => bytes))
    clock.advance(4 * SECOND)
    answer(1)
    expect(handed.slice(2).map(({ cursor }) => cursor)).toEqual([own[1]?.bytes])
  })

  it('hands nothing over where it was not answered, and is content with nothing else than its own', () => {
    handOver.announced()
    clock.advance(2 * SECOND)
    questions[0]?.question.onEnd('silent')
    expect(handed).toEqual([])
    clock.advance(4 * SECOND)
    answer(7, 8, 1)
    expect(handed.map(({ cursor }) => cursor)).toEqual([own[1]?.bytes])
  })

  it('asks nobody before any rotation service has answered, and goes on', () => {
    rotators = []
    handOver.announced()
    clock.advance(10 * SECOND)
    rotators = ['B']
    clock.advance(10 * SECOND)
    expect(questions.map(({ question }) => question.rotator)).toEqual(['B'])
  })

  it('begins anew with each announcement', () => {
    handOver.announced()
    clock.advance(2 * SECOND)
    answer(1, 2)
    clock.advance(100 * SECOND)
    handOver.announced()
    clock.advance(2 * SECOND)
    expect(times()).toEqual([2, 104])
  })
})

describe('a rotation service that has started again', () => {
  it('is asked after half a minute at most, and is given what it has lost', () => {
    const delays: number[] = []
    for (let i = 0; i < 40; i++) {
      const since = clock.monotonic()
      handOver.restarted('B')
      handOver.restarted('B')
      clock.advance(30 * SECOND)
      expect(questions).toHaveLength(i + 1)
      delays.push((questions.at(-1)?.at ?? 0) - since)
      answer()
    }
    expect(handed).toHaveLength(40)
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(10 * SECOND)
  })

  it('is asked once at a time', () => {
    handOver.check('B')
    handOver.check('B')
    expect(questions).toHaveLength(1)
    answer(1, 2)
    handOver.check('B')
    expect(questions).toHaveLength(2)
  })
})
