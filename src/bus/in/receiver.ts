import { FAILED_OPENING_MS_PER_SECOND } from '../../base/limits.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { Admission, type AdmissionLine } from './admission.ts'
import type { Arrival } from './arrival.ts'
import { FrameReceiver } from './frame-receiver.ts'
import { IncomingSessions } from './incoming-sessions.ts'
import { SealedReceiver } from './sealed-receiver.ts'
import { SenderWindows } from './sender-windows.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** What a receiver works with. */
export interface ReceiverOptions extends Context {
  readonly link: RealmLink
  /** On which other subjects than its own a message may arrive. */
  readonly policy: SubjectPolicy
  /** Called with announcements and sessions (in hexadecimal) whose replay windows are not needed any more. */
  readonly onForgotten: (names: readonly string[]) => void
}

/** Whose budget of openings a subscription uses: that of one's own inboxes, or that of what was subscribed to. */
export type BudgetShare = 'inbox' | 'subscriptions'

/**
 * Opens what arrives: SPEC, "Opening". Nothing that arrives can make it throw. What is not good is counted and reported
 * with its reason on this side, and tells the sender nothing.
 */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #sessions: IncomingSessions
  readonly #windows: SenderWindows
  readonly #sealed: SealedReceiver
  readonly #frames: FrameReceiver
  /** Half of the budget is for what comes to this instance by name, so that a flood on a subject keeps no answer away. */
  readonly #admissions: Readonly<Record<BudgetShare, Admission>>
  readonly #handshakes: AdmissionLine
  readonly #stopListening: () => void

  constructor(nc: NatsLike, options: ReceiverOptions) {
    const { clock, link, onForgotten } = options
    this.#options = options
    this.#admissions = {
      inbox: new Admission(FAILED_OPENING_MS_PER_SECOND / 2, options),
      subscriptions: new Admission(FAILED_OPENING_MS_PER_SECOND / 2, options),
    }
    this.#handshakes = this.#admissions.inbox.line()
    this.#sessions = new IncomingSessions(nc, {
      ...options,
      line: this.#handshakes,
      onHandshake: (message) => this.takeHandshake(message),
    })
    const mayNotOpen = (): boolean => this.#mayNotOpen()
    const windows = new SenderWindows(() => clock.latest, onForgotten)
    this.#windows = windows
    this.#sealed = new SealedReceiver({ ...options, sessions: this.#sessions, windows, mayNotOpen })
    this.#frames = new FrameReceiver({ ...options, sessions: this.#sessions, mayNotOpen })
    this.#stopListening = link.onChange(() => {
      this.#frames.directoryChanged()
      this.#sealed.directoryChanged()
    })
  }

  /** A line for the messages of one subscription that wait for budget to be opened. */
  line(share: BudgetShare): AdmissionLine {
    return this.#admissions[share].line()
  }

  /** Takes one delivered message. It is delivered at once, later in its sender's order, or never. */
  take(delivered: NatsMessage, arrival: Arrival): void {
    const { reject } = this.#options
    const type = wireType(delivered.data)
    if (type === undefined) return reject('plaintext', delivered)
    if (this.#mayNotOpen()) return reject('stale', delivered)
    if (type === WireType.frame) this.#frames.take(delivered, arrival)
    else if (type === WireType.sealed || type === WireType.handshake)
      this.#sealed.take({ delivered, arrival, line: arrival.line })
    else reject('malformed', delivered)
  }

  /** Takes a handshake from a subject of the protocol: one's own inbox, or where one was asked for. */
  takeHandshake(delivered: NatsMessage): void {
    if (wireType(delivered.data) !== WireType.handshake) return
    if (this.#mayNotOpen()) return this.#options.reject('stale', delivered)
    this.#sealed.take({ delivered, arrival: undefined, line: this.#handshakes })
  }

  /** Whether replay windows of this announcement or session (in hexadecimal) are still needed. */
  needsWindow(key: string): boolean {
    return this.#windows.holds(key) || this.#sessions.holds(key)
  }

  /** The windows of an announcement or session (in hexadecimal) take so many bytes more, or less, than before. */
  countWindows(key: string, bytes: number): void {
    this.#sessions.countWindows(key, bytes)
  }

  /** Forgets what is long over: sessions, and what guards against messages that are too old. */
  prune(): void {
    this.#sessions.prune()
    this.#windows.prune()
  }

  /**
   * Resolves when nothing waits that came by the subscription of this line: for budget, its sender's announcement or its
   * session's handshake. What others send by other subscriptions holds it up no longer.
   */
  async idle(line: AdmissionLine): Promise<void> {
    await line.idle()
    await this.#sealed.idle(line)
    await this.#sessions.idle(line)
    // A frame whose handshake has come waits for budget where somebody forges in its session.
    await line.idle()
  }

  close(): void {
    this.#stopListening()
    this.#admissions.inbox.close()
    this.#admissions.subscriptions.close()
    this.#sealed.close()
    this.#sessions.close()
  }

  #mayNotOpen(): boolean {
    try {
      this.#options.link.assertUsable()
      return false
    } catch {
      return true
    }
  }
}
