import { concat } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeOrder, decodeStatement, encodeOrder, encodeStatement, type Order } from '../wire/statements.ts'
import { rotatorKey } from './epochs.ts'
import type { RevocationSet } from './revocations.ts'

/** Signs the order to rotate now. `token` is a rotator's own; without one the signer is an authority. */
export function signOrder(signer: Signer, order: Order, token?: string): Uint8Array {
  const structure = encodeOrder(order)
  const signature = signer.sign(concat(labels.order, structure))
  return encodeStatement(WireType.order, { structure, signature, token })
}

/** What an order says, unverified. @throws SubrosaError ERR_MALFORMED */
export function peekOrder(bytes: Uint8Array): Order {
  return decodeOrder(decodeStatement(WireType.order, bytes).structure)
}

/**
 * Reads an order that an authority or a rotator of this realm signed.
 *
 * @throws SubrosaError ERR_MALFORMED, ERR_EPOCH_INVALID, ERR_REVOKED, ERR_TOKEN_INVALID, ERR_TOKEN_EXPIRED,
 *   ERR_UNKNOWN_AUTHORITY
 */
export function verifyOrder(
  around: { readonly engine: CryptoEngine; readonly trust: Trust; readonly revocations: RevocationSet },
  bytes: Uint8Array,
  nowMs: number,
): Order {
  const { engine, trust } = around
  const { structure, signature, token } = decodeStatement(WireType.order, bytes)
  const order = decodeOrder(structure)
  if (order.realm !== trust.realm)
    throw new SubrosaError('ERR_EPOCH_INVALID', 'the order to rotate is of another realm')
  const keys = token === undefined ? trust.authorityKeys() : [rotatorKey(around, token, nowMs)]
  const message = concat(labels.order, structure)
  if (!keys.some((key) => engine.verify(key, message, signature)))
    throw new SubrosaError('ERR_EPOCH_INVALID', 'the signature of the order to rotate does not fit')
  return order
}
