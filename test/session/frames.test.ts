import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, hex, u32, utf8 } from '../../src/base/bytes.ts'
import { CLOCK_WINDOW_MS, MAX_FRAMES_PER_BATCH } from '../../src/base/limits.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { paddedLength } from '../../src/crypto/padding.ts'
import { channelAuthLength, frameLeaf, signBatch, signedAuthLength } from '../../src/session/session-auth.ts'
import { FRAME_HEADER_BYTES, type FrameMeta } from '../../src/wire/frame.ts'
import { SessionMode } from '../../src/wire/handshake.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { engines } from '../crypto/vectors.ts'
import { SENT_AT_MS } from '../envelope/forge.ts'
import { type FrameParts, forgeFrame, headerOf, honestPlaintext } from './forge-frame.ts'
import { contentOf, EMPTY_META, LIFETIME_MS, Pair, type PairOptions } from './pair.ts'

const sodium = chooseEngine('libsodium')
const modes = [
  { name: 'session', mode: SessionMode.signed },
  { name: 'channel', mode: SessionMode.channel },
] as const
const everywhere = engines.flatMap((engine) => modes.map((mode) => ({ engine, ...mode })))

const META: FrameMeta = {
  ttlMs: 7,
  subject: 'orders.new',
  reply: '_INBOX.a.b',
  inReplyTo: new Uint8Array(40).fill(9),
  headers: [{ name: 'X-Trace', value: 'ä€𝄞' }],
  clearHeaders: [{ name: 'Nats-Msg-Id', value: 'one' }],
}

describe.each(everywhere)('frames of mode $name on $engine.name', ({ engine, mode }) => {
  it('open at the other end as they were sealed, whatever their size and number', () => {
    const sizes = fc.array(fc.oneof(fc.nat(200), fc.nat(6000)), { minLength: 1, maxLength: 5 })
    const paddings = fc.constantFrom('padme' as const, 'none' as const)
    fc.assert(
      fc.property(sizes, paddings, (lengths, padding) => {
        const pair = new Pair(engine, { mode, padding })
        const payloads = lengths.map((length) => engine.randomBytes(length))
        const frames = pair.seal(payloads, META)
        expect(frames.map((frame) => pair.open(frame))).toEqual(
          payloads.map((payload) => ({ meta: META, payloads: [payload] })),
        )
      }),
      { numRuns: engine.name === 'noble' ? 5 : 50 },
    )
  })

  it('open on the other engine too', () => {
    for (const receivingEngine of engines) {
      const pair = new Pair(engine, { mode, receivingEngine })
      const frames = pair.seal([utf8('one'), utf8('two'), new Uint8Array(5000)])
      expect(frames.map((frame) => pair.fateOf(frame))).toEqual(['opened', 'opened', 'opened'])
    }
  })

  it('are kept by whoever opened them, also when others follow', () => {
    const pair = new Pair(engine, { mode })
    const first = pair.open(pair.sealOne(utf8('first')))
    pair.open(pair.sealOne(utf8('other')))
    expect(first).toMatchObject({ payloads: [utf8('first')] })
  })
})

describe('what was opened', () => {
  it('stays as it is when others follow, at every length around that from which no memory is used again', () => {
    const pair = new Pair(sodium, { padding: 'none', maxFrames: 2 ** 20 })
    for (let length = 3900; length < 4130; length++) {
      const payload = sodium.randomBytes(length)
      const inReplyTo = sodium.randomBytes(40)
      const opened = pair.open(pair.sealOne(payload, { inReplyTo }))
      pair.open(pair.sealOne(new Uint8Array(length)))
      if (typeof opened === 'string') throw new Error(opened)
      const { meta, payloads } = opened
      expect([payloads.map(hex).join(), hex(meta.inReplyTo ?? payload)]).toEqual([
        hex(payload),
        hex(inReplyTo),
      ])
    }
  })
})

describe('a batch', () => {
  it.each(engines)('of every size up to 64 opens in any order on $name', (engine) => {
    const counts = engine.name === 'noble' ? [1, 2, 5] : Array.from({ length: 64 }, (_, i) => i + 1)
    for (const count of counts) {
      const pair = new Pair(engine)
      const payloads = Array.from({ length: count }, (_, i) => Uint8Array.of(i))
      const frames = pair.seal(payloads)
      const backwards = [...frames.entries()].reverse()
      for (const [i, frame] of backwards)
        expect(pair.open(frame)).toMatchObject({ payloads: [Uint8Array.of(i)] })
    }
  })

  it('has one frame at least and 64 at most', () => {
    const pair = new Pair(sodium)
    expect(() => pair.outgoing.seal(pair.sealer, [])).toThrow(RangeError)
    const payloads = Array.from({ length: MAX_FRAMES_PER_BATCH + 1 }, () => new Uint8Array(1))
    expect(() => pair.seal(payloads)).toThrow(RangeError)
  })

  it('numbers its frames from 0, each one further', () => {
    const frames = new Pair(sodium).seal([new Uint8Array(1), new Uint8Array(1), new Uint8Array(1)])
    const counters = frames.map((frame) => Buffer.from(frame).readBigUInt64BE(35))
    expect(counters).toEqual([0n, 1n, 2n])
  })
})

