import { sodiumEngine } from '#sodium'
import { SubrosaError } from '../base/errors.ts'
import { nobleEngine } from './noble.ts'

/** A secret key and its public key. Ed25519 secret keys are opaque 64 bytes, X25519 ones 32. */
export interface KeyPair {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
}

/** The names by which an engine is asked for. */
export type EngineName = 'libsodium' | 'noble'

/**
 * The primitives of suite 01, synchronous and pure but for `randomBytes`. Both engines give the same bytes and
 * accept the same signatures. Keys, nonces and signatures of the wrong length are refused, never cut.
 */
export interface CryptoEngine {
  readonly name: EngineName
  randomBytes(length: number): Uint8Array
  /** SHA-256 (FIPS 180-4) of the parts in order, 32 bytes. */
  sha256(...parts: readonly Uint8Array[]): Uint8Array
  /** HMAC-SHA-256 (RFC 2104) of the parts in order, 32 bytes. */
  hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array
  /** A fresh X25519 key pair, or the one of `seed` (32 bytes). */
  x25519KeyPair(seed?: Uint8Array): KeyPair
  /** X25519 (RFC 7748). `undefined` where the result is all zero: the public key has low order. */
  x25519(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined
  /** A fresh Ed25519 key pair, or the one of `seed` (32 bytes, RFC 8032). */
  ed25519KeyPair(seed?: Uint8Array): KeyPair
  /** Ed25519 (RFC 8032), 64 bytes. */
  sign(secretKey: Uint8Array, message: Uint8Array): Uint8Array
  /** Ed25519 in the strict profile of SPEC, "Suites". */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  /** ChaCha20-Poly1305 (RFC 8439): ciphertext and tag. */
  aeadSeal(input: AeadInput): Uint8Array
  /** The plaintext, or `undefined` where the tag does not fit. */
  aeadOpen(input: AeadInput): Uint8Array | undefined
  /**
   * XChaCha20-Poly1305 with a 24-byte nonce, into `out` where it is given: memory of just the right length. Key and
   * nonce are then best in memory that is used again.
   */
  xaeadSeal(input: AeadInput, out?: Uint8Array): Uint8Array
  /** The plaintext, or `undefined` where the tag does not fit; `out` then holds nothing of use. */
  xaeadOpen(input: AeadInput, out?: Uint8Array): Uint8Array | undefined
  /** Constant-time comparison of two secrets of one length. */
  equal(a: Uint8Array, b: Uint8Array): boolean
  /** Overwrites with zeros. Best effort: JavaScript may have copied the bytes before. */
  wipe(...secrets: readonly Uint8Array[]): void
}

/** What an AEAD works on: `data` is the plaintext to seal or the ciphertext with its tag to open. */
export interface AeadInput {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
  readonly data: Uint8Array
}

/**
 * The engine that is asked for, or the fastest one that loads: libsodium where its native module is there, noble
 * everywhere.
 *
 * @throws SubrosaError ERR_ENGINE when an engine is asked for by name and is not there, or the name is unknown.
 */
export function chooseEngine(wanted?: string): CryptoEngine {
  switch (wanted) {
    case undefined:
    case '':
      return sodiumEngine ?? nobleEngine
    case 'noble':
      return nobleEngine
    case 'libsodium':
      if (sodiumEngine !== undefined) return sodiumEngine
      throw new SubrosaError('ERR_ENGINE', 'the libsodium engine is not available', {
        hint: 'install the optional dependency sodium-native, or choose the engine noble',
      })
    default:
      throw new SubrosaError('ERR_ENGINE', 'unknown engine name', { hint: 'engines are libsodium and noble' })
  }
}

/**
 * The engine that an option asks for, else the one that the environment variable `SUBROSA_ENGINE` names, else the
 * fastest that loads.
 *
 * @throws SubrosaError ERR_ENGINE
 */
export function engineFor(option?: EngineName): CryptoEngine {
  // Browsers have no process.
  const environment = typeof process === 'undefined' ? undefined : process.env['SUBROSA_ENGINE']
  return chooseEngine(option ?? environment)
}
