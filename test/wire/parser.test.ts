import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { samePublic } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { decodeFrameContent } from '../../src/wire/frame.ts'
import {
  decodeHandshake,
  decodeSessionRequest,
  encodeHandshake,
  encodeSessionRequest,
  SessionMode,
} from '../../src/wire/handshake.ts'
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
import { mutationsOf, packedArrays } from './mutations.ts'
import { malformed } from './packable.ts'
import {
  announcement,
  content,
  epoch,
  header,
  laterSchedule,
  notice,
  order,
  plan,
  revocation,
  rotators,
  schedule,
  tick,
} from './samples.ts'

interface Codec {
  readonly name: string
  /** Good messages, which are changed. */
  readonly samples: readonly Uint8Array[]
  /** What stands before the array of fields. */
  readonly prefix: Uint8Array
  /** Decodes and encodes again: every encoding is the only one of its meaning. */
  readonly roundTrip: (bytes: Uint8Array) => Uint8Array
  /** Whether what is well-formed can break rules of its own. */
  readonly mayBreakRules?: boolean
}

const bare = new Uint8Array(0)
const wire = (type: number) => Uint8Array.of(0xc1, 0x01, type)
const signature = new Uint8Array(64).fill(5)
const sixteen = (fill: number) => new Uint8Array(16).fill(fill)

const codecs: readonly Codec[] = [
  ...([WireType.sealed, WireType.handshake] as const).map((type) => ({
    name: `decodeSealed of type ${type}`,
    prefix: wire(type),
    samples: [
      encodeSealed(type, encodeSealedHeader(header({ type, recipients: 2 })), new Uint8Array(200).fill(1)),
    ],
    roundTrip: (bytes: Uint8Array) => {
      const { header: read, commitment, ciphertext } = decodeSealed(bytes)
      const body = new Uint8Array(commitment.length + ciphertext.length)
      body.set(commitment)
      body.set(ciphertext, commitment.length)
      return encodeSealed(read.type, encodeSealedHeader(read), body)
    },
  })),
  {
    name: 'decodeContent',
    prefix: bare,
    samples: [
      encodeContent(content()),
      encodeContent(
        content({
          reply: 'inbox.1',
          inReplyTo: new Uint8Array(16),
          headers: [{ name: 'a', value: 'b' }],
          clearHeaders: [{ name: 'Nats-Msg-Id', value: '1' }],
        }),
      ),
    ],
    roundTrip: (bytes) => encodeContent(decodeContent(bytes)),
  },
  {
    name: 'decodeFrameContent',
    prefix: bare,
    samples: [
      contentOf({}, new Uint8Array(20).fill(1)),
      contentOf({ ttlMs: 2 ** 31 }, new Uint8Array(300), new Uint8Array(0)),
      contentOf(
        {
          reply: 'inbox.1',
          inReplyTo: new Uint8Array(40),
          headers: [{ name: 'a', value: 'b' }],
          clearHeaders: [{ name: 'Nats-Msg-Id', value: '1' }],
        },
        new Uint8Array(0),
      ),
    ],
    roundTrip: (bytes) => {
      const { meta, payloads } = decodeFrameContent(bytes)
      return contentOf(meta, ...payloads)
    },
  },
  {
    name: 'decodeHandshake',
    prefix: bare,
    samples: [
      encodeHandshake({ mode: SessionMode.signed, maxFrames: 2 ** 20, lifetimeMs: 900_000 }),
      encodeHandshake({ mode: SessionMode.channel, maxFrames: 1, lifetimeMs: 0 }),
    ],
    roundTrip: (bytes) => encodeHandshake(decodeHandshake(bytes)),
  },
  {
    name: 'decodeSessionRequest',
    prefix: wire(WireType.sessionRequest),
    samples: [encodeSessionRequest(new Uint8Array(16).fill(5))],
    roundTrip: (bytes) => encodeSessionRequest(decodeSessionRequest(bytes)),
  },
  {
    name: 'decodeRefusal',
    prefix: wire(WireType.refusal),
    samples: Object.values(RefusalReason).map((reason) =>
      encodeRefusal({ sid: sixteen(1), kid: sixteen(2), reason, tag: sixteen(3) }),
    ),
    roundTrip: (bytes) => encodeRefusal(decodeRefusal(bytes)),
  },
  {
    name: 'decodePlan',
    prefix: bare,
    samples: [
      encodePlan(plan()),
      encodePlan(
        plan({
          version: 2,
          rotators: rotators(3),
          threshold: 2,
          former: { version: 1, rotators: rotators(1), threshold: 1 },
          schedules: [schedule(), laterSchedule(40)],
        }),
      ),
    ],
    roundTrip: (bytes) => encodePlan(decodePlan(bytes)),
    mayBreakRules: true,
  },
  {
    name: 'decodeEpoch',
    prefix: bare,
    samples: [encodeEpoch(epoch()), encodeEpoch(epoch({ suites: [1, 2, 255] }))],
    roundTrip: (bytes) => encodeEpoch(decodeEpoch(bytes)),
  },
  {
    name: 'decodeNotice',
    prefix: bare,
    samples: [encodeNotice(notice())],
    roundTrip: (bytes) => encodeNotice(decodeNotice(bytes)),
  },
  {
    name: 'decodeTick',
    prefix: bare,
    samples: [
      encodeTick(tick()),
      encodeTick(tick({ standing: 0, leaves: 0, nonceRoot: new Uint8Array(32) })),
    ],
    roundTrip: (bytes) => encodeTick(decodeTick(bytes)),
  },
  {
    name: 'decodeSignedTick',
    prefix: wire(WireType.tick),
    samples: [
      encodeSignedTick({
        ...{ structure: encodeTick(tick()), signature },
        ...{ nonce: undefined, index: undefined, path: undefined },
      }),
      encodeSignedTick({
        ...{ structure: encodeTick(tick()), signature },
        ...{ nonce: new Uint8Array(16), index: 0, path: bare },
      }),
      encodeSignedTick({
        ...{ structure: bare, signature },
        ...{ nonce: new Uint8Array(16), index: 4095, path: new Uint8Array(384) },
      }),
    ],
    roundTrip: (bytes) => encodeSignedTick(decodeSignedTick(bytes)),
  },
  {
    name: 'decodeRevocation',
    prefix: bare,
    samples: [encodeRevocation(revocation())],
    roundTrip: (bytes) => encodeRevocation(decodeRevocation(bytes)),
  },
  {
    name: 'decodeOrder',
    prefix: bare,
    samples: [encodeOrder(order())],
    roundTrip: (bytes) => encodeOrder(decodeOrder(bytes)),
  },
  {
    name: 'decodeAnnouncement',
    prefix: bare,
    samples: [
      encodeAnnouncement(announcement()),
      encodeAnnouncement(announcement({ keys: [], messageKey: new Uint8Array(0) })),
    ],
    roundTrip: (bytes) => encodeAnnouncement(decodeAnnouncement(bytes)),
  },
  ...([WireType.notice, WireType.revocation, WireType.order, WireType.plan] as const).map((type) => ({
    name: `decodeStatement of type ${type}`,
    prefix: wire(type),
    samples: [
      encodeStatement(type, { structure: encodeEpoch(epoch()), signature, token: undefined }),
      ...(type === WireType.revocation
        ? [encodeStatement(type, { structure: encodeRevocation(revocation()), signature, token: 'a.b.c' })]
        : []),
    ],
    roundTrip: (bytes: Uint8Array) => encodeStatement(type, decodeStatement(type, bytes)),
  })),
  {
    name: 'decodeSignedAnnouncement',
    prefix: wire(WireType.announcement),
    samples: [
      encodeSignedAnnouncement({
        structure: encodeAnnouncement(announcement()),
        signature,
        proof: signature,
      }),
      encodeSignedAnnouncement({ structure: bare, signature, proof: undefined }),
    ],
    roundTrip: (bytes) => encodeSignedAnnouncement(decodeSignedAnnouncement(bytes)),
  },
  {
    name: 'decodeQuery',
    prefix: wire(WireType.query),
    samples: [
      encodeQuery({ nonce: new Uint8Array(16), kind: QueryKind.tick, cursor: undefined }),
      encodeQuery({
        nonce: new Uint8Array(16).fill(1),
        kind: QueryKind.byHash,
        cursor: new Uint8Array(32),
      }),
    ],
    roundTrip: (bytes) => encodeQuery(decodeQuery(bytes)),
  },
  {
    name: 'decodePage',
    prefix: wire(WireType.page),
    samples: [
      encodePage({
        nonce: new Uint8Array(16),
        kind: QueryKind.buckets,
        statements: [new Uint8Array(9), bare],
        next: undefined,
      }),
      encodePage({
        nonce: new Uint8Array(16),
        kind: QueryKind.revocations,
        statements: [],
        next: new Uint8Array(8),
      }),
    ],
    roundTrip: (bytes) => encodePage(decodePage(bytes)),
  },
]

