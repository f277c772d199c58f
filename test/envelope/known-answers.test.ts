import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { byte, concat, fromHex, hex } from '../../src/base/bytes.ts'
import { keySchedule, scheduleContext, sharedSecret } from '../../src/crypto/hpke.ts'
import { labels } from '../../src/crypto/labels.ts'
import { contentKeys, contextFor, headerHash, signedBytes } from '../../src/envelope/keys.ts'
import { unseal, verifySender } from '../../src/envelope/open.ts'
import { sealWith } from '../../src/envelope/seal.ts'
import {
  decodeContent,
  decodeSealed,
  encodeContent,
  encodeSealedHeader,
  makeMid,
  splitWraps,
} from '../../src/wire/sealed.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { keyring } from './forge.ts'
import { contentOf, optionsOf, recipientKey, type SealedVector } from './sealed-vectors.ts'

const { messages } = readVectors<{ readonly messages: readonly SealedVector[] }>(
  'subrosa/sealed-message.json',
)
const cases = engines.flatMap((engine) => messages.map((vector) => ({ engine, vector })))

describe('the files of known answers', () => {
  it('are what scripts/write-vectors.mjs writes', async () => {
    const script = new URL('../../scripts/write-vectors.mjs', import.meta.url).href
    const { makeVectors }: { makeVectors(): Readonly<Record<string, string>> } = await import(script)
    const written = makeVectors()
    expect(Object.keys(written).sort()).toEqual([
      'negative.json',
      'plans.json',
      'queries.json',
      'sealed-message.json',
      'sessions.json',
      'statements.json',
      'ticks.json',
    ])
    for (const [name, text] of Object.entries(written)) {
      const file = new URL(`../vectors/subrosa/${name}`, import.meta.url)
      expect(readFileSync(file, 'utf8') === text, `${name} is out of date`).toBe(true)
    }
  })

  it('have messages to one and to three recipients, with and without reply and headers', () => {
    const shapes = messages.map(({ input: { type, padding, recipients, content } }) => [
      type,
      padding,
      recipients.map(({ use }) => use),
      content.reply !== null && content.headers.length > 0 && content.clear_headers.length > 0,
    ])
    expect(shapes).toEqual([
      [0, 'padme', [0], false],
      [0, 'padme', [0], true],
      [0, 'padme', [0, 0, 0], false],
      [0, 'padme', [0, 0, 0], true],
      [0, 'none', [1], false],
      [1, 'padme', [0], false],
      [0, 'padme', [0], false],
    ])
  })
})

describe.each(cases)('the known answer "$vector.name" on $engine.name', ({ engine, vector }) => {
  const { input, steps } = vector
  const recipients = input.recipients.map((recipient) => recipientKey(engine, recipient, input))

  it('has the sealed bytes', () => {
    const sealed = sealWith(engine, contentOf(input.content), optionsOf(engine, vector, recipients), {
      ephemeral: engine.x25519KeyPair(fromHex(input.ephemeral_secret)),
      contentSecret: fromHex(input.cek),
      mid: makeMid(input.sent_at_ms, fromHex(input.mid_random)),
    })
    expect(hex(sealed.bytes)).toBe(steps.wire)
    expect(hex(sealed.mid)).toBe(steps.mid)
  })

  it('opens for every recipient', () => {
    expect(recipients).toHaveLength(steps.recipients.length)
    for (const own of recipients) {
      const result = unseal(engine, fromHex(steps.wire), keyring(own))
      if (result.outcome !== 'opened') throw new Error(`not opened: ${JSON.stringify(result)}`)
      expect(result.message.content).toEqual(contentOf(input.content))
      expect(result.message.sentAtMs).toBe(input.sent_at_ms)
      expect(hex(result.message.signature)).toBe(steps.signature)
      expect(hex(result.message.toVerify)).toBe(steps.signed)
      expect(verifySender(engine, result.message, fromHex(input.message_key.public))).toBe(true)
    }
  })

  it('has every step of the wraps', () => {
    const ephemeral = engine.x25519KeyPair(fromHex(input.ephemeral_secret))
    expect(hex(ephemeral.publicKey)).toBe(steps.enc)
    for (const [i, own] of recipients.entries()) {
      const step = steps.recipients[i]
      if (step === undefined) throw new Error('a step is missing')
      expect(hex(own.kid)).toBe(step.kid)
      const { announcement_hash = '' } = input.recipients[i] ?? {}
      const suffix = `${hex(byte(input.type))}${hex(byte(input.suite))}${input.epoch_hash}${announcement_hash}`
      expect(step.info).toBe(hex(labels.wrap) + suffix)
      expect(hex(scheduleContext(engine, fromHex(step.info)))).toBe(step.key_schedule_context)
      expect(hex(contextFor(own, input.type))).toBe(step.key_schedule_context)
      const dh = engine.x25519(ephemeral.secretKey, own.publicKey) ?? new Uint8Array(0)
      expect(hex(dh)).toBe(step.dh)
      expect(engine.x25519(own.secretKey, ephemeral.publicKey)).toEqual(dh)
      const secret = sharedSecret(
        engine,
        { secretKey: ephemeral.secretKey, publicKey: own.publicKey },
        { enc: ephemeral.publicKey, recipient: own.publicKey },
      )
      expect(secret).toEqual(fromHex(step.shared_secret))
      const { key, nonce } = keySchedule(engine, fromHex(step.shared_secret), contextFor(own, input.type))
      expect([hex(key), hex(nonce)]).toEqual([step.key, step.nonce])
      const wrap = engine.aeadSeal({ key, nonce, aad: fromHex(steps.mid), data: fromHex(input.cek) })
      expect(hex(wrap)).toBe(step.wrap)
    }
  })

  it('has every step of the body', () => {
    const header = decodeSealed(fromHex(steps.wire)).header
    expect(hex(encodeSealedHeader(header))).toBe(steps.H)
    expect(splitWraps(header.packedWraps).map(({ kid, wrap }) => [hex(kid), hex(wrap)])).toEqual(
      steps.recipients.map(({ kid, wrap }) => [kid, wrap]),
    )
    const th = headerHash(engine, fromHex(steps.H))
    expect(hex(th)).toBe(steps.TH)
    expect(hex(engine.hmac(th, fromHex(input.cek)))).toBe(steps.PRK)
    const { key, commitment } = contentKeys(engine, fromHex(input.cek), th)
    expect([hex(key), hex(commitment)]).toEqual([steps.K, steps.COM])
    expect(hex(encodeContent(contentOf(input.content)))).toBe(steps.P)
    expect(decodeContent(fromHex(steps.P))).toEqual(contentOf(input.content))
    const content = engine.sha256(fromHex(steps.P))
    expect(hex(content)).toBe(steps.sha256_P)
    const signed = signedBytes(input.type, input.suite, { header: th, commitment, content })
    expect(hex(signed)).toBe(steps.signed)
    const { secretKey, publicKey } = engine.ed25519KeyPair(fromHex(input.message_key.seed))
    expect(hex(publicKey)).toBe(input.message_key.public)
    expect(hex(engine.sign(secretKey, signed))).toBe(steps.signature)
    const body = { key, nonce: new Uint8Array(12), aad: th }
    expect(hex(engine.aeadSeal({ ...body, data: fromHex(steps.plaintext) }))).toBe(steps.ciphertext)
    expect(engine.aeadOpen({ ...body, data: fromHex(steps.ciphertext) })).toEqual(fromHex(steps.plaintext))
    expect(steps.wire.endsWith(hex(concat(commitment, fromHex(steps.ciphertext))))).toBe(true)
  })
})
