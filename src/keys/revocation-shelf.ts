import { concat, hex } from '../base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_REVOCATION_BYTES,
  MAX_REVOCATION_BYTES_HELD,
  MAX_REVOCATION_MS,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_HELD,
} from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Revocation } from '../wire/statements.ts'
import type { VerifiedRevocation } from './revocations.ts'

/** How many there are, and how long their wire messages are together. */
export interface Amount {
  readonly count: number
  readonly bytes: number
}

/** Up to when tokens of an identity are refused, in ms since 1970; -1 where none is. */
export interface Reach {
  /** By the word of an authority. */
  readonly byAuthority: number
  /** By anybody's who may revoke. */
  readonly byAny: number
}

/** What is in force at a time, and its `revocations_hash`. The same for all times of the span. */
interface InForce {
  readonly fromMs: number
  readonly untilMs: number
  readonly list: readonly VerifiedRevocation[]
  readonly hash: Uint8Array
}

const NO_AMOUNT: Amount = { count: 0, bytes: 0 }
const NOWHERE: Reach = { byAuthority: -1, byAny: -1 }

/**
 * Whether a list of that time may name a revocation. What nobody with a right clock can have let in by then is not named: else a
 * service whose clock was ahead would name, when it is right again, what all others refuse.
 */
export function isNamedAt({ since, until }: Revocation, nowMs: number): boolean {
  return beginOf({ since, until }) <= nowMs && nowMs < until
}

/**
 * A bounded number of revocations. What revokers have signed leaves room for what authorities sign, always. SPEC, "Acting on a
 * revocation".
 */
export class RevocationShelf {
  readonly #engine: Pick<CryptoEngine, 'sha256'>
  /** By the hash of each, in hexadecimal, in the order in which they came. */
  readonly #byHash = new Map<string, VerifiedRevocation>()
  readonly #byIdentity = new Map<string, Set<VerifiedRevocation>>()
  /** It is asked for every message, and there may be thousands for one identity. */
  readonly #reach = new Map<string, Reach>()
  readonly #authorities = { count: 0, bytes: 0 }
  readonly #revokers = { count: 0, bytes: 0 }
  /** By the revoker that has signed. */
  readonly #byRevoker = new Map<string, { count: number; bytes: number }>()
  #sorted: readonly VerifiedRevocation[] | undefined
  #inForce: InForce | undefined

  constructor(engine: Pick<CryptoEngine, 'sha256'>) {
    this.#engine = engine
  }

  get size(): number {
    return this.#byHash.size
  }

  get(key: string): VerifiedRevocation | undefined {
    return this.#byHash.get(key)
  }

  /** All of them, in the order in which they came. */
  all(): Iterable<VerifiedRevocation> {
    return this.#byHash.values()
  }

  /** Those that name an identity. */
  naming(identity: string): Iterable<VerifiedRevocation> {
    return this.#byIdentity.get(identity) ?? []
  }

  reach(identity: string): Reach {
    return this.#reach.get(identity) ?? NOWHERE
  }

  /** What is held of one kind of signer. */
  amount(of: { readonly byAuthority: boolean }): Amount {
    return of.byAuthority ? this.#authorities : this.#revokers
  }

  /** What is held that this revoker has signed. */
  amountBy(revoker: string): Amount {
    return this.#byRevoker.get(revoker) ?? NO_AMOUNT
  }

  /** Whether another one of this kind of signer and this length has room. */
  hasRoom({ bytes, byAuthority }: Pick<VerifiedRevocation, 'bytes' | 'byAuthority'>): boolean {
    const { count, bytes: held } = this.#revokers
    const hasPart =
      count < MAX_REVOCATIONS_HELD - MAX_REVOCATIONS &&
      held + bytes.length <= MAX_REVOCATION_BYTES_HELD - MAX_REVOCATION_BYTES
    const total = held + this.#authorities.bytes + bytes.length
    return (byAuthority || hasPart) && this.size < MAX_REVOCATIONS_HELD && total <= MAX_REVOCATION_BYTES_HELD
  }

