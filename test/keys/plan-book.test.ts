import { beforeEach, describe, expect, it } from 'vitest'
import { CLOCK_WINDOW_MS } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import { type KeptPlan, PlanBook, type PlanBookOptions } from '../../src/keys/plan-book.ts'
import { RevocationSet, signRevocation } from '../../src/keys/revocations.ts'
import type { Revocation } from '../../src/wire/statements.ts'
import { engine, newAuthority, newIdentity } from '../support/identities.ts'
import { type PlanChanges, signedPlan } from '../support/plans.ts'
import { codeOf, DAY, HOUR, MINUTE, T0 } from '../support/statements.ts'

let authority: SigningKey
let second: SigningKey
let rotator: Identity
let revocations: RevocationSet
let kept: KeptPlan[]

beforeEach(() => {
  authority = newAuthority()
  second = newAuthority()
  rotator = newIdentity(authority, 'rotator', { issuedAtMs: T0 - HOUR }).identity
  revocations = new RevocationSet({ engine, trust: trusted() })
  kept = []
})

const trusted = (...keys: readonly SigningKey[]): Trust =>
  new Trust(engine, { authority: [authority.publicKey, ...keys.map(({ publicKey }) => publicKey)] })

function book(options: Partial<PlanBookOptions> = {}): PlanBook {
  const trust = options.trust ?? trusted()
  return new PlanBook({
    engine,
    trust,
    revocations,
    floor: 0,
    kept: undefined,
    keep: (next) => kept.push(next),
    ...options,
  })
}

function plan(version: number, changes: PlanChanges = {}, signer = authority): KeptPlan {
  const grounds = { rotators: [rotator], madeMs: T0, originMs: T0 }
  return signedPlan(signer, grounds, { version, realm: authority.publicKey, ...changes })
}

function revocation(since = T0, changes: Partial<Revocation> = {}): Uint8Array {
  const lost = newIdentity(authority, 'lost', { issuedAtMs: T0 - HOUR }).identity
  return signRevocation(authority, {
    realm: authority.publicKey,
    identity: lost.publicKey,
    since,
    until: T0 + 30 * DAY,
    reason: 'lost',
    past: 0,
    ...changes,
  })
}

