import { concat, samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { merklePathLength, merkleRoot } from '../crypto/merkle.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import { HASH_BYTES } from '../wire/fields.ts'
import type { Plan } from '../wire/plans.ts'
import {
  decodeSignedTick,
  decodeTick,
  decodeTickAnswer,
  encodeTick,
  type SignedTick,
  type Tick,
} from '../wire/ticks.ts'

const LEAF_PREFIX = Uint8Array.of(0)

/** A tick in parts, as it was received: nothing of it is proved. */
export interface ParsedTick {
  readonly tick: Tick
  readonly signed: SignedTick
  /** SHA-256 of the signed structure: the same for all whom it answers. */
  readonly hash: Uint8Array
}

/** Signs a tick with the key of a rotation service, once for all whom it answers. */
export function signTick(signer: Signer, tick: Tick): Pick<SignedTick, 'structure' | 'signature'> {
  const structure = encodeTick(tick)
  return { structure, signature: signer.sign(concat(labels.tick, structure)) }
}

/** Reads a tick. @throws SubrosaError ERR_MALFORMED */
export function readTick(engine: CryptoEngine, wire: Uint8Array): ParsedTick {
  return parseTick(engine, decodeSignedTick(wire))
}

/**
 * Reads a tick that answers an own nonce, by what it says: {@link provesNonce} proves it.
 *
 * @param isAsked whether a nonce is an own one. Where it is not, nothing else is read, decoded or hashed
 * @returns `undefined` where it answers no such nonce
 * @throws SubrosaError ERR_MALFORMED
 */
export function readTickAnswer(
  engine: CryptoEngine,
  wire: Uint8Array,
  isAsked: (nonce: Uint8Array) => boolean,
): ParsedTick | undefined {
  const signed = decodeTickAnswer(wire, isAsked)
  return signed && parseTick(engine, signed)
}

/** Reads what was signed. @throws SubrosaError ERR_MALFORMED */
export function parseTick(engine: CryptoEngine, signed: SignedTick): ParsedTick {
  return { tick: decodeTick(signed.structure), signed, hash: engine.sha256(signed.structure) }
}

/** The hash of a nonce as a leaf of the tree whose root a tick signs. */
export function nonceLeaf(engine: CryptoEngine, nonce: Uint8Array): Uint8Array {
  return engine.sha256(LEAF_PREFIX, labels.ping, nonce)
}

/**
 * Whether a tick was made after this nonce: it is the one that the tick echoes, and its root, which is signed, is that of a tree in
 * which the nonce stands.
 */
export function provesNonce(
  engine: CryptoEngine,
  { tick, signed }: Pick<ParsedTick, 'tick' | 'signed'>,
  nonce: Uint8Array,
): boolean {
  const { index, path } = signed
  if (signed.nonce === undefined || !samePublic(signed.nonce, nonce)) return false
  if (index === undefined || path === undefined || index >= tick.leaves) return false
  if (path.length !== HASH_BYTES * merklePathLength(tick.leaves, index)) return false
  const leaf = { hash: nonceLeaf(engine, nonce), index, leaves: tick.leaves, path }
  return samePublic(merkleRoot(engine, leaf), tick.nonceRoot)
}

/**
 * Whether a rotation service of the plan has signed the tick, of this realm. Whether it counts is another question: its version,
 * standing, time, nonce and revocations are not looked at.
 */
export function verifyTick(
  { engine, plan }: { readonly engine: CryptoEngine; readonly plan: Pick<Plan, 'realm' | 'rotators'> },
  { tick, signed }: Pick<ParsedTick, 'tick' | 'signed'>,
): boolean {
  if (tick.realm !== plan.realm || !plan.rotators.includes(tick.rotator)) return false
  return engine.verify(decodeNkey('U', tick.rotator), concat(labels.tick, signed.structure), signed.signature)
}

/** The error for clocks that differ by more than is tolerated. */
export function clockSkew({ now }: Pick<Tick, 'now'>, nowMs: number): SubrosaError {
  const seconds = Math.round((nowMs - now) / 1000)
  return new SubrosaError(
    'ERR_CLOCK_SKEW',
    `the clocks of this agent and of the rotation service are ${seconds} s apart`,
    {
      hint: 'at most 120 s are tolerated: synchronise the clocks',
    },
  )
}
