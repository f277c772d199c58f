import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_FORMER_OWNERS, MAX_NAMES_REMEMBERED, OWNERS_KEPT_MS } from '../base/limits.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import { DelayedWrite } from './delayed-write.ts'
import type { RevocationSet } from './revocations.ts'
import type { AgentState } from './state.ts'

/** Whose a name is, as it is remembered between processes. */
export interface NameOwner {
  readonly identity: string
  /** When the name was first issued to it, in seconds since 1970. */
  readonly since: number
  /** The highest `iat` of its tokens that was seen: what a revocation has to reach. */
  readonly issuedAt: number
  /** Whether its newest token has the role of a rotation service: only an authority's revocation reaches it then. */
  readonly isRotator: boolean
  /** Whether a revocation covers it: the next identity that proves itself has the name, also when that is forgotten. */
  readonly isOver: boolean
  /** Identities that had the name and lost it, the latest last. */
  readonly former: readonly string[]
}

/** A name has another owner than before. */
export interface NameMoved {
  readonly name: string
  readonly from: string
  readonly to: string
  /** `revoked`: the former owner is; `succeeded`: the authority says so; `earlier`: it was issued to the new one before. */
  readonly why: 'revoked' | 'succeeded' | 'earlier'
}

/** Most names have had one owner, and share this list. */
const NOBODY: readonly string[] = Object.freeze([])

/** What is remembered, and how. */
export interface NameOwnersOptions {
  readonly trust: Pick<Trust, 'isByPins'>
  readonly revocations: Pick<RevocationSet, 'covers'>
  readonly clock: Pick<Clock, 'after'>
  readonly state: Pick<AgentState, 'owners' | 'keepOwners'>
  readonly onMoved: (moved: NameMoved) => void
  readonly onError: (error: unknown) => void
}

/**
 * Whose each name is, whoever holds announcements at the moment: neither a renewal nor an absence gives it away. SPEC,
 * "Two identities for one name".
 */
export class NameOwners {
  readonly #options: NameOwnersOptions
  readonly #owners: Map<string, NameOwner>
  readonly #write: DelayedWrite
  #hasSaid = false

