import { MAX_JITTER_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import type { Epoch, Epochs } from '../../keys/epochs.ts'
import { OrdersFollowed, peekOrder, verifyOrder } from '../../keys/orders.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import type { Context } from '../context.ts'
import { randomDelay } from './random.ts'
import { StatementBudget } from './statement-budget.ts'

/** What orders for fresh keys are followed with. */
export interface FreshKeysOptions extends Pick<Context, 'engine' | 'trust' | 'clock'> {
  readonly timers: Pick<Timers, 'after'>
  readonly epochs: Pick<Epochs, 'byHash' | 'all'>
  readonly revocations: Pick<RevocationSet, 'revokedByAuthority'>
  /** The plan that is held. */
  readonly plan: () => HeldPlan | undefined
  /** Whether this instance has keys of an epoch. */
  readonly hasKeys: (epoch: Epoch) => boolean
  /** Makes new keys for an epoch and announces them, with the time of the order, or a later one, as their sequence number. */
  readonly renew: (epoch: Epoch, at: number) => void
}

/**
 * Follows orders of an authority, or of a rotation service, to make fresh keys now: SPEC, "Fresh keys". Which may be followed
 * at all costs no signature to find out.
 */
export class FreshKeys {
  readonly #options: FreshKeysOptions
  readonly #budget: StatementBudget
  readonly #followed = new OrdersFollowed()

  constructor(options: FreshKeysOptions) {
    this.#options = options
    this.#budget = new StatementBudget(options.clock)
  }

  /** Takes an order that was published. @throws SubrosaError ERR_MALFORMED */
  take(bytes: Uint8Array): void {
    const {
      engine,
      trust,
      clock,
      timers,
      epochs,
      revocations,
      hasKeys,
      renew,
      plan: heldPlan,
    } = this.#options
    const order = peekOrder(bytes)
    const epoch = epochs.byHash(order.epochHash)
    const plan = heldPlan()
    if (plan === undefined || epoch === undefined || epoch.number !== order.number || !hasKeys(epoch)) return
    this.#followed.keepOnly(epochs.all())
    const signers = this.#followed.signersOf(order, plan, clock.now())
    if (signers.length === 0) return
    const by = this.#budget.run(() => verifyOrder({ engine, trust, revocations }, bytes, signers))
    if (by === undefined) return
    this.#followed.note(order, by)
    timers.after(randomDelay(engine, MAX_JITTER_MS), () => renew(epoch, order.at))
  }
}
