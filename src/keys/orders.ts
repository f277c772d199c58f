import { concat, hex } from '../base/bytes.ts'
import { CLOCK_WINDOW_MS, MAX_ORDERS_PER_EPOCH, MIN_ORDER_INTERVAL_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust } from '../identity/trust.ts'
import type { Plan } from '../wire/plans.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeOrder, decodeStatement, encodeOrder, encodeStatement, type Order } from '../wire/statements.ts'
import type { RevocationSet } from './revocations.ts'

/** By what an order is judged. */
export interface AroundOrder {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly plan: Pick<Plan, 'rotators'>
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
 * Reads an order that an authority of this realm, or a rotation service of the plan that no authority has revoked, has
 * signed. Whether it is to be followed, {@link OrdersFollowed} says: ask it first, since up to ten signatures are tried here.
 *
 * @returns `undefined` where nobody who may has signed it
 * @throws SubrosaError ERR_MALFORMED
 */
export function verifyOrder(
  { engine, trust, plan, revocations }: AroundOrder,
  bytes: Uint8Array,
): Order | undefined {
  const { structure, signature } = decodeStatement(WireType.order, bytes)
  const order = decodeOrder(structure)
  if (order.realm !== trust.realm) return undefined
  const rotators = plan.rotators.filter((key) => !revocations.revokedByAuthority(key))
  const keys = [...trust.authorityKeys(), ...rotators.map((key) => decodeNkey('U', key))]
  const message = concat(labels.order, structure)
  return keys.some((key) => engine.verify(key, message, signature)) ? order : undefined
}

/** Which orders one instance follows: a few in each epoch, and not one upon the other. SPEC, "Fresh keys". */
export class OrdersFollowed {
  /** When the orders were given that were followed, by the hash of the epoch. */
  readonly #byEpoch = new Map<string, readonly number[]>()

  /**
   * Whether an order is to be followed, if it proves to be signed.
   *
   * @param nowMs the wall clock
   */
  mayFollow({ epochHash, at }: Order, nowMs: number): boolean {
    const followed = this.#byEpoch.get(hex(epochHash)) ?? []
    if (Math.abs(nowMs - at) > CLOCK_WINDOW_MS || followed.length >= MAX_ORDERS_PER_EPOCH) return false
    return followed.every((before) => at >= before + MIN_ORDER_INTERVAL_MS)
  }

  /** This order is followed. */
  note({ epochHash, at }: Order): void {
    const key = hex(epochHash)
    this.#byEpoch.set(key, [...(this.#byEpoch.get(key) ?? []), at])
  }

  /** Forgets the epochs that are not held any more. */
  keepOnly(epochs: readonly { readonly hash: Uint8Array }[]): void {
    const held = new Set(epochs.map(({ hash }) => hex(hash)))
    for (const key of this.#byEpoch.keys()) if (!held.has(key)) this.#byEpoch.delete(key)
  }
}
