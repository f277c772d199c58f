// Over 300 lines: what may follow what in a chain of epochs is one rule, best read in one place.
import { concat, hex, samePublic } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_EPOCH_MS, MAX_GRACE_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import {
  decodeEpoch,
  decodeRevocation,
  decodeStatement,
  type Epoch,
  encodeEpoch,
  encodeStatement,
} from '../wire/statements.ts'
import type { RevocationSet } from './revocations.ts'

/** `prev_hash` of the first epoch. */
export const FIRST_PREV_HASH = new Uint8Array(32)

/** An epoch that the chain has accepted. Only {@link EpochChain} makes them. */
export interface AcceptedEpoch extends Epoch {
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
  readonly byAuthority: boolean
}

/** The highest epoch that an agent has acted on. */
export interface EpochFloor {
  readonly number: number
  readonly hash: Uint8Array
}

/** What the chain needs around it. */
export interface EpochChainOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly revocations: RevocationSet
  readonly floor: EpochFloor | undefined
  /** Called with the new floor before an epoch is acted on. It must be durable when it returns. */
  readonly keepFloor: (floor: EpochFloor) => void
  /** By it an epoch is over, and a rotator's token expired, where it is ahead of the clock. */
  readonly latest?: Latest
}

/** Signs an epoch. `token` is the rotator's own; without one the signer is an authority, which re-anchors. */
export function signEpoch(signer: Signer, epoch: Epoch, token?: string): Uint8Array {
  const structure = encodeEpoch(epoch)
  return encodeStatement(WireType.epoch, {
    structure,
    signature: signer.sign(concat(labels.epoch, structure)),
    token,
  })
}

/** The epochs of a realm as one agent has come to believe them: a hash chain that only grows. SPEC, "Rollback". */
export class EpochChain {
  readonly #options: EpochChainOptions
  readonly #byHash = new Map<string, AcceptedEpoch>()
  #floor: EpochFloor | undefined

  constructor(options: EpochChainOptions) {
    this.#options = options
    this.#floor = options.floor
  }

  /** The highest epoch acted on, by this process or a former one. */
  get floor(): EpochFloor | undefined {
    return this.#floor
  }

  /** The highest accepted epoch, once there is one. */
  get head(): AcceptedEpoch | undefined {
    return this.#floor === undefined ? undefined : this.byHash(this.#floor.hash)
  }

  byHash(hash: Uint8Array): AcceptedEpoch | undefined {
    return this.#byHash.get(hex(hash))
  }

