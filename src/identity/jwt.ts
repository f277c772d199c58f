import { base32nopad, base64urlnopad } from '@scure/base'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_TOKEN_BYTES } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { isObject, type JsonObject } from '../json/objects.ts'
import { parseStrictJson } from '../json/strict.ts'
import type { Signer } from './signing-key.ts'

const HEADER = { typ: 'JWT', alg: 'ed25519-nkey' }

/** Claims of NATS's JWTs, version 2, before `jti`, `iss` and `iat` are set. Times are seconds since 1970. */
export interface JwtClaims {
  readonly sub: string
  readonly name: string
  readonly exp?: number
  readonly nats: JsonObject
}

/** A token in parts. The signature is not checked. */
export interface DecodedJwt {
  readonly claims: JsonObject
  readonly signedBytes: Uint8Array
  readonly signature: Uint8Array
}

/** Signs claims in NATS's JWT form: header `{typ: 'JWT', alg: 'ed25519-nkey'}`, base64url, Ed25519. */
export function signJwt(
  engine: CryptoEngine,
  claims: JwtClaims,
  options: { readonly signer: Signer; readonly issuedAtMs: number },
): string {
  const body = { ...claims, iss: options.signer.publicKey, iat: Math.floor(options.issuedAtMs / 1000) }
  const jti = base32nopad.encode(engine.sha256(utf8(JSON.stringify(body))))
  const signed = `${segment(HEADER)}.${segment({ jti, ...body })}`
  return `${signed}.${base64urlnopad.encode(options.signer.sign(utf8(signed)))}`
}

/**
 * Takes a token apart, strictly: three base64url segments, exactly the header above, JSON without repeated keys.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID
 */
export function decodeJwt(token: string): DecodedJwt {
  if (token.length > MAX_TOKEN_BYTES) throw invalidToken()
  const [header, payload, signature, ...rest] = token.split('.')
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0)
    throw invalidToken()
  const { typ, alg, ...others } = parseSegment(header)
  if (typ !== HEADER.typ || alg !== HEADER.alg || Object.keys(others).length > 0) throw invalidToken()
  return {
    claims: parseSegment(payload),
    signedBytes: utf8(`${header}.${payload}`),
    signature: decodeBase64(signature),
  }
}

/** The error for a token that does not follow the form. It never quotes the token. */
export function invalidToken(why = 'the identity token is malformed'): SubrosaError {
  return new SubrosaError('ERR_TOKEN_INVALID', why)
}

function segment(value: object): string {
  return base64urlnopad.encode(utf8(JSON.stringify(value)))
}

function parseSegment(text: string): JsonObject {
  const json = fromUtf8(decodeBase64(text))
  const value = json === undefined ? undefined : parseStrictJson(json)
  if (!isObject(value)) throw invalidToken()
  return value
}

function decodeBase64(text: string): Uint8Array {
  try {
    return base64urlnopad.decode(text)
  } catch {
    throw invalidToken()
  }
}
