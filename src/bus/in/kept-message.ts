import { copy } from '../../base/bytes.ts'
import type { NatsMessage } from '../nats-like.ts'

/**
 * A delivered message in memory of its own, for one that waits: the client's message holds the whole chunk that was read
 * from the connection, up to 64 KiB for a few bytes.
 *
 * @param data `'without'` where what the message says is at hand already
 */
export function keep(message: NatsMessage, data: 'with' | 'without' = 'with'): NatsMessage {
  const { subject, sid, reply } = message
  const kept = {
    subject,
    sid,
    ...(reply === undefined ? {} : { reply }),
    data: data === 'with' ? copy(message.data) : NOTHING,
  }
  try {
    const { headers } = message
    return headers === undefined ? kept : { ...kept, headers }
  } catch (error) {
    // Clients read headers when they are asked for, and throw where they do not parse: so does what is kept.
    return Object.defineProperty(kept, 'headers', {
      get() {
        throw error
      },
    })
  }
}

const NOTHING = new Uint8Array(0)