describe('an active broker', () => {
  const shapes = modes.flatMap(({ name, mode }) =>
    [1, 3].map((count) => ({ name: `${count} of mode ${name}`, mode, count })),
  )

  it.each(shapes)('flips any one bit of a frame, $name, and nothing opens', ({ mode, count }) => {
    const pair = new Pair(sodium, { mode })
    const frames = pair.seal(Array.from({ length: count }, () => utf8('payload')))
    const frame = frames.at(-1) ?? new Uint8Array(0)
    const fates = new Map<string, number>()
    for (let bit = 0; bit < 8 * frame.length; bit++) {
      const flipped = new Uint8Array(frame)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const fate = pair.fateOf(flipped)
      fates.set(fate, (fates.get(fate) ?? 0) + 1)
    }
    // A flipped preamble or counter, a time or counter that no frame of the session has; the AEAD finds everything else.
    expect([...fates.keys()].sort()).toEqual(['ciphertext', 'malformed', 'session'])
    expect([...fates.values()].reduce((sum, times) => sum + times, 0)).toBe(8 * frame.length)
    expect(frames.map((whole) => pair.fateOf(whole))).toEqual(frames.map(() => 'opened'))
  })

  it('cuts a frame or adds to it, and nothing opens', () => {
    for (const { mode } of modes) {
      const pair = new Pair(sodium, { mode })
      const frame = pair.sealOne(utf8('payload'))
      for (let length = 0; length < frame.length; length++)
        expect(['malformed', 'ciphertext']).toContain(pair.fateOf(frame.subarray(0, length)))
      expect(pair.fateOf(concat(frame, Uint8Array.of(0)))).toBe('ciphertext')
    }
  })

  it('puts the head of one frame before the body of another', () => {
    for (const { mode } of modes) {
      const pair = new Pair(sodium, { mode })
      const [one, two] = pair.seal([utf8('one'), utf8('two')])
      if (one === undefined || two === undefined) throw new Error('two frames are missing')
      const mixed = concat(one.subarray(0, FRAME_HEADER_BYTES), two.subarray(FRAME_HEADER_BYTES))
      expect(pair.fateOf(mixed)).toBe('ciphertext')
    }
  })

  it('sends a frame of one session in the name of another', () => {
    for (const { mode } of modes) {
      const sender = sodium.ed25519KeyPair()
      const [mine, other] = [new Pair(sodium, { mode, sender }), new Pair(sodium, { mode, sender })]
      const frame = new Uint8Array(mine.sealOne(utf8('payload')))
      expect(other.fateOf(frame)).toBe('ciphertext')
      frame.set(other.secrets().sid, 3)
      expect(other.fateOf(frame)).toBe('ciphertext')
    }
  })
})

/** A frame made by the sender itself, with its real keys, where it is not as an honest one makes it. */
function fateOfForgery(
  forgery: {
    readonly options?: PairOptions
    readonly content?: Uint8Array
    readonly layOut?: (parts: FrameParts) => Uint8Array
  } = {},
): string {
  const { options = {}, content = contentOf({}, utf8('payload')), layOut } = forgery
  const pair = new Pair(sodium, options)
  const secrets = pair.secrets()
  const header = headerOf(sodium, secrets.sid, { counter: 0 })
  const by = { messageKey: pair.sender.secretKey, binding: secrets.binding }
  const [signed] = signBatch(sodium, [frameLeaf(sodium, header, [content])], by)
  const auth = options.mode === SessionMode.channel ? new Uint8Array(1) : signed
  if (auth === undefined) throw new Error('nothing was signed')
  return pair.fateOf(forgeFrame(sodium, secrets, { header, auth, content }, layOut))
}

