import { samePublic } from '../../base/bytes.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { Questions } from '../../bus/realm/questions.ts'
import { engineFor } from '../../crypto/engine.ts'
import { Trust, type TrustOptions } from '../../identity/trust.ts'
import { RevocationSet } from '../../keys/revocations.ts'
import { protocolSubjects } from '../../keys/subjects.ts'
import { QueryKind } from '../../wire/statements.ts'

/** Longer than one replica takes to follow another. */
const DEFAULT_TIMEOUT_MS = 10_000

/** What is published, and where. */
export interface PublishRevocationOptions {
  readonly trust: TrustOptions
  /** The signed statement. */
  readonly statement: Uint8Array
  /** Milliseconds in which the rotation service must confirm. Default 10,000. */
  readonly timeoutMs?: number
  readonly clock?: Clock
}

/**
 * Publishes a revocation and resolves when the rotation service proves that it holds it: by a tick that it signed
 * after being asked, over a set of revocations with this one in it. A broker's word alone is not taken.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE when no such proof comes in time
 */
export async function publishRevocation(nc: NatsLike, options: PublishRevocationOptions): Promise<void> {
  const { statement, timeoutMs: timeout = DEFAULT_TIMEOUT_MS, clock = systemClock } = options
  const engine = engineFor()
  const trust = new Trust(engine, options.trust)
  const subjects = protocolSubjects(trust.realm)
  const questions = await Questions.open(nc, { engine, trust, subjects, clock, timeout })
  try {
    await questions.persist(async () => {
      nc.publish(subjects.revoke, statement)
      const statements = await questions.pages(QueryKind.revocations)
      const nowMs = clock.now()
      const others = new RevocationSet(engine, trust)
      // Whoever is being revoked may be the rotator: it can still say that it has heard.
      for (const bytes of statements) if (!samePublic(bytes, statement)) others.addCarried(bytes, nowMs)
      const { tick } = await questions.tick(others)
      // Judged as agents judge it: that a revoker's token has ended since does not matter.
      const held = new RevocationSet(engine, trust)
      held.adopt(statements, tick)
      if (!held.inForce(tick.now).some(({ bytes }) => samePublic(bytes, statement))) throw unconfirmed()
    })
  } catch (error) {
    if (error instanceof SubrosaError) throw unconfirmed()
    throw error
  } finally {
    questions.close()
  }
}

function unconfirmed(): SubrosaError {
  return new SubrosaError('ERR_NO_ROTATION_SERVICE', 'the rotation service did not confirm it in time', {
    hint: 'is `subrosa rotator` running?',
  })
}
