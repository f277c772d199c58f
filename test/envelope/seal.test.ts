import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import { MAX_RECIPIENTS } from '../../src/base/limits.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { type OpenFailure, openSealed, readSealed, unseal, verifySender } from '../../src/envelope/open.ts'
import { seal, sealWith } from '../../src/envelope/seal.ts'
import { decodeSealed, makeMid, midTime } from '../../src/wire/sealed.ts'
import { engines } from '../crypto/vectors.ts'
import { LOW_ORDER } from '../support/low-order.ts'
import { subjects } from '../wire/subjects.ts'
import { EPOCH, EPOCH_HASH, keyring, makeContent, newRecipient, SENT_AT_MS, sealTo } from './forge.ts'

const sodium = chooseEngine('libsodium')
const sender = sodium.ed25519KeyPair()
const bob = newRecipient(sodium)

const pairs = engines.flatMap((sealing) => engines.map((opening) => ({ sealing, opening })))

const contents = fc.record({
  sender: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  seq: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  subject: subjects,
  reply: fc.option(subjects, { nil: undefined }),
  inReplyTo: fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }),
  ttlMs: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  headers: fc.array(fc.record({ name: fc.string(), value: fc.string({ unit: 'binary' }) }), { maxLength: 4 }),
  clearHeaders: fc.array(fc.record({ name: fc.string(), value: fc.string() }), { maxLength: 2 }),
  payload: fc.uint8Array({ maxLength: 600 }),
})

