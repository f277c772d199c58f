import { describe, expect, it } from 'vitest'
import { byte, concat, fromHex, hex } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { merklePathLength, merkleTree } from '../../src/crypto/merkle.ts'
import { type SessionSecrets, sessionId } from '../../src/envelope/keys.ts'
import { unseal, verifySender } from '../../src/envelope/open.ts'
import { sealWith } from '../../src/envelope/seal.ts'
import { FrameOpener, FrameSealer } from '../../src/session/frame-cipher.ts'
import { IncomingSession } from '../../src/session/incoming.ts'
import { provesRefusal, refusalTag } from '../../src/session/refusal.ts'
import { frameLeaf, signBatch } from '../../src/session/session-auth.ts'
import {
  decodeFrameContent,
  encodeFrameMeta,
  encodePayloads,
  type FrameMeta,
  frameSid,
  readFrameHeader,
} from '../../src/wire/frame.ts'
import { decodeHandshake, encodeHandshake, type SessionMode } from '../../src/wire/handshake.ts'
import { decodeRefusal, encodeRefusal, type RefusalReason } from '../../src/wire/refusal.ts'
import { makeMid } from '../../src/wire/sealed.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { keyring } from '../envelope/forge.ts'
import { contentOf, optionsOf, recipientKey, type SealedVector } from '../envelope/sealed-vectors.ts'
import { pathOf } from '../support/merkle-path.ts'

interface FrameVector {
  readonly input: {
    readonly sent_at_ms: number
    readonly salt_random: string
    readonly counter: number
    readonly subject: string
    readonly ttl_ms: number
    readonly reply: string | null
    readonly in_reply_to: string | null
    readonly headers: readonly (readonly [string, string])[]
    readonly clear_headers: readonly (readonly [string, string])[]
    readonly padding: 'padme' | 'none'
    readonly payloads: readonly string[]
  }
  readonly steps: {
    readonly D: string
    readonly P: string
    readonly sha256_P: string
    readonly leaf: string
    readonly auth: string
    readonly plaintext: string
    readonly nonce: string
    readonly subkey: string
    readonly ciphertext: string
    readonly wire: string
  }
}

interface SessionVector {
  readonly name: string
  readonly handshake: {
    readonly fields: {
      readonly mode: SessionMode
      readonly max_frames: number
      readonly lifetime_ms: number
    }
    readonly input: SealedVector['input']
    readonly steps: SealedVector['steps']
  }
  readonly sid: string
  readonly SK: string
  readonly refusals: readonly {
    readonly by: string
    readonly reason: RefusalReason
    readonly kid: string
    readonly authenticated: string
    readonly tag: string
    readonly wire: string
  }[]
  readonly batch: {
    readonly leaves: readonly string[]
    readonly root: string
    readonly signed: string
    readonly signature: string
    readonly paths: readonly (readonly string[])[]
  } | null
  readonly frames: readonly FrameVector[]
}

const { sessions } = readVectors<{ readonly sessions: readonly SessionVector[] }>('subrosa/sessions.json')
const cases = engines.flatMap((engine) => sessions.map((vector) => ({ engine, vector })))

describe('the sessions among the known answers', () => {
  it('are a signed batch of five frames, one that is alone, and a channel', () => {
    expect(
      sessions.map(({ handshake, frames, batch }) => [handshake.fields.mode, frames.length, batch === null]),
    ).toEqual([
      [0, 5, false],
      [0, 1, false],
      [1, 1, true],
    ])
    const metas = sessions.flatMap(({ frames }) => frames.map(metaOf))
    expect(metas.some(({ reply, inReplyTo }) => reply !== undefined && inReplyTo !== undefined)).toBe(true)
    expect(metas.some(({ headers, clearHeaders }) => headers.length > 0 && clearHeaders.length > 0)).toBe(
      true,
    )
    const payloads = sessions.flatMap(({ frames }) => frames.map(({ input }) => input.payloads.length))
    expect(payloads).toEqual([1, 1, 1, 3, 2, 1, 1])
  })
})

