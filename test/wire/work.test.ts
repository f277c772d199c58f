import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { decodeFrameContent, decodePayloads } from '../../src/wire/frame.ts'
import {
  decodeHandshake,
  decodeSessionRequest,
  encodeHandshake,
  encodeSessionRequest,
  SessionMode,
} from '../../src/wire/handshake.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import {
  decodeEpoch,
  decodeNotice,
  decodePlan,
  encodeEpoch,
  encodeNotice,
  encodePlan,
} from '../../src/wire/plans.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodePage, decodeQuery, encodePage, encodeQuery, QueryKind } from '../../src/wire/queries.ts'
import { decodeRefusal, encodeRefusal, RefusalReason } from '../../src/wire/refusal.ts'
import {
  decodeContent,
  decodeSealed,
  encodeContent,
  encodeSealed,
  encodeSealedHeader,
} from '../../src/wire/sealed.ts'
import {
  decodeAnnouncement,
  decodeOrder,
  decodeRevocation,
  decodeSignedAnnouncement,
  decodeStatement,
  encodeAnnouncement,
  encodeOrder,
  encodeRevocation,
  encodeSignedAnnouncement,
  encodeStatement,
} from '../../src/wire/statements.ts'
import { decodeSignedTick, decodeTick, encodeSignedTick, encodeTick } from '../../src/wire/ticks.ts'
import { contentOf } from '../session/pair.ts'
import { decodeLeniently, malformed } from './packable.ts'
import { announcement, content, epoch, header, notice, order, plan, revocation, tick } from './samples.ts'

/** Parsing comes before every budget: what it costs is counted in bytes that are read, which no machine changes. */
const FEW_BYTES = 32
const MANY = 60_000

interface Structure {
  readonly name: string
  readonly good: Uint8Array
  readonly preambleBytes: number
  readonly decode: (bytes: Uint8Array) => unknown
  /** The message in which it travels. */
  readonly wrap?: (bytes: Uint8Array) => Uint8Array
}

const bare = (name: string, good: Uint8Array, decode: Structure['decode']): Structure => ({
  name,
  good,
  preambleBytes: 0,
  decode,
})
const wire = (name: string, good: Uint8Array, decode: Structure['decode']): Structure => ({
  name,
  good,
  preambleBytes: 3,
  decode,
})

const sixteen = new Uint8Array(16).fill(1)
const signature = new Uint8Array(64).fill(5)
const pairs = [{ name: 'a', value: 'b' }]
const former = { version: 1, rotators: plan().rotators, threshold: 1 }
const full = { reply: 'inbox.1', inReplyTo: sixteen, headers: pairs, clearHeaders: pairs }
const structures: readonly Structure[] = [
  wire('a sealed message', encodeSealed(0, encodeSealedHeader(header()), new Uint8Array(200)), decodeSealed),
  {
    ...bare('a header', encodeSealedHeader(header()), decodeSealed),
    wrap: (bytes) => encodeSealed(0, bytes, new Uint8Array(200)),
  },
  bare('the content of a message', encodeContent(content(full)), decodeContent),
  bare('the content of a frame', contentOf(full, new Uint8Array(9)), decodeFrameContent),
  bare(
    'a handshake',
    encodeHandshake({ mode: SessionMode.signed, maxFrames: 9, lifetimeMs: 9 }),
    decodeHandshake,
  ),
  wire('a session request', encodeSessionRequest(sixteen), decodeSessionRequest),
  wire(
    'a refusal',
    encodeRefusal({ sid: sixteen, kid: sixteen, reason: RefusalReason.ended, tag: sixteen }),
    decodeRefusal,
  ),
  bare('a plan', encodePlan(plan({ version: 2, former })), decodePlan),
  bare('an epoch', encodeEpoch(epoch()), decodeEpoch),
  bare('a notice', encodeNotice(notice()), decodeNotice),
  bare('a tick', encodeTick(tick()), decodeTick),
  wire(
    'a signed tick',
    encodeSignedTick({
      ...{ structure: encodeTick(tick()), signature },
      ...{ nonce: new Uint8Array(16), index: 3, path: new Uint8Array(96) },
    }),
    decodeSignedTick,
  ),
  bare('a revocation', encodeRevocation(revocation()), decodeRevocation),
  bare('an order', encodeOrder(order()), decodeOrder),
  bare('an announcement', encodeAnnouncement(announcement()), decodeAnnouncement),
  wire(
    'a signed statement',
    encodeStatement(WireType.revocation, {
      structure: encodeRevocation(revocation()),
      signature,
      token: 'a.b.c',
    }),
    (bytes) => decodeStatement(WireType.revocation, bytes),
  ),
  wire(
    'a signed announcement',
    encodeSignedAnnouncement({ structure: encodeAnnouncement(announcement()), signature, proof: signature }),
    decodeSignedAnnouncement,
  ),
  wire(
    'a query',
    encodeQuery({ nonce: sixteen, kind: QueryKind.byHash, cursor: new Uint8Array(32) }),
    decodeQuery,
  ),
  wire(
    'a page',
    encodePage({
      nonce: sixteen,
      kind: QueryKind.announcements,
      statements: [new Uint8Array(9)],
      next: new Uint8Array(8),
    }),
    decodePage,
  ),
]

