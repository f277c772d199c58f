import { describe, expect, it } from 'vitest'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_UNASKED_LINES,
  MAX_WAITING_BYTES,
  MAX_WAITING_BYTES_IN_ALL,
  MAX_WAITING_MESSAGES,
  WAITING_OVERHEAD_BYTES,
} from '../../../src/base/limits.ts'
import { Lookups } from '../../../src/bus/in/lookups.ts'
import { ManualClock } from '../../support/clock.ts'

/** Subscriptions by which messages come. */
const ORDERS = { pattern: 'orders.>' }
const TALK = { pattern: 'talk.>' }

interface WaitOptions {
  readonly bytes?: number
  readonly by?: object
}

/** So many bytes, as they are counted. */
const ofBytes = (bytes: number): WaitOptions => ({ bytes: bytes - WAITING_OVERHEAD_BYTES })

function setUp() {
  const clock = new ManualClock()
  const known = new Set<string>()
  const asked: string[] = []
  const log: string[] = []
  const errors: unknown[] = []
  const budget = { left: Number.POSITIVE_INFINITY }
  const lookups = new Lookups({
    clock,
    isKnown: (announcement) => known.has(announcement),
    ask: (announcement) => {
      if (budget.left === 0) return false
      budget.left--
      asked.push(announcement)
      return true
    },
    onError: (error) => errors.push(error),
  })
  const wait = (announcement: string, name: string, { bytes = 100, by = ORDERS }: WaitOptions = {}) =>
    lookups.wait(announcement, {
      bytes,
      by,
      proceed: () => log.push(`+${name}`),
      giveUp: () => log.push(`-${name}`),
      drop: () => log.push(`x${name}`),
    })
  return { clock, known, asked, log, errors, budget, lookups, wait }
}

