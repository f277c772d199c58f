/**
 * One operation of the NATS client protocol. `PUB` and `MSG` with headers are `HPUB` and `HMSG` on the line. An
 * operation is never changed: what differs is another object, made with a spread.
 */
export type NatsOp =
  | { readonly kind: 'INFO' | 'CONNECT'; readonly json: string }
  | { readonly kind: 'PING' | 'PONG' | '+OK' }
  | { readonly kind: '-ERR'; readonly text: string }
  | SubOp
  | { readonly kind: 'UNSUB'; readonly sid: string; readonly max: number | undefined }
  | PubOp
  | MsgOp

/** A client subscribes: what matches `subject` comes back under `sid`. */
export interface SubOp {
  readonly kind: 'SUB'
  readonly subject: string
  readonly queue: string | undefined
  readonly sid: string
}

/** A client publishes. */
export interface PubOp extends Carried {
  readonly kind: 'PUB'
}

/** The server delivers. Clients look for the handler by `sid` alone. */
export interface MsgOp extends Carried {
  readonly kind: 'MSG'
  readonly sid: string
}

/** What a message consists of on its way in either direction. */
interface Carried {
  readonly subject: string
  readonly reply: string | undefined
  /** The header block as it is on the line, from `NATS/1.0` to the empty line. */
  readonly headers: Buffer | undefined
  readonly payload: Buffer
}

/** Which way an operation goes. */
export type Direction = 'to server' | 'to client'

/** Whether an operation carries a message, in either direction. */
export function isMessage(op: NatsOp): op is PubOp | MsgOp {
  return op.kind === 'PUB' || op.kind === 'MSG'
}

/** The bytes of an operation, as the reference clients and the server write it. */
export function encodeOp(op: NatsOp): Buffer {
  switch (op.kind) {
    case 'INFO':
    case 'CONNECT':
      return line(op.kind, op.json)
    case 'PING':
    case 'PONG':
    case '+OK':
      return line(op.kind)
    case '-ERR':
      return line(op.kind, op.text)
    case 'SUB':
      return line('SUB', op.subject, op.queue, op.sid)
    case 'UNSUB':
      return line('UNSUB', op.sid, op.max)
    case 'PUB':
      return carried('PUB', op, undefined)
    case 'MSG':
      return carried('MSG', op, op.sid)
  }
}

function carried(verb: 'PUB' | 'MSG', op: Carried, sid: string | undefined): Buffer {
  const { subject, reply, headers, payload } = op
  if (headers === undefined)
    return Buffer.concat([line(verb, subject, sid, reply, payload.length), payload, CRLF])
  const total = headers.length + payload.length
  return Buffer.concat([line(`H${verb}`, subject, sid, reply, headers.length, total), headers, payload, CRLF])
}

const CRLF = Buffer.from('\r\n')

function line(...parts: readonly (string | number | undefined)[]): Buffer {
  return Buffer.from(`${parts.filter((part) => part !== undefined).join(' ')}\r\n`)
}
