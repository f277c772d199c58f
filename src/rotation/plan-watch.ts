import { PLAN_ENDING_MS, PLAN_ENDING_REPEAT_MS } from '../base/limits.ts'
import type { Epoch } from '../keys/epochs.ts'
import { expiredPlan, type HeldPlan, isExpired } from '../keys/plan.ts'
import type { Standing } from '../wire/ticks.ts'
import type { Parts } from './parts.ts'

/** What is watched, and who is told. */
export interface PlanWatchOptions extends Pick<Parts, 'clock' | 'epochs' | 'record' | 'events'> {
  readonly standing: () => Standing
  /** An epoch has begun, and this service counts. */
  readonly onEpoch: (epoch: Epoch) => void
}

/** What time does to a plan: epochs begin, it ends, and with it the service's standing changes. Each is said once. */
export class PlanWatch {
  readonly #options: PlanWatchOptions
  #said: { readonly standing: Standing; readonly planVersion: number } | undefined
  #epoch: Epoch | undefined
  #saidEndingAt = Number.NEGATIVE_INFINITY
  #expired: HeldPlan | undefined

  constructor(options: PlanWatchOptions) {
    this.#options = options
  }

  /** Looks at the clock, again and again: timers do not see a suspended machine, nor a wall clock that is set. */
  look(): void {
    const { plan } = this.#options.record
    if (plan === undefined) return
    this.#lookAtStanding(plan)
    this.#lookAtEpoch()
    this.#lookAtEnd(plan)
  }

  #lookAtStanding({ version: planVersion }: HeldPlan): void {
    const { standing: standingNow, events } = this.#options
    const standing = standingNow()
    if (this.#said?.standing === standing && this.#said.planVersion === planVersion) return
    this.#said = { standing, planVersion }
    events.tell({ type: 'standing', standing, planVersion })
  }

  #lookAtEpoch(): void {
    const { clock, epochs, standing, events, onEpoch } = this.#options
    const nowMs = clock.now()
    const epoch = epochs.at(nowMs)
    if (standing() !== 1 || epoch === undefined || epoch === this.#epoch || epoch.notBefore > nowMs) return
    this.#epoch = epoch
    events.tell({ type: 'epoch', number: epoch.number, notAfter: epoch.notAfter })
    onEpoch(epoch)
  }

  #lookAtEnd(plan: HeldPlan): void {
    const { clock, events } = this.#options
    const { version, until } = plan
    const nowMs = clock.now()
    if (isExpired(plan, nowMs)) {
      if (this.#expired !== plan) events.error(expiredPlan(plan))
      this.#expired = plan
      return
    }
    const monotonicMs = clock.monotonic()
    const isSaid = monotonicMs - this.#saidEndingAt < PLAN_ENDING_REPEAT_MS
    if (until - nowMs > PLAN_ENDING_MS || isSaid) return
    this.#saidEndingAt = monotonicMs
    events.tell({ type: 'planEnding', version, until })
  }
}
