import type { Clock } from '../base/clock.ts'
import { MAX_NAMES_REMEMBERED, OWNERS_KEPT_MS } from '../base/limits.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import type { RevocationSet } from './revocations.ts'
import type { AgentState } from './state.ts'

/** Whose a name is, as it is remembered between processes. */
export interface NameOwner {
  readonly identity: string
  /** When the name was first issued to it, in seconds since 1970. */
  readonly since: number
  /** The highest `iat` of its tokens that was seen: what a revocation has to reach. */
  readonly issuedAt: number
  /** Whether a revocation covers it: the next identity that proves itself has the name, also when that is forgotten. */
  readonly isOver: boolean
  /** When this was decided, in ms since 1970: of two processes of one agent the later one knew more. */
  readonly at: number
}

/** A name has another owner than before. */
export interface NameMoved {
  readonly name: string
  readonly from: string
  readonly to: string
  /** `revoked`: the former owner is; `earlier`: the new one was issued the name before. */
  readonly why: 'revoked' | 'earlier'
}

/** What is remembered, and how. */
export interface NameOwnersOptions {
  readonly trust: Pick<Trust, 'isByPins'>
  readonly revocations: Pick<RevocationSet, 'covers'>
  readonly clock: Pick<Clock, 'now' | 'after'>
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
  #cancelKeeping: (() => void) | undefined

  constructor(options: NameOwnersOptions) {
    this.#options = options
    this.#owners = new Map(options.trust.isByPins ? [] : options.state.owners)
  }

  /**
   * The identity that owns a name; `undefined` where none is known.
   *
   * @param proved claims of those that have proved themselves, and whose tokens are in force
   */
  ownerOf(name: string, proved: readonly IdentityClaims[]): string | undefined {
    const earliest = earliestOf(proved)
    if (this.#options.trust.isByPins) return earliest?.identity
    const known = this.#judged(name)
    if (earliest === undefined) return known?.isOver === true ? undefined : known?.identity
    if (known === undefined) {
      if (this.#owners.size < MAX_NAMES_REMEMBERED) this.#set(name, earliest, proved)
      return earliest.identity
    }
    const isOwner = earliest.identity === known.identity
    if (!isOwner && !known.isOver && !isEarlier(earliest, known)) return known.identity
    if (!isOwner || known.isOver || newestOf(earliest.identity, proved) > known.issuedAt)
      this.#set(name, earliest, proved)
    if (!isOwner) {
      const why = known.isOver ? 'revoked' : 'earlier'
      this.#options.onMoved({ name, from: known.identity, to: earliest.identity, why })
    }
    return earliest.identity
  }

  /** Revocations have come: those that cover an owner are noted, since they are forgotten one day. */
  review(): void {
    for (const name of this.#owners.keys()) this.#judged(name)
  }

  /** Writes down what is not written yet. */
  close(): void {
    if (this.#cancelKeeping === undefined) return
    this.#cancelKeeping()
    this.#keep()
  }

  #judged(name: string): NameOwner | undefined {
    const known = this.#owners.get(name)
    if (known === undefined || known.isOver) return known
    if (!this.#options.revocations.covers(known.identity, known.issuedAt)) return known
    const over = { ...known, isOver: true, at: this.#options.clock.now() }
    this.#owners.set(name, over)
    this.#keepSoon()
    return over
  }

  #set(name: string, { identity, since }: IdentityClaims, proved: readonly IdentityClaims[]): void {
    const at = this.#options.clock.now()
    this.#owners.set(name, { identity, since, issuedAt: newestOf(identity, proved), isOver: false, at })
    this.#keepSoon()
  }

  /** Many come together: writing all of them for each would take longer than proving them. */
  #keepSoon(): void {
    this.#cancelKeeping ??= this.#options.clock.after(OWNERS_KEPT_MS, () => this.#keep())
  }

  #keep(): void {
    this.#cancelKeeping = undefined
    try {
      this.#options.state.keepOwners(this.#owners)
    } catch (error) {
      this.#options.onError(error)
    }
  }
}

/** Of several identities that have proved themselves under one name the one to which it was issued first. */
export function earliestOf(proved: readonly IdentityClaims[]): IdentityClaims | undefined {
  return proved.reduce<IdentityClaims | undefined>(
    (first, claims) => (first === undefined || isEarlier(claims, first) ? claims : first),
    undefined,
  )
}

function isEarlier(
  a: Pick<NameOwner, 'identity' | 'since'>,
  b: Pick<NameOwner, 'identity' | 'since'>,
): boolean {
  return a.since < b.since || (a.since === b.since && a.identity < b.identity)
}

function newestOf(identity: string, proved: readonly IdentityClaims[]): number {
  return proved.reduce(
    (newest, claims) => (claims.identity === identity ? Math.max(newest, claims.issuedAt) : newest),
    0,
  )
}
