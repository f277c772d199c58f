import { describe, expect, it } from 'vitest'
import { DirectoryBudget, type Waiting } from '../../src/keys/directory-budget.ts'

const SHARE = 0.25
const HALF_MS = 125

/** Milliseconds that each line has of so many seconds, in pieces of one. */
function spendFor(budget: DirectoryBudget, seconds: number, waiting: Waiting): Record<keyof Waiting, number> {
  const spent = { awaited: 0, heard: 0 }
  for (let nowMs = 0; nowMs <= seconds * 1000; nowMs += 5) {
    for (let turn = budget.next(waiting, nowMs); turn !== undefined; turn = budget.next(waiting, nowMs)) {
      turn.budget.spend(1)
      spent[turn.line]++
    }
  }
  return spent
}

describe('the working time of a directory', () => {
  it('is a quarter of a core, and what a second of it gives at once', () => {
    for (const line of ['awaited', 'heard'] as const) {
      const waiting = { awaited: line === 'awaited', heard: line === 'heard' }
      const spent = spendFor(new DirectoryBudget(SHARE), 60, waiting)[line]
      expect(spent).toBeGreaterThan(60 * 2 * HALF_MS * 0.95)
      expect(spent).toBeLessThan(62 * 2 * HALF_MS)
    }
  })

  it('is one half for what somebody waits for, and one half for what came unasked, where there is enough of both', () => {
    const spent = spendFor(new DirectoryBudget(SHARE), 60, { awaited: true, heard: true })
    for (const line of ['awaited', 'heard'] as const) {
      expect(spent[line]).toBeGreaterThan(60 * HALF_MS * 0.95)
      expect(spent[line]).toBeLessThan(62 * HALF_MS)
    }
  })

  it('leaves what half a second gives to those that somebody will wait for, whatever comes unasked', () => {
    const budget = new DirectoryBudget(SHARE)
    spendFor(budget, 60, { awaited: false, heard: true })
    const both = { awaited: true, heard: true }
    let count = 0
    for (let turn = budget.next(both, 60_000); turn?.line === 'awaited'; turn = budget.next(both, 60_000)) {
      turn.budget.spend(1)
      count++
    }
    expect(count).toBeGreaterThanOrEqual(HALF_MS / 2 - 1)
  })

  it('says when there is more of it', () => {
    const budget = new DirectoryBudget(SHARE)
    const waiting = { awaited: false, heard: true }
    for (let turn = budget.next(waiting, 0); turn !== undefined; turn = budget.next(waiting, 0))
      turn.budget.spend(1)
    const readyInMs = budget.readyIn(waiting, 0)
    expect(readyInMs).toBeGreaterThan(0)
    expect(budget.next(waiting, readyInMs)).toBeDefined()
  })
})