describe('a plan that is offered', () => {
  it('is acted on with its whole list, once it is kept', () => {
    const list = [revocation(), revocation(T0 - 1)]
    const offered = plan(3, { list })
    const plans: (number | undefined)[] = []
    const one = book({
      keep: (next) => {
        kept.push(next)
        plans.push(one.plan?.version)
      },
    })
    expect(one.offer(offered, T0)?.version).toBe(3)
    expect(plans).toEqual([undefined])
    expect(kept).toEqual([offered])
    expect(one.plan?.version).toBe(3)
    expect(one.kept).toEqual(offered)
    expect(one.floor).toBe(3)
    expect(revocations.inForce(T0)).toHaveLength(2)
  })

  it('is known afterwards, whatever list comes with it', () => {
    const one = book()
    one.offer(plan(1), T0)
    const { plan: wire } = plan(2)
    const again = { plan: wire, list: [] }
    one.offer(again, T0)
    expect(one.offer(again, T0)).toBeUndefined()
    expect(one.offer({ plan: wire, list: [revocation()] }, T0)).toBeUndefined()
    expect(kept).toHaveLength(2)
  })

  it('is not acted on where it cannot be kept', () => {
    const one = book({
      keep: () => {
        throw new Error('the disk is full')
      },
    })
    expect(() => one.offer(plan(1), T0)).toThrow('the disk is full')
    expect([one.plan, one.kept, one.floor]).toEqual([undefined, undefined, 0])
  })

  it('shares no memory with what was offered', () => {
    const one = book()
    const offered = plan(1, { list: [revocation()] })
    const copy = { plan: offered.plan.slice(), list: offered.list.map((bytes) => bytes.slice()) }
    one.offer(copy, T0)
    copy.plan.fill(0)
    for (const bytes of copy.list) bytes.fill(0)
    expect(one.kept).toEqual(offered)
  })

  it('replaces one of a lower version, and never one of a higher', () => {
    const one = book()
    one.offer(plan(2), T0)
    expect(codeOf(() => one.offer(plan(1), T0))).toBe('ERR_ROLLBACK')
    expect(one.plan?.version).toBe(2)
    one.offer(plan(9), T0)
    expect(one.plan?.version).toBe(9)
    expect(codeOf(() => one.offer(plan(8), T0))).toBe('ERR_ROLLBACK')
    expect(kept).toHaveLength(2)
  })

  it('of the same version is a conflict, by whichever authority it is', () => {
    const one = book({ trust: trusted(second) })
    one.offer(plan(2), T0)
    for (const signer of [authority, second]) {
      const other = plan(2, { made: T0 - 1 }, signer)
      expect(codeOf(() => one.offer(other, T0))).toBe('ERR_PLAN_CONFLICT')
    }
    expect(one.plan?.made).toBe(T0)
  })

  it('is the same one when a second authority has signed it too', () => {
    const one = book({ trust: trusted(second) })
    const salt = new Uint8Array(16)
    one.offer(plan(2, { schedule: { salt } }), T0)
    expect(one.offer(plan(2, { schedule: { salt } }, second), T0)).toBeUndefined()
  })

  it('is taken at the floor, and not below it', () => {
    const one = book({ floor: 5 })
    expect(codeOf(() => one.offer(plan(4), T0))).toBe('ERR_ROLLBACK')
    expect(one.offer(plan(5), T0)?.version).toBe(5)
  })

  it('says that it is older only where an authority has signed it', () => {
    const one = book({ floor: 5 })
    expect(codeOf(() => one.offer(plan(4, {}, newAuthority()), T0))).toBe('ERR_PLAN_INVALID')
  })

  it('is taken where it has ended: an older one is no better', () => {
    const one = book()
    one.offer(plan(1), T0)
    const ended = plan(2, { made: T0 - 2 * DAY, until: T0 - DAY })
    expect(one.offer(ended, T0)?.version).toBe(2)
  })

  it('is judged by the wall clock: one from the future is not taken', () => {
    const early = plan(1, { made: T0 + CLOCK_WINDOW_MS + 1 })
    expect(codeOf(() => book().offer(early, T0))).toBe('ERR_PLAN_INVALID')
    expect(book().offer(early, T0 + MINUTE)?.version).toBe(1)
  })

  it.each<[string, (list: readonly Uint8Array[]) => readonly Uint8Array[]]>([
    ['lacks one', (list) => list.slice(1)],
    ['is missing', () => []],
    ['has one more', (list) => [...list, revocation(T0 - 9)]],
    ['has one twice', (list) => [...list, ...list.slice(0, 1)]],
  ])('is not taken where its list %s', (_, change) => {
    const { plan: wire, list } = plan(1, { list: [revocation(), revocation(T0 - 1)] })
    const one = book()
    expect(codeOf(() => one.offer({ plan: wire, list: change(list) }, T0))).toBe('ERR_PLAN_INVALID')
    expect([one.plan, kept.length]).toEqual([undefined, 0])
  })

  it.each<[string, () => Uint8Array]>([
    ['nobody has signed', () => revocation().fill(7, -65, -1)],
    ['was over when the plan was made', () => revocation(T0 - DAY, { until: T0 })],
    ['is of another realm', () => revocation(T0, { realm: newAuthority().publicKey })],
  ])('is not taken with a revocation in its list that %s', (_, bad) => {
    const one = book()
    const list = [revocation(), bad()]
    expect(codeOf(() => one.offer(plan(1, { list }), T0))).toBe('ERR_PLAN_INVALID')
    expect([one.plan, kept.length]).toEqual([undefined, 0])
  })

  it('is taken with revocations that are over by now: they were not when it was made', () => {
    const list = [revocation(T0 - DAY, { until: T0 + MINUTE })]
    expect(book().offer(plan(1, { list }), T0 + DAY)?.version).toBe(1)
  })

  it('is taken with what a revoker has signed whose token has ended since', () => {
    const options = { issuedAtMs: T0 - 3 * DAY, expiresAtMs: T0 - DAY, roles: ['revoker'] as const }
    const guard = newIdentity(authority, 'guard', options).identity
    const { publicKey: identity } = newIdentity(authority, 'lost', { issuedAtMs: T0 - HOUR }).identity
    const statement = {
      realm: authority.publicKey,
      identity,
      since: T0 - 2 * DAY,
      until: T0 + DAY,
      reason: '',
      past: 0 as const,
    }
    const list = [signRevocation(guard, statement, guard.token)]
    expect(book().offer(plan(1, { list }), T0)?.version).toBe(1)
    expect(revocations.inForce(T0)).toHaveLength(1)
  })
})

describe('a plan that was kept', () => {
  it('is acted on again with its list, whatever the clock says, and is not written again', () => {
    const list = [revocation(T0, { until: T0 + 1000 * DAY })]
    const before = plan(3, { list, made: T0 + 900 * DAY })
    const one = book({ kept: before, floor: 3 })
    expect(one.plan?.version).toBe(3)
    expect(one.kept).toEqual(before)
    expect(one.floor).toBe(3)
    expect(kept).toEqual([])
    expect(codeOf(() => one.offer(plan(2), T0))).toBe('ERR_ROLLBACK')
  })

  it.each<[string, () => Partial<PlanBookOptions>]>([
    ['an authority has signed that is not trusted any more', () => ({ kept: plan(3, {}, second) })],
    ['does not reach the floor', () => ({ kept: plan(3), floor: 4 })],
    ['has lost its list', () => ({ kept: { plan: plan(3, { list: [revocation()] }).plan, list: [] } })],
    ['is damaged', () => ({ kept: { plan: plan(3).plan.subarray(1), list: [] } })],
  ])('and that %s counts for nothing', (_, options) => {
    const one = book(options())
    expect(one.plan).toBeUndefined()
    expect(one.kept).toBeUndefined()
    expect(one.offer(plan(4), T0)?.version).toBe(4)
  })
})
