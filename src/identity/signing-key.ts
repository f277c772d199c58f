import type { CryptoEngine, KeyPair } from '../crypto/engine.ts'
import { decodeSeed, encodeNkey, encodeSeed, type NkeyKind } from './nkey.ts'

/** Signs with an Ed25519 key that it keeps to itself. */
export interface Signer {
  /** The public nkey. */
  readonly publicKey: string
  sign(message: Uint8Array): Uint8Array
}

/** A key that signs tokens and statements: an authority's (`A`), or one of the broker's operator or account. */
export class SigningKey implements Signer {
  readonly publicKey: string
  readonly #engine: CryptoEngine
  readonly #secretKey: Uint8Array

  constructor(engine: CryptoEngine, kind: NkeyKind, keys: KeyPair) {
    this.publicKey = encodeNkey(kind, keys.publicKey)
    this.#engine = engine
    this.#secretKey = keys.secretKey
  }

  sign(message: Uint8Array): Uint8Array {
    return this.#engine.sign(this.#secretKey, message)
  }

  toJSON(): { readonly publicKey: string } {
    return { publicKey: this.publicKey }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SigningKey { publicKey: '${this.publicKey}', key: [secret] }`
  }
}

/** A new key and the text of its seed, which is a secret. */
export function generateSigningKey(
  engine: CryptoEngine,
  kind: NkeyKind,
): { readonly key: SigningKey; readonly seedText: string } {
  const seed = engine.randomBytes(32)
  try {
    return {
      key: new SigningKey(engine, kind, engine.ed25519KeyPair(seed)),
      seedText: encodeSeed(kind, seed),
    }
  } finally {
    engine.wipe(seed)
  }
}

/** The key of a seed's text, `S…`. @throws SubrosaError ERR_KEY_INVALID */
export function signingKeyFromSeed(engine: CryptoEngine, kind: NkeyKind, seedText: string): SigningKey {
  const seed = decodeSeed(kind, seedText.trim())
  try {
    return new SigningKey(engine, kind, engine.ed25519KeyPair(seed))
  } finally {
    engine.wipe(seed)
  }
}
