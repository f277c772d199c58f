import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine, KeyPair } from '../crypto/engine.ts'
import { fingerprint } from './fingerprint.ts'
import { decodeSeed, encodeNkey, encodeSeed } from './nkey.ts'
import type { Signer } from './signing-key.ts'
import { type IdentityClaims, readClaims } from './token.ts'

const TOKEN_LABEL = 'SUBROSA IDENTITY TOKEN'
const SEED_LABEL = 'SUBROSA IDENTITY SEED'

/**
 * An agent's long-lived Ed25519 key and the token in which an authority says whose it is. It signs announcements and
 * statements, never a broker's nonce. The key does not leave the object: `JSON.stringify` and `util.inspect` show
 * the name only.
 *
 * @example
 * ```ts
 * const identity = await loadIdentity('file:billing.identity')
 * console.log(identity.name, identity.publicKey)
 * ```
 */
export class Identity implements Signer {
  readonly name: string
  /** The public identity key, `U…`. */
  readonly publicKey: string
  readonly token: string
  readonly claims: IdentityClaims
  readonly #engine: CryptoEngine
  readonly #secretKey: Uint8Array

  /**
   * @internal Use {@link loadIdentity}.
   *
   * @throws SubrosaError ERR_TOKEN_INVALID when the token is not for this key.
   */
  constructor(engine: CryptoEngine, keys: KeyPair, token: string) {
    this.publicKey = encodeNkey('U', keys.publicKey)
    this.claims = readClaims(token)
    if (this.claims.identity !== this.publicKey) {
      engine.wipe(keys.secretKey)
      throw new SubrosaError(
        'ERR_TOKEN_INVALID',
        `the identity token is for another key: it names ${fingerprint(this.claims.identity)}, and this key is ${fingerprint(this.publicKey)}`,
        { hint: `use the token that was issued for this key, or have one issued for ${this.publicKey}` },
      )
    }
    this.name = this.claims.name
    this.token = token
    this.#engine = engine
    this.#secretKey = keys.secretKey
  }

  /** An Ed25519 signature. What is signed starts with a label, so that one kind of statement never passes as another. */
  sign(message: Uint8Array): Uint8Array {
    return this.#engine.sign(this.#secretKey, message)
  }

  /** Name and public key: never the secret one. */
  toJSON(): { readonly name: string; readonly publicKey: string } {
    return { name: this.name, publicKey: this.publicKey }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Identity { name: '${this.name}', publicKey: '${this.publicKey}', key: [secret] }`
  }
}

/** The text of an identity file: the token and the seed, each in its own armour. It is a secret. */
export function encodeIdentityFile(token: string, seed: Uint8Array): string {
  return `${armour(TOKEN_LABEL, token)}\n${armour(SEED_LABEL, encodeSeed('U', seed))}`
}

/** Whether a text has the armour of an identity file. What is inside is not looked at. */
export function isIdentityFile(text: string): boolean {
  return unarmour(TOKEN_LABEL, text) !== undefined
}

/**
 * Reads the text of an identity file.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_INVALID, ERR_TOKEN_INVALID; no message quotes the text.
 */
export function parseIdentityFile(engine: CryptoEngine, text: string): Identity {
  const token = unarmour(TOKEN_LABEL, text)
  const seedText = unarmour(SEED_LABEL, text)
  if (token === undefined || seedText === undefined) {
    const isCreds = text.includes('NATS USER JWT')
    throw new SubrosaError('ERR_KEY_FILE', 'this is no identity file', {
      hint: isCreds
        ? 'this is a NATS creds file: it logs in to the broker, and must not be an identity'
        : 'make one with: subrosa agent add NAME',
    })
  }
  const seed = decodeSeed('U', seedText)
  try {
    return new Identity(engine, engine.ed25519KeyPair(seed), token)
  } finally {
    engine.wipe(seed)
  }
}

function armour(label: string, text: string): string {
  return `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`
}

function unarmour(label: string, text: string): string | undefined {
  const begin = `-----BEGIN ${label}-----`
  const start = text.indexOf(begin)
  const end = text.indexOf(`-----END ${label}-----`)
  return start < 0 || end < start ? undefined : text.slice(start + begin.length, end).trim()
}

/** A new Ed25519 seed, with its public identity key. */
export function generateIdentityKey(engine: CryptoEngine): {
  readonly seed: Uint8Array
  readonly publicKey: string
} {
  const seed = engine.randomBytes(32)
  return { seed, publicKey: publicIdentityKey(engine, seed) }
}

/** The public identity key, `U…`, of a seed. No secret key is left behind. */
export function publicIdentityKey(engine: CryptoEngine, seed: Uint8Array): string {
  const { publicKey, secretKey } = engine.ed25519KeyPair(seed)
  engine.wipe(secretKey)
  return encodeNkey('U', publicKey)
}
