import { beforeEach, describe, expect, it } from 'vitest'
import { MAX_HEARD_COUNTED, MAX_HEARD_WAITING } from '../../src/base/limits.ts'
import { MostHeard } from '../../src/base/most-heard.ts'

let line: MostHeard<string>

beforeEach(() => {
  line = new MostHeard()
})

function hear(...keys: readonly string[]): void {
  for (const key of keys) line.hear(key, key.toUpperCase())
}

/** All that wait, in their turns. */
function drain(): readonly string[] {
  const taken: string[] = []
  for (let turn = line.next(); turn !== undefined; turn = line.next()) {
    taken.push(turn.item)
    line.delete(turn.key)
  }
  return taken
}

describe('a line of what is heard', () => {
  it('has what was heard most often first, and of several that which waits the longest', () => {
    hear('a', 'b', 'c', 'c', 'b', 'd', 'b')
    expect(drain()).toEqual(['B', 'C', 'A', 'D'])
    expect([line.next(), line.isEmpty]).toEqual([undefined, true])
  })

  it('is short: what was heard more often takes the place of what was heard less often', () => {
    const junk = Array.from({ length: 2 * MAX_HEARD_WAITING }, (_, i) => `junk ${i}`)
    hear(...junk, 'word', ...junk.slice(0, 5), 'word')
    const turns = drain()
    expect(turns).toHaveLength(MAX_HEARD_WAITING)
    expect(turns.slice(0, 6)).toEqual(['JUNK 0', 'JUNK 1', 'JUNK 2', 'JUNK 3', 'JUNK 4', 'WORD'])
  })

  it('counts so many, and forgets those first that were not heard for the longest time', () => {
    hear('word', 'old')
    for (let i = 0; i < MAX_HEARD_COUNTED - 2; i++) hear(`junk ${i}`)
    hear('word', 'one more')
    expect(drain()).not.toContain('OLD')
    hear('word')
    expect(line.next()?.item).toBe('WORD')
  })

  it('counts from the beginning what has had its turn', () => {
    hear('word', 'word', 'other')
    line.delete('word')
    hear('word')
    expect(drain()).toEqual(['OTHER', 'WORD'])
  })
})
