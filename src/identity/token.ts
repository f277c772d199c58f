import { SubrosaError } from '../base/errors.ts'
import { DEFAULT_MAX_INSTANCES, MAX_FORMER_OWNERS, MAX_MAX_INSTANCES } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { isObject, type JsonObject } from '../json/objects.ts'
import { type DecodedJwt, decodeJwt, invalidToken, signJwt } from './jwt.ts'
import { decodeNkey } from './nkey.ts'
import { type Permissions, parseRules } from './permissions.ts'
import type { Signer } from './signing-key.ts'

const VERSION = 1
const NAME = /^[A-Za-z0-9_-]{1,64}$/
/** What {@link isAgentName} asks for, in words. */
export const AGENT_NAME_RULE = '1 to 64 letters, digits, "_" or "-", and more than "_" alone'
/** The name under which those ask who have no identity: operators that look at a realm, and tools. No agent has it. */
export const OBSERVER_NAME = '_'
const MAX_ROLES = 8
/** Most identities have none, and share this list. */
const NONE: readonly string[] = Object.freeze([])

/** What an identity may do besides sending and reading: a `revoker` signs revocations, and a `rotator` is one that only an authority may revoke. */
export type Role = 'rotator' | 'revoker'

/** The claims of an identity token, parsed. Times are seconds since 1970. */
export interface IdentityClaims {
  /** The public key of the first authority, `A…`; under pins that of the rotation service, `U…`. */
  readonly realm: string
  readonly name: string
  readonly identity: string
  /** Who signed it: an authority, `A…`, or under pins the identity itself. */
  readonly issuer: string
  readonly roles: readonly string[]
  readonly permissions: Permissions
  readonly maxInstances: number
  /** When an authority first issued the name to this identity. */
  readonly since: number
  /** Identities (`U…`) that had the name before: they have lost it, by the authority's word. */
  readonly succeeds: readonly string[]
  /** The version of the realm's plan when it was issued: its owner acts on no lower one. */
  readonly plan: number | undefined
  readonly issuedAt: number
  readonly expiresAt: number
}

/** What an authority signs for an agent. */
export interface TokenRequest {
  readonly realm: string
  readonly name: string
  /** The agent's public identity key, `U…`. */
  readonly identity: string
  readonly roles?: readonly Role[]
  readonly permissions: Permissions
  readonly maxInstances?: number
  /** For a renewal: when the name was first issued to this identity, in seconds since 1970. Default: now. */
  readonly since?: number
  /** Identities that had the name before. Default: none. */
  readonly succeeds?: readonly string[]
  /** The version of the realm's newest plan, which the agent must reach. Default: the token names none. */
  readonly plan?: number
  readonly expiresAtMs: number
}

/** What an identity says of itself, for those who have pinned its key. */
export interface SelfSignedTokenRequest {
  /** The public key of the realm's rotation service, `U…`. */
  readonly realm: string
  readonly name: string
  readonly expiresAtMs: number
  readonly issuedAtMs: number
}

/** Whether a name can be an agent's: `[A-Za-z0-9_-]{1,64}`, and not the name of those who have no identity. */
export function isAgentName(name: string): boolean {
  return NAME.test(name) && name !== OBSERVER_NAME
}

/**
 * Signs an identity token: a NATS JWT of type `generic` with a claim `subrosa`.
 *
 * @throws TypeError when the name or the identity key has the wrong form.
 */
export function issueToken(
  engine: CryptoEngine,
  request: TokenRequest,
  options: { readonly signer: Signer; readonly issuedAtMs: number },
): string {
  const { realm, name, identity, roles = [], permissions, expiresAtMs } = request
  const { maxInstances, since, succeeds = [], plan } = request
  if (!isAgentName(name)) throw new TypeError(`name must be ${AGENT_NAME_RULE}`)
  decodeNkey('U', identity)
  return signJwt(
    engine,
    {
      sub: identity,
      name,
      exp: Math.floor(expiresAtMs / 1000),
      nats: {
        type: 'generic',
        version: 2,
        subrosa: {
          v: VERSION,
          realm,
          name,
          roles,
          pub: permissions.pub,
          sub: permissions.sub,
          max_instances: maxInstances ?? DEFAULT_MAX_INSTANCES,
          ...(since === undefined ? {} : { since }),
          ...(succeeds.length === 0 ? {} : { succeeds }),
          ...(plan === undefined ? {} : { plan }),
        },
      },
    },
    options,
  )
}

/**
 * Signs an identity token with the identity's own key, for trust by pins. It grants nothing: what the agent may do is
 * up to those who have pinned its key. SPEC, "Pins".
 *
 * @throws TypeError when the name has the wrong form, SubrosaError ERR_KEY_INVALID when realm or signer is no `U…` key
 */
export function issueSelfSignedToken(
  engine: CryptoEngine,
  request: SelfSignedTokenRequest,
  signer: Signer,
): string {
  const { realm, name, expiresAtMs, issuedAtMs } = request
  decodeNkey('U', realm)
  const nothing = { allow: [], deny: [] }
  const permissions = { pub: nothing, sub: nothing }
  return issueToken(
    engine,
    { realm, name, identity: signer.publicKey, permissions, expiresAtMs },
    { signer, issuedAtMs },
  )
}

