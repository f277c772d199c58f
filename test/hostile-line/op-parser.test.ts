import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeOp, type NatsOp } from '../support/hostile-line/nats-op.ts'
import { OpParser } from '../support/hostile-line/op-parser.ts'

const token = fc.stringMatching(/^[a-zA-Z0-9_$>*-]{1,8}$/)
const subject = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join('.'))
const sid = fc.nat(99_999).map(String)
/** Payloads hold what looks like the protocol, too. */
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom('', '\r\n', 'PING\r\n', 'MSG a 1 5\r\nhello\r\n').map((text) => Buffer.from(text)),
)
const headers = fc.option(
  fc
    .constantFrom('NATS/1.0\r\n\r\n', 'NATS/1.0\r\nA: 1\r\n\r\n', 'NATS/1.0 503\r\n\r\n')
    .map((text) => Buffer.from(text)),
  { nil: undefined },
)
const reply = fc.option(subject, { nil: undefined })
const json = fc.json().map((text) => text.trim())
const op: fc.Arbitrary<NatsOp> = fc.oneof(
  fc.record({ kind: fc.constantFrom('INFO' as const, 'CONNECT' as const), json }),
  fc.record({ kind: fc.constantFrom('PING' as const, 'PONG' as const, '+OK' as const) }),
  fc.record({ kind: fc.constant('-ERR' as const), text: fc.constant("'Authorization Violation'") }),
  fc.record({ kind: fc.constant('SUB' as const), subject, queue: fc.option(token, { nil: undefined }), sid }),
  fc.record({
    kind: fc.constant('UNSUB' as const),
    sid,
    max: fc.option(fc.nat(1000), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('PUB' as const), subject, reply, headers, payload }),
  fc.record({ kind: fc.constant('MSG' as const), subject, sid, reply, headers, payload }),
)

function parseAll(chunks: readonly Buffer[]) {
  const parser = new OpParser()
  return chunks.flatMap((chunk) => [...parser.push(chunk)])
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

describe('the parser of the NATS client protocol', () => {
  it('gives back every operation and every byte, however the stream is cut into chunks', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 })
    fc.assert(
      fc.property(fc.array(op, { maxLength: 12 }), sizes, (ops, chunkSizes) => {
        const stream = Buffer.concat(ops.map(encodeOp))
        const parsed = parseAll(cut(stream, chunkSizes))
        expect(parsed.map((one) => one.op)).toEqual(ops)
        expect(Buffer.concat(parsed.map(({ raw }) => raw)).equals(stream)).toBe(true)
      }),
    )
  })

  it('reads verbs in any case and any number of blanks and tabs, and keeps their bytes', () => {
    const stream = Buffer.from('pub \t a.b   reply.x  2 \r\nhi\r\nSub a.*\tworkers  7\r\nping\r\n')
    const parsed = parseAll([stream])
    expect(parsed.map((one) => one.op)).toEqual([
      { kind: 'PUB', subject: 'a.b', reply: 'reply.x', headers: undefined, payload: Buffer.from('hi') },
      { kind: 'SUB', subject: 'a.*', queue: 'workers', sid: '7' },
      { kind: 'PING' },
    ])
    expect(Buffer.concat(parsed.map(({ raw }) => raw)).equals(stream)).toBe(true)
  })

  it('splits headers from the payload by the sizes of the line', () => {
    const [parsed] = parseAll([Buffer.from('HMSG a.b 9 re.ply 12 14\r\nNATS/1.0\r\n\r\nhi\r\n')])
    expect(parsed?.op).toEqual({
      kind: 'MSG',
      subject: 'a.b',
      sid: '9',
      reply: 're.ply',
      headers: Buffer.from('NATS/1.0\r\n\r\n'),
      payload: Buffer.from('hi'),
    })
  })

  it.each([
    'FETCH a 1\r\n',
    'PUB a\r\n',
    'PUB a -1\r\n',
    'MSG a 5\r\nhello\r\n',
    'HPUB a 9 5\r\n123456789\r\n',
    'SUB a\r\n',
    'UNSUB\r\n',
    `${'x'.repeat(1024 * 1024 + 1)}`,
  ])('refuses %j, which is no operation', (text) => {
    expect(() => parseAll([Buffer.from(text)])).toThrow()
  })

  it('takes a payload of 4 MiB in small chunks', () => {
    const big = encodeOp({
      kind: 'PUB',
      subject: 'a',
      reply: undefined,
      headers: undefined,
      payload: Buffer.alloc(4 * 1024 * 1024),
    })
    const parsed = parseAll(cut(big, [1000]))
    expect(parsed.map(({ raw }) => raw.length)).toEqual([big.length])
  })
})
