import { describe, expect, it } from 'vitest'
import { LineLimit } from '../../src/base/line-limit.ts'

describe('a limit of log lines', () => {
  it('writes the first line of each kind at once, and one for those of ten seconds after it', () => {
    const limit = new LineLimit<string, string>()
    expect(limit.admit('replay', 'a', 0)).toBe(1)
    expect(limit.admit('stale', 'b', 0)).toBe(1)
    for (const latest of ['c', 'd']) expect(limit.admit('replay', latest, 9999)).toBeUndefined()
    expect(limit.admit('replay', 'e', 10_000)).toBe(3)
    expect(limit.admit('replay', 'f', 20_000)).toBe(1)
  })

  it('gives out once what waits in the end, with the latest line of each kind', () => {
    const limit = new LineLimit<string, string>()
    for (const latest of ['a', 'b', 'c']) limit.admit('replay', latest, 0)
    limit.admit('stale', 'd', 0)
    expect(limit.takeWaiting()).toEqual([{ kind: 'replay', latest: 'c', count: 2 }])
    expect(limit.takeWaiting()).toEqual([])
  })
})
