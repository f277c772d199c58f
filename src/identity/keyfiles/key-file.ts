import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { engineFor } from '../../crypto/engine.ts'
import { Identity, isIdentityFile, parseIdentityFile } from '../identity.ts'
import { SigningKey } from '../signing-key.ts'
import { issueSelfSignedToken } from '../token.ts'
import type { IdentitySource, KeyAndName, KeyAndToken, LoadIdentityOptions } from './identity-source.ts'
import { recogniseKey } from './key-text.ts'
import { viewPrivateKey } from './private-key.ts'
import { isSource, readKey, readKeyText, readPublicText } from './secret-source.ts'

export { loadPins } from './pin-file.ts'
export { readSecretFile } from './text-file.ts'

const DEFAULT_LIFETIME_MS = 90 * 86_400_000

/**
 * Loads an agent's identity: an identity file, or a private key that people already have with the token that an
 * authority issued for it, or with a name for trust by pins. Files that hold a secret must be readable by their owner
 * alone.
 *
 * @throws SubrosaError ERR_KEY_FILE (missing, damaged, or not what was asked for), ERR_KEY_FILE_PERMISSIONS (others
 *   can read it), ERR_KEY_INVALID (a key of a kind that does not work), ERR_KEY_PASSPHRASE (encrypted, and the
 *   passphrase is missing or wrong), ERR_TOKEN_INVALID
 * @throws TypeError when a source is of no known kind, RangeError when a lifetime is none
 *
 * @example
 * ```ts
 * const identity = await loadIdentity('file:billing.identity')
 * const fromSsh = await loadIdentity(
 *   { key: 'file:id_ed25519', token: 'file:billing.jwt' },
 *   { passphrase: 'env:KEY_PASSPHRASE' },
 * )
 * ```
 */
export async function loadIdentity(
  source: IdentitySource,
  options: LoadIdentityOptions = {},
): Promise<Identity> {
  if (typeof source === 'string') return loadIdentityFile(source)
  if (typeof source !== 'object' || source === null || typeof source.key !== 'string')
    throw new TypeError('source must be "file:PATH", "env:NAME", { key, token } or { key, name, realm }')
  if ('token' in source) return loadWithToken(source, options)
  return loadSelfSigned(source, options)
}

async function loadIdentityFile(source: string): Promise<Identity> {
  const text = await readKeyText(source, 'source')
  const key = recogniseKey(text)
  if (!isIdentityFile(text) && (key.found === 'private key' || (key.found === 'other' && key.isKey))) {
    // A key of a kind that does not work needs no token: this throws for it.
    await viewPrivateKey(text, source)
    throw new SubrosaError(
      'ERR_KEY_FILE',
      `${source} is a private key without the token that says whose it is`,
      {
        hint: `give both: { key: "${source}", token: "file:NAME.jwt" }; subrosa agent add NAME --key PUBLICKEY makes the token`,
      },
    )
  }
  return parseIdentityFile(engineFor(), text)
}

async function loadWithToken({ key, token }: KeyAndToken, options: LoadIdentityOptions): Promise<Identity> {
  const engine = engineFor()
  const text = await readToken(token)
  const seed = await readKey(key, options.passphrase)
  try {
    return new Identity(engine, engine.ed25519KeyPair(seed), text)
  } finally {
    engine.wipe(seed)
  }
}

async function loadSelfSigned(source: KeyAndName, options: LoadIdentityOptions): Promise<Identity> {
  const { key, name, realm, expiresInMs = DEFAULT_LIFETIME_MS } = source
  if (typeof name !== 'string' || typeof realm !== 'string')
    throw new TypeError('source must have a token, or a name and a realm')
  if (!(expiresInMs >= 1000 && Number.isSafeInteger(expiresInMs)))
    throw new RangeError('expiresInMs must be at least 1000')
  const engine = engineFor()
  const issuedAtMs = (options.clock ?? systemClock).now()
  const seed = await readKey(key, options.passphrase)
  try {
    const keys = engine.ed25519KeyPair(seed)
    const request = { realm, name, issuedAtMs, expiresAtMs: issuedAtMs + expiresInMs }
    return new Identity(
      engine,
      keys,
      issueSelfSignedToken(engine, request, new SigningKey(engine, 'U', keys)),
    )
  } finally {
    engine.wipe(seed)
  }
}

/** A file of tokens has the newest first, as `subrosa agent add` writes it. */
async function readToken(token: string): Promise<string> {
  if (typeof token !== 'string' || !(isSource(token) || token.startsWith('eyJ')))
    throw new TypeError('token must be "file:PATH", "env:NAME" or the text of an identity token')
  const text = isSource(token) ? await readPublicText(token, 'token') : token
  const [newest = ''] = text.trim().split(/\s+/)
  return newest
}
