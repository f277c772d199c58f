import { describe, expect, it } from 'vitest'
import { concat, u32 } from '../../src/base/bytes.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { sharedSecret } from '../../src/crypto/hpke.ts'
import { contentKeys, headerHash, type OwnKey, signedBytes } from '../../src/envelope/keys.ts'
import { type OpenFailure, unseal, verifySender } from '../../src/envelope/open.ts'
import { pack } from '../../src/wire/msgpack.ts'
import {
  decodeSealed,
  encodeContent,
  encodeSealed,
  makeMid,
  packWraps,
  type SealedHeader,
  splitWraps,
  type Wrap,
} from '../../src/wire/sealed.ts'
import { engines } from '../crypto/vectors.ts'
import {
  EPOCH,
  type Forgery,
  forge,
  honestPlaintext,
  keyring,
  lookInto,
  makeContent,
  newRecipient,
  SENT_AT_MS,
  sealTo,
  wrapFor,
} from './forge.ts'
import { FREE_BYTES, openUnderTwoKeys } from './salamander.ts'

const sodium = chooseEngine('libsodium')
const sender = sodium.ed25519KeyPair()
const [bob, carol, mallory] = [newRecipient(sodium), newRecipient(sodium), newRecipient(sodium)]

const mallorySigner = sodium.ed25519KeyPair()

/** How a message ends for a recipient: the failure, or whether the sender's signature holds. */
function fateOf(bytes: Uint8Array, own: OwnKey, engine = sodium): OpenFailure | string {
  const result = unseal(engine, bytes, keyring(own))
  if (result.outcome === 'failed') return result.failure
  if (result.outcome !== 'opened') return result.outcome
  return verifySender(engine, result.message, sender.publicKey) ? 'delivered' : 'signature'
}

function fateOfForgery(forgery: Omit<Forgery, 'sender' | 'recipients'>): string {
  return fateOf(forge(sodium, { recipients: [bob], sender, ...forgery }), bob)
}

/** A header as its bytes. Unlike `encodeSealedHeader` it takes any suite and any type. */
function headerOf({ type, suite, epoch, mid, enc, packedWraps }: SealedHeader): Uint8Array {
  return pack([type, suite, epoch, mid, enc, packedWraps])
}

describe('a message made by hand', () => {
  it('is delivered where everything is as an honest sender makes it', () => {
    expect(fateOfForgery({})).toBe('delivered')
    expect(fateOfForgery({ type: 1 })).toBe('delivered')
    for (const engine of engines)
      expect(fateOf(forge(engine, { recipients: [bob], sender }), bob, engine)).toBe('delivered')
  })
})

