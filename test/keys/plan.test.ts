import { describe, expect, it } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { CLOCK_WINDOW_MS, MAX_PLAN_MS } from '../../src/base/limits.ts'
import { labels } from '../../src/crypto/labels.ts'
import { generateSigningKey, type Signer } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import { expiredPlan, type HeldPlan, isExpired, listHash, signPlan, verifyPlan } from '../../src/keys/plan.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { encodePlan, encodeSignedPlan, type Plan } from '../../src/wire/plans.ts'
import { engines } from '../crypto/vectors.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf, DAY, T0 } from '../support/statements.ts'
import { plan as samplePlan, schedule } from '../wire/samples.ts'

const authority = newAuthority()
const second = newAuthority()
const [one, two, three] = [0, 1, 2].map(() => generateSigningKey(engine, 'U').key)
const keys = [one, two, three].flatMap((key) => key?.publicKey ?? []).sort()
const trust = new Trust(engine, { authority: [authority.publicKey, second.publicKey] })

function plan(changes: Partial<Plan> = {}): Plan {
  return samplePlan({
    realm: authority.publicKey,
    rotators: keys.slice(0, 1),
    made: T0,
    until: T0 + DAY,
    ...changes,
  })
}

/** Signs whatever it is. */
function forced(signer: Signer, of: Plan, label = labels.plan): Uint8Array {
  const structure = encodePlan(of)
  return encodeSignedPlan({ structure, signature: signer.sign(concat(label, structure)) })
}

const verify = (wire: Uint8Array, nowMs = T0, by: Trust = trust): HeldPlan =>
  verifyPlan({ engine, trust: by }, wire, nowMs)

describe('a plan', () => {
  it.each(engines)('is one that any authority has signed, on $name', (by) => {
    for (const signer of [authority, second]) {
      const wire = signPlan(signer, plan())
      expect(verifyPlan({ engine: by, trust }, wire, T0)).toEqual({
        ...plan(),
        hash: by.sha256(encodePlan(plan())),
        bytes: wire,
      })
    }
  })

  it('is its bytes, which nobody can change afterwards', () => {
    const wire = signPlan(authority, plan())
    const held = verify(wire)
    wire.fill(0)
    expect(held.bytes).toEqual(signPlan(authority, plan()))
  })

  it.each<[string, () => Uint8Array]>([
    ['nobody who is trusted has signed', () => signPlan(newAuthority(), plan())],
    ['a rotation service has signed', () => signPlan(one ?? authority, plan())],
    ['is signed as another statement', () => forced(authority, plan(), labels.revocation)],
    ['is of another realm', () => signPlan(authority, plan({ realm: newAuthority().publicKey }))],
    ['is of the realm of the second authority', () => signPlan(second, plan({ realm: second.publicKey }))],
    [
      'has half of them as threshold',
      () => forced(authority, plan({ rotators: keys.slice(0, 2), threshold: 1 })),
    ],
    [
      'names an authority as rotation service',
      () => forced(authority, plan({ rotators: [second.publicKey] })),
    ],
    ['names text as rotation service', () => forced(authority, plan({ rotators: ['U'.repeat(56)] }))],
    [
      'names text as former rotation service',
      () =>
        forced(
          authority,
          plan({ version: 2, former: { version: 1, rotators: ['U'.repeat(56)], threshold: 1 } }),
        ),
    ],
    ['is for more than 400 days', () => forced(authority, plan({ until: T0 + MAX_PLAN_MS + 1 }))],
    ['was made in the future', () => signPlan(authority, plan({ made: T0 + CLOCK_WINDOW_MS + 1 }))],
  ])('that %s is not taken', (_, wire) => {
    expect(codeOf(() => verify(wire()))).toBe('ERR_PLAN_INVALID')
  })

  it('is not taken with any bit of it flipped', () => {
    const wire = signPlan(authority, plan({ rotators: keys, threshold: 2 }))
    for (let i = 0; i < wire.length; i++) {
      const altered = new Uint8Array(wire)
      altered[i] = (altered[i] ?? 0) ^ (1 << (i % 8))
      expect(codeOf(() => verify(altered))).toMatch(/^ERR_(PLAN_INVALID|MALFORMED)$/)
    }
  })

  it('is taken at the bounds of time, and when it has ended: that is another question', () => {
    expect(verify(signPlan(authority, plan({ made: T0 + CLOCK_WINDOW_MS }))).made).toBe(T0 + CLOCK_WINDOW_MS)
    const long = plan({ until: T0 + MAX_PLAN_MS })
    const held = verify(signPlan(authority, long), T0 + 1000 * DAY)
    expect(held.until).toBe(T0 + MAX_PLAN_MS)
    expect(isExpired(held, held.until - 1)).toBe(false)
    expect(isExpired(held, held.until)).toBe(true)
    expect(expiredPlan(held)).toMatchObject({ code: 'ERR_PLAN_EXPIRED' })
  })

  it('is not signed where nobody would take it', () => {
    const bad: readonly Partial<Plan>[] = [
      { rotators: keys.slice(0, 2), threshold: 1 },
      { until: T0 + MAX_PLAN_MS + 1 },
      { schedules: [schedule({ leadMs: 1 })] },
    ]
    for (const changes of bad)
      expect(codeOf(() => signPlan(authority, plan(changes)))).toBe('ERR_PLAN_INVALID')
  })
})

