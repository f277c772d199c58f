import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import type { Opened, Received } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { SubscriptionWindows } from './replay.ts'

/** Where a message arrived, and what becomes of it. */
export interface Arrival {
  readonly windows: SubscriptionWindows
  /** Called with a message that is good. */
  readonly deliver: (received: Received) => void
  /** Called when nothing in it is for this instance. */
  readonly onUnaddressed?: (delivered: NatsMessage) => void
  /**
   * Takes the place of the check that the sender may publish on the subject: for responses, which only an instance
   * may send that was asked.
   */
  readonly mayRespond?: (opened: Opened, sender: VerifiedAnnouncement) => boolean
}

/** Whether a message comes in time, and was sent in its epoch. */
export function isInTime(
  { sentAtMs }: { readonly sentAtMs: number },
  epoch: AcceptedEpoch,
  { nowMs, ttlMs }: { readonly nowMs: number; readonly ttlMs: number },
): boolean {
  if (Math.abs(nowMs - sentAtMs) > CLOCK_WINDOW_MS || !isOfEpoch(sentAtMs, epoch)) return false
  if (nowMs >= epoch.notAfter + epoch.graceMs) return false
  return ttlMs === 0 || nowMs <= sentAtMs + ttlMs
}

/** Whether this time lies in the epoch, give or take the difference of two clocks. */
export function isOfEpoch(sentAtMs: number, { notBefore, notAfter }: AcceptedEpoch): boolean {
  return sentAtMs >= notBefore - CLOCK_WINDOW_MS && sentAtMs <= notAfter + CLOCK_WINDOW_MS
}
