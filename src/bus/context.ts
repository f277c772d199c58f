import type { HouseClock } from '../base/house-clock.ts'
import type { Logger } from '../base/logger.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust } from '../identity/trust.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import type { StatusFeed } from './status.ts'

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
}

/** A context whose events and errors go to the application's status feed and to its log. */
export function makeContext(parts: Omit<Context, 'onError'>): Context {
  const { feed } = parts
  return Object.freeze({ ...parts, onError: (error: unknown) => feed.emit({ type: 'error', error }) })
}