describe('a plan under pins', () => {
  const realm = generateSigningKey(engine, 'U').key
  const pins = new Trust(engine, { realm: realm.publicKey, pins: {} })
  const pinned = (changes: Partial<Plan> = {}): Plan =>
    plan({ realm: realm.publicKey, rotators: [realm.publicKey], ...changes })

  it('is signed by the key of the realm, which is its only rotation service', () => {
    expect(verify(signPlan(realm, pinned()), T0, pins).rotators).toEqual([realm.publicKey])
  })

  it.each<[string, () => Uint8Array]>([
    ['an authority has signed', () => signPlan(authority, pinned())],
    ['another identity has signed', () => signPlan(one ?? realm, pinned())],
    ['names another rotation service', () => signPlan(realm, pinned({ rotators: keys.slice(0, 1) }))],
    [
      'names another one beside it',
      () =>
        signPlan(realm, pinned({ rotators: [realm.publicKey, ...keys.slice(0, 1)].sort(), threshold: 2 })),
    ],
    ['is of a realm with an authority', () => signPlan(realm, plan())],
  ])('that %s is not taken', (_, wire) => {
    expect(codeOf(() => verify(wire(), T0, pins))).toBe('ERR_PLAN_INVALID')
  })

  it('is of no use to those who trust an authority', () => {
    expect(codeOf(() => verify(signPlan(realm, pinned())))).toBe('ERR_PLAN_INVALID')
  })
})

describe('the list beside a plan', () => {
  const revocation = (since: number): Uint8Array =>
    signRevocation(authority, {
      realm: authority.publicKey,
      identity: keys[0] ?? '',
      since,
      until: T0 + DAY,
      reason: '',
      past: 0,
    })

  it('has one hash in every order, and another one with anything more or less', () => {
    const list = [1, 2, 3].map(revocation)
    const hash = listHash(engine, list)
    expect(listHash(engine, list.toReversed())).toEqual(hash)
    for (const other of [list.slice(1), [...list, revocation(4)], [...list, ...list.slice(0, 1)], []])
      expect(listHash(engine, other)).not.toEqual(hash)
    expect(listHash(engine, [])).toEqual(engine.sha256())
  })

  it('is malformed with anything that is no revocation', () => {
    expect(codeOf(() => listHash(engine, [signPlan(authority, plan())]))).toBe('ERR_MALFORMED')
  })
})
