import { copy } from '../../base/bytes.ts'
import type { NatsMessage } from '../nats-like.ts'

/**
 * A delivered message in memory of its own, for one that waits: the client's message holds the whole chunk that was read
 * from the connection, up to 64 KiB for a few bytes.
 *
 * @param data `'without'` where what the message says is at hand already
 */
export function keep(message: NatsMessage, data: 'with' | 'without' = 'with'): NatsMessage {
  const { subject, sid, reply, headers } = message
  return {
    subject,
    sid,
    ...(reply === undefined ? {} : { reply }),
    ...(headers === undefined ? {} : { headers }),
    data: data === 'with' ? copy(message.data) : NOTHING,
  }
}

const NOTHING = new Uint8Array(0)
