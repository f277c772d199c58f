import type { CryptoEngine } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import { DEFAULT_MAX_INSTANCES, MAX_MAX_INSTANCES } from '../limits.ts'
import { decodeJwt, invalidToken, isObject, type JsonObject, signJwt } from './jwt.ts'
import { decodeNkey } from './nkey.ts'
import { type Permissions, parseRules } from './permissions.ts'
import type { Signer } from './signing-key.ts'

const VERSION = 1
const NAME = /^[A-Za-z0-9_-]{1,64}$/
const MAX_ROLES = 8

/** What an identity may do besides sending and reading. `rotator` signs epochs and ticks, `revoker` revocations. */
export type Role = 'rotator' | 'revoker'

/** The claims of an identity token, parsed. Times are seconds since 1970. */
export interface IdentityClaims {
  readonly realm: string
  readonly name: string
  readonly identity: string
  readonly issuer: string
  readonly roles: readonly string[]
  readonly permissions: Permissions
  readonly maxInstances: number
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
  readonly expiresAtMs: number
}

/** Whether a name can be an agent's: `[A-Za-z0-9_-]{1,64}`. */
export function isAgentName(name: string): boolean {
  return NAME.test(name)
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
  const { realm, name, identity, roles = [], permissions, maxInstances, expiresAtMs } = request
  if (!isAgentName(name)) throw new TypeError('name must be 1 to 64 letters, digits, "_" or "-"')
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
        },
      },
    },
    options,
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
  const { claims, signedBytes, signature } = decodeJwt(token)
  const parsed = parseClaims(claims)
  if (!authorities.includes(parsed.issuer)) {
    throw new SubrosaError(
      'ERR_UNKNOWN_AUTHORITY',
      'the identity token was signed by an authority that is not trusted',
      {
        hint: 'list the key of the authority that issued it in trust.authority, or ask a trusted one for a token',
      },
    )
  }
  if (!engine.verify(decodeNkey('A', parsed.issuer), signedBytes, signature)) {
    throw invalidToken('the signature of the identity token does not fit')
  }
  return parsed
}

function parseClaims(claims: JsonObject): IdentityClaims {
  const nats = claims['nats']
  if (!isObject(nats) || nats['type'] !== 'generic' || nats['version'] !== 2) {
    throw invalidToken('the token is no identity token: NATS user tokens and creds are not accepted')
  }
  const claim = nats['subrosa']
  if (!isObject(claim) || claim['v'] !== VERSION)
    throw invalidToken('the token has no subrosa claim of version 1')
  const name = text(claim['name'])
  if (!isAgentName(name))
    throw invalidToken('the name in the identity token is not 1 to 64 letters, digits, "_" or "-"')
  return {
    realm: key('A', claim['realm']),
    name,
    identity: key('U', claims['sub']),
    issuer: key('A', claims['iss']),
    roles: parseRoles(claim['roles']),
    permissions: { pub: parseRules(claim['pub']), sub: parseRules(claim['sub']) },
    maxInstances: parseMaxInstances(claim['max_instances']),
    issuedAt: seconds(claims['iat']),
    expiresAt: seconds(claims['exp']),
  }
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
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length > MAX_ROLES) throw invalidToken()
  return value.map(text)
}

function parseMaxInstances(value: unknown): number {
  if (value === undefined) return DEFAULT_MAX_INSTANCES
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > MAX_MAX_INSTANCES)
    throw invalidToken()
  return value
}
