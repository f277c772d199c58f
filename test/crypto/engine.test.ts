import { afterEach, describe, expect, it, vi } from 'vitest'
import { fromHex, hex, utf8 } from '../../src/base/bytes.ts'
import { chooseEngine, engineFor } from '../../src/crypto/engine.ts'
import { nobleEngine } from '../../src/crypto/noble.ts'
import { sodiumEngine } from '../../src/crypto/sodium.ts'
import { sodiumEngine as absentEngine } from '../../src/crypto/sodium-absent.ts'
import { copiesInMemory, hasProcessMemory, masked } from '../support/process-memory.ts'
import { engines, readVectors } from './vectors.ts'

interface CctvCase {
  readonly number: number
  readonly key: string
  readonly sig: string
  readonly msg: string
}

const cctv = readVectors<readonly CctvCase[]>('ed25519/cctv_ed25519vectors.json')

describe('choosing an engine', () => {
  it('gives libsodium where it loads', () => {
    expect(chooseEngine()).toBe(sodiumEngine)
    expect(chooseEngine('')).toBe(sodiumEngine)
    expect(chooseEngine('libsodium').name).toBe('libsodium')
  })

  it('gives noble when it is asked for', () => {
    expect(chooseEngine('noble')).toBe(nobleEngine)
    expect(chooseEngine('noble').name).toBe('noble')
  })

  it.each(['sodium', 'Noble', 'none', ' noble'])(
    'refuses the unknown name "%s" instead of falling back',
    (name) => {
      expect(() => chooseEngine(name)).toThrow(expect.objectContaining({ code: 'ERR_ENGINE' }))
    },
  )

  it('has nothing in the place of libsodium where native modules cannot be', () => {
    expect(absentEngine).toBeUndefined()
  })
})

describe('the strict Ed25519 profile', () => {
  it('is the same on both engines for all 914 edge cases, and accepts exactly 43', () => {
    const [sodium, noble] = engines
    const disagreed: number[] = []
    let accepted = 0
    let replayed = 0
    for (const { number, key, sig, msg } of cctv) {
      const [publicKey, message, signature] = [fromHex(key), utf8(msg), fromHex(sig)]
      const isValid = sodium.verify(publicKey, message, signature)
      if (isValid !== noble.verify(publicKey, message, signature)) disagreed.push(number)
      if (isValid) accepted++
      replayed++
    }
    expect(disagreed).toEqual([])
    expect({ replayed, accepted }).toEqual({ replayed: 914, accepted: 43 })
  })
})

