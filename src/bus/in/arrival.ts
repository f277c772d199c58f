import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { Opened, Received } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { AdmissionLine } from './admission.ts'
import type { SubscriptionWindows } from './replay.ts'

/** Where a message arrived, and what becomes of it. */
export interface Arrival {
  /** Names the subscription among all of this connection. */
  readonly subscription: number
  readonly windows: SubscriptionWindows
  /** Its line for the budget of openings. */
  readonly line: AdmissionLine
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
