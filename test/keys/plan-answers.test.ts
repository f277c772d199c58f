import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { decodeNkey } from '../../src/identity/nkey.ts'
import { Trust } from '../../src/identity/trust.ts'
import { deriveEpoch, numberAt } from '../../src/keys/epochs.ts'
import { listHash, verifyPlan } from '../../src/keys/plan.ts'
import { type KeptPlan, PlanBook } from '../../src/keys/plan-book.ts'
import { RevocationSet } from '../../src/keys/revocations.ts'
import {
  decodePlan,
  decodeSignedPlan,
  encodeEpoch,
  encodePlan,
  encodeSignedPlan,
  type Plan,
} from '../../src/wire/plans.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { type PlanVector, planVector, planVectors } from './plan-vectors.ts'

interface BadPlan {
  readonly name: string
  readonly reason: string
  /** Name of the plan of plans.json that is held. */
  readonly held: string | null
  readonly now: number
  readonly list: readonly string[]
  readonly wire: string
}

const { plans: badPlans } = readVectors<{ readonly plans: readonly BadPlan[] }>('subrosa/negative.json')
const [engine] = engines

/** The trust of somebody in the realm of a plan. */
function trustIn({ signer, fields: { realm } }: PlanVector, by = engine): Trust {
  return new Trust(by, signer.startsWith('A') ? { authority: [signer] } : { realm, pins: {} })
}

function keptOf({ wire, list }: Pick<PlanVector, 'wire' | 'list'>): KeptPlan {
  return { plan: fromHex(wire), list: list.map(fromHex) }
}

function bookOf(vector: PlanVector) {
  const trust = trustIn(vector)
  const revocations = new RevocationSet({ engine, trust })
  const written: KeptPlan[] = []
  const options = { engine, trust, revocations, floor: 0, kept: undefined }
  const book = new PlanBook({ ...options, keep: (kept) => written.push(kept) })
  return { book, revocations, written }
}

describe.each(planVectors)('the known answer "$name"', (vector) => {
  const { fields, list, structure, hash, signer, signed, signature, wire, epochs, times } = vector

  it('has the fields that it says', () => {
    expect(decodePlan(fromHex(structure))).toEqual(planOf(vector))
    expect(hex(encodePlan(planOf(vector)))).toBe(structure)
  })

  it('is read from the wire and written to it', () => {
    const plan = decodeSignedPlan(fromHex(wire))
    expect([hex(plan.structure), hex(plan.signature)]).toEqual([structure, signature])
    expect(hex(encodeSignedPlan(plan))).toBe(wire)
  })

  it.each(engines)('is signed and verified on $name, and its list hashes to what it names', (by) => {
    expect(hex(concat(labels.plan, fromHex(structure)))).toBe(signed)
    const key = decodeNkey(signer.startsWith('A') ? 'A' : 'U', signer)
    expect(by.verify(key, fromHex(signed), fromHex(signature))).toBe(true)
    const held = verifyPlan({ engine: by, trust: trustIn(vector, by) }, fromHex(wire), fields.made)
    expect(hex(held.hash)).toBe(hash)
    expect(hex(listHash(by, list.map(fromHex)))).toBe(fields.revocations_hash)
  })

  it.each(engines)('has the epochs that it says on $name, and no others', (by) => {
    const plan = planOf(vector)
    for (const epoch of epochs) {
      const derived = deriveEpoch(by, plan, epoch.fields.number)
      const { not_before: notBefore, not_after: notAfter, grace_ms: graceMs } = epoch.fields
      const { realm, number, suites, salt } = epoch.fields
      expect(derived).toEqual({
        ...{ realm, number, notBefore, notAfter, graceMs, suites },
        ...{ salt: fromHex(salt), hash: fromHex(epoch.hash) },
      })
      expect(hex(encodeEpoch(derived))).toBe(epoch.structure)
    }
    expect(times.map(({ at }) => numberAt(plan, at))).toEqual(times.map(({ number }) => number))
  })

  it('is taken in with its list, written before it counts, and known afterwards', () => {
    const { book, revocations, written } = bookOf(vector)
    expect(book.offer(keptOf(vector), fields.made)).toMatchObject({ version: fields.version })
    expect(written.map(({ plan }) => hex(plan))).toEqual([wire])
    expect(revocations.all()).toHaveLength(list.length)
    expect(book.offer(keptOf(vector), fields.made)).toBeUndefined()
  })
})

it('gives one number one hash under two plans of an authority', () => {
  const [one, three, lost] = planVectors.map((vector) => planOf(vector))
  if (one === undefined || three === undefined || lost === undefined) throw new Error('no plans')
  for (const [before, after, number] of [
    [one, three, 1],
    [one, three, 39],
    [three, lost, 40],
    [three, lost, 1000],
  ] as const)
    expect(deriveEpoch(engine, after, number)).toEqual(deriveEpoch(engine, before, number))
})

describe('a plan that nobody acts on', () => {
  it('is there for each reason', () => {
    const reasons = ['form', 'realm', 'signature', 'until', 'made', 'list', 'conflict', 'floor']
    expect(new Set(badPlans.map(({ reason }) => reason))).toEqual(new Set(reasons))
  })

  it.each(badPlans)('is one with $name', ({ reason, held, now, list, wire }) => {
    const codes: Readonly<Record<string, string>> = { conflict: 'ERR_PLAN_CONFLICT', floor: 'ERR_ROLLBACK' }
    const former = held === null ? undefined : planVector(held)
    const { book, written } = bookOf(former ?? planVector('the first plan'))
    if (former !== undefined) book.offer(keptOf(former), former.fields.made)
    const before = [book.plan, written.length]
    expect(() => book.offer(keptOf({ wire, list }), now)).toThrow(
      expect.objectContaining({ code: codes[reason] ?? 'ERR_PLAN_INVALID' }),
    )
    expect([book.plan, written.length]).toEqual(before)
  })
})

function planOf({ fields }: PlanVector): Plan {
  const { realm, version, made, until, rotators, threshold, former, schedules } = fields
  const [formerVersion, formerRotators, formerThreshold] = former ?? []
  return {
    ...{ realm, version, made, until, rotators, threshold },
    former:
      formerVersion === undefined || formerRotators === undefined || formerThreshold === undefined
        ? undefined
        : { version: formerVersion, rotators: formerRotators, threshold: formerThreshold },
    schedules: schedules.map(([first, originMs, periodMs, leadMs, graceMs, suites, salt]) => ({
      ...{ first, originMs, periodMs, leadMs, graceMs, suites },
      salt: fromHex(salt),
    })),
    revocationsHash: fromHex(fields.revocations_hash),
  }
}
