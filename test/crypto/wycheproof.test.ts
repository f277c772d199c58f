import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import { engines, readVectors, type Wycheproof } from './vectors.ts'

interface XdhCase {
  readonly public: string
  readonly private: string
  readonly shared: string
}

interface SignatureCase {
  readonly msg: string
  readonly sig: string
}

interface AeadCase {
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
}

interface HkdfCase {
  readonly ikm: string
  readonly salt: string
  readonly info: string
  readonly size: number
  readonly okm: string
}

interface MacCase {
  readonly key: string
  readonly msg: string
  readonly tag: string
}

const x25519 = readVectors<Wycheproof<object, XdhCase>>('wycheproof/x25519_test.json')
const ed25519 = readVectors<Wycheproof<{ readonly publicKey: { readonly pk: string } }, SignatureCase>>(
  'wycheproof/ed25519_test.json',
)
const chacha = readVectors<Wycheproof<{ readonly ivSize: number }, AeadCase>>(
  'wycheproof/chacha20_poly1305_test.json',
)
const xchacha = readVectors<Wycheproof<{ readonly ivSize: number }, AeadCase>>(
  'wycheproof/xchacha20_poly1305_test.json',
)
const hkdf = readVectors<Wycheproof<object, HkdfCase>>('wycheproof/hkdf_sha256_test.json')
const hmac = readVectors<Wycheproof<{ readonly tagSize: number }, MacCase>>(
  'wycheproof/hmac_sha256_test.json',
)

const HASH_BYTES = 32

describe.each(engines)('Wycheproof on $name', (engine) => {
  it('agrees with all 518 cases of X25519 and refuses the 31 all-zero results', () => {
    const wrong: number[] = []
    let refused = 0
    let replayed = 0
    for (const { tcId, ...test } of x25519.testGroups.flatMap(({ tests }) => tests)) {
      const isZero = /^0+$/.test(test.shared)
      const shared = engine.x25519(fromHex(test.private), fromHex(test.public))
      if (shared === undefined) refused++
      const expected = isZero ? undefined : test.shared
      if ((shared === undefined ? undefined : hex(shared)) !== expected) wrong.push(tcId)
      replayed++
    }
    expect(wrong).toEqual([])
    expect({ replayed, refused }).toEqual({ replayed: 518, refused: 31 })
  })

  it('agrees with all 151 cases of Ed25519', () => {
    const wrong: number[] = []
    let accepted = 0
    let replayed = 0
    for (const { publicKey, tests } of ed25519.testGroups) {
      for (const { tcId, msg, sig, result } of tests) {
        const isValid = engine.verify(fromHex(publicKey.pk), fromHex(msg), fromHex(sig))
        if (isValid) accepted++
        if (isValid !== (result === 'valid')) wrong.push(tcId)
        replayed++
      }
    }
    expect(wrong).toEqual([])
    expect({ replayed, accepted }).toEqual({ replayed: 151, accepted: 88 })
  })

  it('agrees with the 316 cases of ChaCha20-Poly1305 that have a nonce of 12 bytes', () => {
    const outcome = replayAead(
      chacha.testGroups.filter(({ ivSize }) => ivSize === 96).flatMap(({ tests }) => tests),
      { seal: (input) => engine.aeadSeal(input), open: (input) => engine.aeadOpen(input) },
    )
    expect(outcome).toEqual({ wrong: [], replayed: 316, opened: 256 })
  })

  it('refuses the 9 cases of ChaCha20-Poly1305 whose nonce has another length', () => {
    const others = chacha.testGroups.filter(({ ivSize }) => ivSize !== 96).flatMap(({ tests }) => tests)
    for (const { key, iv, aad, ct, tag } of others) {
      const input = { key: fromHex(key), nonce: fromHex(iv), aad: fromHex(aad) }
      expect(() => engine.aeadSeal({ ...input, data: new Uint8Array(1) })).toThrow()
      expect(opensNothing(() => engine.aeadOpen({ ...input, data: fromHex(ct + tag) }))).toBe(true)
    }
    expect(others).toHaveLength(9)
  })

  it('agrees with the 306 cases of XChaCha20-Poly1305 that have a nonce of 24 bytes', () => {
    const outcome = replayAead(
      xchacha.testGroups.filter(({ ivSize }) => ivSize === 192).flatMap(({ tests }) => tests),
      { seal: (input) => engine.xaeadSeal(input), open: (input) => engine.xaeadOpen(input) },
    )
    expect(outcome).toEqual({ wrong: [], replayed: 306, opened: 246 })
  })

  it('refuses the 9 cases of XChaCha20-Poly1305 whose nonce has another length', () => {
    const others = xchacha.testGroups.filter(({ ivSize }) => ivSize !== 192).flatMap(({ tests }) => tests)
    for (const { key, iv, aad, ct, tag } of others) {
      const input = { key: fromHex(key), nonce: fromHex(iv), aad: fromHex(aad) }
      expect(() => engine.xaeadSeal({ ...input, data: new Uint8Array(1) })).toThrow()
      expect(opensNothing(() => engine.xaeadOpen({ ...input, data: fromHex(ct + tag) }))).toBe(true)
    }
    expect(others).toHaveLength(9)
  })

  it('has an HMAC of which HKDF-SHA-256 can be built: 83 cases, and 3 that ask for too much', () => {
    const wrong: number[] = []
    let tooLarge = 0
    let replayed = 0
    for (const { tcId, ikm, salt, info, size, okm, result } of hkdf.testGroups.flatMap(
      ({ tests }) => tests,
    )) {
      replayed++
      if (result === 'invalid') {
        expect(size).toBeGreaterThan(255 * HASH_BYTES)
        tooLarge++
        continue
      }
      if (hex(deriveHkdf(engine, { ikm, salt, info }, size)) !== okm) wrong.push(tcId)
    }
    expect(wrong).toEqual([])
    expect({ replayed, tooLarge }).toEqual({ replayed: 86, tooLarge: 3 })
  })

  it('agrees with all 174 cases of HMAC-SHA-256', () => {
    const wrong: number[] = []
    let accepted = 0
    let replayed = 0
    for (const { tagSize, tests } of hmac.testGroups) {
      for (const { tcId, key, msg, tag, result } of tests) {
        const mac = engine.hmac(fromHex(key), fromHex(msg)).subarray(0, tagSize / 8)
        const isValid = engine.equal(mac, fromHex(tag))
        if (isValid) accepted++
        if (isValid !== (result === 'valid')) wrong.push(tcId)
        replayed++
      }
    }
    expect(wrong).toEqual([])
    expect({ replayed, accepted }).toEqual({ replayed: 174, accepted: 66 })
  })
})

