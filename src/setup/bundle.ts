import { X509Certificate } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { parseIdentityFile } from '../identity/identity.ts'
import { readSecretFile } from '../identity/keyfiles/key-file.ts'
import { decodeNkey } from '../identity/nkey.ts'
import { type IdentityClaims, verifyToken } from '../identity/token.ts'
import { isObject } from '../json/objects.ts'
import { parseStrictJson } from '../json/strict.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { findAgent } from './agent-records.ts'
import { isCreds } from './broker-login.ts'
import { readFileIfAny } from './files.ts'
import { agentPaths, realmLayout } from './layout.ts'
import { formatKeptPlan, newestPlan, parseKeptPlan, verifyKeptPlan } from './plan-records.ts'
import type { Realm } from './realm.ts'

const TYPE = 'subrosa bundle'
const VERSION = 1
/** Most of it may be the plan's list of revocations. */
const MAX_BUNDLE_BYTES = 8 * 1024 * 1024
const MAX_AUTHORITIES = 16
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g
/** Nothing but certificates: above all no private key beside them. */
const CERTIFICATES = /^(?:-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$/
/** What a person can be shown on one line. */
const LINE = /^[\x20-\x7e]{1,1024}$/

/** All that one agent needs on another machine. SPEC, "Bundles". */
export interface Bundle {
  /** The public keys of the realm's authorities, the first of which names the realm. */
  readonly authority: readonly string[]
  /** Where the broker is. */
  readonly server: string
  /** Certificates, in PEM: that of the authority which has signed the broker's. */
  readonly ca: string
  /** The newest plan of the realm when the bundle was made, with its list. Both were checked. */
  readonly plan: KeptPlan
  readonly planVersion: number
  readonly token: string
  /** What the authority says in the token. Its signature was checked. */
  readonly claims: IdentityClaims
  /** The text of the identity file, a secret; none where the private key was made elsewhere. */
  readonly identity: string | undefined
  /** The text of the creds file, a secret. */
  readonly creds: string
}

/**
 * The text of a bundle for an agent of a realm. It is a secret, unless the agent's private key is kept elsewhere, and
 * even then a login to the broker is in it. No key of the authority, of the broker's accounts or of the certificate
 * authority is.
 *
 * @throws SubrosaError ERR_SETUP when there is no such agent or a file of it is missing, ERR_KEY_FILE,
 *   ERR_KEY_FILE_PERMISSIONS
 *
 * @example
 * ```ts
 * await createFile('files.subrosa', await formatBundle(realm, 'files'), { secret: true })
 * ```
 */
export async function formatBundle(realm: Realm, name: string): Promise<string> {
  const { identity: identityPath, creds: credsPath } = agentPaths(realm.dir, name)
  const caPath = realmLayout(realm.dir).caCertificate
  const [token] = (await findAgent(realm, name))?.tokens ?? []
  if (token === undefined) throw new SubrosaError('ERR_SETUP', `there is no agent ${name} in ${realm.dir}`)
  const ca = (await readFileIfAny(caPath))?.match(CERTIFICATE)
  if (ca === undefined || ca === null)
    throw new SubrosaError('ERR_SETUP', `there is no certificate in ${caPath}`)
  const hasIdentity = (await readFileIfAny(identityPath)) !== undefined
  const bundle = {
    type: TYPE,
    version: VERSION,
    authority: realm.authority,
    server: realm.server,
    ca: `${ca.join('\n')}\n`,
    plan: formatKeptPlan((await newestPlan(realm)).kept),
    ...(hasIdentity ? { identity: await readSecretFile(identityPath) } : { token }),
    creds: await readSecretFile(credsPath),
  }
  const text = `${JSON.stringify(bundle, null, 2)}\n`
  // What could not be installed is not handed out.
  parseBundle(text, `the bundle of ${name}`)
  return text
}

/**
 * Reads the text of a bundle. Whether its token has expired is the caller's to check.
 *
 * @param source what messages call it, such as its path
 * @throws SubrosaError ERR_SETUP when it is none, damaged or of another version, ERR_KEY_INVALID, ERR_TOKEN_INVALID,
 *   ERR_UNKNOWN_AUTHORITY, ERR_PLAN_INVALID; no message quotes the text
 */
export function parseBundle(text: string, source: string): Bundle {
  const fields = utf8(text).length > MAX_BUNDLE_BYTES ? undefined : parseStrictJson(text)
  if (!isObject(fields) || fields['type'] !== TYPE) throw noBundle(source)
  const { type: _, version, authority, server, ca, plan, identity, token, creds, ...others } = fields
  if (version !== VERSION) {
    throw new SubrosaError('ERR_SETUP', `${source} is a bundle of another version than ${VERSION}`, {
      hint: 'use the same version of subrosa here and where it was made',
    })
  }
  if (Object.keys(others).length > 0 || !isAuthority(authority)) throw noBundle(source)
  if (typeof server !== 'string' || !LINE.test(server)) throw noBundle(source)
  if (typeof ca !== 'string' || !isCertificateAuthority(ca)) throw noBundle(source)
  if (typeof creds !== 'string' || !isCreds(creds)) throw noBundle(source)
  const who = readIdentity(identity, token)
  const kept = parseKeptPlan(plan)
  if (who === undefined || kept === undefined) throw noBundle(source)
  const claims = verifyToken(engineFor(), who.token, authority)
  if (claims.realm !== authority[0]) throw noBundle(source)
  const { version: planVersion } = verifyKeptPlan(authority, kept, source)
  return { authority, server, ca, plan: kept, planVersion, creds, claims, ...who }
}

/** Either the identity file, which has the token in it, or the token of a key that is elsewhere. */
function readIdentity(identity: unknown, token: unknown): Pick<Bundle, 'identity' | 'token'> | undefined {
  if (typeof identity === 'string' && token === undefined)
    return { identity, token: parseIdentityFile(engineFor(), identity).token }
  if (typeof token === 'string' && identity === undefined) return { identity: undefined, token }
  return undefined
}

function isAuthority(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_AUTHORITIES) return false
  return value.every(isAuthorityKey)
}

function isAuthorityKey(key: unknown): boolean {
  if (typeof key !== 'string') return false
  try {
    decodeNkey('A', key)
    return true
  } catch {
    return false
  }
}

function isCertificateAuthority(text: string): boolean {
  if (!CERTIFICATES.test(text)) return false
  try {
    return new X509Certificate(text).ca
  } catch {
    return false
  }
}

function noBundle(source: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `${source} is no bundle, or it is damaged`, {
    hint: 'one is made where the realm is, by: subrosa agent add NAME --bundle FILE',
  })
}