describe.each(engines)('$name', (engine) => {
  const keys = engine.ed25519KeyPair(new Uint8Array(32).fill(1))
  const message = utf8('message')
  const signature = engine.sign(keys.secretKey, message)

  it('verifies its own signature', () => {
    expect(engine.verify(keys.publicKey, message, signature)).toBe(true)
  })

  it('signs and verifies an empty message', () => {
    const empty = new Uint8Array(0)
    expect(engine.verify(keys.publicKey, empty, engine.sign(keys.secretKey, empty))).toBe(true)
  })

  it('refuses a signature of another message and of another key', () => {
    const other = engine.ed25519KeyPair(new Uint8Array(32).fill(2))
    expect(engine.verify(keys.publicKey, utf8('massage'), signature)).toBe(false)
    expect(engine.verify(other.publicKey, message, signature)).toBe(false)
  })

  it('refuses a signature that is one byte short or long', () => {
    const long = new Uint8Array(65)
    long.set(signature)
    expect(engine.verify(keys.publicKey, message, signature.subarray(0, 63))).toBe(false)
    expect(engine.verify(keys.publicKey, message, long)).toBe(false)
    expect(engine.verify(keys.publicKey, message, new Uint8Array(0))).toBe(false)
  })

  it('refuses a public signing key that is one byte short or long', () => {
    const long = new Uint8Array(33)
    long.set(keys.publicKey)
    expect(engine.verify(keys.publicKey.subarray(0, 31), message, signature)).toBe(false)
    expect(engine.verify(long, message, signature)).toBe(false)
    expect(engine.verify(new Uint8Array(0), message, signature)).toBe(false)
  })

  it.each([0, 31, 33])('refuses a seed of %i bytes', (length) => {
    expect(() => engine.x25519KeyPair(new Uint8Array(length))).toThrow()
    expect(() => engine.ed25519KeyPair(new Uint8Array(length))).toThrow()
  })

  it.each([0, 31, 32, 63, 65])('refuses to sign with a secret key of %i bytes', (length) => {
    expect(() => engine.sign(new Uint8Array(length), message)).toThrow()
  })

  it.each([0, 31, 33])('agrees on nothing with an X25519 key of %i bytes', (length) => {
    const { secretKey, publicKey } = engine.x25519KeyPair()
    expect(engine.x25519(secretKey, new Uint8Array(length).fill(9))).toBeUndefined()
    expect(engine.x25519(new Uint8Array(length).fill(9), publicKey)).toBeUndefined()
  })

  it.each([0, 8, 11, 13, 24])('refuses to seal with a ChaCha20-Poly1305 nonce of %i bytes', (length) => {
    const input = { key: new Uint8Array(32), aad: message, data: message }
    expect(() => engine.aeadSeal({ ...input, nonce: new Uint8Array(length) })).toThrow()
  })

  it.each([0, 12, 23, 25])('refuses to seal with an XChaCha20-Poly1305 nonce of %i bytes', (length) => {
    const input = { key: new Uint8Array(32), aad: message, data: message }
    expect(() => engine.xaeadSeal({ ...input, nonce: new Uint8Array(length) })).toThrow()
  })

  it.each([0, 16, 31, 33])('refuses to seal with a key of %i bytes', (length) => {
    const input = { key: new Uint8Array(length), aad: message, data: message }
    expect(() => engine.aeadSeal({ ...input, nonce: new Uint8Array(12) })).toThrow()
    expect(() => engine.xaeadSeal({ ...input, nonce: new Uint8Array(24) })).toThrow()
  })

  it.each([0, 1, 15])('opens nothing from a ciphertext of %i bytes, which cannot hold a tag', (length) => {
    const input = { key: new Uint8Array(32), aad: message, data: new Uint8Array(length) }
    expect(engine.aeadOpen({ ...input, nonce: new Uint8Array(12) })).toBeUndefined()
    expect(engine.xaeadOpen({ ...input, nonce: new Uint8Array(24) })).toBeUndefined()
  })

  it('opens nothing under another key, nonce or additional data', () => {
    const input = { key: new Uint8Array(32), nonce: new Uint8Array(12), aad: message }
    const data = engine.aeadSeal({ ...input, data: message })
    expect(engine.aeadOpen({ ...input, data })).toEqual(message)
    expect(engine.aeadOpen({ ...input, data, key: new Uint8Array(32).fill(1) })).toBeUndefined()
    expect(engine.aeadOpen({ ...input, data, nonce: new Uint8Array(12).fill(1) })).toBeUndefined()
    expect(engine.aeadOpen({ ...input, data, aad: new Uint8Array(0) })).toBeUndefined()
  })

  it('seals nothing at all and opens it again', () => {
    const empty = new Uint8Array(0)
    const input = { key: new Uint8Array(32), nonce: new Uint8Array(12), aad: empty }
    const data = engine.aeadSeal({ ...input, data: empty })
    expect(data).toHaveLength(16)
    expect(engine.aeadOpen({ ...input, data })).toEqual(empty)
  })

  it('leaves the ciphertext that it opens as it was', () => {
    const input = { key: new Uint8Array(32), nonce: new Uint8Array(12), aad: message }
    const data = engine.aeadSeal({ ...input, data: message })
    const before = hex(data)
    engine.aeadOpen({ ...input, data })
    expect(hex(data)).toBe(before)
  })

  it('gives a key pair that shares no memory with its seed', () => {
    const seed = engine.randomBytes(32)
    const pair = engine.x25519KeyPair(seed)
    const signing = engine.ed25519KeyPair(seed)
    const before = [hex(pair.secretKey), hex(signing.secretKey)]
    seed.fill(0)
    expect([hex(pair.secretKey), hex(signing.secretKey)]).toEqual(before)
  })

  it('compares secrets by value and length', () => {
    expect(engine.equal(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true)
    expect(engine.equal(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false)
    expect(engine.equal(Uint8Array.of(1, 2), Uint8Array.of(2, 2))).toBe(false)
    expect(engine.equal(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false)
  })

  it('wipes what it is told to', () => {
    const secrets = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)]
    engine.wipe(...secrets)
    expect(secrets).toEqual([new Uint8Array(3), new Uint8Array(1)])
  })

  it('draws other random bytes each time', () => {
    expect(engine.randomBytes(32)).toHaveLength(32)
    expect(engine.randomBytes(32)).not.toEqual(engine.randomBytes(32))
  })

  it('hashes as FIPS 180-4 says', () => {
    expect(hex(engine.sha256(utf8('abc')))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
})

describe('both engines', () => {
  it('give the same bytes for the same input', () => {
    const [sodium, noble] = engines
    for (let i = 0; i < 8; i++) {
      const seed = sodium.randomBytes(32)
      const data = sodium.randomBytes(17 * i)
      expect(sodium.x25519KeyPair(seed)).toEqual(noble.x25519KeyPair(seed))
      const keys = sodium.ed25519KeyPair(seed)
      expect(keys).toEqual(noble.ed25519KeyPair(seed))
      expect(sodium.sign(keys.secretKey, data)).toEqual(noble.sign(keys.secretKey, data))
      expect(sodium.sha256(data)).toEqual(noble.sha256(data))
      expect(sodium.hmac(data, seed)).toEqual(noble.hmac(data, seed))
      const input = { key: seed, aad: seed, data }
      const [nonce, xnonce] = [seed.subarray(0, 12), seed.subarray(0, 24)]
      expect(sodium.aeadSeal({ ...input, nonce })).toEqual(noble.aeadSeal({ ...input, nonce }))
      expect(sodium.xaeadSeal({ ...input, nonce: xnonce })).toEqual(
        noble.xaeadSeal({ ...input, nonce: xnonce }),
      )
    }
  })
})

describe.each(engines)('a secret that is derived and wiped, on $name', (engine) => {
  it.runIf(hasProcessMemory)('is nowhere in the memory of the process: it was never text', () => {
    const leftOf = (make: () => Uint8Array): Uint8Array => {
      const secret = make()
      const mask = masked(secret)
      engine.wipe(secret)
      return mask
    }
    const derived = Array.from({ length: 6 }, (_, i) =>
      leftOf(() => engine.hmac(engine.randomBytes(32 * (i + 1)), engine.randomBytes(8))),
    )
    const nowhere = copiesInMemory(leftOf(() => engine.randomBytes(32)))
    expect(derived.map(copiesInMemory)).toEqual(derived.map(() => nowhere))
  })
})

describe('the engine of an agent', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it('is the one that the option names, before the one that SUBROSA_ENGINE names', () => {
    vi.stubEnv('SUBROSA_ENGINE', 'noble')
    expect(engineFor().name).toBe('noble')
    expect(engineFor('libsodium').name).toBe('libsodium')
    vi.stubEnv('SUBROSA_ENGINE', '')
    expect(engineFor('noble').name).toBe('noble')
    expect(engineFor().name).toBe('libsodium')
  })

  it('is an error where SUBROSA_ENGINE names none: a misspelt name must not choose another', () => {
    vi.stubEnv('SUBROSA_ENGINE', 'sodium')
    expect(() => engineFor()).toThrow('unknown engine name')
  })
})