describe.each(cases)('the known answer "$vector.name" on $engine.name', ({ engine, vector }) => {
  const { handshake, frames, batch } = vector
  const { fields, input, steps } = handshake
  const recipients = input.recipients.map((recipient) => recipientKey(engine, recipient, input))
  const secretsFor = (i: number): SessionSecrets => {
    const own = recipients[i]
    const result = unseal(engine, fromHex(steps.wire), keyring(...(own === undefined ? [] : [own])))
    if (result.outcome !== 'opened' || result.message.session === undefined)
      throw new Error('the handshake does not open')
    expect(verifySender(engine, result.message, fromHex(input.message_key.public))).toBe(true)
    expect(decodeHandshake(result.message.content.payload)).toEqual(decoded(fields))
    return result.message.session
  }

  it('has the bytes of the handshake, and what it opens for its sender', () => {
    const sealed = sealWith(engine, contentOf(input.content), optionsOf(engine, { input }, recipients), {
      ephemeral: engine.x25519KeyPair(fromHex(input.ephemeral_secret)),
      contentSecret: fromHex(input.cek),
      mid: makeMid(input.sent_at_ms, fromHex(input.mid_random)),
    })
    expect(hex(sealed.bytes)).toBe(steps.wire)
    expect(hex(encodeHandshake(decoded(fields)))).toBe(input.content.payload)
    expect(sealed.session && hex(sealed.session.sid)).toBe(vector.sid)
    expect(sealed.session && hex(sealed.session.key)).toBe(vector.SK)
  })

  it('opens the same session for every recipient', () => {
    for (const i of recipients.keys()) {
      const { sid, key, binding } = secretsFor(i)
      expect([hex(sid), hex(key)]).toEqual([vector.sid, vector.SK])
      expect(hex(binding)).toBe(vector.sid + steps.TH + steps.COM)
    }
    expect(hex(sessionId(engine, fromHex(steps.wire)))).toBe(vector.sid)
    expect(hex(engine.sha256(labels.session, fromHex(steps.wire)).subarray(0, 16))).toBe(vector.sid)
    expect(hex(engine.hmac(fromHex(steps.PRK), labels.sessionKey))).toBe(vector.SK)
  })

  it('has the refusal of every recipient', () => {
    expect(vector.refusals.map(({ by }) => by)).toEqual(input.recipients.map(({ name }) => name))
    for (const [i, { reason, kid, authenticated, tag, wire }] of vector.refusals.entries()) {
      const { announcement_hash = '' } = input.recipients[i] ?? {}
      const announcementHash = fromHex(announcement_hash)
      const secrets = secretsFor(i)
      expect(authenticated).toBe(hex(concat(labels.refusal, secrets.sid, byte(reason), announcementHash)))
      expect(hex(engine.hmac(fromHex(vector.SK), fromHex(authenticated)).subarray(0, 16))).toBe(tag)
      expect(hex(refusalTag(engine, secrets, { reason, announcementHash }))).toBe(tag)
      expect(hex(recipients[i]?.kid ?? new Uint8Array(0))).toBe(kid)
      const refusal = decodeRefusal(fromHex(wire))
      expect(hex(encodeRefusal(refusal))).toBe(wire)
      expect(provesRefusal(engine, secrets, { refusal, announcementHash })).toBe(true)
    }
  })

  it('has every step of the proof', () => {
    const leaves = frames.map((frame) => {
      const leaf = frameLeaf(engine, fromHex(frame.steps.D), [fromHex(frame.steps.P)])
      expect(hex(leaf)).toBe(frame.steps.leaf)
      expect(hex(engine.sha256(fromHex(frame.steps.P)))).toBe(frame.steps.sha256_P)
      return leaf
    })
    if (batch === null) {
      expect(frames.map((frame) => frame.steps.auth)).toEqual(['00'])
      return
    }
    expect(leaves.map(hex)).toEqual(batch.leaves)
    const tree = merkleTree(engine, leaves)
    expect(hex(tree.root)).toBe(batch.root)
    expect(leaves.map((_, i) => pathOf(tree, i).map(hex))).toEqual(batch.paths)
    expect(batch.paths.map(({ length }) => length)).toEqual(
      leaves.map((_, i) => merklePathLength(leaves.length, i)),
    )
    const { secretKey, publicKey } = engine.ed25519KeyPair(fromHex(input.message_key.seed))
    const signed = fromHex(batch.signed)
    const count = Uint8Array.of(leaves.length)
    expect(batch.signed).toBe(
      hex(concat(labels.batch, count)) + vector.sid + steps.TH + steps.COM + batch.root,
    )
    expect(hex(engine.sign(secretKey, signed))).toBe(batch.signature)
    expect(engine.verify(publicKey, signed, fromHex(batch.signature))).toBe(true)
    const { binding } = secretsFor(0)
    expect(signBatch(engine, leaves, { messageKey: secretKey, binding }).map(hex)).toEqual(
      frames.map((frame) => frame.steps.auth),
    )
  })

  it('has the bytes of every frame', () => {
    const key = fromHex(vector.SK)
    for (const frame of frames) {
      const { input: made, steps: expected } = frame
      const meta = encodeFrameMeta(metaOf(frame))
      const content = [meta, ...encodePayloads(made.payloads.map(fromHex))]
      expect(hex(concat(...content))).toBe(expected.P)
      const { padding } = made
      const sealer = new FrameSealer(
        { ...engine, randomBytes: (length) => padded(made.salt_random, length) },
        padding,
      )
      const number = { sentAtMs: made.sent_at_ms, counter: made.counter }
      const header = sealer.writeHeader(0, fromHex(vector.sid), number)
      expect([hex(header.bytes), hex(header.nonce)]).toEqual([expected.D, expected.nonce])
      expect(hex(sealer.seal(header, { key, auth: fromHex(expected.auth), content }))).toBe(expected.wire)
      const aead = { key, nonce: fromHex(expected.nonce), aad: header.bytes }
      expect(hex(engine.xaeadSeal({ ...aead, data: fromHex(expected.plaintext) }))).toBe(expected.ciphertext)
      const inner = { key: fromHex(expected.subkey), nonce: fromHex(`00000000${expected.nonce.slice(32)}`) }
      const short = engine.aeadSeal({ ...inner, aad: header.bytes, data: fromHex(expected.plaintext) })
      expect(hex(short)).toBe(expected.ciphertext)
    }
  })

  it('opens every frame for every recipient', () => {
    for (const i of recipients.keys()) {
      const incoming = new IncomingSession(engine, {
        secrets: secretsFor(i),
        handshake: decoded(fields),
        sentAtMs: input.sent_at_ms,
        messageKey: fromHex(input.message_key.public),
      })
      const opener = new FrameOpener(engine)
      for (const frame of frames) {
        const wire = fromHex(frame.steps.wire)
        const header = readFrameHeader(wire)
        expect(header).toMatchObject({ sentAtMs: frame.input.sent_at_ms, counter: frame.input.counter })
        expect([hex(frameSid(wire)), incoming.takes(header)]).toEqual([vector.sid, true])
        expect(incoming.open(opener, wire, (content) => content)).toEqual({
          meta: metaOf(frame),
          payloads: frame.input.payloads.map(fromHex),
        })
        expect(decodeFrameContent(fromHex(frame.steps.P)).meta).toEqual(metaOf(frame))
      }
    }
  })
})

function decoded(fields: SessionVector['handshake']['fields']) {
  const { mode, max_frames: maxFrames, lifetime_ms: lifetimeMs } = fields
  return { mode, maxFrames, lifetimeMs }
}

function metaOf({ input }: FrameVector): FrameMeta {
  return {
    ttlMs: input.ttl_ms,
    subject: input.subject,
    reply: input.reply ?? undefined,
    inReplyTo: input.in_reply_to === null ? undefined : fromHex(input.in_reply_to),
    headers: input.headers.map(([name, value]) => ({ name, value })),
    clearHeaders: input.clear_headers.map(([name, value]) => ({ name, value })),
  }
}

function padded(text: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set(fromHex(text))
  return bytes
}