describe('an active broker', () => {
  const shapes = [
    { name: 'to one recipient', bytes: sealTo(sodium, [bob], { sender }) },
    { name: 'to three recipients', bytes: sealTo(sodium, [carol, bob, mallory], { sender }) },
    { name: 'of type 1', bytes: sealTo(sodium, [bob], { sender, type: 1 }) },
    { name: 'without padding', bytes: sealTo(sodium, [bob], { sender, padding: 'none' }) },
    {
      name: 'with reply and headers',
      bytes: sealTo(sodium, [bob, carol], {
        sender,
        content: makeContent({
          reply: 'inbox.1',
          headers: [{ name: 'a', value: 'b' }],
          payload: new Uint8Array(300),
        }),
      }),
    },
  ]

  it.each(shapes)('flips any one bit of a message $name and nothing is delivered', ({ bytes }) => {
    const fates = new Map<string, number>()
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = new Uint8Array(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const fate = fateOf(flipped, bob)
      fates.set(fate, (fates.get(fate) ?? 0) + 1)
    }
    expect(fates.has('delivered')).toBe(false)
    // No flipped bit gets as far as the signature either: commitment and AEAD stand before it.
    expect([...fates.keys()].sort()).toEqual(
      ['ciphertext', 'commitment', 'epoch', 'malformed', 'not addressed', 'suite', 'wrap'].sort(),
    )
    expect([...fates.values()].reduce((sum, count) => sum + count, 0)).toBe(8 * bytes.length)
    expect(fateOf(bytes, bob)).toBe('delivered')
  })

  it('changes the type in the preamble, from 0 to 1 and back', () => {
    for (const type of [0, 1] as const) {
      const moved = sealTo(sodium, [bob], { sender, type })
      moved[2] = 1 - type
      expect(fateOf(moved, bob)).toBe('malformed')
    }
  })

  it('changes the type in the preamble and in the header', () => {
    for (const type of [0, 1] as const) {
      const { header, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob], { sender, type }))
      const other = type === 0 ? 1 : 0
      const headerBytes = headerOf({ ...header, type: other })
      expect(fateOf(encodeSealed(other, headerBytes, concat(commitment, ciphertext)), bob)).toBe('wrap')
    }
  })

  it('changes the suite', () => {
    const { header, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob], { sender }))
    for (const suite of [0, 2, 255]) {
      const bytes = encodeSealed(0, headerOf({ ...header, suite }), concat(commitment, ciphertext))
      expect(fateOf(bytes, bob)).toBe('suite')
    }
  })

  it('changes the epoch number', () => {
    const { header, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob], { sender }))
    for (const epoch of [EPOCH - 1, EPOCH + 1, 0, 2 ** 40]) {
      const bytes = encodeSealed(0, headerOf({ ...header, epoch }), concat(commitment, ciphertext))
      expect(fateOf(bytes, bob)).toBe('epoch')
    }
  })

  it('drops, repeats, adds or reorders wraps', () => {
    const { header, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob, carol], { sender }))
    const body = concat(commitment, ciphertext)
    const [forBob, forCarol] = splitWraps(header.packedWraps)
    if (forBob === undefined || forCarol === undefined) throw new Error('two wraps are expected')
    const fate = (wraps: readonly Wrap[]) =>
      fateOf(encodeSealed(0, headerOf({ ...header, packedWraps: packWraps(wraps) }), body), bob)
    expect(fate([forBob, forCarol])).toBe('delivered')
    expect(fate([forBob])).toBe('commitment')
    expect(fate([forCarol, forBob])).toBe('commitment')
    expect(fate([forBob, forCarol, { kid: new Uint8Array(16), wrap: new Uint8Array(48) }])).toBe('commitment')
    expect(fate([forBob, forBob])).toBe('malformed')
    expect(fate([forBob, forCarol, forBob])).toBe('malformed')
    // What others find twice is their matter: the header is hashed as it came.
    expect(fate([forBob, forCarol, forCarol])).toBe('commitment')
    expect(fate([forCarol])).toBe('not addressed')
    expect(fate([{ kid: forBob.kid, wrap: forCarol.wrap }, forCarol])).toBe('wrap')
  })

  it('puts the body of one message under the header of another', () => {
    const [a, b] = [
      decodeSealed(sealTo(sodium, [bob], { sender })),
      decodeSealed(sealTo(sodium, [bob], { sender })),
    ]
    expect(fateOf(encodeSealed(0, a.headerBytes, concat(b.commitment, b.ciphertext)), bob)).toBe('commitment')
    expect(fateOf(encodeSealed(0, a.headerBytes, concat(a.commitment, b.ciphertext)), bob)).toBe('ciphertext')
  })

  it('copies a wrap into a message with another mid', () => {
    const { header, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob], { sender }))
    const mid = makeMid(SENT_AT_MS + 1, new Uint8Array(10))
    const bytes = encodeSealed(0, headerOf({ ...header, mid }), concat(commitment, ciphertext))
    expect(fateOf(bytes, bob)).toBe('wrap')
  })

  it('appends bytes, to the message, to the header and to the body', () => {
    const bytes = sealTo(sodium, [bob], { sender })
    const { headerBytes, commitment, ciphertext } = decodeSealed(bytes)
    const extra = Uint8Array.of(0)
    expect(fateOf(concat(bytes, extra), bob)).toBe('malformed')
    expect(fateOf(encodeSealed(0, concat(headerBytes, extra), concat(commitment, ciphertext)), bob)).toBe(
      'malformed',
    )
    expect(fateOf(encodeSealed(0, headerBytes, concat(commitment, ciphertext, extra)), bob)).toBe(
      'ciphertext',
    )
  })

  it('cuts the body', () => {
    const { headerBytes, commitment, ciphertext } = decodeSealed(sealTo(sodium, [bob], { sender }))
    for (const length of [0, 1, 83]) {
      const bytes = encodeSealed(0, headerBytes, concat(commitment, ciphertext.subarray(0, length)))
      expect(fateOf(bytes, bob)).toBe('malformed')
    }
    for (const length of [84, ciphertext.length - 1]) {
      const bytes = encodeSealed(0, headerBytes, concat(commitment, ciphertext.subarray(0, length)))
      expect(fateOf(bytes, bob)).toBe('ciphertext')
    }
  })

  it.each(engines)(
    'sends a public key of low order, for which the shared secret is known to all, on $name',
    (engine) => {
      // With it anybody can compute the wrap, and so choose what the recipient reads.
      const enc = new Uint8Array(32)
      const mid = makeMid(SENT_AT_MS, new Uint8Array(10))
      const contentSecret = new Uint8Array(32).fill(1)
      const allZero = { ...engine, x25519: () => new Uint8Array(32) }
      const secret = sharedSecret(
        allZero,
        { secretKey: enc, publicKey: enc },
        { enc, recipient: bob.publicKey },
      )
      if (secret === undefined) throw new Error('zeros are expected')
      const wrap = wrapFor(engine, bob, {
        type: 0,
        mid,
        contentSecret,
        ephemeral: { secretKey: enc, publicKey: enc },
        secret,
      })
      const headerBytes = pack([0, 1, EPOCH, mid, enc, wrap])
      const bytes = forge(engine, { recipients: [], sender, headerBytes, contentSecret })
      expect(fateOf(bytes, bob, engine)).toBe('wrap')
    },
  )
})

