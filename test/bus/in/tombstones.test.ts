import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import { TOMBSTONE_BYTES, type Tombstone, Tombstones } from '../../../src/bus/in/tombstones.ts'
import { engine } from '../../support/identities.ts'

const table = (): Tombstones => new Tombstones(engine.randomBytes(8))

/** One that can be told from all others. */
function tombstone(i: number, changes: Partial<Tombstone> = {}): Tombstone {
  const sid = engine.sha256(Uint8Array.of(i, i >> 8, i >> 16)).slice(0, 16)
  const tag = engine.sha256(sid).slice(0, 16)
  return { sid, tag, until: 1_800_000_000_000 + i, key: i % 5, owner: 1 + (i % 3), ...changes }
}

describe('tombstones', () => {
  it('are found by their sids, each with all that was put in, however many there are', () => {
    const tombstones = table()
    const all = Array.from({ length: 1500 }, (_, i) => tombstone(i))
    for (const one of all) tombstones.add(one)
    expect(tombstones.size).toBe(1500)
    for (const one of all) expect(tombstones.get(one.sid)).toEqual(one)
    expect(tombstones.get(tombstone(1500).sid)).toBe(undefined)
  })

  it('can be without a proof of refusal', () => {
    const tombstones = table()
    const one = tombstone(1, { tag: undefined })
    tombstones.add(one)
    expect(tombstones.get(one.sid)).toEqual(one)
    tombstones.add(tombstone(1))
    expect([tombstones.get(one.sid), tombstones.size]).toEqual([tombstone(1), 1])
  })

  it('are what a plain map would be, in whatever order they come and go', () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 0, max: 300 }) }),
      fc.record({ removeOwner: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ removeUntil: fc.integer({ min: 0, max: 300 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const tombstones = table()
        const plain = new Map<string, Tombstone>()
        for (const each of steps) {
          if ('add' in each) {
            const one = tombstone(each.add)
            tombstones.add(one)
            plain.set(hex(one.sid), one)
            continue
          }
          const isOver = (until: number, owner: number): boolean =>
            'removeOwner' in each ? owner === each.removeOwner : until <= 1_800_000_000_000 + each.removeUntil
          tombstones.remove(isOver)
          for (const [sid, { until, owner }] of plain) if (isOver(until, owner)) plain.delete(sid)
        }
        expect(tombstones.size).toBe(plain.size)
        for (let i = 0; i <= 300; i++)
          expect(tombstones.get(tombstone(i).sid)).toEqual(plain.get(hex(tombstone(i).sid)))
      }),
      { numRuns: 50 },
    )
  })

  it('take fewer than 96 bytes each', () => {
    expect(TOMBSTONE_BYTES).toBeLessThan(96)
  })
})