describe.each(pairs)('sealed on $sealing.name and opened on $opening.name', ({ sealing, opening }) => {
  it('is what was sealed, for every recipient, and from its sender', () => {
    fc.assert(
      fc.property(
        contents,
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom('padme' as const, 'none' as const),
        fc.constantFrom(0 as const, 1 as const),
        (content, count, padding, type) => {
          const recipients = Array.from({ length: count }, () => newRecipient(sodium))
          const bytes = sealTo(sealing, recipients, { sender, content, padding, type })
          for (const recipient of recipients) {
            const result = unseal(opening, bytes, keyring(recipient))
            if (result.outcome !== 'opened') throw new Error(`not opened: ${JSON.stringify(result)}`)
            expect(result.message.content).toEqual(content)
            expect(result.message).toMatchObject({
              type,
              suite: 1,
              epoch: EPOCH,
              epochHash: EPOCH_HASH,
              sentAtMs: SENT_AT_MS,
              recipients: count,
            })
            expect(verifySender(opening, result.message, sender.publicKey)).toBe(true)
          }
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('opening', () => {
  const bytes = sealTo(sodium, [bob], { sender })

  it.each<[string, Uint8Array, OpenFailure]>([
    ['nothing', new Uint8Array(0), 'malformed'],
    ['a JSON text', new TextEncoder().encode('{"a":1}'), 'malformed'],
    ['a message and one byte', concat(bytes, Uint8Array.of(0)), 'malformed'],
    ['a message without its last byte', bytes.subarray(0, -1), 'malformed'],
  ])('fails on %s without key agreement', (_, input, failure) => {
    expect(unseal(sodium, input, keyring(bob))).toEqual({ outcome: 'failed', failure, unwrapped: false })
  })

  it('says quietly that a message is for others', () => {
    expect(unseal(sodium, bytes, keyring(newRecipient(sodium)))).toEqual({ outcome: 'not addressed' })
    expect(unseal(sodium, bytes, keyring())).toEqual({ outcome: 'not addressed' })
  })

  it('is read without a cipher: whom it is for, when it was sent, and what is malformed', () => {
    const read = readSealed(bytes, keyring(bob))
    expect(read).toMatchObject({ outcome: 'addressed', message: { sentAtMs: SENT_AT_MS, own: { key: bob } } })
    expect(readSealed(bytes, keyring())).toEqual({ outcome: 'not addressed' })
    expect(readSealed(bytes.subarray(1), keyring(bob))).toMatchObject({ failure: 'malformed' })
    if (read.outcome !== 'addressed') throw new Error('not addressed')
    expect(openSealed(sodium, read.message)).toEqual(unseal(sodium, bytes, keyring(bob)))
  })

  it('finds its own wrap among those of others', () => {
    const others = Array.from({ length: 40 }, () => newRecipient(sodium))
    const shared = sealTo(sodium, [...others, bob], { sender })
    const result = unseal(sodium, shared, keyring(bob))
    expect(result).toMatchObject({ outcome: 'opened', message: { recipients: 41 } })
  })

  it('gives the sender to nobody but a verifier of the right key', () => {
    const result = unseal(sodium, bytes, keyring(bob))
    if (result.outcome !== 'opened') throw new Error('not opened')
    expect(verifySender(sodium, result.message, sender.publicKey)).toBe(true)
    expect(verifySender(sodium, result.message, sodium.ed25519KeyPair().publicKey)).toBe(false)
    expect(verifySender(sodium, result.message, new Uint8Array(32))).toBe(false)
    expect(verifySender(sodium, result.message, new Uint8Array(0))).toBe(false)
  })

  it('leaves the message, the keys and the content as they were', () => {
    const before = [hex(bytes), hex(bob.secretKey)]
    const result = unseal(sodium, bytes, keyring(bob))
    expect([hex(bytes), hex(bob.secretKey)]).toEqual(before)
    expect(result).toMatchObject({ outcome: 'opened', message: { content: makeContent() } })
    expect(unseal(sodium, bytes, keyring(bob))).toEqual(result)
  })
})

describe('sealing', () => {
  const options = {
    type: 0,
    epoch: EPOCH,
    recipients: [bob],
    messageKey: sender.secretKey,
    sentAtMs: SENT_AT_MS,
    padding: 'padme',
  } as const

  it('refuses an empty audience', () => {
    expect(() => seal(sodium, makeContent(), { ...options, recipients: [] })).toThrow(
      expect.objectContaining({ code: 'ERR_EMPTY_AUDIENCE' }),
    )
  })

  it('refuses more recipients than the limit before any key agreement', () => {
    const recipients = new Array(MAX_RECIPIENTS + 1).fill(bob)
    const start = performance.now()
    expect(() => seal(sodium, makeContent(), { ...options, recipients })).toThrow(
      expect.objectContaining({ code: 'ERR_MESSAGE_TOO_LARGE' }),
    )
    expect(performance.now() - start).toBeLessThan(200)
  })

  it.each(engines)('leaves out and names a recipient whose key has low order, on $name', (engine) => {
    for (const text of LOW_ORDER) {
      const key = fromHex(text)
      for (const publicKey of [key, key.with(31, (key[31] ?? 0) | 0x80)]) {
        const evil = { ...newRecipient(sodium), publicKey }
        const { bytes, leftOut } = seal(engine, makeContent(), { ...options, recipients: [evil, bob] })
        expect(leftOut).toEqual([{ recipient: evil, why: 'unusable key' }])
        expect(unseal(engine, bytes, keyring(bob))).toMatchObject({
          outcome: 'opened',
          message: { recipients: 1 },
        })
      }
    }
  })

  it.each(engines)('leaves out and names a recipient whose key has another length, on $name', (engine) => {
    for (const length of [0, 31, 33]) {
      const evil = { ...newRecipient(sodium), publicKey: engine.randomBytes(length) }
      const { bytes, leftOut } = seal(engine, makeContent(), { ...options, recipients: [evil, bob] })
      expect(leftOut).toEqual([{ recipient: evil, why: 'unusable key' }])
      expect(unseal(engine, bytes, keyring(bob))).toMatchObject({ outcome: 'opened' })
    }
  })

  it.each(engines)('refuses an audience of keys of low order alone, and says so, on $name', (engine) => {
    const recipients = LOW_ORDER.map((text) => ({ ...newRecipient(sodium), publicKey: fromHex(text) }))
    expect(() => seal(engine, makeContent(), { ...options, recipients })).toThrow(
      expect.objectContaining({
        code: 'ERR_EMPTY_AUDIENCE',
        hint: 'every one of them announced a key of low order',
      }),
    )
  })

  it('writes no kid twice: it leaves out and names the recipient that comes later', () => {
    const [carol, dave] = [newRecipient(sodium), newRecipient(sodium)]
    const alike = { ...carol, kid: carol.kid.with(15, (carol.kid[15] ?? 0) ^ 1) }
    const copy = { ...dave, kid: bob.kid }
    const recipients = [bob, carol, copy, alike]
    const { bytes, leftOut } = seal(sodium, makeContent(), { ...options, recipients })
    expect(leftOut).toEqual([{ recipient: copy, why: 'kid in use' }])
    for (const own of [bob, carol, alike])
      expect(unseal(sodium, bytes, keyring(own))).toMatchObject({ outcome: 'opened' })
  })

  it('does not let a key of low order take the kid of a recipient that comes later', () => {
    const evil = { ...bob, publicKey: new Uint8Array(32) }
    const { bytes, leftOut } = seal(sodium, makeContent(), { ...options, recipients: [evil, bob] })
    expect(leftOut).toEqual([{ recipient: evil, why: 'unusable key' }])
    expect(unseal(sodium, bytes, keyring(bob))).toMatchObject({ outcome: 'opened' })
  })

  it('draws everything anew for each message, although nothing else has changed', () => {
    const [a, b] = [seal(sodium, makeContent(), options), seal(sodium, makeContent(), options)]
    const [first, second] = [decodeSealed(a.bytes), decodeSealed(b.bytes)]
    expect(first.header.enc).not.toEqual(second.header.enc)
    expect(first.header.mid).not.toEqual(second.header.mid)
    expect(first.header.packedWraps).not.toEqual(second.header.packedWraps)
    expect(first.commitment).not.toEqual(second.commitment)
    expect(first.ciphertext).not.toEqual(second.ciphertext)
  })

  it('puts the sending time into the mid and says which it is', () => {
    const { bytes, mid } = seal(sodium, makeContent(), options)
    expect(decodeSealed(bytes).header.mid).toEqual(mid)
    expect(midTime(mid)).toBe(SENT_AT_MS)
  })

  it.each(engines)('wipes the ephemeral key and the content key of $name, also where it fails', (engine) => {
    const draw = () => ({
      ephemeral: engine.x25519KeyPair(),
      contentSecret: engine.randomBytes(32),
      mid: makeMid(SENT_AT_MS, engine.randomBytes(10)),
    })
    const good = draw()
    sealWith(engine, makeContent(), options, good)
    const bad = draw()
    const evil = { ...bob, publicKey: new Uint8Array(32) }
    expect(() => sealWith(engine, makeContent(), { ...options, recipients: [evil] }, bad)).toThrow()
    for (const { ephemeral, contentSecret } of [good, bad]) {
      expect(ephemeral.secretKey).toEqual(new Uint8Array(32))
      expect(contentSecret).toEqual(new Uint8Array(32))
    }
    expect(sender.secretKey).not.toEqual(new Uint8Array(64))
  })

  it('shows neither subject, reply, headers, payload nor sender', () => {
    const canary = 'canary-7f3a'
    const content = makeContent({
      sender: sodium.sha256(new TextEncoder().encode(canary)),
      subject: `orders.${canary}`,
      reply: `_INBOX.${canary}`,
      headers: [{ name: canary, value: canary }],
      payload: new TextEncoder().encode(canary.repeat(10)),
    })
    const { bytes } = seal(sodium, content, options)
    expect(Buffer.from(bytes).includes(canary)).toBe(false)
    expect(Buffer.from(bytes).includes(Buffer.from(content.sender))).toBe(false)
    expect(Buffer.from(bytes).includes(Buffer.from(sender.publicKey))).toBe(false)
  })
})

describe('the size of a sealed message', () => {
  const ciphertextBytes = (payloadBytes: number, padding: 'padme' | 'none') => {
    const content = makeContent({ payload: new Uint8Array(payloadBytes) })
    return decodeSealed(sealTo(sodium, [bob], { sender, content, padding })).ciphertext.length - 16
  }
  /** Signature, length, and P with its fields for this payload. */
  const bareBytes = (payloadBytes: number) => {
    const head = payloadBytes < 256 ? 2 : payloadBytes < 65_536 ? 3 : 5
    return 64 + 4 + (1 + 34 + 1 + 11 + 1 + 1 + 1 + 1 + 1) + head + payloadBytes
  }

  it('falls on the buckets of PADMÉ, 128 bytes at least, whatever the payload', () => {
    const sizes = new Set<number>()
    for (let length = 0; length < 2000; length++) {
      const size = ciphertextBytes(length, 'padme')
      expect(size).toBe(Math.max(128, padme(bareBytes(length))))
      sizes.add(size)
    }
    expect(sizes.size).toBeLessThan(60)
  })

  it('is the same for contents of one bucket, wherever their bytes are', () => {
    const size = (changes: Parameters<typeof makeContent>[0]) =>
      sealTo(sodium, [bob], { sender, content: makeContent(changes) }).length
    const base = size({ payload: new Uint8Array(200) })
    expect(size({ payload: new Uint8Array(202) })).toBe(base)
    expect(size({ payload: new Uint8Array(193), reply: 'inbox.12' })).toBe(base)
  })

  it('is exact where padding is turned off', () => {
    for (const length of [0, 1, 100, 255, 256, 1000, 65_536]) {
      expect(ciphertextBytes(length, 'none')).toBe(bareBytes(length))
    }
  })
})

/** Algorithm 1 of the PURB paper, on integers alone. */
function padme(length: number): number {
  const exponent = length.toString(2).length - 1
  const mask = 2 ** (exponent - exponent.toString(2).length) - 1
  return (length + mask) & ~mask
}
