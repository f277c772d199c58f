import type { MsgOp, NatsOp, PubOp } from './nats-op.ts'

/** An operation with the very bytes that it came in. */
export interface ParsedOp {
  readonly op: NatsOp
  readonly raw: Buffer
}

/** A line whose payload has not come whole yet. */
interface Announced {
  readonly verb: string
  readonly fields: readonly string[]
  readonly lineBytes: number
  readonly headerBytes: number
  readonly bodyBytes: number
}

const LF = 0x0a
/** A CONNECT with tokens in it is the longest line. */
const MAX_LINE_BYTES = 1024 * 1024
const CRLF_BYTES = 2

/**
 * Reads the NATS client protocol of one direction from chunks of any size. Every byte comes out again, once, in the
 * `raw` of one operation.
 */
export class OpParser {
  #chunks: Buffer[] = []
  #bytes = 0
  /** How many bytes must have come before looking again is worth it. */
  #needed = 1
  /** Bytes at the beginning of what has come in which there is no end of a line. */
  #scanned = 0
  #announced: Announced | undefined;

  /**
   * Takes a chunk and yields the operations that it completes.
   *
   * @throws Error for a line that is no operation of the protocol
   */
  *push(chunk: Buffer): Generator<ParsedOp> {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes >= this.#needed) {
      const all = this.#chunks.length === 1 ? (this.#chunks[0] ?? EMPTY) : Buffer.concat(this.#chunks)
      this.#chunks = [all]
      const parsed = this.#next(all)
      if (parsed === undefined) return
      const rest = all.subarray(parsed.raw.length)
      this.#chunks = rest.length === 0 ? [] : [rest]
      this.#bytes = rest.length
      this.#needed = 1
      this.#scanned = 0
      this.#announced = undefined
      yield parsed
    }
  }

  #next(all: Buffer): ParsedOp | undefined {
    this.#announced ??= this.#readLine(all)
    const announced = this.#announced
    if (announced === undefined) return undefined
    const { lineBytes, bodyBytes } = announced
    const whole = lineBytes + (hasBody(announced.verb) ? bodyBytes + CRLF_BYTES : 0)
    this.#needed = whole
    if (all.length < whole) return undefined
    // A copy: what is recorded must not hold the whole chunk that it came in.
    const raw = Buffer.from(all.subarray(0, whole))
    return { op: readOp(announced, raw), raw }
  }

  #readLine(all: Buffer): Announced | undefined {
    const end = all.indexOf(LF, this.#scanned)
    if (end < 0) {
      if (all.length > MAX_LINE_BYTES) throw new Error(`a line of more than ${MAX_LINE_BYTES} bytes`)
      this.#scanned = all.length
      this.#needed = all.length + 1
      return undefined
    }
    const text = all.toString('utf8', 0, end).trimEnd()
    const gap = /[ \t]/.exec(text)?.index ?? text.length
    const verb = text.slice(0, gap).toUpperCase()
    const rest = text.slice(gap).trimStart()
    const fields = isFreeText(verb) ? [rest] : rest.split(/[ \t]+/).filter((field) => field !== '')
    const sizes = hasBody(verb) ? bodySizes(verb, fields) : { headerBytes: 0, bodyBytes: 0 }
    return { verb, fields, lineBytes: end + 1, ...sizes }
  }
}

const EMPTY = Buffer.alloc(0)

function isFreeText(verb: string): boolean {
  return verb === 'INFO' || verb === 'CONNECT' || verb === '-ERR'
}

function hasBody(verb: string): boolean {
  return verb === 'PUB' || verb === 'HPUB' || verb === 'MSG' || verb === 'HMSG'
}

function bodySizes(verb: string, fields: readonly string[]): Pick<Announced, 'headerBytes' | 'bodyBytes'> {
  const bodyBytes = size(fields.at(-1), verb)
  const headerBytes = verb.startsWith('H') ? size(fields.at(-2), verb) : 0
  if (headerBytes > bodyBytes) throw new Error(`a ${verb} has more bytes of headers than in all`)
  return { headerBytes, bodyBytes }
}

function size(field: string | undefined, verb: string): number {
  if (field === undefined || !/^\d{1,10}$/.test(field)) throw new Error(`a ${verb} has no size: ${field}`)
  return Number(field)
}

function readOp(announced: Announced, raw: Buffer): NatsOp {
  const { verb, fields } = announced
  const [first, second, third] = fields
  switch (verb) {
    case 'INFO':
    case 'CONNECT':
      return { kind: verb, json: first ?? '' }
    case 'PING':
    case 'PONG':
    case '+OK':
      return { kind: verb }
    case '-ERR':
      return { kind: verb, text: first ?? '' }
    case 'SUB':
      if (first === undefined || second === undefined) throw new Error('a SUB lacks its subject or sid')
      return third === undefined
        ? { kind: 'SUB', subject: first, queue: undefined, sid: second }
        : { kind: 'SUB', subject: first, queue: second, sid: third }
    case 'UNSUB':
      if (first === undefined) throw new Error('an UNSUB lacks its sid')
      return { kind: 'UNSUB', sid: first, max: second === undefined ? undefined : Number(second) }
    case 'PUB':
    case 'HPUB':
      return readPub(announced, raw)
    case 'MSG':
    case 'HMSG':
      return readMsg(announced, raw)
    default:
      throw new Error(`not an operation of the NATS client protocol: ${JSON.stringify(verb)}`)
  }
}

function readPub(announced: Announced, raw: Buffer): PubOp {
  const [subject, reply] = beforeSizes(announced)
  if (subject === undefined) throw new Error('a PUB lacks its subject')
  return { kind: 'PUB', subject, reply, ...body(announced, raw) }
}

function readMsg(announced: Announced, raw: Buffer): MsgOp {
  const [subject, sid, reply] = beforeSizes(announced)
  if (subject === undefined || sid === undefined) throw new Error('a MSG lacks its subject or sid')
  return { kind: 'MSG', subject, sid, reply, ...body(announced, raw) }
}

function beforeSizes({ verb, fields }: Announced): readonly string[] {
  return fields.slice(0, verb.startsWith('H') ? -2 : -1)
}

function body({ verb, lineBytes, headerBytes, bodyBytes }: Announced, raw: Buffer) {
  const start = lineBytes + headerBytes
  return {
    headers: verb.startsWith('H') ? raw.subarray(lineBytes, start) : undefined,
    payload: raw.subarray(start, lineBytes + bodyBytes),
  }
}