  constructor(options: NameOwnersOptions) {
    const { trust, state, clock, onError } = options
    this.#options = options
    this.#owners = new Map(trust.isByPins ? [] : state.owners)
    this.#write = new DelayedWrite({
      clock,
      delayMs: OWNERS_KEPT_MS,
      write: () => this.#keep(),
      onError,
    })
  }

  /**
   * The identity that owns a name; `undefined` where none is known.
   *
   * @param proved claims of those that have proved themselves, and whose tokens are in force
   */
  ownerOf(name: string, proved: readonly IdentityClaims[]): string | undefined {
    if (this.#options.trust.isByPins) return earliestOf(proved)?.identity
    const known = this.#judged(name)
    if (known === undefined) {
      const first = earliestOf(proved)
      if (first !== undefined && this.#owners.size < MAX_NAMES_REMEMBERED)
        this.#set(name, ownerFrom(first, proved, first.succeeds))
      return first?.identity
    }
    // The authority's word about this owner comes before all others.
    const successor = earliestOf(proved.filter((claims) => hasSucceeded(claims, known)))
    const best = successor ?? earliestOf(proved.filter((claims) => mayHave(claims, known)))
    if (best === undefined) return known.isOver ? undefined : known.identity
    const why = best.identity === known.identity ? undefined : whyMoved(known, best)
    if (best.identity !== known.identity && why === undefined) return known.identity
    const lost = why === undefined || why === 'earlier' ? [] : [known.identity]
    const next = ownerFrom(best, proved, [...known.former, ...best.succeeds, ...lost])
    const isNewer = why !== undefined || next.issuedAt >= known.issuedAt
    this.#set(name, isNewer ? next : { ...known, former: next.former })
    if (why !== undefined) this.#options.onMoved({ name, from: known.identity, to: best.identity, why })
    return best.identity
  }

  /** Revocations have come: those that cover an owner are noted, since they are forgotten one day. */
  review(): void {
    for (const name of this.#owners.keys()) this.#judged(name)
  }

  /** Writes down what is not written yet. */
  close(): void {
    this.#write.close()
  }

  #keep(): void {
    const { state, onError } = this.#options
    const leftOut = state.keepOwners(this.#owners)
    if (leftOut === 0 || this.#hasSaid) return
    this.#hasSaid = true
    onError(
      new SubrosaError('ERR_STATE', `the owners of ${leftOut} names have no room in the state`, {
        hint: 'after a restart the name of each of them is whose announcement is seen first: revoke what must not have it',
      }),
    )
  }

  #judged(name: string): NameOwner | undefined {
    const known = this.#owners.get(name)
    if (known === undefined || known.isOver || !this.#options.revocations.covers(known)) return known
    const over = { ...known, isOver: true }
    this.#set(name, over)
    return over
  }

  #set(name: string, owner: NameOwner): void {
    const known = this.#owners.get(name)
    if (known !== undefined && isSame(known, owner)) return
    this.#owners.set(name, owner)
    this.#write.soon()
  }
}

/**
 * What two processes of one agent remember of a name, together: as if one of them had seen all of it. No clock is asked.
 */
export function mergeOwners(a: NameOwner, b: NameOwner): NameOwner {
  const former = [...a.former, ...b.former]
  if (a.identity === b.identity) {
    const [newer, older] = a.issuedAt >= b.issuedAt ? [a, b] : [b, a]
    const isOver = newer.isOver || (older.isOver && older.issuedAt === newer.issuedAt)
    return { ...newer, isOver, former: formerOf(newer.identity, former) }
  }
  const [winner, loser] = isBefore(a, b) ? [a, b] : [b, a]
  const lost = loser.isOver ? [loser.identity] : []
  return { ...winner, former: formerOf(winner.identity, [...former, ...lost]) }
}

/** Of several identities that have proved themselves under one name the one that has it. */
export function earliestOf(proved: readonly IdentityClaims[]): IdentityClaims | undefined {
  const isSucceeded = (claims: IdentityClaims): boolean =>
    proved.some((other) => other.identity !== claims.identity && gaveTo(other, claims))
  return proved.reduce<IdentityClaims | undefined>((first, claims) => {
    if (isSucceeded(claims)) return first
    return first === undefined || isEarlier(claims, first) ? claims : first
  }, undefined)
}

/**
 * Whether the authority has given the name of the one to the other. Where it has given that to both, one after the other, its later
 * word stands.
 */
function gaveTo(other: IdentityClaims, { identity, succeeds, issuedAt }: IdentityClaims): boolean {
  if (!other.succeeds.includes(identity)) return false
  return succeeds.length === 0 || !isAfter({ identity, issuedAt }, other)
}

/** The same of an owner, whose own succession is in the identities that have lost the name to it. */
function hasSucceeded(claims: IdentityClaims, known: NameOwner): boolean {
  if (!claims.succeeds.includes(known.identity)) return false
  return !known.former.includes(claims.identity) || !isAfter(known, claims)
}

function isAfter(
  a: Pick<NameOwner, 'identity' | 'issuedAt'>,
  b: Pick<NameOwner, 'identity' | 'issuedAt'>,
): boolean {
  return a.issuedAt > b.issuedAt || (a.issuedAt === b.issuedAt && a.identity > b.identity)
}

/** Whoever has lost a name by the authority's word has it again by the authority's word alone. */
function mayHave({ identity, issuedAt }: IdentityClaims, known: NameOwner): boolean {
  if (identity === known.identity) return !known.isOver || issuedAt > known.issuedAt
  return !known.former.includes(identity)
}

function whyMoved(known: NameOwner, best: IdentityClaims): NameMoved['why'] | undefined {
  if (best.succeeds.includes(known.identity)) return 'succeeded'
  if (known.isOver) return 'revoked'
  return isEarlier(best, known) ? 'earlier' : undefined
}

function isBefore(a: NameOwner, b: NameOwner): boolean {
  const [hasLost, otherHasLost] = [b.former.includes(a.identity), a.former.includes(b.identity)]
  if (hasLost && otherHasLost) return isAfter(a, b)
  if (hasLost !== otherHasLost) return otherHasLost
  return a.isOver === b.isOver ? isEarlier(a, b) : b.isOver
}

function isEarlier(
  a: Pick<NameOwner, 'identity' | 'since'>,
  b: Pick<NameOwner, 'identity' | 'since'>,
): boolean {
  return a.since < b.since || (a.since === b.since && a.identity < b.identity)
}

function ownerFrom(
  { identity, since }: IdentityClaims,
  proved: readonly IdentityClaims[],
  former: readonly string[],
): NameOwner {
  const own = proved.filter((claims) => claims.identity === identity)
  const issuedAt = Math.max(...own.map((claims) => claims.issuedAt))
  const isRotator = own.some((claims) => claims.issuedAt === issuedAt && claims.roles.includes('rotator'))
  return { identity, since, issuedAt, isRotator, isOver: false, former: formerOf(identity, former) }
}

function formerOf(identity: string, all: readonly string[]): readonly string[] {
  if (all.length === 0) return NOBODY
  return [...new Set(all)].filter((other) => other !== identity).slice(-MAX_FORMER_OWNERS)
}

function isSame(a: NameOwner, b: NameOwner): boolean {
  return (
    a.identity === b.identity &&
    a.since === b.since &&
    a.issuedAt === b.issuedAt &&
    a.isRotator === b.isRotator &&
    a.isOver === b.isOver &&
    a.former.length === b.former.length &&
    a.former.every((identity, i) => identity === b.former[i])
  )
}