describe('messages whose sender is not known yet', () => {
  it('wait in order, ask once, and go on when the announcement comes', () => {
    const { known, asked, log, lookups, wait } = setUp()
    for (const name of ['1', '2', '3']) wait('alice', name)
    wait('bob', 'other')
    known.add('alice')
    expect(lookups.mustWait('alice')).toBe(true)
    lookups.check()
    expect(log).toEqual(['+1', '+2', '+3'])
    expect(asked).toEqual(['alice', 'bob'])
    expect(lookups.mustWait('alice')).toBe(false)
  })

  it('are given up after two seconds, and the failure is remembered', () => {
    const { clock, asked, log, wait } = setUp()
    wait('alice', '1')
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect(log).toEqual(['-1'])
    wait('alice', '2')
    expect(log).toEqual(['-1', '-2'])
    expect(asked).toEqual(['alice'])
    clock.advance(20_000)
    wait('alice', '3')
    expect(asked).toEqual(['alice', 'alice'])
  })

  it('wait for their turn where the budget allows no lookup, and are asked for in the order in which they came', () => {
    const { clock, known, asked, log, budget, lookups, wait } = setUp()
    budget.left = 1
    for (const name of ['alice', 'bob', 'carol']) wait(name, name)
    expect([asked, log]).toEqual([['alice'], []])
    clock.advance(1000)
    expect(asked).toEqual(['alice'])
    budget.left = 1
    clock.advance(100)
    expect(asked).toEqual(['alice', 'bob'])
    known.add('bob')
    lookups.check()
    expect(log).toEqual(['+bob'])
    // Their time does not begin again with the question.
    clock.advance(LOOKUP_TIMEOUT_MS - 1100)
    expect(log).toEqual(['+bob', '-alice', '-carol'])
  })

  it('do not overtake those that wait for their turn', () => {
    const { clock, asked, budget, wait } = setUp()
    budget.left = 0
    wait('alice', '1')
    budget.left = 1
    wait('bob', '2')
    clock.advance(100)
    expect(asked).toEqual(['alice'])
  })

  it('are asked for anew where they were given up without a question', () => {
    const { clock, asked, log, budget, wait } = setUp()
    budget.left = 0
    wait('alice', '1')
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect(log).toEqual(['-1'])
    budget.left = 1
    wait('alice', '2')
    expect([asked, log]).toEqual([['alice'], ['-1']])
  })

  it('are given up at once where many others wait for their turn', () => {
    const { log, budget, wait } = setUp()
    budget.left = 0
    for (let i = 0; i < MAX_UNASKED_LINES + 1; i++) wait(String(i), String(i))
    expect(log).toEqual([`-${MAX_UNASKED_LINES}`])
    // A line that is there takes more.
    wait('0', 'more')
    expect(log).toHaveLength(1)
  })

  it('are at most 64 MiB of all senders', () => {
    const { clock, log, wait } = setUp()
    const lines = MAX_WAITING_BYTES_IN_ALL / MAX_WAITING_BYTES
    for (let i = 0; i < lines; i++) wait(String(i), String(i), ofBytes(MAX_WAITING_BYTES))
    expect(log).toEqual([])
    wait('one more', 'one more', ofBytes(MAX_WAITING_BYTES))
    expect(log).toEqual(['-one more'])
    clock.advance(LOOKUP_TIMEOUT_MS)
    wait('later', 'later', ofBytes(MAX_WAITING_BYTES))
    expect(log).toHaveLength(lines + 1)
  })

  it('take the place of the newest in the longest line where all memory is taken, and of none in a shorter one', () => {
    const { known, log, lookups, wait } = setUp()
    const piece = MAX_WAITING_BYTES / 4
    const lines = MAX_WAITING_BYTES_IN_ALL / MAX_WAITING_BYTES
    for (let i = 0; i < lines; i++)
      for (const part of ['a', 'b', 'c', 'd']) wait(`junk ${i}`, `${i}${part}`, ofBytes(piece))
    wait('alice', '1', ofBytes(piece))
    expect(log).toEqual(['-0d'])
    for (let i = 2; i <= 5; i++) wait('alice', String(i), ofBytes(piece))
    // With three quarters hers is as long as the longest, and gets no more.
    const ofAlice = log.filter((line) => /^-\d$/.test(line))
    expect([log.slice(0, 3), ofAlice]).toEqual([
      ['-0d', '-1d', '-2d'],
      ['-4', '-5'],
    ])
    known.add('alice')
    lookups.check()
    expect(log.slice(-3)).toEqual(['+1', '+2', '+3'])
  })

  it('have their turn after one of each other subscription, however many are made up in one of them', () => {
    const { clock, asked, budget, wait } = setUp()
    budget.left = 0
    for (let i = 0; i < 10 * MAX_UNASKED_LINES; i++) wait(`junk ${i}`, 'x', { by: TALK })
    wait('alice', '1', { by: ORDERS })
    budget.left = 2
    clock.advance(100)
    expect(asked).toEqual(['junk 0', 'alice'])
  })

  it('go on behind one that throws, which is reported', () => {
    const { clock, known, log, errors, lookups, wait } = setUp()
    const thrown = new Error('malformed headers')
    const failing = (): never => {
      throw thrown
    }
    for (const sender of ['alice', 'bob']) {
      wait(sender, '1')
      lookups.wait(sender, { bytes: 100, by: ORDERS, proceed: failing, giveUp: failing })
      wait(sender, '2')
    }
    known.add('alice')
    lookups.check()
    expect([log, errors]).toEqual([['+1', '+2'], [thrown]])
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect([log, errors]).toEqual([
      ['+1', '+2', '-1', '-2'],
      [thrown, thrown],
    ])
  })

  it('wait where asking throws, as where there is no budget', () => {
    const clock = new ManualClock()
    const errors: unknown[] = []
    const log: string[] = []
    const lookups = new Lookups({
      clock,
      isKnown: () => false,
      ask: () => {
        throw new Error('the connection is draining')
      },
      onError: (error) => errors.push(error),
    })
    lookups.wait('alice', { bytes: 1, by: ORDERS, proceed: () => log.push('+'), giveUp: () => log.push('-') })
    expect([log, errors.length]).toEqual([[], 1])
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect(log).toEqual(['-'])
    expect(errors.length).toBeGreaterThan(1)
  })

  it('are dropped, and nothing is asked any more, when nobody waits for them', () => {
    const { clock, asked, log, budget, lookups, wait } = setUp()
    budget.left = 1
    wait('alice', '1')
    wait('bob', '2')
    lookups.close()
    budget.left = 1
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect([asked, log]).toEqual([['alice'], ['x1', 'x2']])
  })

  it('are at most 256 of one sender', () => {
    const { log, wait } = setUp()
    for (let i = 0; i < MAX_WAITING_MESSAGES + 1; i++) wait('alice', String(i))
    expect(log).toEqual([`-${MAX_WAITING_MESSAGES}`])
  })

  it('are at most 1 MiB of one sender', () => {
    const { log, wait } = setUp()
    wait('alice', 'large', ofBytes(MAX_WAITING_BYTES - 2000))
    wait('alice', 'too much', ofBytes(2001))
    wait('alice', 'fits', ofBytes(2000))
    expect(log).toEqual(['-too much'])
  })

  it('hold up whoever waits for those of their own subscription', async () => {
    const { clock, lookups, wait } = setUp()
    wait('alice', '1')
    await lookups.idle(TALK)
    let idle = false
    const waiting = lookups.idle(ORDERS).then(() => {
      idle = true
    })
    await Promise.resolve()
    expect(idle).toBe(false)
    clock.advance(LOOKUP_TIMEOUT_MS - 1)
    // What others say meanwhile has another sender, and waits longer.
    wait('bob', '2', { by: TALK })
    clock.advance(1)
    await waiting
    expect([idle, lookups.isBusy]).toEqual([true, true])
  })
})
