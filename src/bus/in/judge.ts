import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { Epoch } from '../../keys/epochs.ts'
import { clearHeadersMatch } from '../messages/headers.ts'
import type { Opened } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { RejectReason } from '../status.ts'
import type { Arrival } from './arrival.ts'
import { PermittedSubjects } from './permitted-subjects.ts'
import { seenIn } from './replay.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** A message or frame that was opened and whose sender is proved. */
export interface Candidate {
  readonly opened: Opened
  readonly sender: VerifiedAnnouncement
  readonly epoch: Epoch
  /** How long after it was sent it may be delivered, in ms; 0 for no limit of its own. */
  readonly ttlMs: number
  /** Its replay window (of an announcement, or of a session, in hexadecimal), and its number there, from 1. */
  readonly window: string
  readonly seq: number
  /** Whether a window that has given way to others may have seen it. */
  readonly mayBeKnown: boolean
  /** Whether it holds many payloads. */
  readonly isMany: boolean
}

/** Where it arrived, and by what it is judged. */
export interface Court {
  readonly delivered: NatsMessage
  readonly arrival: Arrival
  readonly policy: SubjectPolicy
  readonly now: Moment
}

/** One reading of the clock: everything about one arrival is judged by it. */
export interface Moment {
  /** The wall clock: what is too new is judged by it. */
  readonly nowMs: number
  /** The time that it is at least: what is too old is judged by it. */
  readonly notBeforeMs: number
}

/**
 * The last word on everything that arrives: whether a message or frame that was opened is delivered. SPEC, "Opening".
 *
 * All that arrives is asked the same questions in the same order, the cheap ones first, and nothing secret before the
 * seal is open:
 *
 *  1. Does its subscription cover the delivered subject, and are its headers in clear short enough to be parsed?
 *     `misrouted`, `headers` (`subscribeSafely`)
 *  2. Is it of this protocol? `plaintext`. May this agent open now? `stale`
 *  3. Is it of its form and sizes? `malformed`, `suite`
 *  4. Is it for an own key, of that key's epoch? `epoch`; for others, it is dropped quietly. A frame: is its session
 *     held, its sender still trusted? `unknown session`, `revoked`, `session`
 *  5. Is the time that it shows in clear right? `time`
 *  6. Is it known? `replay`; a handshake that is known changes nothing
 *  7. Is there budget to open it? Where not, it waits: `flood` when it waits too long. A frame needs none, but in a session
 *     in which somebody forges
 *  8. Does the key agreement, the commitment, the AEAD hold? `wrap`, `commitment`, `ciphertext`. Then it is noted as known
 *  9. Are padding and content of their form? `padding`, `content`
 * 10. Is its sender known, trusted, of this epoch? `unknown sender`, `revoked`, `epoch`
 * 11. Did that sender sign it? `signature`. A frame's signature comes last, after 16: anybody can repeat a recorded frame
 *     where it is not wanted, for an AEAD, and must not have a signature verified for that
 *
 * and then, here:
 *
 * 12. Is it on the subject that was sealed? `subject`
 * 13. Are the clear headers those that were sealed? `headers`
 * 14. May the sender publish there, or was it asked for this response? `not permitted`, `not a response`
 * 15. Is it in time, its own limit included? `time`
 * 16. Is its number new in this subscription, and was it sent after all that a forgotten window has seen? `replay`
 *
 * Nothing is changed by asking: whoever delivers it marks its number afterwards.
 *
 * @returns why it is not delivered; `undefined` where it is
 */
export function judge(candidate: Candidate, court: Court): RejectReason | undefined {
  const { opened, sender, epoch, ttlMs, window, seq } = candidate
  const { delivered, arrival, policy, now } = court
  const isResponse = arrival.mayRespond !== undefined
  // A response comes back to the very inbox that was sealed in the request, whatever mappings there are.
  const isWhereItBelongs = isResponse
    ? opened.subject === delivered.subject
    : policy.accepts(opened.subject, delivered.subject)
  if (!isWhereItBelongs) return 'subject'
  if (!clearHeadersMatch(delivered, opened.clearHeaders)) return 'headers'
  if (isResponse) {
    if (candidate.isMany || !arrival.mayRespond(opened, sender)) return 'not a response'
  } else if (!PermittedSubjects.of(sender.claims.permissions.pub).allows(opened.subject))
    return 'not permitted'
  if (!isInTime(opened.sentAtMs, epoch, { ttlMs, now })) return 'time'
  if (candidate.mayBeKnown || seenIn(arrival.windows, window, seq)) return 'replay'
  return undefined
}

/** Whether what was sent at this time, in this epoch, may still be delivered. */
function isInTime(
  sentAtMs: number,
  epoch: Epoch,
  { ttlMs, now }: { readonly ttlMs: number; readonly now: Moment },
): boolean {
  if (!isRecent(sentAtMs, now) || !isOfEpoch(sentAtMs, epoch)) return false
  const { notBeforeMs } = now
  return notBeforeMs < epoch.notAfter + epoch.graceMs && (ttlMs === 0 || notBeforeMs <= sentAtMs + ttlMs)
}

/**
 * Whether this sending time is neither too new nor too old by more than the difference of two clocks, and what may lie
 * between sending and arrival on purpose.
 */
export function isRecent(sentAtMs: number, { nowMs, notBeforeMs }: Moment, lifetimeMs = 0): boolean {
  return sentAtMs - nowMs <= CLOCK_WINDOW_MS && notBeforeMs - sentAtMs <= lifetimeMs + CLOCK_WINDOW_MS
}

/** Whether this time lies in the epoch, give or take the difference of two clocks. */
export function isOfEpoch(sentAtMs: number, { notBefore, notAfter }: Epoch): boolean {
  return sentAtMs >= notBefore - CLOCK_WINDOW_MS && sentAtMs <= notAfter + CLOCK_WINDOW_MS
}
