import { type Clock, systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { Questions } from '../../bus/realm/questions.ts'
import { engineFor } from '../../crypto/engine.ts'
import type { Signer } from '../../identity/signing-key.ts'
import { Trust, type TrustOptions } from '../../identity/trust.ts'
import { signOrder } from '../../keys/orders.ts'
import { RevocationSet } from '../../keys/revocations.ts'
import { protocolSubjects } from '../../keys/subjects.ts'

/** Longer than one replica takes to follow another. */
const DEFAULT_TIMEOUT_MS = 10_000

/** Who orders the rotation, and of which realm. */
export interface OrderRotationOptions {
  readonly trust: TrustOptions
  /** An authority. */
  readonly signer: Signer
  /** Revocations that are known here: a rotation service that is revoked is not believed. */
  readonly revocations?: readonly Uint8Array[]
  /** Milliseconds in which the rotation service must have rotated. Default 10,000. */
  readonly timeoutMs?: number
  readonly clock?: Clock
}

/**
 * Orders the rotation service to begin the next epoch, and resolves when it proves that it has: by a tick that it
 * signed after being asked and that names a newer epoch. A broker's word alone is not taken.
 *
 * @returns the number of the newest epoch
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE when no such proof comes in time, or what was wrong with the ticks
 */
export async function orderRotation(nc: NatsLike, options: OrderRotationOptions): Promise<number> {
  const { signer, timeoutMs: timeout = DEFAULT_TIMEOUT_MS, clock = systemClock } = options
  const engine = engineFor()
  const trust = new Trust(engine, options.trust)
  const subjects = protocolSubjects(trust.realm)
  const revocations = new RevocationSet(engine, trust)
  for (const bytes of options.revocations ?? []) revocations.add(bytes, clock.now())
  const questions = await Questions.open(nc, { engine, trust, subjects, clock, timeout })
  try {
    const { number, epochHash } = (await questions.tick(revocations)).tick
    const order = signOrder(signer, { realm: trust.realm, number, epochHash })
    return await questions.persist(async () => {
      // Again until it is proved: core NATS may lose the order, the question or the answer.
      nc.publish(subjects.rotate, order)
      const { tick } = await questions.tick(revocations)
      if (tick.number > number) return tick.number
      throw new SubrosaError(
        'ERR_NO_ROTATION_SERVICE',
        `the rotation service did not go on from epoch ${number} in time`,
        { hint: 'the output of `subrosa rotator` says why' },
      )
    })
  } finally {
    questions.close()
  }
}
