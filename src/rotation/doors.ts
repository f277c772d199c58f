import { MAX_ORDERS_PER_SECOND } from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import type { NatsLike, NatsMessage } from '../bus/nats-like.ts'
import { StandingSubscription } from '../bus/standing-subscription.ts'
import { OrdersFollowed, peekOrder, verifyOrder } from '../keys/orders.ts'
import { ANY_SERVICE, type Asker, askerOf, rid } from '../keys/subjects.ts'
import { WireType, wireType } from '../wire/preamble.ts'
import { decodeQuery, QueryKind, readPlanCursor } from '../wire/queries.ts'
import type { Answers } from './answers.ts'
import type { Parts } from './parts.ts'
import type { Peers } from './peers.ts'
import type { PlanDesk } from './plan-desk.ts'
import type { QueryDesk } from './queries.ts'
import type { ServiceDirectory } from './service-directory.ts'

/** To whom everything goes that arrives. */
export interface DoorsOptions extends Parts {
  readonly directory: ServiceDirectory
  readonly plans: PlanDesk
  readonly peers: Peers
  readonly answers: Answers
  readonly desk: QueryDesk
}

/** Every subject on which something comes to a rotation service. */
export class Doors {
  readonly #options: DoorsOptions
  readonly #orders = new OrdersFollowed()
  readonly #verifiedOrders = new RateLimit(MAX_ORDERS_PER_SECOND)
  readonly #subscriptions: readonly StandingSubscription[]

  constructor(nc: NatsLike, options: DoorsOptions) {
    const { engine, clock, subjects, own, inbox, events } = options
    const { directory, plans, peers } = options
    this.#options = options
    const follow = (subject: string, take: (message: NatsMessage) => void): StandingSubscription =>
      new StandingSubscription(nc, subject, {
        clock,
        take,
        onRefused: (error) => events.error(error),
        onRenewed: () => peers.askSoon(),
        onError: (error) => events.refused(subject, error),
        reject: (reason, { subject: at }) => events.rejected(reason, at),
      })
    this.#subscriptions = [
      follow(subjects.announcements, ({ data, subject }) => directory.add(data, subject)),
      follow(subjects.revoke, ({ data }) => this.#takeRevocation(data)),
      follow(subjects.plan, ({ data }) => plans.heard(data)),
      follow(subjects.rotate, ({ data }) => this.#takeOrder(data)),
      follow(subjects.tick, ({ data }) => peers.heard(data)),
      follow(subjects.pings, (message) => this.#takePing(message)),
      follow(subjects.queriesTo(rid(engine, own)), (message) => this.#takeQuery(message)),
      follow(subjects.queriesTo(ANY_SERVICE), (message) => this.#takeQueryToAnybody(message)),
      follow(inbox, ({ data }) => this.#takeAnswer(data)),
    ]
  }

  /** The connection is a new one. */
  renew(): void {
    for (const subscription of this.#subscriptions) subscription.renew()
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  /** A statement that an asker hands over to this service alone. @throws SubrosaError ERR_MALFORMED, ERR_STATE */
  takeHandedOver(statement: Uint8Array, { name, instance }: Asker): void {
    const { subjects, directory, plans } = this.#options
    const type = wireType(statement)
    // Its own announcement alone: another one would pay for it.
    if (type === WireType.announcement)
      directory.add(statement, `${subjects.root}.announce.${name}.${instance}`)
    else if (type === WireType.revocation) this.#takeRevocation(statement)
    else if (type === WireType.plan) plans.heard(statement)
  }

  #takeRevocation(bytes: Uint8Array): void {
    const { record, clock } = this.#options
    record.revocations.add(bytes, clock.now())
  }

  /** Agents follow orders by themselves: here one is written down. */
  #takeOrder(bytes: Uint8Array): void {
    const { clock, epochs, record, events } = this.#options
    const { plan, revocations } = record
    const order = peekOrder(bytes)
    this.#orders.keepOnly(epochs.all())
    const isCurrent = epochs.byHash(order.epochHash) !== undefined
    if (plan === undefined || !isCurrent) return
    const signers = this.#orders.signersOf(order, plan, clock.now())
    if (signers.length === 0 || !this.#verifiedOrders.take(clock.monotonic())) return
    const by = verifyOrder({ ...this.#options, revocations }, bytes, signers)
    if (by === undefined) return
    this.#orders.note(order, by)
    events.tell({ type: 'ordered', epoch: order.number })
  }

  #takePing(message: NatsMessage): void {
    const { directory, answers } = this.#options
    const asker = this.#askerOf(message)
    if (asker === undefined) return
    const { kind, nonce } = decodeQuery(message.data)
    if (kind !== QueryKind.tick) return
    directory.listing.heard(asker)
    answers.answer(nonce, asker)
  }

  #takeQuery(message: NatsMessage): void {
    const asker = this.#askerOf(message)
    if (asker !== undefined) this.#options.desk.take(decodeQuery(message.data), asker)
  }

  /** Whoever has no plan does not know whom to ask for it: whoever has it answers. */
  #takeQueryToAnybody(message: NatsMessage): void {
    const { record, desk } = this.#options
    const asker = this.#askerOf(message)
    if (asker === undefined) return
    const query = decodeQuery(message.data)
    if (query.kind !== QueryKind.plan) return
    if (record.planOf(readPlanCursor(query.cursor).version) !== undefined) desk.take(query, asker)
  }

  /** Who asks, where it is somebody else, and is answered in its own inbox. */
  #askerOf({ subject, reply }: NatsMessage): Asker | undefined {
    const { subjects, inbox } = this.#options
    const asker = askerOf(subjects, subject)
    return asker === undefined || asker.inbox !== reply || asker.inbox === inbox ? undefined : asker
  }

  #takeAnswer(bytes: Uint8Array): void {
    const { peers, fetches } = this.#options
    const type = wireType(bytes)
    if (type === WireType.tick) peers.answered(bytes)
    else if (type === WireType.page) fetches.take(bytes)
  }
}
