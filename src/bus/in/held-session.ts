import { readUint } from '../../base/bytes.ts'
import { CLOCK_WINDOW_MS, FAILED_OPENS_PER_SECOND } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { Epoch } from '../../keys/epochs.ts'
import type { IncomingSession } from '../../session/incoming.ts'
import { type SubscriptionWindows, windowFor } from './replay.ts'

const RECENT_FRAMES = 64
/** Of a kid: as many as a number holds exactly. */
const NAME_BYTES = 6
/** What the numbers of recent frames take, in bytes: two arrays of 64 numbers. */
const RECENT_BYTES = 1536
/**
 * What a session takes by itself, in bytes, with its place among the others and the announcement of its sender, which may
 * be held for it alone. Measured: see the test of the session pool.
 */
export const SESSION_BYTES = 3072

/** Of whom a session comes: its sender, proved by its handshake. */
export interface SessionOrigin {
  readonly sender: VerifiedAnnouncement
  readonly epoch: Epoch
  readonly recipients: number
  /** Of the own key to which the handshake was sealed. */
  readonly kid: Uint8Array
}

/** What an own key is called where there is no room for its kid: an instance has a handful of them. */
export function ownKeyName(kid: Uint8Array): number {
  return readUint(kid, 0, NAME_BYTES)
}

/** A session with what is known of its sender. */
export class HeldSession {
  readonly session: IncomingSession
  readonly sender: VerifiedAnnouncement
  readonly epoch: Epoch
  readonly recipients: number
  /** Of the own key to which the handshake was sealed. */
  readonly kid: Uint8Array
  /** When the rule of time refuses its frames and its handshake, in ms since 1970. */
  readonly until: number
  /** Frames that the key fits and the sender has not signed: only somebody else with the key makes them. */
  forgeries = 0
  /** When the last one of them came, by the monotonic clock. */
  forgedAtMs = 0
  /** When its sender was first told to leave it. */
  toldAtMs: number | undefined
  /** Frames that are opened only to find a clone. Anybody can make one that looks like it. */
  readonly suspicions = new RateLimit(FAILED_OPENS_PER_SECOND)
  /** As of which change of the directory the sender was looked up. */
  checkedAt = -1
  isEnded = false
  /** Whether anything was said in it. */
  hasSpoken = false
  /** In which period of the pool a frame of it was last opened. */
  heardIn = 0
  /** As how many bytes the pool counts it. */
  counted = 0
  /** Until when its key may live, on the clock that goes by the most that can have passed. */
  livesUntil = Number.POSITIVE_INFINITY
  #windowBytes = 0
  /** Counters and salts of the last frames, once there are any: most sessions that are held at once are silent. */
  #recent: { readonly counters: Float64Array; readonly salts: Float64Array } | undefined

  constructor(session: IncomingSession, { sender, epoch, recipients, kid }: SessionOrigin) {
    this.session = session
    this.sender = sender
    this.epoch = epoch
    this.recipients = recipients
    this.kid = kid
    this.until = Math.min(session.endsAtMs + CLOCK_WINDOW_MS, epoch.notAfter + epoch.graceMs)
  }

  /** How much memory it takes, in bytes, with the replay windows that it has in subscriptions. */
  get bytes(): number {
    return (
      SESSION_BYTES + this.session.bytes + this.#windowBytes + (this.#recent === undefined ? 0 : RECENT_BYTES)
    )
  }

  /** Marks a number in the replay window of a subscription, and remembers the frame. Everything about it is proved. */
  mark(windows: SubscriptionWindows, { seq, salt }: { readonly seq: number; readonly salt: number }): void {
    const before = windows.get(this.session.sid)?.bytes ?? 0
    const window = windowFor(windows, this.session.sid)
    window.mark(seq)
    this.#windowBytes += window.bytes - before
    this.#remember(seq, salt)
  }

  /** Somebody has forged a frame of it. */
  forged(nowMs: number): void {
    this.forgeries++
    this.forgedAtMs = nowMs
  }

  /** Its windows take so many bytes more, or less, without a frame: a subscription began or ended. */
  countWindows(bytes: number): void {
    this.#windowBytes += bytes
  }

  /** Gives back the memory that only saves work: what was proved of batches, and what is known of the last frames. */
  slim(): void {
    this.session.forget()
    this.#recent = undefined
  }

  /** Whether a frame of this number was opened lately, with another salt: a cloned process repeats its numbers. */
  hasOther(seq: number, salt: number): boolean {
    const slot = seq % RECENT_FRAMES
    return this.#recent?.counters[slot] === seq && this.#recent.salts[slot] !== salt
  }

  #remember(seq: number, salt: number): void {
    this.#recent ??= {
      counters: new Float64Array(RECENT_FRAMES).fill(-1),
      salts: new Float64Array(RECENT_FRAMES),
    }
    const slot = seq % RECENT_FRAMES
    this.#recent.counters[slot] = seq
    this.#recent.salts[slot] = salt
  }
}