describe('a co-recipient', () => {
  const honest = sealTo(sodium, [bob, mallory], { sender })
  const insight = lookInto(sodium, honest, mallory)

  it('changes the content under the key that it knows, and the signature does not fit', () => {
    const { headerBytes, contentSecret, signature, commitment } = insight
    for (const changes of [
      { payload: new TextEncoder().encode('PAYLOAD') },
      { seq: 2 },
      { subject: 'orders.old' },
      { reply: 'inbox.mallory' },
      { ttlMs: 1 },
      { headers: [{ name: 'a', value: 'b' }] },
    ]) {
      const forged = forge(sodium, {
        recipients: [],
        sender: mallorySigner,
        headerBytes,
        contentSecret,
        signature,
        commitment,
        content: makeContent(changes),
      })
      expect(fateOf(forged, bob)).toBe('signature')
    }
  })

  it('signs the changed content with a key of its own', () => {
    const { headerBytes, contentSecret } = insight
    const forged = forge(sodium, { recipients: [], sender: mallorySigner, headerBytes, contentSecret })
    expect(fateOf(forged, bob)).toBe('signature')
  })

  it('strips the signature', () => {
    const { headerBytes, contentSecret } = insight
    for (const signature of [new Uint8Array(64), new Uint8Array(64).fill(0xff)]) {
      const forged = forge(sodium, { recipients: [], sender, headerBytes, contentSecret, signature })
      expect(fateOf(forged, bob)).toBe('signature')
    }
  })

  it('leaves the content alone, and the message is the one that was sent', () => {
    const { headerBytes, contentSecret, signature } = insight
    const same = forge(sodium, {
      recipients: [],
      sender: mallorySigner,
      headerBytes,
      contentSecret,
      signature,
    })
    expect(same).toEqual(honest)
  })

  it('forwards the content to a third party under a new header, and the signature does not fit', () => {
    const { contentSecret, mid, signature } = insight
    for (const ephemeral of [sodium.x25519KeyPair(), sodium.x25519KeyPair()]) {
      for (const recipients of [[carol], [bob, carol, mallory]]) {
        const forwarded = forge(sodium, {
          recipients,
          sender: mallorySigner,
          contentSecret,
          mid,
          ephemeral,
          signature,
        })
        expect(fateOf(forwarded, carol)).toBe('signature')
      }
    }
  })

  it('forwards the body unchanged with a wrap for a third party, and the commitment does not fit', () => {
    const { header, commitment, ciphertext } = decodeSealed(honest)
    const ephemeral = sodium.x25519KeyPair()
    const { contentSecret, mid } = insight
    const wraps = wrapFor(sodium, carol, { type: 0, mid, ephemeral, contentSecret })
    const headerBytes = pack([0, 1, EPOCH, header.mid, ephemeral.publicKey, wraps])
    expect(fateOf(encodeSealed(0, headerBytes, concat(commitment, ciphertext)), carol)).toBe('commitment')
  })

  it('makes a handshake of a message, and the signature does not fit', () => {
    const { contentSecret, mid, signature } = insight
    const moved = forge(sodium, {
      recipients: [bob],
      sender: mallorySigner,
      type: 1,
      contentSecret,
      mid,
      signature,
    })
    expect(fateOf(moved, bob)).toBe('signature')
  })

  it('passes a signature for one type, suite, header, commitment or content off as one for another', () => {
    const hash = (fill: number) => new Uint8Array(32).fill(fill)
    const hashes = { header: hash(1), commitment: hash(2), content: hash(3) }
    const original = signedBytes(0, 1, hashes)
    const others = [
      signedBytes(1, 1, hashes),
      signedBytes(0, 2, hashes),
      signedBytes(0, 1, { ...hashes, header: hash(9) }),
      signedBytes(0, 1, { ...hashes, commitment: hash(9) }),
      signedBytes(0, 1, { ...hashes, content: hash(9) }),
    ]
    const signature = sodium.sign(sender.secretKey, original)
    expect(sodium.verify(sender.publicKey, original, signature)).toBe(true)
    for (const other of others) expect(sodium.verify(sender.publicKey, other, signature)).toBe(false)
  })
})

