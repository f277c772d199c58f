import { chooseEngine } from '../../src/crypto/engine.ts'
import {
  encodeIdentityFile,
  generateIdentityKey,
  type Identity,
  parseIdentityFile,
} from '../../src/identity/identity.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import type { Permissions } from '../../src/identity/permissions.ts'
import { generateSigningKey, type Signer, type SigningKey } from '../../src/identity/signing-key.ts'
import { issueToken, type Role } from '../../src/identity/token.ts'

export const engine = chooseEngine()

export const EVERYTHING: Permissions = {
  pub: { allow: ['>'], deny: [] },
  sub: { allow: ['>'], deny: [] },
}
export const NOTHING: Permissions = { pub: { allow: [], deny: [] }, sub: { allow: [], deny: [] } }

/** Permissions from two allow lists. */
export function may(pub: readonly string[], sub: readonly string[]): Permissions {
  return { pub: { allow: pub, deny: [] }, sub: { allow: sub, deny: [] } }
}

export function newAuthority(): SigningKey {
  return generateSigningKey(engine, 'A').key
}

export interface IdentityOptions {
  readonly permissions?: Permissions
  readonly roles?: readonly Role[]
  readonly issuedAtMs: number
  /** When the name was first issued to it, in seconds. Default: with this token. */
  readonly since?: number
  readonly expiresAtMs?: number
  readonly maxInstances?: number
  readonly realm?: string
  /** The version of the plan that was current when the token was issued. Default: it names none. */
  readonly plan?: number
  /** Key of an earlier identity, to renew its token. */
  readonly seed?: Uint8Array
}

export interface TestIdentity {
  readonly identity: Identity
  readonly seed: Uint8Array
  readonly file: string
}

/** A fresh identity with a token of this authority. */
export function newIdentity(authority: Signer, name: string, options: IdentityOptions): TestIdentity {
  const { issuedAtMs, permissions = EVERYTHING, roles = [], realm = authority.publicKey } = options
  const seed = new Uint8Array(options.seed ?? generateIdentityKey(engine).seed)
  const token = issueToken(
    engine,
    {
      realm,
      name,
      identity: encodeNkey('U', engine.ed25519KeyPair(seed).publicKey),
      roles,
      permissions,
      ...(options.since === undefined ? {} : { since: options.since }),
      ...(options.plan === undefined ? {} : { plan: options.plan }),
      ...(options.maxInstances === undefined ? {} : { maxInstances: options.maxInstances }),
      expiresAtMs: options.expiresAtMs ?? issuedAtMs + 30 * 86_400_000,
    },
    { signer: authority, issuedAtMs },
  )
  const file = encodeIdentityFile(token, seed)
  return { identity: parseIdentityFile(engine, file), seed, file }
}
