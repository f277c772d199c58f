import { concat, copy } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
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

/** Proves a revocation by the keys that may have signed it. @returns `undefined` where none of them has */
export function proveRevocation(
  engine: Pick<CryptoEngine, 'verify'>,
  read: ReadRevocation,
  signers: readonly Uint8Array[],
): VerifiedRevocation | undefined {
  const { revocation, hash, structure, signature, bytes, byAuthority } = read
  const message = concat(labels.revocation, structure)
  if (!signers.some((key) => engine.verify(key, message, signature))) return undefined
  return { revocation, hash, bytes: copy(bytes), byAuthority }
}
