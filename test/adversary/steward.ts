import type { NatsConnection } from '@nats-io/transport-node'
import { HouseClock } from '../../src/base/house-clock.ts'
import { gather } from '../../src/cli/realm/gather.ts'
import { openPlanStand } from '../../src/cli/realm/plan-stand.ts'
import { isConfirmed } from '../../src/cli/realm/publish-plan.ts'
import { publishRevocation } from '../../src/cli/realm/publish-revocation.ts'
import { ServiceVisit } from '../../src/cli/realm/service-visit.ts'
import { engineFor } from '../../src/crypto/engine.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import { deriveEpoch, numberAt } from '../../src/keys/epochs.ts'
import { signOrder } from '../../src/keys/orders.ts'
import { type HeldPlan, revocationHash, verifyPlan } from '../../src/keys/plan.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import type { ProtocolSubjects } from '../../src/keys/subjects.ts'
import type { Schedule } from '../../src/wire/plans.ts'
import { connectClient } from '../support/client.ts'
import { type PlanChanges, signedPlan } from '../support/plans.ts'
import { OPERATOR } from './cast.ts'
import type { AgentClock } from './virtual-time.ts'
import { drawingFrom, type SeededRandom } from './watched-engine.ts'

/** How long whoever runs the realm tries, in ms of virtual time. */
const VISIT_MS = 6000

/** What whoever runs the realm works with. */
export interface StewardParts {
  readonly authority: SigningKey
  readonly subjects: ProtocolSubjects
  /** Where the line listens. */
  readonly url: string
  readonly clock: AgentClock
  readonly random: SeededRandom
  /** Who rotates at first. */
  readonly rotators: readonly { readonly publicKey: string }[]
  readonly threshold: number
  /** How epochs follow each other. */
  readonly times: { readonly periodMs: number; readonly leadMs: number; readonly graceMs: number }
}

/** Whoever runs the realm: holds the authority's key, signs plans and revocations, and asks the services about them. */
export class Steward {
  readonly #parts: StewardParts
  readonly #trust: Trust
  #kept: KeptPlan
  #nc: NatsConnection | undefined
  /** All that it has signed. */
  readonly #revocations: Uint8Array[] = []
  #closeStand = (): void => {}

  constructor(parts: StewardParts) {
    const { authority, clock, random, rotators, threshold, times } = parts
    this.#parts = parts
    this.#trust = new Trust(engineFor(), { authority: [authority.publicKey] })
    const nowMs = clock.now()
    this.#kept = drawingFrom(random, () =>
      signedPlan(authority, { rotators, madeMs: nowMs, originMs: nowMs }, { schedule: times, threshold }),
    )
  }

  /** The newest plan, with its list. */
  get kept(): KeptPlan {
    return this.#kept
  }

  /** The same, as it is verified. */
  get plan(): HeldPlan {
    return verifyPlan({ engine: engineFor(), trust: this.#trust }, this.#kept.plan, this.#parts.clock.now())
  }

  get nc(): NatsConnection | undefined {
    return this.#nc
  }

  /** Revokes, and asks until that is confirmed or too much time has passed. @returns whether it is confirmed */
  revoke(statement: Uint8Array): Promise<boolean> {
    this.#revocations.push(statement)
    return this.#visit(async (operator) => {
      const word = await publishRevocation(operator, this.plan, statement)
      return word.isConfirmed
    })
  }

  /**
   * Makes the plan that follows, and publishes it: where the one before is confirmed, and all that services hold came along.
   *
   * @returns whether there is one
   */
  nextPlan(changes: PlanChanges): Promise<boolean> {
    return this.#visit(async (operator) => {
      const { authority, subjects, clock, random } = this.#parts
      const plan = this.plan
      const { word, whole, revocations } = await gather(operator, plan)
      if (!isConfirmed(plan, word) || whole.length < plan.threshold) return false
      const { version, rotators, threshold } = plan
      const nowMs = clock.now()
      const grounds = {
        rotators: rotators.map((publicKey) => ({ publicKey })),
        madeMs: nowMs,
        originMs: nowMs,
      }
      this.#kept = drawingFrom(random, () =>
        signedPlan(authority, grounds, {
          version: version + 1,
          former: { version, rotators, threshold },
          threshold,
          schedules: plan.schedules,
          list: distinct([...this.#revocations, ...revocations]),
          ...changes,
        }),
      )
      this.#closeStand()
      this.#closeStand = openPlanStand(operator.nc, {
        engine: engineFor(),
        subjects,
        clock,
        version: version + 1,
        kept: this.#kept,
      })
      operator.visit.publish(subjects.plan, this.#kept.plan)
      return true
    })
  }

  /** The schedule of now, and one with another salt that follows it as soon as everybody can know of it. */
  renewedSchedules(): readonly Schedule[] {
    const { schedules } = this.plan
    const nowMs = this.#parts.clock.now()
    const current = schedules.findLast(({ originMs }) => originMs <= nowMs) ?? schedules[0]
    if (current === undefined) throw new Error('the plan has no schedule')
    const { periodMs, leadMs } = current
    const first = numberAt({ schedules: [current] }, nowMs + periodMs + leadMs) + 1
    const originMs = current.originMs + (first - current.first) * periodMs
    const salt = drawingFrom(this.#parts.random, () => engineFor().randomBytes(16))
    return [current, { ...current, first, originMs, salt }]
  }

  /** Orders fresh keys in the epoch of now. */
  orderFreshKeys(): Promise<void> {
    return this.#visit(async ({ visit }) => {
      const { authority, subjects, clock } = this.#parts
      const { realm, number, hash } = deriveEpoch(engineFor(), this.plan, numberAt(this.plan, clock.now()))
      const order = signOrder(authority, { realm, number, epochHash: hash, at: clock.now() })
      visit.publish(subjects.rotate, order)
    })
  }

  async close(): Promise<void> {
    this.#closeStand()
    await this.#nc?.close()
  }

  #visit<Result>(task: (operator: Parameters<typeof gather>[0]) => Promise<Result>): Promise<Result> {
    const { url, subjects, clock, random } = this.#parts
    return drawingFrom(random, async () => {
      this.#nc ??= await connectClient({ servers: url, name: OPERATOR })
      const nc = this.#nc
      const visit = await ServiceVisit.open(nc, {
        engine: engineFor(),
        trust: this.#trust,
        subjects,
        clock: new HouseClock(clock, () => {}),
        plans: [this.plan],
        isRevoked: () => false,
        timeoutMs: VISIT_MS,
      })
      try {
        return await task({ nc, visit, subjects, clock })
      } finally {
        visit.close()
      }
    })
  }
}

function distinct(statements: readonly Uint8Array[]): readonly Uint8Array[] {
  const byHash = new Map(
    statements.map((wire) => [Buffer.from(revocationHash(engineFor(), wire)).toString('hex'), wire]),
  )
  return [...byHash.values()]
}