  /**
   * Takes one in, where there is room for it. A revoker that repeats an authority's words does not take the place of the authority's
   * signature; the other way round it does.
   *
   * @returns whether it is new here
   */
  put(one: VerifiedRevocation): boolean {
    const key = hex(one.hash)
    const known = this.#byHash.get(key)
    if (known !== undefined && (known.byAuthority || !one.byAuthority)) return false
    // Without a token the same words are shorter.
    if (known === undefined && !this.hasRoom(one)) return false
    if (known !== undefined) this.#remove(key, known)
    this.#byHash.set(key, one)
    this.#count(one, 1)
    const { identity } = one.revocation
    const named = this.#byIdentity.get(identity) ?? new Set()
    this.#byIdentity.set(identity, named.add(one))
    this.#reach.set(identity, widened(this.reach(identity), one))
    this.#changed()
    return true
  }

  /** Takes one out that was put in by mistake. */
  drop(one: VerifiedRevocation): void {
    const key = hex(one.hash)
    if (this.#byHash.get(key) !== one) return
    this.#remove(key, one)
    this.#measure(one.revocation.identity)
    this.#changed()
  }

  /** Those that a list of this time names, in the order of their hashes. */
  inForce(nowMs: number): readonly VerifiedRevocation[] {
    return this.#at(nowMs).list
  }

  /** `revocations_hash` of SPEC: SHA-256 over the sorted hashes of those that a list of this time names. */
  hash(nowMs: number): Uint8Array {
    return this.#at(nowMs).hash
  }

  /** Forgets what is long over, by the latest time: a clock that is ahead for a moment lifts no revocation. */
  prune(latestMs: number): void {
    const identities = new Set<string>()
    for (const [key, held] of this.#byHash) {
      const { until, identity } = held.revocation
      if (until + CLOCK_WINDOW_MS >= latestMs) continue
      this.#remove(key, held)
      identities.add(identity)
    }
    for (const identity of identities) this.#measure(identity)
    if (identities.size > 0) this.#changed()
  }

  #measure(identity: string): void {
    const left = this.#byIdentity.get(identity)
    if (left === undefined) this.#reach.delete(identity)
    else this.#reach.set(identity, [...left].reduce(widened, NOWHERE))
  }

  #remove(key: string, held: VerifiedRevocation): void {
    const { identity } = held.revocation
    this.#byHash.delete(key)
    this.#count(held, -1)
    const named = this.#byIdentity.get(identity)
    named?.delete(held)
    if (named?.size === 0) this.#byIdentity.delete(identity)
  }

  #count({ bytes, byAuthority, revoker }: VerifiedRevocation, by: 1 | -1): void {
    const amounts = [byAuthority ? this.#authorities : this.#revokers]
    if (revoker !== undefined) {
      const own = this.#byRevoker.get(revoker) ?? { count: 0, bytes: 0 }
      this.#byRevoker.set(revoker, own)
      amounts.push(own)
    }
    for (const amount of amounts) {
      amount.count += by
      amount.bytes += by * bytes.length
    }
    if (revoker !== undefined && this.amountBy(revoker).count === 0) this.#byRevoker.delete(revoker)
  }

  #changed(): void {
    this.#sorted = undefined
    this.#inForce = undefined
  }

  #at(nowMs: number): InForce {
    const known = this.#inForce
    if (known !== undefined && known.fromMs <= nowMs && nowMs < known.untilMs) return known
    const list: VerifiedRevocation[] = []
    let [fromMs, untilMs] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (const one of this.#inOrder()) {
      const { revocation } = one
      for (const edgeMs of [beginOf(revocation), revocation.until]) {
        if (edgeMs <= nowMs) fromMs = Math.max(fromMs, edgeMs)
        else untilMs = Math.min(untilMs, edgeMs)
      }
      if (isNamedAt(revocation, nowMs)) list.push(one)
    }
    const hash = this.#engine.sha256(concat(...list.map((one) => one.hash)))
    this.#inForce = { fromMs, untilMs, list, hash }
    return this.#inForce
  }

  #inOrder(): readonly VerifiedRevocation[] {
    // Hexadecimal has the order of the bytes.
    this.#sorted ??= [...this.#byHash].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
    return this.#sorted
  }
}

/** From when on a revocation may be named. */
function beginOf({ since, until }: Pick<Revocation, 'since' | 'until'>): number {
  return Math.max(since - CLOCK_WINDOW_MS, until - MAX_REVOCATION_MS)
}

function widened(reach: Reach, { revocation: { since }, byAuthority }: VerifiedRevocation): Reach {
  return {
    byAuthority: byAuthority ? Math.max(reach.byAuthority, since) : reach.byAuthority,
    byAny: Math.max(reach.byAny, since),
  }
}