describe('a malicious sender', () => {
  const both = modes.map(({ name, mode }) => ({ name, options: { mode } }))

  it.each(both)('of mode $name is heard where everything is right', ({ options }) => {
    expect(fateOfForgery({ options })).toBe('opened')
    expect(fateOfForgery({ options, layOut: unpadded })).toBe('opened')
  })

  it.each(both)('of mode $name hides bytes in the padding', ({ options }) => {
    for (const place of ['first', 'last'] as const) {
      const fate = fateOfForgery({
        options,
        layOut: (parts) => {
          const padded = honestPlaintext(parts)
          const end = parts.auth.length + 4 + parts.content.length
          expect(end).toBeLessThan(padded.length)
          padded[place === 'first' ? end : padded.length - 1] = 1
          return padded
        },
      })
      expect(fate).toBe('padding')
    }
  })

  it.each(both)('of mode $name pads to any other length than the bucket or none', ({ options }) => {
    const content = contentOf({}, new Uint8Array(100))
    const opened: number[] = []
    let bare = 0
    for (let extra = 0; extra < 100; extra++) {
      const fate = fateOfForgery({
        options,
        content,
        layOut: (parts) => {
          const plain = unpadded(parts)
          bare = plain.length
          return concat(plain, new Uint8Array(extra))
        },
      })
      expect(['opened', 'padding']).toContain(fate)
      if (fate === 'opened') opened.push(bare + extra)
    }
    expect(opened).toEqual([bare, paddedLength(bare, 'padme')])
  })

  it.each(both)('of mode $name gives a length of the content that is not its length', ({ options }) => {
    const content = contentOf({}, new Uint8Array(100))
    const fateOfLength = (change: (length: number) => number): string =>
      fateOfForgery({
        options,
        content,
        layOut: (parts) => {
          const padded = honestPlaintext(parts)
          padded.set(u32(change(parts.content.length)), parts.auth.length)
          return padded
        },
      })
    expect(fateOfLength((length) => length)).toBe('opened')
    for (const length of [0, 1000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])
      expect(fateOfLength(() => length)).toBe('padding')
  })

  it('leaves no room for the length', () => {
    for (const cut of [1, 2, 3, 4]) {
      const layOut = ({ auth }: FrameParts) => concat(auth, new Uint8Array(4 - cut))
      expect(fateOfForgery({ layOut })).toBe('padding')
      expect(fateOfForgery({ layOut, options: { mode: SessionMode.channel } })).toBe('padding')
    }
    expect(fateOfForgery({ layOut: () => new Uint8Array(0) })).toBe('signature')
    expect(fateOfForgery({ layOut: () => new Uint8Array(0), options: { mode: SessionMode.channel } })).toBe(
      'signature',
    )
  })

  const fields: readonly Packable[] = [0, 'orders.new', undefined, undefined, [], [], utf8('x')]
  const withField = (place: number, value: Packable) =>
    pack(fields.map((field, i) => (i === place ? value : field)))
  const pairs = (count: number) => new Array<Packable>(count).fill(['a', 'b'])

  it.each(
    Object.entries({
      nothing: new Uint8Array(0),
      'no array': Uint8Array.of(0xc0),
      'what frames of a former draft held': Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 97, 120),
      'a field too few': pack(fields.slice(0, 6)),
      'a field too many': pack([...fields, undefined]),
      'bytes behind the last field': concat(pack(fields), Uint8Array.of(0)),
      'a ttl above 2^32 - 1': withField(0, 2 ** 32),
      'no ttl': withField(0, undefined),
      'no subject': withField(1, undefined),
      'a subject that is bytes': withField(1, utf8('orders.new')),
      'a subject that is too long': withField(1, 'a'.repeat(1025)),
      'a reply that is too long': withField(2, 'a'.repeat(1025)),
      'a reply that is an integer': withField(2, 1),
      'an in_reply_to that is too long': withField(3, new Uint8Array(65)),
      'an in_reply_to that is text': withField(3, 'one'),
      'no list of headers': withField(4, undefined),
      'too many headers': withField(4, pairs(257)),
      'a header of one part': withField(4, [['a']]),
      'a header of three parts': withField(4, [['a', 'b', 'c']]),
      'no list of clear headers': withField(5, undefined),
      'too many clear headers': withField(5, pairs(257)),
      'no payload': withField(6, undefined),
      'a payload that is text': withField(6, 'x'),
      'no payloads in an array': withField(6, []),
      'a single payload in an array': withField(6, [utf8('x')]),
      'many payloads of which one is text': withField(6, [utf8('x'), 'y']),
      'many payloads of which one is many': withField(6, [utf8('x'), [utf8('y'), utf8('z')]]),
      'too many payloads': withField(6, new Array<Packable>(4097).fill(utf8('x'))),
      'many payloads with a reply': pack([0, 'orders.new', 'r', undefined, [], [], [utf8('x'), utf8('y')]]),
      'a payload that is longer than what is there': concat(withField(6, new Uint8Array(0)).with(-1, 9)),
    }),
  )('sends as content %s', (_what, content) => {
    for (const { mode } of modes) expect(fateOfForgery({ options: { mode }, content })).toBe('content')
  })

  it('changes the content under a beginning that was read before', () => {
    // Most frames begin alike, so what was read there is remembered: only where it means the same.
    const pair = new Pair(sodium, { mode: SessionMode.channel })
    const secrets = pair.secrets()
    let counter = 0
    const send = (content: Uint8Array) => {
      const header = headerOf(sodium, secrets.sid, { counter: counter++ })
      return pair.open(forgeFrame(sodium, secrets, { header, auth: new Uint8Array(1), content }))
    }
    const [one, other] = [utf8('payload'), utf8('other')]
    const bare = contentOf({}, one)
    expect(send(bare)).toEqual({ meta: EMPTY_META, payloads: [one] })
    expect(send(contentOf({}, other))).toEqual({ meta: EMPTY_META, payloads: [other] })
    expect(send(contentOf({}, one, other))).toEqual({ meta: EMPTY_META, payloads: [one, other] })
    expect(send(contentOf({ subject: 'orders.newer' }, one))).toMatchObject({
      meta: { subject: 'orders.newer' },
    })
    expect(send(bare)).toEqual({ meta: EMPTY_META, payloads: [one] })
    expect(send(contentOf({ ttlMs: 1 }, one))).toMatchObject({ meta: { ttlMs: 1 } })
    expect(send(contentOf({ reply: 'a' }, one))).toMatchObject({ meta: { reply: 'a' } })
    expect(send(contentOf({ inReplyTo: other }, one))).toMatchObject({ meta: { inReplyTo: other } })
    expect(send(bare)).toEqual({ meta: EMPTY_META, payloads: [one] })
    // Behind the known beginning everything is read as strictly as at first.
    const meta = bare.subarray(0, bare.length - one.length - 2)
    for (const rest of [
      [],
      [0xc4],
      [0xc4, 1],
      [0xc4, 0, 0],
      [0xc5, 0, 1, 7],
      [0xc6, 0, 0, 0, 1, 7],
      [0xc0],
      [0xa1, 97],
      [0x90],
      [0x91, 0xc4, 1, 7],
      [0x92, 0xc4, 1, 7],
      [0x92, 0xc4, 1, 7, 0xa1, 97],
      [0x92, 0xc4, 1, 7, 0xc4, 1, 7, 0],
      [0xdc, 0, 2, 0xc4, 1, 7, 0xc4, 1, 7],
    ])
      expect([rest, send(concat(meta, Uint8Array.from(rest)))]).toEqual([rest, 'content'])
    expect(send(concat(meta, Uint8Array.of(0x92, 0xc4, 1, 7, 0xc4, 1, 8)))).toMatchObject({
      payloads: [Uint8Array.of(7), Uint8Array.of(8)],
    })
  })
})