function isRuleBroken(error: unknown): boolean {
  return error instanceof SubrosaError && error.code === 'ERR_PLAN_INVALID'
}

describe.each(codecs)('$name', ({ samples, prefix, roundTrip, mayBreakRules = false }) => {
  /** Either ERR_MALFORMED, or the bytes are the one encoding of what was read. */
  const expectStrict = (bytes: Uint8Array): void => {
    let again: Uint8Array
    try {
      again = roundTrip(bytes)
    } catch (error) {
      if (!(mayBreakRules && isRuleBroken(error))) expect(error).toEqual(malformed)
      return
    }
    expect(samePublic(again, bytes)).toBe(true)
  }

  it('reads what was written', () => {
    for (const sample of samples) expect(roundTrip(sample)).toEqual(sample)
  })

  it('refuses every truncation and every trailing byte', () => {
    for (const sample of samples) {
      for (let length = 0; length < sample.length; length++) {
        expect(() => roundTrip(sample.subarray(0, length))).toThrow(malformed)
      }
      for (const extra of [0x00, 0x90, 0xc0]) {
        const longer = new Uint8Array(sample.length + 1)
        longer.set(sample)
        longer[sample.length] = extra
        expect(() => roundTrip(longer)).toThrow(malformed)
      }
    }
  })

  it('throws nothing but ERR_MALFORMED on changed bytes, and reads no second encoding', () => {
    fc.assert(fc.property(mutationsOf(samples), expectStrict), { numRuns: 2000 })
  })

  it('throws nothing but ERR_MALFORMED on arrays of other fields', () => {
    fc.assert(fc.property(packedArrays(prefix), expectStrict), { numRuns: 1000 })
  })

  it('throws nothing but ERR_MALFORMED on random bytes, with and without the right beginning', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (random, begins) => {
        expectStrict(begins ? Uint8Array.from([...prefix, ...random]) : random)
      }),
      { numRuns: 1000 },
    )
  })
})
