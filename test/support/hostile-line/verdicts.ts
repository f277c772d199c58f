import type { LineConnection } from './line-connection.ts'
import type { Direction, MsgOp, NatsOp, PubOp } from './nats-op.ts'

/** An operation that has come to the line, and what it goes by. */
export interface Crossing {
  /** Its place in the record. */
  readonly number: number
  /** When it came, by the line's clock: milliseconds since 1970. */
  readonly atMs: number
  readonly connection: LineConnection
  readonly direction: Direction
  readonly op: NatsOp
}

/** A crossing that carries a message. */
export interface MessageCrossing extends Crossing {
  readonly op: PubOp | MsgOp
}

/** One operation that the line lets go on. */
interface Verdict {
  readonly op: NatsOp
  /** Milliseconds to wait first, by the line's clock. Default: none. */
  readonly afterMs?: number
  /** Another connection, where it goes on in the same direction. Default: the one on which it came. */
  readonly on?: LineConnection
}

/** What becomes of a crossing: nothing, or any number of operations, in this order. */
export type Verdicts = readonly Verdict[]

/** Lets it go on as it came, byte for byte. */
export function pass({ op }: Crossing): Verdicts {
  return [{ op }]
}

/** It does not arrive. */
export function drop(): Verdicts {
  return []
}

/** It arrives so many milliseconds later, by the line's clock. */
export function delay({ op }: Crossing, afterMs: number): Verdicts {
  return [{ op, afterMs }]
}

/** It arrives more than once. */
export function repeat({ op }: Crossing, times = 2): Verdicts {
  return Array.from({ length: times }, () => ({ op }))
}

/** It arrives with another subject, reply subject, sid, header block or payload. */
export function alter({ op }: MessageCrossing, changes: Partial<Omit<MsgOp, 'kind'>>): Verdicts {
  return [{ op: { ...op, ...changes } }]
}

/** It arrives under another sid of its connection, or of another one: a client looks for the handler by the sid alone. */
export function moveToSid({ op }: MessageCrossing, sid: string, on?: LineConnection): Verdicts {
  const moved: NatsOp = { ...op, kind: 'MSG', sid }
  return [on === undefined ? { op: moved } : { op: moved, on }]
}

/** A copy with one byte that differs: `at` is counted round the buffer. Of an empty one, one byte that was not there. */
export function flipByte(bytes: Buffer, at: number): Buffer {
  if (bytes.length === 0) return Buffer.of(0)
  const copy = Buffer.from(bytes)
  const place = at % copy.length
  copy.writeUInt8(copy.readUInt8(place) ^ 0x01, place)
  return copy
}
