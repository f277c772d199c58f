import { concat, hex, samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_NONCES_PER_TICK } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeStatement, decodeTick, encodeStatement, encodeTick, type Tick } from '../wire/statements.ts'
import { type AroundSigner, rotatorKey } from './epochs.ts'

/** Signs a tick with a rotator's key and token. */
export function signTick(signer: Signer, tick: Tick, token: string): Uint8Array {
  const structure = encodeTick(tick)
  return encodeStatement(WireType.tick, {
    structure,
    signature: signer.sign(concat(labels.tick, structure)),
    token,
  })
}

/**
 * Reads a tick that a rotator of this realm signed.
 *
 * @throws SubrosaError ERR_MALFORMED, ERR_EPOCH_INVALID, ERR_REVOKED, ERR_TOKEN_INVALID, ERR_TOKEN_EXPIRED,
 *   ERR_UNKNOWN_AUTHORITY
 */
export function verifyTick(
  around: AroundSigner & { readonly engine: CryptoEngine },
  bytes: Uint8Array,
  nowMs: number,
): Tick {
  const { engine, trust } = around
  const { structure, signature, token } = decodeStatement(WireType.tick, bytes)
  const tick = decodeTick(structure)
  if (tick.realm !== trust.realm || token === undefined)
    throw new SubrosaError('ERR_EPOCH_INVALID', 'the tick is of another realm')
  const key = rotatorKey(around, token, nowMs)
  if (!engine.verify(key, concat(labels.tick, structure), signature)) {
    throw new SubrosaError('ERR_EPOCH_INVALID', 'the signature of the tick does not fit')
  }
  return tick
}

/** The rotation service that signed a tick which {@link verifyTick} has verified. */
export function tickSigner(trust: Trust, bytes: Uint8Array, nowMs: number): VerifiedClaims {
  const { token = '' } = decodeStatement(WireType.tick, bytes)
  return trust.verify(token, nowMs)
}

/** The error for clocks that differ by more than is tolerated. */
export function clockSkew(tick: Tick, nowMs: number): SubrosaError {
  const seconds = Math.round((nowMs - tick.now) / 1000)
  return new SubrosaError(
    'ERR_CLOCK_SKEW',
    `the clocks of this agent and of the rotation service are ${seconds} s apart`,
    {
      hint: 'at most 120 s are tolerated: synchronise the clocks',
    },
  )
}

/** How a tick stands to what was seen before. */
export type TickStanding = 'counts' | 'old' | 'skewed'

/**
 * Which ticks count. Whether one has counted lately, the clock of the connection knows. SPEC, "Freshness".
 */
export class TickOrder {
  readonly #nonces = new Set<string>()
  #lastTickNow = 0

  /** Remembers a nonce of one's own: a tick that carries it was made after it. */
  expect(nonce: Uint8Array): void {
    this.#nonces.add(hex(nonce))
    const [oldest] = this.#nonces
    if (this.#nonces.size > MAX_NONCES_PER_TICK && oldest !== undefined) this.#nonces.delete(oldest)
  }

  /** Forgets every nonce of one's own: what was made before now is of no use any more. */
  expectNone(): void {
    this.#nonces.clear()
  }

  /** Whether the tick answers a nonce of one's own. */
  answers(tick: Tick): boolean {
    return tick.nonces.some((nonce) => this.#nonces.has(hex(nonce)))
  }

  /**
   * Whether the tick would count, by its time. One with an own nonce counts in any order.
   *
   * @param nowMs the wall clock, both ways: that a tick is no old one, its order or its nonce shows, and no clock has to
   */
  standing(tick: Tick, nowMs: number): TickStanding {
    if (Math.abs(nowMs - tick.now) > CLOCK_WINDOW_MS) return 'skewed'
    return tick.now > this.#lastTickNow || this.answers(tick) ? 'counts' : 'old'
  }

  /** Counts a tick that names the epoch and the revocations that this agent holds. */
  count(tick: Tick): void {
    this.#lastTickNow = Math.max(this.#lastTickNow, tick.now)
    for (const nonce of tick.nonces) this.#nonces.delete(hex(nonce))
  }
}

/** Whether a tick names exactly this epoch. */
export function namesEpoch(
  tick: Tick,
  epoch: { readonly number: number; readonly hash: Uint8Array },
): boolean {
  return tick.number === epoch.number && samePublic(tick.epochHash, epoch.hash)
}
