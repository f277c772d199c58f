import { beforeEach, describe, expect, it, vi } from 'vitest'
import {
  MAX_SHARED_REVOCATIONS,
  MAX_SHARING_DOUBLINGS,
  SHARE_REVOCATIONS_MS,
  SHARED_REVOCATION_MS,
} from '../../../src/base/limits.ts'
import { RevocationSharing } from '../../../src/bus/realm/revocation-sharing.ts'
import { ManualClock } from '../../support/clock.ts'

/** As many statements, each other than the next. */
const statements = (count: number) => Array.from({ length: count }, (_, i) => ({ bytes: Uint8Array.of(i) }))

const [X, Y] = ['UX', 'UY']
let clock: ManualClock
let said: number[]
/** Which part of the longest time is waited, in 256ths. */
let draw: number
let sharing: RevocationSharing

beforeEach(() => {
  clock = new ManualClock()
  said = []
  draw = 128
  sharing = new RevocationSharing({
    engine: { randomBytes: () => Uint8Array.of(draw, 0) },
    timers: clock,
    publish: (bytes) => said.push(bytes[0] ?? -1),
  })
})

describe('an agent that holds revocations which the rotation service does not name', () => {
  it('says so after a random time, and not again with each tick', () => {
    for (let i = 0; i < 3; i++) sharing.lacks(X, statements(2))
    clock.advance(SHARE_REVOCATIONS_MS / 2 - 1)
    expect(said).toEqual([])
    clock.advance(1)
    expect(said).toEqual([0])
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toEqual([0, 1])
  })

  it('says nothing that somebody else has said meanwhile, or that the service names by then', () => {
    sharing.lacks(X, statements(3))
    sharing.heard(Uint8Array.of(1))
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toEqual([0, 2])
    sharing.lacks(X, statements(3))
    sharing.lacks(X, [])
    clock.advance(100 * SHARE_REVOCATIONS_MS)
    expect(said).toEqual([0, 2])
  })

  it('remembers nothing but what it would say itself', () => {
    sharing.lacks(X, statements(1))
    const before = vi.spyOn(Set.prototype, 'add')
    for (let i = 1; i < 200; i++) sharing.heard(Uint8Array.of(i, i))
    expect(before).not.toHaveBeenCalled()
    before.mockRestore()
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toEqual([0])
  })

  it('says a few in one round, one in each second, and others the next time', () => {
    const all = statements(2 * MAX_SHARED_REVOCATIONS)
    sharing.lacks(X, all)
    clock.advance(SHARE_REVOCATIONS_MS / 2)
    for (let i = 1; i <= MAX_SHARED_REVOCATIONS; i++) {
      expect(said).toHaveLength(i)
      clock.advance(SHARED_REVOCATION_MS - 1)
      expect(said).toHaveLength(i)
      clock.advance(1)
    }
    clock.advance(100 * SHARE_REVOCATIONS_MS)
    expect(said).toHaveLength(MAX_SHARED_REVOCATIONS)
    sharing.lacks(X, all)
    clock.advance(2 * SHARE_REVOCATIONS_MS)
    expect([...said].sort((a, b) => a - b)).toEqual(all.map((_, i) => i))
  })

  it('skips what somebody says, or the service names, while it is saying the rest', () => {
    sharing.lacks(X, statements(4))
    clock.advance(SHARE_REVOCATIONS_MS / 2)
    sharing.heard(Uint8Array.of(1))
    sharing.lacks(X, statements(4).toSpliced(2, 1))
    clock.advance(2 * SHARED_REVOCATION_MS)
    expect(said).toEqual([0, 3])
  })

  it('waits for twice as long after each time, up to an hour, until the service names all of them', () => {
    draw = 255
    const waits: number[] = []
    for (let round = 0; round < MAX_SHARING_DOUBLINGS + 3; round++) {
      sharing.lacks(X, statements(1))
      const before = said.length
      let waited = 0
      while (said.length === before) {
        clock.advance(1000)
        waited += 1000
      }
      waits.push(waited)
    }
    const longest = (round: number): number =>
      SHARE_REVOCATIONS_MS * 2 ** Math.min(round, MAX_SHARING_DOUBLINGS)
    for (const [round, waited] of waits.entries()) {
      expect(waited).toBeLessThanOrEqual(longest(round))
      expect(waited).toBeGreaterThan(longest(round) / 2)
    }
    sharing.lacks(X, [])
    sharing.lacks(X, statements(1))
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toHaveLength(waits.length + 1)
  })

  it('says it where any service lacks it, once for all of them', () => {
    sharing.lacks(X, [])
    sharing.lacks(Y, statements(1))
    draw = 192
    sharing.lacks('UZ', statements(2))
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toEqual([0, 1])
  })

  it('does not keep one service waiting for another that takes nothing in', () => {
    for (let round = 0; round < MAX_SHARING_DOUBLINGS; round++) {
      sharing.lacks(X, statements(1))
      clock.advance(SHARE_REVOCATIONS_MS * 2 ** round)
    }
    said.splice(0)
    sharing.lacks(X, statements(1))
    sharing.lacks(Y, [{ bytes: Uint8Array.of(7) }])
    clock.advance(SHARE_REVOCATIONS_MS / 2)
    expect(said).toEqual([7])
  })

  it('says no more than one a second, however many services lack how much', () => {
    const many = (from: number) => Array.from({ length: 100 }, (_, i) => ({ bytes: Uint8Array.of(from, i) }))
    for (let i = 0; i < 7; i++) sharing.lacks(`U${i}`, many(i))
    clock.advance(SHARE_REVOCATIONS_MS / 2)
    for (let second = 1; second < 7 * MAX_SHARED_REVOCATIONS; second++) {
      expect(said).toHaveLength(second)
      clock.advance(SHARED_REVOCATION_MS)
    }
  })

  it('tells nobody who is not in the plan any more', () => {
    sharing.lacks(X, statements(1))
    sharing.lacks(Y, [{ bytes: Uint8Array.of(7) }])
    sharing.adopt({ rotators: [Y] })
    clock.advance(SHARE_REVOCATIONS_MS)
    expect(said).toEqual([7])
  })
})
