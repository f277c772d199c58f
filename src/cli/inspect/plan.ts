import { hex } from '../../base/bytes.ts'
import type { EpochTerms, Plan, Schedule } from '../../wire/plans.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'

/** What a plan says, whoever signed it. */
export function planAnatomy(plan: Plan): Anatomy {
  const { realm, version, made, until, rotators, threshold, former, schedules, revocationsHash } = plan
  return {
    realm,
    planVersion: version,
    made: whenShown(made),
    until: whenShown(until),
    rotators,
    threshold,
    former:
      former === undefined
        ? 'none: the first plan, or its services were lost'
        : { planVersion: former.version, rotators: former.rotators, threshold: former.threshold },
    schedules: schedules.map(scheduleAnatomy),
    revocationsHash: hex(revocationsHash),
  }
}

function scheduleAnatomy({ first, originMs, periodMs, leadMs, graceMs, suites, salt }: Schedule): Anatomy {
  return {
    firstEpoch: first,
    origin: whenShown(originMs),
    periodMs,
    leadMs,
    graceMs,
    suites,
    salt: hex(salt),
  }
}

/** What an epoch is made of. */
export function epochAnatomy(terms: EpochTerms, hash: Uint8Array): Anatomy {
  const { realm, number, notBefore, notAfter, graceMs, suites, salt } = terms
  return {
    realm,
    epoch: number,
    epochHash: hex(hash),
    notBefore: whenShown(notBefore),
    notAfter: whenShown(notAfter),
    graceMs,
    suites,
    salt: hex(salt),
  }
}
