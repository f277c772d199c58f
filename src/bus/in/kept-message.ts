import { copy } from '../../base/bytes.ts'
import { MAX_FREE_HEADER_BYTES } from '../../base/limits.ts'
import { headerBytes } from '../messages/headers.ts'
import type { NatsMessage } from '../nats-like.ts'

/** What clients read from a connection at once, at most. */
const CHUNK_BYTES = 65_536

/** A message that waits, and the memory that it takes. */
export interface KeptMessage {
  readonly message: NatsMessage
  readonly bytes: number
}

/**
 * A delivered message in memory of its own, for one that waits: the client's message holds the whole chunk that was read
 * from the connection, up to 64 KiB for a few bytes. One with long headers is kept as it is, and counted so: to copy them
 * they would have to be parsed, for which there is no budget yet.
 *
 * @param data `'without'` where what the message says is at hand already
 */
export function keep(message: NatsMessage, data: 'with' | 'without' = 'with'): KeptMessage {
  const { subject, sid, reply } = message
  const size = message.size?.() ?? message.data.length
  if (headerBytes(message) > MAX_FREE_HEADER_BYTES) return { message, bytes: Math.max(size, CHUNK_BYTES) }
  const { length } = message.data
  const own = data === 'with' ? copy(message.data) : NOTHING
  const kept = {
    subject,
    sid,
    ...(reply === undefined ? {} : { reply }),
    data: own,
    size: () => size - length + own.length,
  }
  return { message: withHeaders(kept, message), bytes: size }
}

const NOTHING = new Uint8Array(0)

function withHeaders(kept: NatsMessage, message: NatsMessage): NatsMessage {
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
