import { headerBytes } from './messages/headers.ts'
import type { NatsMessage } from './nats-like.ts'

/** Header of the empty reply of a queue worker that a request was not sealed to. It is not authenticated. */
export const STATUS_HEADER = 'Subrosa-Status'
export const STATUS_UNADDRESSED = 'unaddressed'

const NO_RESPONDERS = 503
/** Hints are short: to parse longer headers takes time that anybody could spend. */
const MAX_HINT_BYTES = 128

/** What an empty message can say to whoever waits for an answer. */
type Hint = 'no responders' | 'unaddressed'

/**
 * What the server, or a worker, says in clear. It is not authenticated, and so only ever ends a question. The client throws
 * for headers that do not parse: they say nothing, and the message is judged as any other.
 */
export function hintIn(message: NatsMessage): Hint | undefined {
  if (message.data.length > 0 || headerBytes(message) > MAX_HINT_BYTES) return undefined
  try {
    return readHint(message)
  } catch {
    return undefined
  }
}

function readHint({ headers }: NatsMessage): Hint | undefined {
  if (headers === undefined) return undefined
  if (headers.code === NO_RESPONDERS) return 'no responders'
  for (const [name, [value]] of headers) {
    if (name.toLowerCase() === STATUS_HEADER.toLowerCase() && value === STATUS_UNADDRESSED)
      return 'unaddressed'
  }
  return undefined
}
