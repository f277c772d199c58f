import { describe, expect, it } from 'vitest'
import { Turns } from '../../src/base/turns.ts'

const drained = <What>(turns: Turns<string, What>): What[] => {
  const all: What[] = []
  for (let next = turns.take(); next !== undefined; next = turns.take()) all.push(next)
  return all
}

describe('turns', () => {
  it('go round: one item of each who waits, however many the others have', () => {
    const turns = new Turns<string, string>(100)
    for (let i = 0; i < 50; i++) turns.add('mary', `mary ${i}`)
    turns.add('alice', 'alice 0')
    turns.add('bob', 'bob 0')
    turns.add('alice', 'alice 1')
    expect(turns.size).toBe(53)
    expect(drained(turns).slice(0, 6)).toEqual(['mary 0', 'alice 0', 'bob 0', 'mary 1', 'alice 1', 'mary 2'])
    expect(turns.size).toBe(0)
  })

  it('are bounded for each who waits, and the others have theirs', () => {
    const turns = new Turns<string, number>(2)
    expect([1, 2, 3].map((item) => turns.add('mary', item))).toEqual([true, true, false])
    // What waits already takes no second place.
    expect(turns.add('mary', 2)).toBe(true)
    expect(turns.add('alice', 4)).toBe(true)
    expect(drained(turns)).toEqual([1, 4, 2])
  })

  it('are looked at without being taken, and given up without disturbing the others', () => {
    const turns = new Turns<string, number>(9)
    expect(turns.peek()).toBe(undefined)
    for (const item of [1, 2]) turns.add('mary', item)
    turns.add('alice', 3)
    expect([turns.peek()?.what, turns.peek()?.what]).toEqual([1, 1])
    turns.delete('mary', 1)
    turns.delete('mary', 1)
    turns.delete('nobody', 1)
    expect([turns.size, turns.peek()?.what]).toEqual([2, 2])
    turns.clear()
    expect([turns.size, turns.take()]).toEqual([0, undefined])
  })
})
