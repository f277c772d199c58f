import { describe, expect, it } from 'vitest'
import { FairLine } from '../../src/keys/fair-line.ts'

const TURN_MS = 2

/** What is taken out of the line, one after the other, where each item takes this long. */
function takeAll(
  line: FairLine<string>,
  takes: (item: string) => number,
  count = Number.POSITIVE_INFINITY,
): string[] {
  const taken: string[] = []
  for (let next = line.next(); next !== undefined && taken.length < count; next = line.next()) {
    line.delete(next.name, next.item)
    line.spend(next.name, takes(next.item))
    taken.push(next.item)
  }
  return taken
}

function filled(items: readonly string[]): FairLine<string> {
  const line = new FairLine<string>(TURN_MS)
  for (const item of items) line.add(item.charAt(0), item)
  return line
}

describe('names that wait', () => {
  it('take turns of the same time, and go on where they were', () => {
    const line = filled(['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'b2', 'b3', 'c1'])
    expect(takeAll(line, () => 1)).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'a3', 'a4', 'b3', 'a5'])
    expect(line.size).toBe(0)
  })

  it('have the same time where items of one of them take ten times as long', () => {
    const many = (name: string) => Array.from({ length: 1000 }, (_, i) => `${name}${i}`)
    const taken = takeAll(
      filled([...many('a'), ...many('b')]),
      (item) => (item.startsWith('a') ? 10 : 1),
      550,
    )
    const ofA = taken.filter((item) => item.startsWith('a')).length
    expect(ofA).toBeGreaterThan(40)
    expect(ofA).toBeLessThan(60)
  })

  it('are behind with what they have spent, also where they come with one item at a time', () => {
    const line = filled(['b1', 'b2', 'b3', 'b4', 'b5', 'b6'])
    const taken: string[] = []
    for (let i = 0; i < 12; i++) {
      line.add('a', `a${i}`)
      const next = line.next()
      if (next === undefined) break
      line.delete(next.name, next.item)
      line.spend(next.name, next.name === 'a' ? 3 * TURN_MS : TURN_MS)
      taken.push(next.name)
    }
    expect(taken.filter((name) => name === 'a').length).toBeLessThanOrEqual(6)
    expect(taken.slice(0, 5)).toEqual(['b', 'a', 'b', 'b', 'b'])
  })

  it('are not behind for ever: a piece of work may be measured while the process was stopped', () => {
    const line = filled(['a1', 'a2', 'b1'])
    const first = line.next()
    line.delete('a', first?.item ?? '')
    line.spend('a', 3_600_000)
    for (let i = 2; i < 200; i++) line.add('b', `b${i}`)
    expect(takeAll(line, () => TURN_MS).indexOf('a2')).toBeLessThan(60)
  })
})

describe('an item', () => {
  it('goes before the others of its name where somebody waits for it', () => {
    const line = filled(['a1', 'a2', 'a3'])
    line.addFirst('a', 'a3')
    line.addFirst('b', 'b1')
    expect(line.size).toBe(4)
    expect(takeAll(line, () => 0)).toEqual(['a3', 'a1', 'a2', 'b1'])
  })

  it('waits once', () => {
    const line = filled(['a1', 'a1'])
    expect(line.size).toBe(1)
    line.delete('a', 'a1')
    line.delete('a', 'a1')
    expect(line.size).toBe(0)
    expect(line.next()).toBeUndefined()
  })
})
