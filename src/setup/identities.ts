import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { encodeIdentityFile, type Identity, parseIdentityFile } from '../identity/identity.ts'
import { readSecretFile } from '../identity/keyfiles/key-file.ts'
import { encodeNkey } from '../identity/nkey.ts'
import { SigningKey } from '../identity/signing-key.ts'
import { issueSelfSignedToken } from '../identity/token.ts'
import { createFile, replaceFile } from './files.ts'

const DEFAULT_LIFETIME_MS = 90 * 86_400_000

/** An identity for trust by pins. */
export interface NewIdentity {
  /** The identity file that is made. */
  readonly path: string
  /** 1 to 64 letters, digits, `_` or `-`. */
  readonly name: string
  /** The public key of the rotation service, `U…`. Default the identity's own, as the rotation service needs it. */
  readonly realm?: string
  /** The seed of a key that is there already, 32 bytes. Default a new one. */
  readonly seed?: Uint8Array
  /** How long the token lasts, in milliseconds. Default 90 days. */
  readonly expiresInMs?: number
  readonly clock?: Clock
}

/**
 * Writes an identity file with a token that the key itself has signed.
 *
 * @throws SubrosaError ERR_SETUP when the file is there already or cannot be written, ERR_KEY_INVALID for a realm that
 *   is no key
 * @throws TypeError, RangeError when an option is none
 *
 * @example
 * ```ts
 * const { publicKey } = await createIdentity({ path: 'billing.identity', name: 'billing', realm: 'U…' })
 * ```
 */
export async function createIdentity(request: NewIdentity): Promise<Identity> {
  const { path, name } = request
  const engine = engineFor()
  const seed = request.seed ?? engine.randomBytes(32)
  try {
    const keys = engine.ed25519KeyPair(seed)
    const { realm = encodeNkey('U', keys.publicKey) } = request
    const token = issueSelfSignedToken(
      engine,
      { realm, name, ...lifetime(request) },
      new SigningKey(engine, 'U', keys),
    )
    const text = encodeIdentityFile(token, seed)
    await createFile(path, text, { secret: true })
    return parseIdentityFile(engine, text)
  } finally {
    engine.wipe(seed)
  }
}

/**
 * Gives an identity file that {@link createIdentity} has made a new token. Its key, its name and its realm stay.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, ERR_SETUP when it is of another name or realm, or its
 *   token is of an authority
 */
export async function renewIdentity(request: Omit<NewIdentity, 'seed'>): Promise<Identity> {
  const { path, name } = request
  const engine = engineFor()
  const text = await readSecretFile(path)
  const identity = parseIdentityFile(engine, text)
  const { issuer, realm } = identity.claims
  if (issuer !== identity.publicKey) {
    throw new SubrosaError('ERR_SETUP', `the token in ${path} is of an authority, which renews it`, {
      hint: `where the authority is: subrosa agent add ${identity.name} --renew`,
    })
  }
  if (identity.name !== name)
    throw new SubrosaError('ERR_SETUP', `${path} is the identity of ${identity.name}`)
  if (request.realm !== undefined && request.realm !== realm)
    throw new SubrosaError('ERR_SETUP', `${path} is an identity of another realm: ${realm}`)
  const token = issueSelfSignedToken(engine, { realm, name, ...lifetime(request) }, identity)
  // The seed stays where it is in the text: it is not taken out and put in again.
  const renewed = text.replace(identity.token, token)
  await replaceFile(path, renewed, { secret: true })
  return parseIdentityFile(engine, renewed)
}

function lifetime({ expiresInMs = DEFAULT_LIFETIME_MS, clock = systemClock }: Omit<NewIdentity, 'seed'>) {
  if (!(expiresInMs >= 1000 && Number.isSafeInteger(expiresInMs)))
    throw new RangeError('expiresInMs must be at least 1000')
  const issuedAtMs = clock.now()
  return { issuedAtMs, expiresAtMs: issuedAtMs + expiresInMs }
}
