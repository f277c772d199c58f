import { concat, hex } from '../base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_ORDERS_OF_ROTATORS_PER_EPOCH,
  MAX_ORDERS_PER_EPOCH,
  MIN_ORDER_INTERVAL_MS,
} from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust } from '../identity/trust.ts'
import type { Plan } from '../wire/plans.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeOrder, decodeStatement, encodeOrder, encodeStatement, type Order } from '../wire/statements.ts'
import type { RevocationSet } from './revocations.ts'

const AUTHORITY = 'authority'

/** Who has given an order: any authority of the realm, under pins the realm's own key, or a rotation service by its public key. */
export type OrderSigner = 'authority' | (string & {})

/** By what an order is judged. */
export interface AroundOrder {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly revocations: Pick<RevocationSet, 'revokedByAuthority'>
}

/** Signs the order to make fresh keys now, with the key of an authority or of a rotation service. */
export function signOrder(signer: Signer, order: Order): Uint8Array {
  const structure = encodeOrder(order)
  const signature = signer.sign(concat(labels.order, structure))
  return encodeStatement(WireType.order, { structure, signature, token: undefined })
}

/** What an order says, unverified. @throws SubrosaError ERR_MALFORMED */
export function peekOrder(bytes: Uint8Array): Order {
  return decodeOrder(decodeStatement(WireType.order, bytes).structure)
}

/**
 * Who of these has signed an order of this realm: any authority, or a rotation service that no authority has revoked.
 *
 * @param signers those whose order would be followed ({@link OrdersFollowed.signersOf}): only their signatures are tried
 * @returns `undefined` where none of them has signed it
 * @throws SubrosaError ERR_MALFORMED
 */
export function verifyOrder(
  { engine, trust, revocations }: AroundOrder,
  bytes: Uint8Array,
  signers: readonly OrderSigner[],
): OrderSigner | undefined {
  const { structure, signature } = decodeStatement(WireType.order, bytes)
  if (decodeOrder(structure).realm !== trust.realm) return undefined
  const message = concat(labels.order, structure)
  return signers.find((signer) => {
    if (signer !== AUTHORITY && revocations.revokedByAuthority(signer)) return false
    const keys = signer === AUTHORITY ? trust.planKeys() : [decodeNkey('U', signer)]
    return keys.some((key) => engine.verify(key, message, signature))
  })
}

interface FollowedOrder {
  readonly by: OrderSigner
  readonly at: number
}

/**
 * Which orders one instance follows: a few in each epoch. Whoever has the key of a rotation service uses up what that one may give,
 * and never what an authority may. SPEC, "Fresh keys".
 */
export class OrdersFollowed {
  /** Those that were followed, by the hash of the epoch. */
  readonly #byEpoch = new Map<string, readonly FollowedOrder[]>()

  /**
   * By whom an order would be followed, if it proves to be signed by them; none where it need not be looked at.
   *
   * @param nowMs the wall clock
   */
  signersOf(order: Order, { rotators }: Pick<Plan, 'rotators'>, nowMs: number): readonly OrderSigner[] {
    if (Math.abs(nowMs - order.at) > CLOCK_WINDOW_MS) return []
    return [AUTHORITY, ...rotators].filter((signer) => this.#mayFollow(order, signer))
  }

  /** This order is followed. */
  note({ epochHash, at }: Order, by: OrderSigner): void {
    const key = hex(epochHash)
    this.#byEpoch.set(key, [...(this.#byEpoch.get(key) ?? []), { by, at }])
  }

  /** Forgets the epochs that are not held any more. */
  keepOnly(epochs: readonly { readonly hash: Uint8Array }[]): void {
    const held = new Set(epochs.map(({ hash }) => hex(hash)))
    for (const key of this.#byEpoch.keys()) if (!held.has(key)) this.#byEpoch.delete(key)
  }

  #mayFollow({ epochHash, at }: Order, by: OrderSigner): boolean {
    const all = this.#byEpoch.get(hex(epochHash)) ?? []
    if (all.length >= MAX_ORDERS_PER_EPOCH) return false
    const before = all.filter((order) => order.by === by)
    if (by === AUTHORITY) return before.every((order) => at >= order.at + MIN_ORDER_INTERVAL_MS)
    const ofRotators = all.filter((order) => order.by !== AUTHORITY)
    return before.length === 0 && ofRotators.length < MAX_ORDERS_OF_ROTATORS_PER_EPOCH
  }
}