describe('a malicious sender', () => {
  it('gives two recipients two content keys and one body, and one of them opens nothing', () => {
    const mid = makeMid(SENT_AT_MS, new Uint8Array(10))
    const ephemeral = sodium.x25519KeyPair()
    const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
    const wraps = concat(
      wrapFor(sodium, bob, { type: 0, mid, ephemeral, contentSecret: one }),
      wrapFor(sodium, carol, { type: 0, mid, ephemeral, contentSecret: two }),
    )
    const headerBytes = pack([0, 1, EPOCH, mid, ephemeral.publicKey, wraps])
    const bytes = forge(sodium, { recipients: [], sender, headerBytes, contentSecret: one })
    expect(fateOf(bytes, bob)).toBe('delivered')
    expect(fateOf(bytes, carol)).toBe('commitment')
  })

  it.each(engines)(
    'finds a body that the AEAD opens under both keys, and the commitment still refuses one on $name',
    (engine) => {
      const mid = makeMid(SENT_AT_MS, new Uint8Array(10))
      const ephemeral = engine.x25519KeyPair()
      const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
      const wraps = concat(
        wrapFor(engine, bob, { type: 0, mid, ephemeral, contentSecret: one }),
        wrapFor(engine, carol, { type: 0, mid, ephemeral, contentSecret: two }),
      )
      const headerBytes = pack([0, 1, EPOCH, mid, ephemeral.publicKey, wraps])
      const aad = headerHash(engine, headerBytes)
      const [first, second] = [contentKeys(engine, one, aad), contentKeys(engine, two, aad)]
      const plaintext = unsignedPlaintext()
      const ciphertext = openUnderTwoKeys(
        { first: first.key, second: second.key },
        { plaintext: plaintext.subarray(0, -FREE_BYTES), aad },
      )
      const nonce = new Uint8Array(12)
      for (const { key } of [first, second]) {
        expect(engine.aeadOpen({ key, nonce, aad, data: ciphertext })).toHaveLength(plaintext.length)
      }
      const bytes = encodeSealed(0, headerBytes, concat(first.commitment, ciphertext))
      expect(unseal(engine, bytes, keyring(bob)).outcome).toBe('opened')
      expect(fateOf(bytes, carol, engine)).toBe('commitment')
    },
  )

  it('names one recipient twice', () => {
    expect(fateOf(forge(sodium, { recipients: [bob, bob], sender }), bob)).toBe('malformed')
    expect(fateOf(forge(sodium, { recipients: [bob, carol, bob], sender }), bob)).toBe('malformed')
  })

  it('gives wraps that are not a multiple of their size', () => {
    expect(fateOfForgery({ wraps: (wraps) => concat(wraps, Uint8Array.of(0)) })).toBe('malformed')
    expect(fateOfForgery({ wraps: (wraps) => wraps.subarray(0, 55) })).toBe('malformed')
    expect(fateOfForgery({ wraps: () => new Uint8Array(0) })).toBe('malformed')
  })

  it("names another epoch than that of the recipient's key", () => {
    expect(fateOfForgery({ epoch: EPOCH + 1 })).toBe('epoch')
    expect(fateOfForgery({ epoch: EPOCH - 1 })).toBe('epoch')
  })

  it('was shown another epoch of the same number', () => {
    const announcementHash = sodium.randomBytes(32)
    const own = newRecipient(sodium, { announcementHash })
    const split = newRecipient(sodium, { announcementHash, epochHash: new Uint8Array(32).fill(0x55) })
    const recipients = [{ kid: own.kid, publicKey: own.publicKey, context: split.context }]
    expect(fateOf(forge(sodium, { recipients: [own], sender }), own)).toBe('delivered')
    expect(fateOf(forge(sodium, { recipients, sender }), own)).toBe('wrap')
  })

  it('seals to a public key that somebody else announced too', () => {
    // Carol announces Bob's public key as her own: what is sealed to her announcement does not open under his.
    const copied = { ...newRecipient(sodium), publicKey: bob.publicKey }
    const bytes = forge(sodium, { recipients: [copied], sender })
    expect(fateOf(bytes, bob)).toBe('not addressed')
    expect(fateOf(bytes, { ...bob, kid: copied.kid })).toBe('wrap')
  })

  it('names another suite', () => {
    for (const suite of [0, 2, 3]) expect(fateOfForgery({ suite })).toBe('suite')
  })

  it('names a suite that this version does not have, to a key that claims to be of it', () => {
    expect(fateOf(forge(sodium, { recipients: [bob], sender, suite: 2 }), { ...bob, suite: 2 })).toBe('suite')
  })

  it('seals in suite 01 to a key of another suite', () => {
    expect(fateOf(forge(sodium, { recipients: [bob], sender }), { ...bob, suite: 2 })).toBe('suite')
  })

  it('gives a mid that is no UUIDv7, and so has no sending time', () => {
    const mid = makeMid(SENT_AT_MS, new Uint8Array(10))
    const version4 = mid.map((byte, i) => (i === 6 ? 0x40 | (byte & 0x0f) : byte))
    const otherVariant = mid.map((byte, i) => (i === 8 ? 0xc0 | (byte & 0x3f) : byte))
    expect(fateOfForgery({ mid: version4 })).toBe('malformed')
    expect(fateOfForgery({ mid: otherVariant })).toBe('malformed')
  })

  it('hides bytes in the padding', () => {
    for (const place of ['first', 'last'] as const) {
      const fate = fateOfForgery({
        plaintext: (parts) => {
          const padded = honestPlaintext(parts)
          const end = 68 + parts.contentBytes.length
          expect(end).toBeLessThan(padded.length)
          padded[place === 'first' ? end : padded.length - 1] = 1
          return padded
        },
      })
      expect(fate).toBe('padding')
    }
  })

  it('pads to any other length than the bucket or none', () => {
    const content = makeContent({ payload: new Uint8Array(100) })
    const delivered: number[] = []
    let bare = 0
    for (let extra = 0; extra < 200; extra++) {
      const fate = fateOfForgery({
        content,
        plaintext: ({ signature, contentBytes }) => {
          bare = 68 + contentBytes.length
          return concat(signature, u32(contentBytes.length), contentBytes, new Uint8Array(extra))
        },
      })
      expect(['delivered', 'padding']).toContain(fate)
      if (fate === 'delivered') delivered.push(bare + extra)
    }
    expect(delivered).toEqual([bare, 16 * Math.ceil(bare / 16)])
  })

  it('gives a length of the content that is not its length', () => {
    const fateOfLength = (change: (length: number) => number) =>
      fateOfForgery({
        plaintext: ({ signature, contentBytes }) => {
          const padded = honestPlaintext({ signature, contentBytes })
          padded.set(u32(change(contentBytes.length)), 64)
          return padded
        },
      })
    expect(fateOfLength((length) => length)).toBe('delivered')
    expect(fateOfLength((length) => length + 1)).toBe('content')
    expect(fateOfLength((length) => length - 1)).toBe('padding')
    expect(fateOfLength(() => 0)).toBe('padding')
    for (const length of [77, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(fateOfLength(() => length)).toBe('padding')
    }
  })

  it('puts something else in the place of the content', () => {
    for (const bytes of [
      new Uint8Array(0),
      Uint8Array.of(0x90),
      Uint8Array.of(0xc0),
      encodeContent(makeContent()).subarray(1),
    ]) {
      const fate = fateOfForgery({
        plaintext: ({ signature }) => honestPlaintext({ signature, contentBytes: bytes }),
      })
      expect(fate).toBe('content')
    }
  })

  it('appends bytes to the content', () => {
    const fate = fateOfForgery({
      plaintext: ({ signature, contentBytes }) =>
        honestPlaintext({ signature, contentBytes: concat(contentBytes, Uint8Array.of(0xc0)) }),
    })
    expect(fate).toBe('content')
  })
})

describe("the holder of a recipient's secret key", () => {
  it('cannot write to that recipient in the name of another', () => {
    const forged = forge(sodium, { recipients: [bob], sender: mallorySigner, content: makeContent() })
    expect(fateOf(forged, bob)).toBe('signature')
  })
})

describe('a recipient with keys of two uses', () => {
  it('opens with the live key only what was sealed to it', () => {
    const stored = newRecipient(sodium, { use: 1 })
    const bytes = sealTo(sodium, [stored], { sender })
    expect(fateOf(bytes, stored)).toBe('delivered')
    expect(fateOf(bytes, bob)).toBe('not addressed')
    expect(fateOf(bytes, { ...bob, kid: stored.kid })).toBe('wrap')
  })
})

/** Content without a signature whose length is whole blocks of 16 bytes and whose end is payload. */
function unsignedPlaintext(): Uint8Array {
  for (let length = FREE_BYTES; ; length++) {
    const contentBytes = encodeContent(makeContent({ payload: new Uint8Array(length) }))
    const plaintext = concat(new Uint8Array(64), u32(contentBytes.length), contentBytes)
    if (plaintext.length % 16 === 0) return plaintext
  }
}
