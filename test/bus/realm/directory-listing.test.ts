import { beforeEach, describe, expect, it } from 'vitest'
import { DirectoryListing } from '../../../src/bus/realm/directory-listing.ts'
import type { Fetch } from '../../../src/bus/realm/page-fetches.ts'
import { QueryKind } from '../../../src/wire/queries.ts'
import { ManualClock } from '../../support/clock.ts'

let clock: ManualClock
let fetches: Fetch[]
let rotators: string[]
/** At which a fetch is under way that this listing does not wait for. */
let underWay: string[]
let taken: number[]
let whole: number
let listing: DirectoryListing

beforeEach(() => {
  clock = new ManualClock()
  fetches = []
  rotators = ['A', 'B', 'C']
  underWay = []
  taken = []
  whole = 0
  listing = new DirectoryListing({
    timers: clock,
    fetches: {
      begin: (fetch) => {
        if (underWay.includes(fetch.rotator)) return false
        fetches.push(fetch)
        return true
      },
    },
    rotators: () => rotators,
    onStatement: (statement) => taken.push(statement[0] ?? -1),
    onChanged: () => {},
    onWhole: () => {
      whole++
    },
  })
})

const asked = (): readonly string[] => fetches.map(({ rotator }) => rotator)

describe('the whole directory', () => {
  it('is fetched from one rotation service, page by page', () => {
    listing.begin()
    listing.begin()
    expect(fetches.map(({ rotator, kind }) => [rotator, kind])).toEqual([['A', QueryKind.announcements]])
    for (const value of [1, 2]) expect(fetches[0]?.onPage([Uint8Array.of(value)])).toBe(true)
    fetches[0]?.onEnd(true)
    expect([taken, whole]).toEqual([[1, 2], 1])
    clock.advance(60_000)
    expect(asked()).toEqual(['A'])
  })

  it('is asked of another one where that one is slow, and the first that is through is enough', () => {
    listing.begin()
    clock.advance(3000)
    expect(asked()).toEqual(['A', 'B'])
    fetches[1]?.onEnd(true)
    expect(whole).toBe(1)
    // What is still on its way is taken in, and says nothing any more.
    fetches[0]?.onPage([Uint8Array.of(9)])
    fetches[0]?.onEnd(true)
    clock.advance(60_000)
    expect([taken, whole, asked()]).toEqual([[9], 1, ['A', 'B']])
  })

  it('is asked of the next one at once where one does not send all of it', () => {
    listing.begin()
    fetches[0]?.onEnd(false)
    expect(asked()).toEqual(['A', 'B'])
    fetches[1]?.onEnd(true)
    expect(whole).toBe(1)
  })

  it('is asked of all again, the next time, where none of them is through', () => {
    listing.begin()
    for (const i of [0, 1, 2]) fetches[i]?.onEnd(false)
    expect([asked(), listing.isUnderWay]).toEqual([['A', 'B', 'C'], false])
    listing.begin()
    expect(asked()).toEqual(['A', 'B', 'C', 'A'])
  })

  it('is asked of the next one where a fetch from before has not ended, and of all again the next time', () => {
    listing.begin()
    const before = fetches.length
    clock.advance(3000)
    fetches[1]?.onEnd(true)
    // The first one is still at it.
    underWay = ['A']
    listing.begin()
    expect(asked().slice(before + 1)).toEqual(['B'])
    clock.advance(3000)
    underWay = ['A', 'B', 'C']
    for (const i of [2, 3]) fetches[i]?.onEnd(false)
    expect(listing.isUnderWay).toBe(false)
    listing.begin()
    expect(listing.isUnderWay).toBe(false)
    underWay = []
    listing.begin()
    fetches.at(-1)?.onEnd(true)
    expect(whole).toBe(2)
  })

  it('waits until anybody can be asked', () => {
    rotators = []
    listing.begin()
    expect([fetches, listing.isUnderWay]).toEqual([[], false])
    rotators = ['C']
    listing.begin()
    expect(asked()).toEqual(['C'])
  })
})
