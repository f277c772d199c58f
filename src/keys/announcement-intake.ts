// Over 300 lines: the door, the turns of what waits and the verdict are one flow, and each bound counts on the others.
import { hex } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import type { HouseClock } from '../base/house-clock.ts'
import { DIRECTORY_JOIN_SHARE, DIRECTORY_SHARE, MAX_ANNOUNCEMENTS_PER_INSTANCE } from '../base/limits.ts'
import type { Timers } from '../base/timers.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { LeftOutReason } from '../envelope/keys.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import { type AnnouncementStore, isRetirement } from './announcement-store.ts'
import {
  judgeAnnouncement,
  type ParsedAnnouncement,
  parseAnnouncement,
  type VerifiedAnnouncement,
} from './announcements.ts'
import { DirectoryBudget } from './directory-budget.ts'
import type { Epoch, Epochs } from './epochs.ts'
import { KeyMemory } from './key-memory.ts'
import type { RevocationSet } from './revocations.ts'
import { isAnnouncedOn } from './subjects.ts'
import {
  type LineName,
  type UnverifiedAnnouncement,
  UnverifiedAnnouncements,
} from './unverified-announcements.ts'

/** How long verifying goes on before other work of the process has its turn, in ms. */
const SLICE_MS = 10
/** How long it waits at least for budget, in ms: waking up for each announcement costs more than it does. */
const MIN_PAUSE_MS = 20
/** Announcements of revoked identities that are remembered, so that nobody asks for them again. */
const MAX_REVOKED_REMEMBERED = 1024

/** How an announcement came. */
export interface Arrived {
  /** The subject on which it was announced: it must be that of its instance. Default: it came in a page, or is one's own. */
  readonly subject?: string
  /** Whether it answers an own query, or is one's own. Default: whether it did not come on a subject. */
  readonly isAsked?: boolean
}

/** What the intake works with. */
export interface AnnouncementIntakeOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly epochs: Pick<Epochs, 'byHash'>
  readonly revocations: RevocationSet
  /** By it a token has expired where it is ahead of the clock. */
  readonly latest?: Latest
  /** What budgets go by: setting the wall clock must not fill them. */
  readonly clock: Pick<HouseClock, 'now' | 'monotonic' | 'work'>
  /** To verify what waits for budget. Without them that is done when it is asked for. */
  readonly timers?: Pick<Timers, 'after'>
  readonly store: AnnouncementStore
  /** Called when an announcement has been verified and is held. */
  readonly onVerified: (verified: VerifiedAnnouncement, bytes: Uint8Array) => void
  /** Called when an announcement is not held although its identity has signed it. */
  readonly onRefused: (refused: {
    readonly name: string
    /** In hexadecimal. */
    readonly instance: string
    readonly why: LeftOutReason
  }) => void
  /**
   * Called when what came was not signed as it says: the genuine one has the same hash, and was taken for the one that waited.
   */
  readonly onSpoilt: (hash: Uint8Array) => void
  /** Called when what waited has been verified, after some of it: whoever waits for any may look again. */
  readonly onCaughtUp: () => void
}

/** By what an announcement is judged. */
interface JudgedAt {
  readonly epoch: Epoch
  readonly nowMs: number
}

/** When to stop verifying, where there is budget for more. */
interface Until {
  readonly isDone?: () => boolean
  readonly maxMs?: number
  /** Verify nothing but what is in this line. */
  readonly only?: LineName
}

/**
 * Takes announcements in and verifies them, in a bounded time and with bounded memory, whatever comes. Tests that cost
 * next to nothing come first. What passes them is verified at once where there is budget for it; else it waits, and has its
 * turn by its name. SPEC, "The directory".
 */
export class AnnouncementIntake {
  readonly #options: AnnouncementIntakeOptions
  readonly #waiting = new UnverifiedAnnouncements()
  /** By hashes in hexadecimal, the oldest first. */
  readonly #revoked = new Map<string, VerifiedClaims>()
  readonly #memory = new KeyMemory()
  #budget = new DirectoryBudget(DIRECTORY_JOIN_SHARE)
  #isWorking = false
  #isScheduled = false
  #hasNews = false

  constructor(options: AnnouncementIntakeOptions) {
    this.#options = options
  }

  /** How many announcements wait that came in answer to own queries. */
  get asked(): number {
    return this.#waiting.asked
  }

  /** How many announcements wait. */
  get size(): number {
    return this.#waiting.size
  }

