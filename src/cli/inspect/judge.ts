import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { readClaims } from '../../identity/token.ts'
import type { Trust } from '../../identity/trust.ts'
import { type ParsedAnnouncement, verifyAnnouncer } from '../../keys/announcements.ts'
import { EpochChain } from '../../keys/epochs.ts'
import { verifyOrder } from '../../keys/orders.ts'
import { RevocationSet } from '../../keys/revocations.ts'
import { verifyTick } from '../../keys/ticks.ts'
import type { Epoch, Revocation, SignedStatement, Tick } from '../../wire/statements.ts'
import { MAX_DATE_MS } from '../terminal/times.ts'

/** Whether a statement holds. */
export interface Verdict {
  /** The time for which its token was judged, in milliseconds since 1970; `undefined` where time says nothing. */
  readonly asOf: number | undefined
  /** Why it does not hold; `undefined` where it does. */
  readonly fault: SubrosaError | undefined
}

/** Judges the signatures of captured statements, as of the time that each says itself. Revocations are not known. */
export class Judge {
  readonly #engine: CryptoEngine
  readonly #trust: Trust

  constructor(engine: CryptoEngine, trust: Trust) {
    this.#engine = engine
    this.#trust = trust
  }

  epoch(bytes: Uint8Array, { notBefore }: Epoch): Verdict {
    return judge(
      () => notBefore,
      (asOf) => {
        const chain = new EpochChain({ ...this.#around(), floor: undefined, keepFloor: () => {} })
        chain.accept([bytes], chain.peek(bytes), asOf)
      },
    )
  }

  tick(bytes: Uint8Array, { now }: Tick): Verdict {
    return judge(
      () => now,
      (asOf) => verifyTick(this.#around(), bytes, asOf),
    )
  }

  /** An order says no time of its own: it is judged as of when its token was issued. */
  order(bytes: Uint8Array, { token }: SignedStatement): Verdict {
    const issued = () => (token === undefined ? undefined : readClaims(token).issuedAt * 1000)
    return judge(issued, (asOf) => verifyOrder(this.#around(), bytes, asOf))
  }

  revocation(bytes: Uint8Array, { since }: Revocation): Verdict {
    return judge(
      () => since,
      (asOf) => {
        if (this.#around().revocations.addCarried(bytes, asOf) === undefined) throw unproved('revocation')
      },
    )
  }

  announcement(parsed: ParsedAnnouncement): Verdict {
    const { realm, notBefore } = parsed.announcement
    return judge(
      () => notBefore,
      (asOf) => {
        const claims = verifyAnnouncer(this.#around(), parsed, asOf)
        if (claims === undefined || realm !== this.#trust.realm) throw unproved('announcement')
      },
    )
  }

  #around() {
    const engine = this.#engine
    const trust = this.#trust
    return { engine, trust, revocations: new RevocationSet(engine, trust) }
  }
}

function judge(timeOf: () => number | undefined, verify: (asOf: number) => void): Verdict {
  let asOf: number | undefined
  try {
    const time = timeOf()
    asOf = time === undefined ? undefined : Math.min(time, MAX_DATE_MS)
    verify(asOf ?? 0)
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
