import type { Clock } from '../../base/clock.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { subscribeSafely } from '../../bus/safely.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { Buckets } from '../../keys/buckets.ts'
import type { KeptPlan } from '../../keys/plan-book.ts'
import { ANY_SERVICE, askerOf, type ProtocolSubjects } from '../../keys/subjects.ts'
import { QueryDesk } from '../../rotation/queries.ts'
import { decodeQuery, QueryKind } from '../../wire/queries.ts'

/** Which plan is handed out. */
export interface PlanStandOptions {
  readonly engine: CryptoEngine
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  readonly version: number
  readonly kept: KeptPlan
}

/**
 * Answers those who ask anybody for the plan, before any rotation service has it: a plan proves itself, and nobody takes one
 * without its list, which does not fit into one message.
 *
 * @returns how to stop
 */
export function openPlanStand(nc: NatsLike, options: PlanStandOptions): () => void {
  const { engine, subjects, clock, version, kept } = options
  const onError = (): void => {}
  const desk = new QueryDesk(nc, {
    clock,
    isServing: () => false,
    announcements: () => [],
    byHash: () => [],
    revocations: () => [],
    plan: (wanted) => (wanted === undefined || wanted === version ? { version, ...kept } : undefined),
    buckets: () => new Buckets(engine),
    take: () => {},
    onError,
  })
  const subscription = subscribeSafely(nc, subjects.queriesTo(ANY_SERVICE), {
    take: ({ data, subject, reply }) => {
      const asker = askerOf(subjects, subject)
      const query = decodeQuery(data)
      if (query.kind === QueryKind.plan && asker !== undefined && asker.inbox === reply)
        desk.take(query, asker)
    },
    onError,
    reject: () => {},
    onRefused: () => {},
  })
  return () => {
    desk.close()
    if (!nc.isClosed()) subscription.unsubscribe()
  }
}
