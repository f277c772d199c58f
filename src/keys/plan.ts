import { compareBytes, concat, copy } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_PLAN_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust } from '../identity/trust.ts'
import {
  checkPlan,
  decodePlan,
  decodeSignedPlan,
  encodePlan,
  encodeSignedPlan,
  invalidPlan,
  type Plan,
} from '../wire/plans.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeStatement } from '../wire/statements.ts'

/** A plan that an authority of the realm has signed. Only {@link verifyPlan} makes them. */
export interface HeldPlan extends Plan {
  /** SHA-256 of the signed structure. */
  readonly hash: Uint8Array
  /** The wire message. */
  readonly bytes: Uint8Array
}

/** By what plans are judged. */
export interface AroundPlan {
  readonly engine: CryptoEngine
  readonly trust: Trust
}

/**
 * Signs a plan with the key of an authority; under pins with the realm's own.
 *
 * @throws SubrosaError ERR_PLAN_INVALID where nobody would act on it
 */
export function signPlan(signer: Signer, plan: Plan): Uint8Array {
  checkPlan(plan)
  if (plan.until - plan.made > MAX_PLAN_MS) throw tooLong()
  const structure = encodePlan(plan)
  return encodeSignedPlan({ structure, signature: signer.sign(concat(labels.plan, structure)) })
}

/**
 * Reads a plan that an authority of this realm has signed, and that follows all rules but that of time: an expired one
 * passes, see {@link isExpired}. SPEC, "Plan".
 *
 * @param nowMs the wall clock: by it a plan comes from the future
 * @throws SubrosaError ERR_MALFORMED, ERR_PLAN_INVALID (another realm, signature, threshold, schedules, dates)
 */
export function verifyPlan({ engine, trust }: AroundPlan, wire: Uint8Array, nowMs: number): HeldPlan {
  const { structure, signature } = decodeSignedPlan(wire)
  const plan = decodePlan(structure)
  if (plan.realm !== trust.realm) throw invalidPlan('it is of another realm')
  checkRotators(plan, trust)
  if (plan.until - plan.made > MAX_PLAN_MS) throw tooLong()
  const message = concat(labels.plan, structure)
  if (!trust.planKeys().some((key) => engine.verify(key, message, signature))) {
    throw invalidPlan(
      'no authority that is trusted has signed it',
      'list the key of the authority that signed it in trust.authority, or ask a trusted one for a plan',
    )
  }
  if (plan.made > nowMs + CLOCK_WINDOW_MS) {
    throw invalidPlan(
      'it was made in the future',
      'synchronise the clocks of this machine and of the one that signed it',
    )
  }
  return { ...plan, hash: engine.sha256(structure), bytes: copy(wire) }
}

/**
 * Whether a plan has ended: nobody is fresh by it any more.
 *
 * @param notBeforeMs the time that it is at least
 */
export function isExpired(plan: Pick<Plan, 'until'>, notBeforeMs: number): boolean {
  return notBeforeMs >= plan.until
}

/** The error for a plan that has ended. */
export function expiredPlan({ version, until }: Pick<Plan, 'version' | 'until'>): SubrosaError {
  return new SubrosaError(
    'ERR_PLAN_EXPIRED',
    `the newest plan of the realm, version ${version}, ended at ${new Date(until).toISOString()}`,
    { hint: 'the authority makes a new one: subrosa plan renew' },
  )
}

/**
 * `revocations_hash` of SPEC for a list of revocations: SHA-256 over the sorted hashes of their structures. Nothing of them is
 * verified.
 *
 * @param revocations wire messages
 * @throws SubrosaError ERR_MALFORMED
 */
export function listHash(engine: CryptoEngine, revocations: readonly Uint8Array[]): Uint8Array {
  const hashes = revocations.map((wire) => revocationHash(engine, wire))
  return engine.sha256(concat(...hashes.sort(compareBytes)))
}

/** The hash of a revocation's structure, by which sets of them are compared. @throws SubrosaError ERR_MALFORMED */
export function revocationHash(engine: CryptoEngine, wire: Uint8Array): Uint8Array {
  return engine.sha256(decodeStatement(WireType.revocation, wire).structure)
}

/** Under pins the realm's own key alone answers for freshness. */
function checkRotators({ rotators, former }: Plan, trust: Trust): void {
  for (const key of [...rotators, ...(former?.rotators ?? [])]) {
    try {
      decodeNkey('U', key)
    } catch {
      throw invalidPlan('the key of a rotation service is no public key of an identity, U…')
    }
  }
  if (trust.isByPins && rotators.some((key) => key !== trust.realm))
    throw invalidPlan('under pins the key of the realm is its only rotation service')
}

function tooLong(): SubrosaError {
  return invalidPlan('it is for more than 400 days', 'renew it every year: subrosa plan renew')
}