describe('what is remembered of the beginning of a frame', () => {
  it('is little, however long the sender makes it', () => {
    const pair = new Pair(sodium, { mode: SessionMode.channel })
    expect(typeof pair.open(pair.sealOne(utf8('x')))).toBe('object')
    const ofShort = pair.incoming.bytes
    const headers = Array.from({ length: 200 }, (_, i) => ({ name: `h${i}`, value: 'v'.repeat(1000) }))
    for (let i = 0; i < 3; i++) expect(typeof pair.open(pair.sealOne(utf8('x'), { headers }))).toBe('object')
    expect(pair.incoming.bytes).toBeLessThanOrEqual(ofShort)
    pair.incoming.forget()
    expect(pair.incoming.bytes).toBe(0)
  })
})

describe('what a frame says of its proof', () => {
  it('is of exactly the mode of the handshake', () => {
    const [signed, channel] = [new Pair(sodium), new Pair(sodium, { mode: SessionMode.channel })]
    const content = contentOf({}, utf8('payload'))
    const crossed = (pair: Pair, auth: (header: Uint8Array) => Uint8Array | undefined): string => {
      const secrets = pair.secrets()
      const header = headerOf(sodium, secrets.sid, { counter: 0 })
      const proof = auth(header) ?? new Uint8Array(0)
      return pair.fateOf(forgeFrame(sodium, secrets, { header, auth: proof, content }))
    }
    const signature = (pair: Pair) => (header: Uint8Array) =>
      signBatch(sodium, [frameLeaf(sodium, header, [content])], {
        messageKey: pair.sender.secretKey,
        binding: pair.secrets().binding,
      })[0]
    expect(crossed(signed, signature(signed))).toBe('opened')
    expect(crossed(channel, () => new Uint8Array(1))).toBe('opened')
    expect(crossed(signed, () => new Uint8Array(1))).toBe('signature')
    expect(crossed(channel, signature(channel))).toBe('signature')
  })

  it('has a length that its first bytes tell, and none where they make no sense', () => {
    for (const [n, i, length] of [
      [1, 0, 66],
      [2, 1, 98],
      [3, 2, 98],
      [64, 63, 66 + 6 * 32],
      [0, 0, undefined],
      [65, 0, undefined],
      [64, 64, undefined],
      [1, 1, undefined],
      [255, 0, undefined],
    ] as const)
      expect([n, i, signedAuthLength(Uint8Array.of(n, i))]).toEqual([n, i, length])
    expect(signedAuthLength(new Uint8Array(0))).toBe(undefined)
    expect(channelAuthLength(Uint8Array.of(0))).toBe(1)
    for (const first of [1, 2, 64, 255]) expect(channelAuthLength(Uint8Array.of(first))).toBe(undefined)
    expect(channelAuthLength(new Uint8Array(0))).toBe(undefined)
  })
})

