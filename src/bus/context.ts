import type { HouseClock } from '../base/house-clock.ts'
import type { Logger } from '../base/logger.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust } from '../identity/trust.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import type { RejectReason, StatusFeed } from './status.ts'

/** What every part of one connection works with. It is made once, by the connection, and passed on as it is. */
export interface Context {
  readonly engine: CryptoEngine
  readonly clock: HouseClock
  readonly subjects: ProtocolSubjects
  readonly trust: Trust
  readonly log: Logger
  /** What the application reads as `status()`; each event is also logged. */
  readonly feed: StatusFeed
  /** Reports what a callback of the application threw, or what should not have happened. It never throws. */
  readonly onError: (error: unknown) => void
  /** Counts and reports an arrival that is not delivered. */
  readonly reject: (reason: RejectReason, delivered: { readonly subject: string }) => void
}

/** What a context is made from. */
export type ContextParts = Omit<Context, 'onError' | 'reject'>

/** A context whose events and errors go to the application's status feed and to its log. */
export function makeContext(parts: ContextParts): Context {
  const { feed } = parts
  return Object.freeze({
    ...parts,
    onError: (error: unknown) => feed.emit({ type: 'error', error }),
    reject: (reason, { subject }) => feed.emit({ type: 'rejected', reason, subject }),
  } satisfies Context)
}
