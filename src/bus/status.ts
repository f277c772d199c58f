import { type Clock, systemClock } from '../base/clock.ts'
import { Queue } from '../base/queue.ts'
import { ReportLimit } from '../base/report-limit.ts'
import type { OpenFailure } from '../envelope/open.ts'
import { RefusalReason } from '../wire/refusal.ts'
import type { EventLog } from './event-log.ts'
import type { WhyLeftOut } from './left-out.ts'

/** Why something that arrived was not delivered. */
export type RejectReason =
  | OpenFailure
  | 'misrouted'
  | 'plaintext'
  | 'stale'
  | 'unknown sender'
  | 'revoked'
  | 'signature'
  | 'subject'
  | 'headers'
  | 'not permitted'
  | 'time'
  | 'replay'
  | 'not a response'
  | 'session'
  | 'unknown session'
  | 'flood'

/**
 * Why a recipient wants no frames of a session: all memory for sessions is taken, it has ended the session, or another
 * recipient forges frames of it.
 */
export type SessionRefusal = 'no room' | 'ended' | 'forged'

/** The same, as it travels. */
export function sessionRefusal(reason: RefusalReason): SessionRefusal {
  if (reason === RefusalReason.noRoom) return 'no room'
  return reason === RefusalReason.ended ? 'ended' : 'forged'
}

/** What a sealed connection reports. Events of the NATS connection underneath pass through as `nats`. */
export type StatusEvent =
  /** New keys of this instance are announced for this epoch: at its beginning, and by order within it. */
  | { readonly type: 'rotated'; readonly epoch: number }
  /** The keys of an ended epoch are wiped. */
  | { readonly type: 'destroyed'; readonly epoch: number }
  /** Something that arrived on a subject was not delivered. */
  | { readonly type: 'rejected'; readonly reason: RejectReason; readonly subject: string }
  /** Too few rotation services have answered lately: nothing is sent and nothing is opened. */
  | { readonly type: 'stale' }
  | { readonly type: 'fresh' }
  /** An identity is not trusted any more. `self` where it is one's own. */
  | { readonly type: 'revoked'; readonly identity: string; readonly reason: string; readonly self: boolean }
  /**
   * A name belongs to another identity (public keys) than before: the former one is revoked, the authority says that the new
   * one succeeds it, or the new one was issued the name earlier.
   */
  | {
      readonly type: 'nameMoved'
      readonly name: string
      readonly from: string
      readonly to: string
      readonly why: 'revoked' | 'succeeded' | 'earlier'
    }
  /** Two processes announced themselves as one instance. */
  | { readonly type: 'clone'; readonly name: string; readonly instance: string }
  /**
   * Nothing is sealed to this instance, because of what it announced, because its agent has started too many lately, so that it
   * waits for its turn, or because rotation services have not heard of it for minutes (`silent`: killed, most likely). What
   * is published goes to the others.
   */
  | {
      readonly type: 'leftOut'
      readonly name: string
      readonly instance: string
      readonly why: WhyLeftOut
    }
  /** An instance does not take the frames of a session that this one has opened: they go to it in messages for a while. */
  | {
      readonly type: 'sessionRefused'
      readonly by: string
      readonly instance: string
      readonly reason: SessionRefusal
    }
  /** This instance takes no frames of a session of another agent, and has told it. At most one in 10 s for an agent. */
  | {
      readonly type: 'refusedSession'
      readonly sender: string
      readonly reason: SessionRefusal
    }
  /** A newer plan of the realm is acted on: its version, and when it ends, in ms since 1970. */
  | { readonly type: 'plan'; readonly version: number; readonly until: number }
  /** The plan ends in less than 30 days, and with it the realm: `subrosa plan renew`. Once a day. */
  | { readonly type: 'planEnding'; readonly until: number }
  /** A rotation service has published another epoch of this number than the plan has. Nothing is believed because of it. */
  | { readonly type: 'epochDiffers'; readonly rotator: string; readonly number: number }
  /** Somebody answers with a plan that is older than one that was seen before. */
  | { readonly type: 'rollback'; readonly message: string }
  /** More messages of a subscription are unread than its option `slow` allows. */
  | { readonly type: 'slowConsumer'; readonly subject: string; readonly pending: number }
  /** A callback of the user's threw, or this agent's clock or version does not fit the realm any more. */
  | { readonly type: 'error'; readonly error: unknown }
  | { readonly type: 'nats'; readonly status: { readonly type: string } }

const MAX_UNREAD_EVENTS = 1024
/** Interval between events of clones of one instance, in ms: whoever has its identity can cause one with every statement. */
const CLONE_EVERY_MS = 60_000

/** What has passed over a sealed connection. The first four count what NATS does: bytes and messages on the wire. */
export interface ConnectionStats {
  readonly inBytes: number
  readonly outBytes: number
  readonly inMsgs: number
  readonly outMsgs: number
  /** Messages that were sealed and published, responses among them. */
  readonly sealed: number
  /** Messages that were opened and delivered: by each subscription that a message reached. */
  readonly opened: number
  /** Arrivals that were not delivered, for whatever reason. */
  readonly rejected: number
}

/** Hands events to everyone who reads them. A reader that falls behind loses the oldest, never memory. */
export class StatusFeed {
  readonly #log: EventLog | undefined
  readonly #readers = new Set<Reader>()
  readonly #clock: Clock
  readonly #rejections = new Map<RejectReason, number>()
  readonly #clones = new ReportLimit(CLONE_EVERY_MS)
  #isClosed = false

  /**
   * @param log where each event is written too
   * @param clock by which clones of one instance are an event once a minute
   */
  constructor(log?: EventLog, clock: Clock = systemClock) {
    this.#log = log
    this.#clock = clock
  }

  emit(event: StatusEvent): void {
    if (event.type === 'clone' && !this.#isNews(event)) return
    this.#log?.write(event)
    if (event.type === 'rejected')
      this.#rejections.set(event.reason, (this.#rejections.get(event.reason) ?? 0) + 1)
    for (const reader of this.#readers) reader.push(event)
  }

  #isNews({ name, instance }: { readonly name: string; readonly instance: string }): boolean {
    return this.#clones.take(`${name} ${instance}`, this.#clock.monotonic())
  }

  /** How many arrivals were rejected, by reason. */
  rejections(): Readonly<Partial<Record<RejectReason, number>>> {
    return Object.fromEntries(this.#rejections)
  }

  /** Events from now on. */
  read(): AsyncIterableIterator<StatusEvent> {
    const reader = new Reader(() => this.#readers.delete(reader))
    if (this.#isClosed) void reader.return()
    else this.#readers.add(reader)
    return reader
  }

  close(): void {
    this.#isClosed = true
    this.#log?.end()
    for (const reader of this.#readers) void reader.return()
  }
}

class Reader implements AsyncIterableIterator<StatusEvent> {
  readonly #events = new Queue<StatusEvent>()
  readonly #onClose: () => void

  constructor(onClose: () => void) {
    this.#onClose = onClose
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  push(event: StatusEvent): void {
    this.#events.push(event)
    if (this.#events.length > MAX_UNREAD_EVENTS) this.#events.dropOldest()
  }

  next(): Promise<IteratorResult<StatusEvent>> {
    return this.#events.next()
  }

  async return(): Promise<IteratorResult<StatusEvent>> {
    this.#onClose()
    this.#events.end()
    return { value: undefined, done: true }
  }
}
