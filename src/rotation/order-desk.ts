import { samePublic } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { MAX_ORDERS_PER_SECOND, MIN_ROTATION_MS } from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust } from '../identity/trust.ts'
import { peekOrder, verifyOrder } from '../keys/orders.ts'
import type { RealmRecord } from './realm-record.ts'

/** What orders are judged by. */
export interface OrderDeskOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly clock: Clock
  readonly record: RealmRecord
}

/** Judges orders to rotate now. SPEC, "Order". */
export class OrderDesk {
  readonly #options: OrderDeskOptions
  readonly #verifications = new RateLimit(MAX_ORDERS_PER_SECOND)
  #begunAt = Number.NEGATIVE_INFINITY

  constructor(options: OrderDeskOptions) {
    this.#options = options
  }

  /** An epoch has begun: the next one can be ordered in a moment. */
  noteEpoch(): void {
    this.#begunAt = this.#options.clock.monotonic()
  }

  /**
   * Whether the next epoch is to begin now. An order names the newest epoch: one that is played again does nothing.
   *
   * @throws SubrosaError as {@link verifyOrder}
   */
  takes(bytes: Uint8Array): boolean {
    const { record, clock } = this.#options
    const { head } = record
    const { realm, number, epochHash } = peekOrder(bytes)
    const isOfNewest =
      head !== undefined && realm === head.realm && number === head.number && samePublic(epochHash, head.hash)
    if (!isOfNewest) return false
    const now = clock.monotonic()
    if (now - this.#begunAt < MIN_ROTATION_MS || !this.#verifications.take(now)) return false
    verifyOrder({ ...this.#options, revocations: record.revocations }, bytes, clock.now())
    return true
  }
}
