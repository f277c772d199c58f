import { concat } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import {
  decodeEpoch,
  decodeNotice,
  type EpochTerms,
  encodeEpoch,
  encodeNotice,
  type Notice,
  type Plan,
} from '../wire/plans.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeStatement, encodeStatement, type SignedStatement } from '../wire/statements.ts'
import { epochHash } from './epochs.ts'

/** A notice in parts, as it was received: nothing of it is proved. */
export interface ParsedNotice {
  readonly notice: Notice
  /** The epoch that it names, and the hash of that. */
  readonly terms: EpochTerms
  readonly epochHash: Uint8Array
  readonly signed: SignedStatement
}

/** Signs a notice that an epoch begins, with the key of a rotation service. */
export function signNotice(signer: Signer, terms: EpochTerms, planVersion: number): Uint8Array {
  const structure = encodeNotice({ epoch: encodeEpoch(terms), planVersion, rotator: signer.publicKey })
  const signature = signer.sign(concat(labels.notice, structure))
  return encodeStatement(WireType.notice, { structure, signature, token: undefined })
}

/** Reads a notice. @throws SubrosaError ERR_MALFORMED */
export function readNotice(engine: CryptoEngine, wire: Uint8Array): ParsedNotice {
  const signed = decodeStatement(WireType.notice, wire)
  const notice = decodeNotice(signed.structure)
  const terms = decodeEpoch(notice.epoch)
  return { notice, terms, epochHash: epochHash(engine, terms), signed }
}

/** Whether a rotation service of the plan has signed the notice, of this realm. The version that it names may be another one. */
export function verifyNotice(
  { engine, plan }: { readonly engine: CryptoEngine; readonly plan: Pick<Plan, 'realm' | 'rotators'> },
  { notice, terms, signed }: ParsedNotice,
): boolean {
  if (terms.realm !== plan.realm || !plan.rotators.includes(notice.rotator)) return false
  const message = concat(labels.notice, signed.structure)
  return engine.verify(decodeNkey('U', notice.rotator), message, signed.signature)
}