/** What stands in the place of a field: as much as fits into the smallest message that has a limit. */
const junk: Readonly<Record<string, Packable>> = {
  'an array of integers': new Array<Packable>(MANY).fill(1),
  'an array of empty arrays': new Array<Packable>(MANY).fill([]),
  'an array of nils': new Array<Packable>(MANY).fill(undefined),
  'an array of pairs': new Array<Packable>(MANY / 4).fill(['', '']),
  'a long string': 'a'.repeat(MANY),
}

let read = 0
const originals = new WeakMap<Uint8Array, Uint8Array>()

beforeEach(() => {
  read = 0
  const { decode } = TextDecoder.prototype
  vi.spyOn(TextDecoder.prototype, 'decode').mockImplementation(function (
    this: InstanceType<typeof TextDecoder>,
    input,
  ) {
    const bytes = input instanceof Uint8Array ? (originals.get(input) ?? input) : input
    read += bytes?.byteLength ?? 0
    return decode.call(this, bytes)
  })
})
afterEach(() => vi.restoreAllMocks())

/** Bytes of which `read` counts how many are looked at, also through views. */
function metered(bytes: Uint8Array): Uint8Array {
  const proxy = new Proxy(bytes, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) read++
      if (key === 'subarray') return (start: number, end?: number) => metered(target.subarray(start, end))
      if (key === Symbol.iterator) read += target.length
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  originals.set(proxy, bytes)
  return proxy
}

/** How many bytes are read of what is not refused. */
function workOf({ decode, wrap = (whole) => whole }: Structure, bytes: Uint8Array): number {
  read = 0
  decode(metered(wrap(bytes)))
  return read
}

/** As {@link workOf}, of what is refused, which it must be without the meter too. */
function workOfRefused(structure: Structure, bytes: Uint8Array): number {
  const { decode, wrap = (whole) => whole } = structure
  expect(() => decode(wrap(bytes))).toThrow(malformed)
  read = 0
  expect(() => decode(metered(wrap(bytes)))).toThrow(malformed)
  return read
}

function fieldsOf({ good, preambleBytes }: Structure): readonly Packable[] {
  return decodeLeniently(good.subarray(preambleBytes)) ?? []
}

function encoded({ good, preambleBytes }: Structure, fields: readonly Packable[]): Uint8Array {
  return concat(good.subarray(0, preambleBytes), pack(fields))
}

describe.each(structures)('the parser of $name', (structure) => {
  it.each(Object.entries(junk))('reads next to nothing of %s in the place of any field', (_, value) => {
    const fields = fieldsOf(structure)
    const enough = workOf(structure, structure.good) + FEW_BYTES
    for (const place of fields.keys()) {
      const bytes = encoded(structure, fields.with(place, value))
      expect(workOfRefused(structure, bytes)).toBeLessThanOrEqual(enough)
    }
  })

  it.each(Object.entries(junk))('reads next to nothing of %s behind the last field', (_, value) => {
    const bytes = encoded(structure, [...fieldsOf(structure), value])
    expect(workOfRefused(structure, bytes)).toBeLessThanOrEqual(FEW_BYTES)
    const behind = concat(structure.good, pack([value]))
    expect(workOfRefused(structure, behind)).toBeLessThanOrEqual(
      workOf(structure, structure.good) + FEW_BYTES,
    )
  })
})

describe('a message that is junk', () => {
  const parser = (decode: Structure['decode']) => bare('junk', new Uint8Array(0), decode)

  it('is refused at its first byte, whether it has a megabyte or sixty', () => {
    for (const count of [16, 1000]) {
      const wire = concat(
        Uint8Array.of(0xc1, 0x01, 0),
        pack(new Array<Packable>(count).fill(junk['an array of nils'])),
      )
      expect(workOfRefused(parser(decodeSealed), wire)).toBeLessThanOrEqual(FEW_BYTES)
    }
  })

  it('is refused at its first byte where it nests a million arrays', () => {
    const nested = new Uint8Array(1_000_000).fill(0x91)
    for (const structure of structures) {
      expect(workOfRefused(structure, nested)).toBeLessThanOrEqual(FEW_BYTES)
    }
  })

  it('is refused at the first item that is wrong in payloads behind a beginning that is known', () => {
    const meta = contentOf({}, new Uint8Array(0)).subarray(0, -2)
    const decode = (bytes: Uint8Array) => decodePayloads(bytes, meta.length)
    for (const value of Object.values(junk)) {
      const bytes = concat(meta, pack([value]).subarray(1))
      expect(workOfRefused(parser(decode), bytes)).toBeLessThanOrEqual(FEW_BYTES)
    }
  })
})
