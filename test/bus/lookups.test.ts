import { describe, expect, it } from 'vitest'
import { Lookups } from '../../src/bus/lookups.ts'
import { LOOKUP_TIMEOUT_MS, MAX_WAITING_BYTES, MAX_WAITING_MESSAGES } from '../../src/limits.ts'
import { ManualClock } from '../support/clock.ts'

function setUp(mayAsk = true) {
  const clock = new ManualClock()
  const known = new Set<string>()
  const asked: string[] = []
  const log: string[] = []
  const lookups = new Lookups({
    clock,
    isKnown: (announcement) => known.has(announcement),
    ask: (announcement) => {
      asked.push(announcement)
      return mayAsk
    },
  })
  const wait = (announcement: string, name: string, bytes = 100) =>
    lookups.wait(announcement, {
      bytes,
      proceed: () => log.push(`+${name}`),
      giveUp: () => log.push(`-${name}`),
    })
  return { clock, known, asked, log, lookups, wait }
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

  it('are given up at once where the budget allows no lookup', () => {
    const { log, wait } = setUp(false)
    wait('alice', '1')
    expect(log).toEqual(['-1'])
  })

  it('are at most 256 of one sender', () => {
    const { log, wait } = setUp()
    for (let i = 0; i < MAX_WAITING_MESSAGES + 1; i++) wait('alice', String(i))
    expect(log).toEqual([`-${MAX_WAITING_MESSAGES}`])
  })

  it('are at most 1 MiB of one sender', () => {
    const { log, wait } = setUp()
    wait('alice', 'large', MAX_WAITING_BYTES - 50)
    wait('alice', 'too much', 51)
    wait('alice', 'fits', 50)
    expect(log).toEqual(['-too much'])
  })

  it('hold up whoever waits for silence', async () => {
    const { clock, lookups, wait } = setUp()
    wait('alice', '1')
    let idle = false
    const waiting = lookups.idle().then(() => {
      idle = true
    })
    await Promise.resolve()
    expect(idle).toBe(false)
    clock.advance(LOOKUP_TIMEOUT_MS)
    await waiting
    expect(idle).toBe(true)
  })
})