interface Aead {
  readonly seal: CryptoEngine['aeadSeal']
  readonly open: CryptoEngine['aeadOpen']
}

function replayAead(
  tests: readonly (AeadCase & { readonly tcId: number; readonly result: string })[],
  { seal, open }: Aead,
): { readonly wrong: readonly number[]; readonly replayed: number; readonly opened: number } {
  const wrong: number[] = []
  let opened = 0
  for (const { tcId, key, iv, aad, msg, ct, tag, result } of tests) {
    const input = { key: fromHex(key), nonce: fromHex(iv), aad: fromHex(aad) }
    const plaintext = open({ ...input, data: fromHex(ct + tag) })
    if (plaintext !== undefined) opened++
    const isRight =
      result === 'valid'
        ? plaintext !== undefined &&
          hex(plaintext) === msg &&
          hex(seal({ ...input, data: fromHex(msg) })) === ct + tag
        : plaintext === undefined
    if (!isRight) wrong.push(tcId)
  }
  return { wrong, replayed: tests.length, opened }
}

/** A wrong length is refused with an error or with `undefined`: what counts is that no plaintext comes out. */
function opensNothing(open: () => Uint8Array | undefined): boolean {
  try {
    return open() === undefined
  } catch {
    return true
  }
}

/** HKDF of RFC 5869. */
function deriveHkdf(
  engine: CryptoEngine,
  { ikm, salt, info }: { readonly ikm: string; readonly salt: string; readonly info: string },
  size: number,
): Uint8Array {
  const prk = engine.hmac(salt === '' ? new Uint8Array(HASH_BYTES) : fromHex(salt), fromHex(ikm))
  let block: Uint8Array = new Uint8Array(0)
  let output: Uint8Array = new Uint8Array(0)
  for (let i = 1; output.length < size; i++) {
    block = engine.hmac(prk, concat(block, fromHex(info), Uint8Array.of(i)))
    output = concat(output, block)
  }
  return output.subarray(0, size)
}
