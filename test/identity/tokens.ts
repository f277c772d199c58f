import { base64urlnopad } from '@scure/base'
import { utf8 } from '../../src/base/bytes.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { generateIdentityKey } from '../../src/identity/identity.ts'
import { generateSigningKey, type Signer } from '../../src/identity/signing-key.ts'
import { issueToken, type TokenRequest } from '../../src/identity/token.ts'

export const engine = chooseEngine('libsodium')
export const ISSUED_AT_MS = 1_800_000_000_000
export const EXPIRES_AT_MS = 1_900_000_000_000
export const authority = generateSigningKey(engine, 'A').key
export const agent = generateIdentityKey(engine)

/** What an authority would ask for, changed by `changes`. */
export function request(changes: Partial<TokenRequest> = {}): TokenRequest {
  return {
    realm: authority.publicKey,
    name: 'billing',
    identity: agent.publicKey,
    permissions: { pub: { allow: ['orders.>'], deny: [] }, sub: { allow: ['>'], deny: ['secret'] } },
    expiresAtMs: EXPIRES_AT_MS,
    ...changes,
  }
}

export function issue(changes: Partial<TokenRequest> = {}, signer: Signer = authority): string {
  return issueToken(engine, request(changes), { signer, issuedAtMs: ISSUED_AT_MS })
}

/** A JSON object that a test changes. */
export type Claims = Record<string, unknown> & {
  nats: Record<string, unknown> & { subrosa: Record<string, unknown> }
}

/** The claims of a good token, as they can be changed and signed again. */
export function goodClaims(): Claims {
  const [, payload = ''] = issue().split('.')
  return JSON.parse(new TextDecoder().decode(base64urlnopad.decode(payload)))
}

/** Signs whatever header and payload it is given, as a careless or malicious authority would. */
export function forgeToken(
  payload: unknown,
  options: { readonly header?: unknown; readonly signer?: Signer } = {},
): string {
  const { header = { typ: 'JWT', alg: 'ed25519-nkey' }, signer = authority } = options
  const signed = `${segment(header)}.${segment(payload)}`
  return `${signed}.${base64urlnopad.encode(signer.sign(utf8(signed)))}`
}

/** Strings are taken as JSON text, so that they can hold what `JSON.stringify` never writes. */
export function segment(value: unknown): string {
  return base64urlnopad.encode(utf8(typeof value === 'string' ? value : JSON.stringify(value)))
}
