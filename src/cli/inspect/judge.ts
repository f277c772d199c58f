import { samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { Trust } from '../../identity/trust.ts'
import { type ParsedAnnouncement, verifyAnnouncer } from '../../keys/announcements.ts'
import { deriveEpoch } from '../../keys/epochs.ts'
import { type ParsedNotice, verifyNotice } from '../../keys/notices.ts'
import { verifyOrder } from '../../keys/orders.ts'
import { type HeldPlan, verifyPlan } from '../../keys/plan.ts'
import { RevocationSet } from '../../keys/revocations.ts'
import { type ParsedTick, verifyTick } from '../../keys/ticks.ts'
import type { Plan } from '../../wire/plans.ts'
import type { Order, Revocation } from '../../wire/statements.ts'
import { MAX_DATE_MS } from '../terminal/times.ts'

/** Whether a statement holds. */
export interface Verdict {
  /** The time for which it was judged, in milliseconds since 1970; `undefined` where time says nothing. */
  readonly asOf: number | undefined
  /** Why it does not hold; `undefined` where it does, or nobody here can say. */
  readonly fault: SubrosaError | undefined
  /** Why nobody here can say. */
  readonly unknown?: string
}

/** Judges the signatures of captured statements, as of the time that each says itself. Revocations are not known. */
export class Judge {
  readonly #engine: CryptoEngine
  readonly #trust: Trust
  readonly #plan: HeldPlan | undefined

  /** @param plan the newest plan that is known: without one nobody knows who the rotation services are */
  constructor(engine: CryptoEngine, trust: Trust, plan: HeldPlan | undefined) {
    this.#engine = engine
    this.#trust = trust
    this.#plan = plan
  }

  plan(bytes: Uint8Array, { made }: Plan): Verdict {
    return judge(made, (asOf) => void verifyPlan(this.#around(), bytes, asOf))
  }

  /** Also whether the plan that is known has such an epoch. */
  notice(parsed: ParsedNotice): Verdict {
    return this.#byPlan(parsed.notice.planVersion, parsed.terms.notBefore, (plan) => {
      if (!verifyNotice({ engine: this.#engine, plan }, parsed)) throw unproved('notice')
      const { number } = parsed.terms
      if (number < (plan.schedules[0]?.first ?? 0)) throw otherEpoch(plan, number)
      if (!samePublic(deriveEpoch(this.#engine, plan, number).hash, parsed.epochHash))
        throw otherEpoch(plan, number)
    })
  }

  tick(parsed: ParsedTick): Verdict {
    return this.#byPlan(parsed.tick.planVersion, parsed.tick.now, (plan) => {
      if (!verifyTick({ engine: this.#engine, plan }, parsed)) throw unproved('tick')
    })
  }

  /** By an authority, or by a rotation service of the plan that is known. */
  order(bytes: Uint8Array, { at }: Order): Verdict {
    const signers = ['authority', ...(this.#plan?.rotators ?? [])]
    const verdict = judge(at, () => {
      if (verifyOrder(this.#around(), bytes, signers) === undefined) throw unproved('order')
    })
    if (verdict.fault === undefined || this.#plan !== undefined) return verdict
    return unknown('no authority has signed it, and no plan is known here that says who else may')
  }

  revocation(bytes: Uint8Array, { since }: Revocation): Verdict {
    return judge(since, (asOf) => {
      if (this.#around().revocations.take(bytes, asOf) === undefined) throw unproved('revocation')
    })
  }

  announcement(parsed: ParsedAnnouncement): Verdict {
    const { realm, notBefore } = parsed.announcement
    return judge(notBefore, (asOf) => {
      const claims = verifyAnnouncer(this.#around(), parsed, asOf)
      if (claims === undefined || realm !== this.#trust.realm) throw unproved('announcement')
    })
  }

  #around() {
    const engine = this.#engine
    const trust = this.#trust
    return { engine, trust, revocations: new RevocationSet({ engine, trust }) }
  }

  /** A plan of another version may have had other rotation services. */
  #byPlan(version: number, time: number, verify: (plan: HeldPlan) => void): Verdict {
    const plan = this.#plan
    if (plan?.version === version) return judge(time, () => verify(plan))
    const known = plan === undefined ? 'no plan is known here' : `plan ${plan.version} is known here`
    return unknown(`plan ${version} says who may sign it, and ${known}`)
  }
}

function unknown(why: string): Verdict {
  return { asOf: undefined, fault: undefined, unknown: `${why}: name the folder of the realm with --realm` }
}

function otherEpoch({ version }: HeldPlan, number: number): SubrosaError {
  return new SubrosaError('ERR_PLAN_INVALID', `plan ${version} has no such epoch ${number}`)
}

function judge(time: number, verify: (asOf: number) => void): Verdict {
  const asOf = Math.min(time, MAX_DATE_MS)
  try {
    verify(asOf)
    return { asOf, fault: undefined }
  } catch (error) {
    if (!(error instanceof SubrosaError)) throw error
    return { asOf, fault: error }
  }
}

function unproved(what: string): SubrosaError {
  return new SubrosaError(
    'ERR_TOKEN_INVALID',
    `the signature, the token or the realm of the ${what} does not fit`,
  )
}
