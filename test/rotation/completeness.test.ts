import { describe, expect, it } from 'vitest'
import { Completeness, type PlannedServices, type Word } from '../../src/rotation/completeness.ts'

const process = new Uint8Array(8)
const former = { version: 1, rotators: ['A', 'B', 'C'], threshold: 2 }
const plan: PlannedServices = { version: 2, rotators: ['A', 'B', 'D'], threshold: 2, former }

const word = (standing: 0 | 1, planVersion = 2, of = process): Word => ({
  standing,
  planVersion,
  process: of,
})

function complete(own: string, words: Readonly<Record<string, Word>>, hasRecord = true, of = plan): boolean {
  const completeness = new Completeness({ plan: of, own, hasRecord })
  for (const [rotator, said] of Object.entries(words)) completeness.noteAsked(rotator, said)
  return completeness.isComplete
}

describe('a rotation service is complete under a plan', () => {
  it('that names no former services', () => {
    expect(complete('A', {}, false, { ...plan, version: 1, former: undefined })).toBe(true)
    expect(complete('A', {}, false, { ...plan, former: undefined })).toBe(true)
  })

  it('when a threshold of the former services has taken it up, itself among them', () => {
    expect(complete('A', {})).toBe(false)
    expect(complete('A', { C: word(0) })).toBe(true)
    expect(complete('D', { C: word(0) })).toBe(false)
    expect(complete('D', { C: word(0), B: word(0) })).toBe(true)
  })

  it('or a later one', () => {
    expect(complete('A', { C: word(0, 3) })).toBe(true)
  })

  it('but not by what they named under the former one', () => {
    expect(complete('A', { C: word(1, 1), B: word(1, 1) })).toBe(false)
  })

  it('when a threshold of others is complete under it', () => {
    expect(complete('D', { A: word(1) })).toBe(false)
    expect(complete('D', { A: word(1), B: word(1) })).toBe(true)
    const all = { ...plan, former: { ...former, rotators: ['E', 'F'], threshold: 2 } }
    expect(complete('D', { A: word(1), B: word(0) }, true, all)).toBe(false)
    expect(complete('D', { A: word(1), B: word(1, 3) }, true, all)).toBe(false)
    expect(complete('D', { A: word(1), B: word(1) }, true, all)).toBe(true)
  })

  it('never by its own word', () => {
    expect(complete('D', { D: word(1), A: word(1) })).toBe(false)
  })

  it('never by words of services that neither plan names', () => {
    expect(complete('D', { X: word(1), Y: word(1) })).toBe(false)
  })

  it('by others alone, where it has lost its record', () => {
    expect(complete('A', { C: word(0) }, false)).toBe(false)
    expect(complete('A', { C: word(0), B: word(0) }, false)).toBe(false)
    expect(complete('A', { B: word(1), D: word(1) }, false)).toBe(true)
    // One that is new to the plan has nothing to lose.
    expect(complete('D', { C: word(0), B: word(0) }, false)).toBe(true)
  })

  it('by the newest word of each: another process replaces what it said before', () => {
    const completeness = new Completeness({ plan, own: 'D', hasRecord: true })
    completeness.noteAsked('A', word(1))
    completeness.noteAsked('A', word(0, 1, Uint8Array.of(1)))
    completeness.noteAsked('B', word(1))
    expect(completeness.isComplete).toBe(false)
    completeness.noteAsked('A', word(1))
    expect(completeness.isComplete).toBe(true)
  })

  it('without the word of one that is revoked', () => {
    const completeness = new Completeness({ plan, own: 'A', hasRecord: true })
    completeness.noteAsked('C', word(0))
    completeness.forget('C')
    expect(completeness.isComplete).toBe(false)
  })
})