  /** Whether the announcement with this hash (hexadecimal) waits. */
  has(hash: string): boolean {
    return this.#waiting.has(hash)
  }

  /** Of which names any wait. */
  names(): Iterable<string> {
    return this.#waiting.names()
  }

  /** Whether the announcement with this hash (hexadecimal) came, and is not held because its identity is revoked. */
  isRevoked(hash: string): boolean {
    const claims = this.#revoked.get(hash)
    return claims !== undefined && this.#options.revocations.isRevoked(claims)
  }

  /** This agent has joined: from now on verifying takes the smaller share of a core. */
  joined(): void {
    this.#budget = new DirectoryBudget(DIRECTORY_SHARE)
  }

  /** Takes in an announcement. @returns it, where it is new, and is held or waits */
  add(bytes: Uint8Array, nowMs: number, arrived: Arrived = {}): ParsedAnnouncement | undefined {
    const { subject, isAsked = subject === undefined } = arrived
    const parsed = this.#parse(bytes)
    if (parsed === undefined) return undefined
    const { announcement } = parsed
    // Who may publish there, the broker knows: whoever may not in this name has it spend nothing.
    if (subject !== undefined && !isAnnouncedOn(subject, announcement)) return undefined
    const { epochs, store } = this.#options
    const epoch = epochs.byHash(announcement.epochHash)
    const hash = hex(parsed.hash)
    if (epoch === undefined || store.get(hash) !== undefined) return undefined
    if (!this.#isOfUse(parsed, epoch, isAsked)) return undefined
    const token = this.#peek(parsed, { epoch, nowMs })
    if (!token.isWorthy) return undefined
    const line: LineName = isAsked ? 'awaited' : 'heard'
    const isNext = isAsked ? !this.#waiting.lines.awaited : this.#waiting.size === 0
    const isNew = this.#waiting.add({
      hash,
      name: announcement.agent,
      instance: hex(announcement.instance),
      isRetirement: announcement.keys.length === 0,
      epoch,
      bytes: parsed.bytes,
      claims: token.claims,
      isAsked,
    })
    if (!isNew) return undefined
    if (isNext) this.#work(nowMs, { only: line })
    this.#schedule()
    return this.has(hash) || store.get(hash) !== undefined ? parsed : undefined
  }

  /** A message or a session waits for this one (its hash in hexadecimal): it is verified, where there is budget. */
  awaitOne(hash: string, nowMs: number): void {
    if (!this.has(hash)) return
    this.#waiting.awaitOne(hash)
    this.#workFor(nowMs, { isDone: () => !this.has(hash), only: 'awaited' })
  }

  /** Somebody needs the keys of these agents: all that waits of them is verified, where there is budget. */
  awaitAll(isWanted: (claims: IdentityClaims) => boolean, nowMs: number): void {
    if (this.#waiting.size === 0) return
    this.#waiting.awaitAll(isWanted)
    this.#workFor(nowMs, this.#options.timers === undefined ? {} : { only: 'awaited' })
  }

  /** Forgets what is of other epochs than these. */
  prune(held: ReadonlySet<Epoch>): void {
    this.#waiting.prune(held)
  }

  #parse(bytes: Uint8Array): ParsedAnnouncement | undefined {
    try {
      return parseAnnouncement(this.#options.engine, bytes)
    } catch {
      return undefined
    }
  }

  /**
   * A retirement is of use where its instance is held: nobody has others keep count of instances that never were. What a
   * rotation service hands on it has held.
   */
  #isOfUse({ announcement }: ParsedAnnouncement, epoch: Epoch, isAsked: boolean): boolean {
    if (announcement.keys.length > 0) return true
    const { agent, identity } = announcement
    const instance = hex(announcement.instance)
    const known = this.#options.store.instance(agent, identity, instance)
    if (known === undefined) return isAsked || this.#waiting.hasKeysOf(agent, instance)
    const same = known.entries.filter((entry) => isRetirement(entry) && entry.epoch === epoch)
    return same.length < MAX_ANNOUNCEMENTS_PER_INSTANCE
  }

  /** What can be said of a token without verifying a signature. */
  #peek(
    parsed: ParsedAnnouncement,
    at: JudgedAt,
  ): { readonly isWorthy: boolean; readonly claims: VerifiedClaims | undefined } {
    const { trust } = this.#options
    const { token } = parsed.announcement
    if (trust.knows(token)) {
      const claims = this.#claimsOf(parsed, at)
      return { isWorthy: claims !== undefined, claims }
    }
    try {
      return { isWorthy: trust.claimsTrust(token), claims: undefined }
    } catch {
      return { isWorthy: false, claims: undefined }
    }
  }

  /** The claims of its token, where that is valid, its own and not revoked. */
  #claimsOf(
    { announcement, hash }: ParsedAnnouncement,
    { epoch, nowMs }: JudgedAt,
  ): VerifiedClaims | undefined {
    const { trust, revocations, store, latest = unconfirmed } = this.#options
    try {
      const { agent, identity, token } = announcement
      const claims = trust.verify(token, nowMs, Math.max(nowMs, latest()))
      if (claims.name !== agent || claims.identity !== identity) return undefined
      if (!revocations.isRevoked(claims)) return claims
      store.noteRefused(agent, 'revoked', epoch)
      this.#rememberRevoked(hex(hash), claims)
      return undefined
    } catch {
      return undefined
    }
  }

  #rememberRevoked(hash: string, claims: VerifiedClaims): void {
    this.#revoked.delete(hash)
    this.#revoked.set(hash, claims)
    const [oldest] = this.#revoked.keys()
    if (this.#revoked.size > MAX_REVOKED_REMEMBERED && oldest !== undefined) this.#revoked.delete(oldest)
  }

  /** Verifies for somebody who asks and looks at the outcome; all others are told of it later. */
  #workFor(nowMs: number, until: Until): void {
    if (this.#work(nowMs, until)) this.#hasNews = true
    this.#schedule()
  }

  /** Verifies what has its turn while there is budget for it. @returns whether it has verified anything */
  #work(nowMs: number, { isDone, maxMs = Number.POSITIVE_INFINITY, only }: Until = {}): boolean {
    // Whoever is told of an announcement may ask for others.
    if (this.#isWorking) return false
    const { clock } = this.#options
    this.#isWorking = true
    try {
      let spentMs = 0
      let count = 0
      while (spentMs < maxMs && isDone?.() !== true) {
        const turn = this.#budget.next(this.#waiting.lines, clock.monotonic())
        if (turn === undefined || (only !== undefined && turn.line !== only)) break
        const next = this.#waiting.next(turn.line)
        if (next === undefined) break
        this.#waiting.delete(next)
        const startedAt = clock.work()
        try {
          this.#verify(next, nowMs)
        } finally {
          const workMs = clock.work() - startedAt
          turn.budget.spend(workMs)
          this.#waiting.spend(turn.line, next.name, workMs)
          spentMs += workMs
        }
        count++
      }
      return count > 0
    } finally {
      this.#isWorking = false
    }
  }

  #verify({ bytes, epoch, hash, instance, isAsked, name }: UnverifiedAnnouncement, nowMs: number): void {
    const { engine, trust, revocations, latest = unconfirmed, store, onVerified, onRefused } = this.#options
    const parsed = this.#parse(bytes)
    if (parsed === undefined || store.get(hash) !== undefined) return
    if (!this.#isOfUse(parsed, epoch, isAsked)) return
    if (this.#claimsOf(parsed, { epoch, nowMs }) === undefined) return
    const around = { engine, trust, revocations, latest }
    const judged = judgeAnnouncement(around, parsed, { epoch, nowMs, memory: this.#memory })
    if (judged === 'unproved') return this.#options.onSpoilt(parsed.hash)
    const why = typeof judged === 'string' ? judged : store.hold({ verified: judged, epoch, bytes })
    if (why !== undefined) {
      store.noteRefused(name, why, epoch)
      onRefused({ name, instance, why })
    } else if (typeof judged !== 'string') onVerified(judged, bytes)
  }

  /** Goes on with what waits, in slices. */
  #schedule(): void {
    const { timers, clock } = this.#options
    if (timers === undefined || this.#isScheduled || (this.#waiting.size === 0 && !this.#hasNews)) return
    this.#isScheduled = true
    timers.after(this.#pauseMs(), () => {
      this.#isScheduled = false
      try {
        if (this.#work(clock.now(), { maxMs: SLICE_MS })) this.#hasNews = true
      } finally {
        this.#schedule()
      }
      if (!this.#hasNews) return
      this.#hasNews = false
      this.#options.onCaughtUp()
    })
  }

  #pauseMs(): number {
    const nowMs = this.#options.clock.monotonic()
    const { lines } = this.#waiting
    if (this.#hasNews || this.#budget.next(lines, nowMs) !== undefined) return 0
    return Math.max(MIN_PAUSE_MS, this.#budget.readyIn(lines, nowMs))
  }
}
