import type { Clock } from '../../base/clock.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { subscribeSafely } from '../../bus/safely.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { KeptPlan } from '../../keys/plan-book.ts'
import { askerOf, type ProtocolSubjects, rid } from '../../keys/subjects.ts'
import { QueryDesk } from '../../rotation/queries.ts'
import { decodeQuery, QueryKind } from '../../wire/queries.ts'

/** Which plan is handed out, and in whose place. */
export interface PlanStandOptions {
  readonly engine: CryptoEngine
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  readonly version: number
  readonly kept: KeptPlan
  /** The rotation services who are asked for it. */
  readonly services: Iterable<string>
}

/**
 * Answers everybody who asks one of the rotation services for the plan, before any of them has it: a plan proves itself,
 * and nobody takes one without its list, which does not fit into one message.
 *
 * @returns how to stop
 */
export function openPlanStand(nc: NatsLike, options: PlanStandOptions): () => void {
  const { engine, subjects, clock, version, kept, services } = options
  const onError = (): void => {}
  const desk = new QueryDesk(nc, {
    clock,
    isServing: () => false,
    announcements: () => [],
    byHash: () => [],
    revocations: () => [],
    plan: (asked) => (asked === undefined || asked === version ? { version, ...kept } : undefined),
    bucketHashes: () => new Uint8Array(0),
    bucket: () => new Uint8Array(0),
    take: () => {},
    onError,
  })
  const subscriptions = [...services].map((rotator) =>
    subscribeSafely(nc, subjects.queriesTo(rid(engine, rotator)), {
      take: ({ data, subject, reply }) => {
        const asker = askerOf(subjects, subject)
        const query = decodeQuery(data)
        if (query.kind === QueryKind.plan && asker !== undefined && asker.inbox === reply)
          desk.take(query, asker)
      },
      onError,
      reject: () => {},
      onRefused: () => {},
    }),
  )
  return () => {
    desk.close()
    if (!nc.isClosed()) for (const subscription of subscriptions) subscription.unsubscribe()
  }
}
