import { concat, copy, hex } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import {
  decodeRevocation,
  decodeStatement,
  type Revocation,
  type SignedStatement,
} from '../wire/statements.ts'
import type { VerifiedRevocation } from './revocations.ts'

/** A revocation that was read, and of which nothing is proved. */
export interface ReadRevocation extends SignedStatement {
  readonly revocation: Revocation
  /** SHA-256 of the structure. */
  readonly hash: Uint8Array
  /** The wire message; of whoever has passed it. */
  readonly bytes: Uint8Array
  /** Whether an authority must have signed it: it has no token. */
  readonly byAuthority: boolean
}

/** Reads a revocation of a realm. @returns `undefined` for one of another realm, and for anything that is none */
export function readRevocation(
  engine: Pick<CryptoEngine, 'sha256'>,
  realm: string,
  bytes: Uint8Array,
): ReadRevocation | undefined {
  try {
    const statement = decodeStatement(WireType.revocation, bytes)
    const revocation = decodeRevocation(statement.structure)
    if (revocation.realm !== realm) return undefined
    const hash = engine.sha256(statement.structure)
    const byAuthority = statement.token === undefined
    return { ...statement, revocation, hash, bytes, byAuthority }
  } catch {
    return undefined
  }
}

/** Reads a list of revocations: each once, those first that an authority must have signed. */
export function readList(
  engine: Pick<CryptoEngine, 'sha256'>,
  realm: string,
  list: readonly Uint8Array[],
): readonly ReadRevocation[] {
  const read = list.flatMap((bytes) => readRevocation(engine, realm, bytes) ?? [])
  const members = new Map<string, ReadRevocation>()
  for (const isTurn of [true, false]) {
    for (const one of read) {
      const key = hex(one.hash)
      if (one.byAuthority === isTurn && !members.has(key)) members.set(key, one)
    }
  }
  return [...members.values()]
}

/**
 * Proves a revocation.
 *
 * @param revoker whose token it is, where there is one; `undefined`, or an error, where it is nobody's who may revoke
 * @returns `undefined` where nobody has signed it who may
 */
export function proveRevocation(
  { engine, trust }: { readonly engine: CryptoEngine; readonly trust: Trust },
  read: ReadRevocation,
  revoker: (token: string) => IdentityClaims | undefined,
): VerifiedRevocation | undefined {
  if (read.token === undefined) return proveBy(engine, read, { keys: trust.authorityKeys() })
  try {
    const claims = revoker(read.token)
    return claims && proveBy(engine, read, { keys: [decodeNkey('U', claims.identity)], claims })
  } catch {
    return undefined
  }
}

/**
 * Who has signed a revocation that others have taken in: it could revoke when it did, and that its token has ended since does not
 * undo it.
 */
export function formerRevoker(trust: Trust, token: string): IdentityClaims | undefined {
  const claims = trust.verify(token, Number.MAX_SAFE_INTEGER, 0)
  return claims.roles.includes('revoker') ? claims : undefined
}

/** Whether all of a list are signed by somebody who could revoke when he did. It costs as much as the first that is not. */
export function areProved(
  around: { readonly engine: CryptoEngine; readonly trust: Trust },
  list: readonly Uint8Array[],
): boolean {
  const former = (token: string): IdentityClaims | undefined => formerRevoker(around.trust, token)
  return readList(around.engine, around.trust.realm, list).every(
    (read) => proveRevocation(around, read, former) !== undefined,
  )
}

function proveBy(
  engine: CryptoEngine,
  read: ReadRevocation,
  { keys, claims }: { readonly keys: readonly Uint8Array[]; readonly claims?: IdentityClaims },
): VerifiedRevocation | undefined {
  const { revocation, hash, structure, signature, bytes, byAuthority } = read
  const message = concat(labels.revocation, structure)
  if (!keys.some((key) => engine.verify(key, message, signature))) return undefined
  return { revocation, hash, bytes: copy(bytes), byAuthority, revoker: claims?.identity }
}