/**
 * Reads an identity token's claims without checking its signature: for showing, and for choosing what to verify.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID
 */
export function readClaims(token: string): IdentityClaims {
  return parseClaims(decodeJwt(token).claims)
}

/**
 * Verifies that `issuer` signed the token, and reads it. Expiry is the caller's to check, against its own clock.
 *
 * @param authorities the public keys of the pinned authorities, `A…`
 * @throws SubrosaError ERR_TOKEN_INVALID, ERR_UNKNOWN_AUTHORITY
 */
export function verifyToken(
  engine: CryptoEngine,
  token: string,
  authorities: readonly string[],
): IdentityClaims {
  const decoded = decodeJwt(token)
  const parsed = parseClaims(decoded.claims)
  // The very string that all tokens of this authority then share, and that of their realm.
  const issuer = authorities.find((known) => known === parsed.issuer)
  const realm = authorities.find((known) => known === parsed.realm) ?? parsed.realm
  if (issuer === undefined) {
    throw new SubrosaError(
      'ERR_UNKNOWN_AUTHORITY',
      'the identity token was signed by an authority that is not trusted',
      {
        hint: 'list the key of the authority that issued it in trust.authority, or ask a trusted one for a token',
      },
    )
  }
  checkSignature(engine, decodeNkey('A', issuer), decoded)
  return { ...parsed, realm, issuer }
}

/**
 * Verifies that the identity itself signed the token, and reads it. Whether its key is the right one, and expiry, are
 * the caller's to check.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID
 */
export function verifySelfSignedToken(engine: CryptoEngine, token: string): IdentityClaims {
  const decoded = decodeJwt(token)
  const parsed = parseClaims(decoded.claims)
  if (parsed.issuer !== parsed.identity) {
    throw invalidToken('the identity token is not signed by its own identity, as it must be under pins')
  }
  checkSignature(engine, decodeNkey('U', parsed.identity), decoded)
  return parsed
}

function checkSignature(
  engine: CryptoEngine,
  publicKey: Uint8Array,
  { signedBytes, signature }: DecodedJwt,
): void {
  if (!engine.verify(publicKey, signedBytes, signature))
    throw invalidToken('the signature of the identity token does not fit')
}

function parseClaims(claims: JsonObject): IdentityClaims {
  const nats = claims['nats']
  if (!isObject(nats) || nats['type'] !== 'generic' || nats['version'] !== 2) {
    throw invalidToken('the token is no identity token: NATS user tokens and creds are not accepted')
  }
  const claim = nats['subrosa']
  if (!isObject(claim) || claim['v'] !== VERSION)
    throw invalidToken('the token has no subrosa claim of version 1')
  // Self-signed, for trust by pins: then the realm is an identity too, that of its rotation service.
  const kind = claims['iss'] === claims['sub'] ? 'U' : 'A'
  const name = text(claim['name'])
  if (!isAgentName(name)) throw invalidToken(`the name in the identity token is not ${AGENT_NAME_RULE}`)
  return {
    realm: key(kind, claim['realm']),
    name,
    identity: key('U', claims['sub']),
    issuer: key(kind, claims['iss']),
    roles: parseRoles(claim['roles']),
    permissions: { pub: parseRules(claim['pub']), sub: parseRules(claim['sub']) },
    maxInstances: parseMaxInstances(claim['max_instances']),
    since: parseSince(claim['since'], seconds(claims['iat'])),
    succeeds: parseSucceeds(claim['succeeds']),
    plan: parsePlan(claim['plan']),
    issuedAt: seconds(claims['iat']),
    expiresAt: seconds(claims['exp']),
  }
}

function parseSucceeds(value: unknown): readonly string[] {
  if (value === undefined) return NONE
  if (!Array.isArray(value) || value.length > MAX_FORMER_OWNERS) throw invalidToken()
  return value.map((identity) => key('U', identity))
}

function parseSince(value: unknown, issuedAt: number): number {
  const since = value === undefined ? issuedAt : seconds(value)
  if (since > issuedAt) throw invalidToken('the identity token says that its name was first issued after it')
  return since
}

function parsePlan(value: unknown): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw invalidToken('the plan in the identity token is no version: a whole number, 1 or more')
  return value
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw invalidToken()
  return value
}

function key(kind: 'A' | 'U', value: unknown): string {
  const encoded = text(value)
  try {
    decodeNkey(kind, encoded)
  } catch {
    throw invalidToken('a key in the identity token is no nkey of the right kind')
  }
  return encoded
}

function seconds(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalidToken('the identity token does not say when it was issued and when it expires')
  }
  return value
}

function parseRoles(value: unknown): readonly string[] {
  if (value === undefined) return NONE
  if (!Array.isArray(value) || value.length > MAX_ROLES) throw invalidToken()
  if (value.length === 0) return NONE
  return value.map(text)
}

function parseMaxInstances(value: unknown): number {
  if (value === undefined) return DEFAULT_MAX_INSTANCES
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > MAX_MAX_INSTANCES)
    throw invalidToken()
  return value
}