  /**
   * The epochs in which a message may be sealed now, newest first. One that begins in a moment by this clock has
   * begun by the clock of the rotation service.
   */
  current(nowMs: number): readonly AcceptedEpoch[] {
    const { latest = unconfirmed } = this.#options
    const notBeforeMs = Math.max(nowMs, latest())
    return [...this.#byHash.values()]
      .filter(({ notBefore, notAfter }) => notBefore - CLOCK_WINDOW_MS <= nowMs && notBeforeMs < notAfter)
      .sort((a, b) => b.number - a.number)
  }

  /** Every accepted epoch that is not over, newest first. */
  all(): readonly AcceptedEpoch[] {
    return [...this.#byHash.values()].sort((a, b) => b.number - a.number)
  }

  /**
   * Forgets epochs of which no message can arrive any more, but never the head and its predecessor. With an epoch go its
   * announcements, retirements and replay windows, so it is the latest time that counts: one that no clock goes back behind.
   *
   * @returns whether there was any
   */
  prune(latestMs: number): boolean {
    const head = this.head
    const before = this.#byHash.size
    for (const [key, epoch] of this.#byHash) {
      const isOver = epoch.notAfter + epoch.graceMs + CLOCK_WINDOW_MS < latestMs
      if (isOver && head !== undefined && epoch.number < head.number - 1) this.#byHash.delete(key)
    }
    return this.#byHash.size < before
  }

  /**
   * Accepts the epoch `target` from a set of statements: it is verified in full, and those between it and the floor
   * by hash and number. Without a floor the caller vouches for the target: a tick with its own nonce has named it.
   *
   * @returns the accepted target
   * @throws SubrosaError ERR_ROLLBACK (below the floor, or another epoch of the same number), ERR_EPOCH_INVALID
   *   (signature, role, chain, or something that not even a rotator may do), ERR_TOKEN_INVALID, ERR_TOKEN_EXPIRED,
   *   ERR_UNKNOWN_AUTHORITY, ERR_MALFORMED
   */
  accept(statements: readonly Uint8Array[], target: EpochFloor, nowMs: number): AcceptedEpoch {
    const known = this.byHash(target.hash)
    if (known !== undefined) return known
    const offered = new Map<string, Uint8Array>()
    for (const bytes of statements) offered.set(hex(this.#hash(bytes)), bytes)
    const { chain, anchor } = this.#anchored(this.#chain(offered, target))
    const [newest] = chain
    if (newest === undefined) throw invalid('the epoch that the tick names is not among the statements')
    this.#verifySignature(newest, nowMs)
    if (newest.number !== target.number) throw invalid('the epoch has another number than the tick says')
    this.#checkFloor(newest, chain, anchor)
    for (const [i, epoch] of chain.entries()) {
      // Those between too: the one before the newest may still run, and what one drops stays dropped.
      checkTimes(epoch, nowMs)
      this.#checkRevocations(epoch, chain[i + 1] ?? this.byHash(epoch.prevHash), nowMs)
    }
    for (const bytes of newest.revocations) this.#options.revocations.addCarried(bytes, nowMs)
    const floor = this.#floor
    const isReplacement = newest === anchor && newest.number === floor?.number
    if (floor === undefined || newest.number > floor.number || isReplacement) this.#raise(newest, anchor)
    for (const epoch of chain) this.#byHash.set(hex(epoch.hash), epoch)
    return newest
  }

  /** Number, hash and beginning of the epoch in a statement, unverified. @throws SubrosaError ERR_MALFORMED */
  peek(bytes: Uint8Array): EpochFloor & { readonly notBefore: number } {
    const { structure } = decodeStatement(WireType.epoch, bytes)
    const { number, notBefore } = decodeEpoch(structure)
    return { number, notBefore, hash: this.#options.engine.sha256(structure) }
  }

  #hash(bytes: Uint8Array): Uint8Array {
    return this.#options.engine.sha256(decodeStatement(WireType.epoch, bytes).structure)
  }

  /** From the target back along `prev_hash`, as far as the offered statements reach. */
  #chain(offered: ReadonlyMap<string, Uint8Array>, target: EpochFloor): readonly AcceptedEpoch[] {
    const chain: AcceptedEpoch[] = []
    let wanted = target.hash
    let number = target.number
    for (;;) {
      const bytes = offered.get(hex(wanted))
      if (bytes === undefined || this.#byHash.has(hex(wanted))) return chain
      const statement = decodeStatement(WireType.epoch, bytes)
      const epoch = decodeEpoch(statement.structure)
      if (epoch.realm !== this.#options.trust.realm) throw invalid('the epoch is of another realm')
      if (epoch.number !== number) {
        // What an authority anchors need not follow anything.
        if (chain.at(-1)?.byAuthority === true) return chain
        throw invalid('the numbers of the epochs do not follow each other')
      }
      chain.push({
        ...epoch,
        hash: wanted,
        bytes: new Uint8Array(bytes),
        byAuthority: statement.token === undefined,
      })
      // The floor's predecessor is welcome; what lies below it is of no use.
      if (this.#floor !== undefined && epoch.number < this.#floor.number) return chain
      wanted = epoch.prevHash
      number--
    }
  }

  /** As much of a chain as counts: what lies before an epoch that an authority signed does not. */
  #anchored(chain: readonly AcceptedEpoch[]): {
    readonly chain: readonly AcceptedEpoch[]
    readonly anchor: AcceptedEpoch | undefined
  } {
    const index = chain.findIndex(
      (epoch) => epoch.byAuthority && this.#isSignedBy(epoch, this.#authorities()),
    )
    return index < 0
      ? { chain, anchor: undefined }
      : { chain: chain.slice(0, index + 1), anchor: chain[index] }
  }

  #verifySignature(epoch: AcceptedEpoch, nowMs: number): void {
    const { token } = decodeStatement(WireType.epoch, epoch.bytes)
    const keys = token === undefined ? this.#authorities() : [rotatorKey(this.#options, token, nowMs)]
    if (!this.#isSignedBy(epoch, keys)) throw invalid('the signature of the epoch does not fit')
  }

  #authorities(): readonly Uint8Array[] {
    return this.#options.trust.authorityKeys()
  }

  #isSignedBy({ bytes }: AcceptedEpoch, keys: readonly Uint8Array[]): boolean {
    const { structure, signature } = decodeStatement(WireType.epoch, bytes)
    const message = concat(labels.epoch, structure)
    return keys.some((key) => this.#options.engine.verify(key, message, signature))
  }

  /** The new epoch must reach the floor, unless an authority re-anchors the chain at or above it. */
  #checkFloor(
    newest: AcceptedEpoch,
    chain: readonly AcceptedEpoch[],
    anchor: AcceptedEpoch | undefined,
  ): void {
    const floor = this.#floor
    if (floor === undefined) return
    const head = this.head
    if (newest.number < floor.number) {
      if (newest.number === floor.number - 1 && head !== undefined && samePublic(head.prevHash, newest.hash))
        return
      throw new SubrosaError(
        'ERR_ROLLBACK',
        `epoch ${newest.number} is older than epoch ${floor.number}, which was seen before`,
      )
    }
    const isFloor = newest.number === floor.number && samePublic(newest.hash, floor.hash)
    if (isFloor) return
    const isEquivocal = anchor?.number === floor.number && head?.byAuthority === true
    if (anchor !== undefined && anchor.number >= floor.number && !isEquivocal) return
    if (newest.number === floor.number)
      throw new SubrosaError('ERR_ROLLBACK', `there are two epochs ${newest.number}`)
    const oldest = chain.find(({ number }) => number === floor.number + 1)
    if (oldest === undefined || !samePublic(oldest.prevHash, floor.hash)) {
      throw new SubrosaError(
        'ERR_ROLLBACK',
        `epoch ${newest.number} does not follow from epoch ${floor.number}, which was seen before`,
        {
          hint: 'an epoch signed by the authority re-anchors a chain whose gap is lost',
        },
      )
    }
  }

  /** A revocation that the previous epoch carried stays until it is over. */
  #checkRevocations(newest: AcceptedEpoch, previous: AcceptedEpoch | undefined, nowMs: number): void {
    if (previous !== undefined && isSameList(newest.revocations, previous.revocations)) return
    const { engine } = this.#options
    const read = (bytes: Uint8Array) => {
      const { structure } = decodeStatement(WireType.revocation, bytes)
      return { key: hex(engine.sha256(structure)), revocation: decodeRevocation(structure) }
    }
    const carried = new Set<string>()
    for (const { key, revocation } of newest.revocations.map(read)) {
      if (revocation.since > nowMs + CLOCK_WINDOW_MS) throw invalid('a revocation lies in the future')
      carried.add(key)
    }
    for (const { key, revocation } of (previous?.revocations ?? []).map(read)) {
      if (revocation.until > newest.notBefore && !carried.has(key))
        throw invalid('the epoch drops a revocation that is in force')
    }
  }

  #raise(epoch: AcceptedEpoch, anchor: AcceptedEpoch | undefined): void {
    const floor = { number: epoch.number, hash: epoch.hash }
    this.#options.keepFloor(floor)
    // What an authority re-anchors, it replaces.
    const replaced = anchor?.number ?? epoch.number
    for (const [key, { number }] of this.#byHash) if (number >= replaced) this.#byHash.delete(key)
    this.#floor = floor
  }
}

/** By what a statement's signer is judged. */
export interface AroundSigner {
  readonly trust: Trust
  readonly revocations: RevocationSet
  /** By it a token has expired where it is ahead of the clock. */
  readonly latest?: Latest
}

/**
 * The key of a token that may sign epochs and ticks.
 *
 * @throws SubrosaError ERR_EPOCH_INVALID without the role `rotator`, ERR_REVOKED, and what {@link Trust.verify} throws.
 */
export function rotatorKey(
  { trust, revocations, latest = unconfirmed }: AroundSigner,
  token: string,
  nowMs: number,
): Uint8Array {
  const claims = trust.verify(token, nowMs, Math.max(nowMs, latest()))
  if (!claims.roles.includes('rotator')) throw invalid(`${claims.name} is no rotation service`)
  if (revocations.isRevoked(claims))
    throw new SubrosaError('ERR_REVOKED', `the rotation service ${claims.name} is revoked`)
  return decodeNkey('U', claims.identity)
}

function isSameList(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  const isSame = (bytes: Uint8Array, other: Uint8Array | undefined): boolean =>
    other !== undefined && samePublic(bytes, other)
  return a.length === b.length && a.every((bytes, i) => isSame(bytes, b[i]))
}

function checkTimes({ notBefore, notAfter, graceMs, suites }: Epoch, nowMs: number): void {
  if (notBefore > nowMs + MAX_EPOCH_MS) throw invalid('the epoch begins more than 24 hours ahead')
  if (notAfter <= notBefore || notAfter - notBefore > MAX_EPOCH_MS)
    throw invalid('an epoch lasts 24 hours at most')
  if (graceMs > MAX_GRACE_MS) throw invalid('the grace of an epoch is 15 minutes at most')
  if (suites.length === 0) throw invalid('the epoch allows no suite')
}

function invalid(message: string): SubrosaError {
  return new SubrosaError('ERR_EPOCH_INVALID', message)
}
