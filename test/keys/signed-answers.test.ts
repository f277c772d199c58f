import { expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import { Trust } from '../../src/identity/trust.ts'
import { deriveEpoch } from '../../src/keys/epochs.ts'
import { readNotice, verifyNotice } from '../../src/keys/notices.ts'
import { verifyOrder } from '../../src/keys/orders.ts'
import { verifyPlan } from '../../src/keys/plan.ts'
import { RevocationSet } from '../../src/keys/revocations.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { planVectors } from './plan-vectors.ts'

const { authority, statements } = readVectors<{
  readonly authority: { readonly public: string }
  readonly statements: readonly { readonly name: string; readonly type: number; readonly wire: string }[]
}>('subrosa/statements.json')
const ofType = (type: number) => statements.filter((vector) => vector.type === type)

/** The plans of the authority, by their version. */
function plansBy(engine: (typeof engines)[number]) {
  const trust = new Trust(engine, { authority: [authority.public] })
  const plans = planVectors
    .filter(({ signer }) => signer === authority.public)
    .map(({ wire, fields }) => verifyPlan({ engine, trust }, fromHex(wire), fields.made))
  return { trust, plans, plan: (version: number) => plans.find((held) => held.version === version) }
}

it.each(engines)('reads the known notices on $name, which name the epochs that plans have', (engine) => {
  const { plans, plan } = plansBy(engine)
  expect(ofType(3).length).toBe(2)
  for (const { wire } of ofType(3)) {
    const parsed = readNotice(engine, fromHex(wire))
    const named = plan(parsed.notice.planVersion)
    if (named === undefined) throw new Error('no such plan')
    expect(verifyNotice({ engine, plan: named }, parsed)).toBe(true)
    expect(hex(deriveEpoch(engine, named, parsed.terms.number).hash)).toBe(hex(parsed.epochHash))
    const others = plans.filter(({ rotators }) => !rotators.includes(parsed.notice.rotator))
    expect(others.map((other) => verifyNotice({ engine, plan: other }, parsed))).toEqual(
      others.map(() => false),
    )
  }
})

it.each(engines)(
  'verifies the known orders on $name: by the authority, and by a service of the plan',
  (engine) => {
    const { trust, plan } = plansBy(engine)
    const around = { engine, trust, revocations: new RevocationSet({ engine, trust }) }
    const [byAuthority, byService] = ofType(10).map(({ wire }) => fromHex(wire))
    const [first, lost] = [plan(1), plan(3)]
    if (!byAuthority || !byService || !first || !lost) throw new Error('no orders')
    expect(verifyOrder(around, byAuthority, ['authority', ...first.rotators])).toBe('authority')
    expect(first.rotators).toContain(verifyOrder(around, byService, ['authority', ...first.rotators]))
    // The service of the first plan is not in the third.
    expect(verifyOrder(around, byAuthority, ['authority', ...lost.rotators])).toBe('authority')
    expect(verifyOrder(around, byService, ['authority', ...lost.rotators])).toBeUndefined()
  },
)

it.each(engines)('takes in the known revocations on $name, whatever they say of the past', (engine) => {
  const { trust, plan } = plansBy(engine)
  const set = new RevocationSet({ engine, trust })
  const made = plan(2)?.made ?? 0
  const taken = ofType(5).map(({ wire }) => set.take(fromHex(wire), made))
  expect(taken.map((one) => [one?.revocation.past, one?.byAuthority])).toEqual([
    [0, true],
    [1, false],
  ])
  expect(hex(set.hash(made))).toBe(hex(plan(2)?.revocationsHash ?? new Uint8Array(0)))
})
