import type { Unsealed } from '../../envelope/open.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { HeaderPair } from '../../wire/sealed.ts'
import type { NatsMessage } from '../nats-like.ts'

/**
 * How a message is sealed. `session`: one handshake pays for the key agreement, and a signature for the messages of one
 * turn of the event loop. `channel`: to one instance alone, and without signatures: as in TLS, either end could have
 * written it. `message`: self-contained, with a key agreement and a signature of its own. SPEC, "Sessions".
 */
export type SealMode = 'session' | 'channel' | 'message'

/** A message that was opened, whichever way it was sealed. */
export interface Opened {
  readonly mode: SealMode
  /** What a response names it by: the message id, or sid, salt and counter of a frame. */
  readonly id: Uint8Array
  readonly epoch: number
  readonly epochHash: Uint8Array
  readonly sentAtMs: number
  /** How many instances it was sealed to. */
  readonly recipients: number
  readonly subject: string
  readonly reply: string | undefined
  readonly inReplyTo: Uint8Array | undefined
  readonly headers: readonly HeaderPair[]
  readonly clearHeaders: readonly HeaderPair[]
  readonly payload: Uint8Array
}

/** A message that was opened, and whose sender, permission, time and novelty were checked. */
export interface Received {
  readonly opened: Opened
  readonly sender: VerifiedAnnouncement
  readonly delivered: NatsMessage
}

/** A self-contained message as one that was opened. */
export function openedMessage(message: Unsealed): Opened {
  const { content, mid, epoch, epochHash, sentAtMs, recipients } = message
  const { subject, reply, inReplyTo, headers, clearHeaders, payload } = content
  return {
    mode: 'message',
    id: mid,
    epoch,
    epochHash,
    sentAtMs,
    recipients,
    subject,
    reply,
    inReplyTo,
    headers,
    clearHeaders,
    payload,
  }
}

/** One of the payloads of a frame that holds many. */
export function withPayload(opened: Opened, payload: Uint8Array): Opened {
  const { mode, id, epoch, epochHash, sentAtMs, recipients } = opened
  const { subject, reply, inReplyTo, headers, clearHeaders } = opened
  return {
    mode,
    id,
    epoch,
    epochHash,
    sentAtMs,
    recipients,
    subject,
    reply,
    inReplyTo,
    headers,
    clearHeaders,
    payload,
  }
}