describe('a session', () => {
  it('carries any subject: permissions alone say which', () => {
    const pair = new Pair(sodium)
    for (const subject of ['orders.new', 'anything', 'a.b.c'])
      expect(pair.fateOf(pair.sealOne(utf8('x'), { subject }))).toBe('opened')
  })

  it('carries so many frames and no more, on either side', () => {
    const pair = new Pair(sodium, { maxFrames: 3 })
    const frames = pair.seal([new Uint8Array(1), new Uint8Array(1), new Uint8Array(1)])
    expect(pair.outgoing.isOpen(SENT_AT_MS)).toBe(false)
    expect(() => pair.sealOne(new Uint8Array(1))).toThrow(RangeError)
    expect(frames.map((frame) => pair.fateOf(frame))).toEqual(['opened', 'opened', 'opened'])
    const takes = (counter: number) => pair.incoming.takes({ sentAtMs: SENT_AT_MS, counter })
    expect([2, 3, 2 ** 20, 2 ** 53 - 1].map(takes)).toEqual([true, false, false, false])
  })

  it('lasts as long as its handshake says, on either side', () => {
    const pair = new Pair(sodium)
    const end = SENT_AT_MS + LIFETIME_MS
    expect([end - 1, end].map((nowMs) => pair.outgoing.isOpen(nowMs))).toEqual([true, false])
    const takes = (sentAtMs: number) => pair.incoming.takes({ sentAtMs, counter: 0 })
    expect([end - 1, end, end + 1].map(takes)).toEqual([true, false, false])
    // Its last frames are on their way then, and the clock of their sender may be behind.
    const isOver = (nowMs: number) => pair.incoming.isOver(nowMs)
    expect([end, end + CLOCK_WINDOW_MS - 1, end + CLOCK_WINDOW_MS].map(isOver)).toEqual([false, false, true])
  })

  it('takes frames of a sender whose clock was set back, by as much as clocks may differ', () => {
    const { incoming } = new Pair(sodium)
    const takes = (sentAtMs: number) => incoming.takes({ sentAtMs, counter: 0 })
    expect([SENT_AT_MS - 1, SENT_AT_MS - CLOCK_WINDOW_MS].map(takes)).toEqual([true, true])
    expect(takes(SENT_AT_MS - CLOCK_WINDOW_MS - 1)).toBe(false)
    expect(takes(0)).toBe(false)
  })

  it('says beforehand how large a frame can be', () => {
    for (const { mode } of modes) {
      for (const padding of ['padme', 'none'] as const) {
        for (const count of [1, 2, 7, 64]) {
          const pair = new Pair(sodium, { mode, padding })
          const frames = pair.seal(Array.from({ length: count }, () => new Uint8Array(900)))
          const said = pair.outgoing.maxSize(pair.sealer, contentOf({}, new Uint8Array(900)).length, count)
          const largest = Math.max(...frames.map(({ length }) => length))
          expect(largest).toBeLessThanOrEqual(said)
          if (padding === 'none') expect(largest).toBe(said)
        }
      }
    }
  })
})

function unpadded({ auth, content }: FrameParts): Uint8Array {
  return concat(auth, u32(content.length), content)
}
