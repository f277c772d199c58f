import type { Latest } from '../../base/clock.ts'
import { CLOCK_WINDOW_MS, MAX_ANNOUNCEMENTS_PER_INSTANCE } from '../../base/limits.ts'
import type { IdentityClaims } from '../../identity/token.ts'

/** A message of mode `message` that is about to be delivered. */
export interface Sent {
  readonly claims: Pick<IdentityClaims, 'identity' | 'maxInstances'>
  /** Of the announcement under which it was sealed, in hexadecimal: the name of its windows. */
  readonly announcement: string
  readonly sentAtMs: number
}

interface Owner {
  /** When the newest message was sent that has passed, by announcement: the one that was heard longest ago first. */
  readonly newest: Map<string, number>
  /** What this identity sent up to then under an announcement without windows may be known: those have given way. */
  line: number
}

/**
 * How long the windows of announcements live, and how many an identity has. They are of no use any more when every message
 * that they have seen is too old, whatever the directory holds. Whoever announces without end pushes out windows of its own,
 * and is then refused by time what they may have seen.
 */
export class SenderWindows {
  readonly #latest: Latest
  readonly #onForgotten: (announcements: readonly string[]) => void
  readonly #owners = new Map<string, Owner>()
  /** Every announcement that has windows. */
  readonly #held = new Set<string>()

  /** @param onForgotten called with announcements whose windows are of no use any more, or have given way */
  constructor(latest: Latest, onForgotten: (announcements: readonly string[]) => void) {
    this.#latest = latest
    this.#onForgotten = onForgotten
  }

  /** Whether the windows of this announcement are needed. */
  holds(announcement: string): boolean {
    return this.#held.has(announcement)
  }

  /** Whether windows that have given way may have seen it. */
  mayBeKnown({ claims, announcement, sentAtMs }: Sent): boolean {
    const owner = this.#owners.get(claims.identity)
    return owner !== undefined && !owner.newest.has(announcement) && sentAtMs <= owner.line
  }

  /** It passes, and is marked in the window of its subscription. */
  note({ claims, announcement, sentAtMs }: Sent): void {
    const owner = this.#owners.get(claims.identity) ?? { newest: new Map<string, number>(), line: 0 }
    this.#owners.set(claims.identity, owner)
    const newest = Math.max(sentAtMs, owner.newest.get(announcement) ?? 0)
    owner.newest.delete(announcement)
    owner.newest.set(announcement, newest)
    this.#held.add(announcement)
    if (owner.newest.size > MAX_ANNOUNCEMENTS_PER_INSTANCE * claims.maxInstances) this.#giveWay(owner)
  }

  /** Forgets what has only seen messages that the rule of time refuses. */
  prune(): void {
    const tooOld = this.#latest() - CLOCK_WINDOW_MS
    const forgotten: string[] = []
    for (const [identity, owner] of this.#owners) {
      for (const [announcement, sentAtMs] of owner.newest) {
        if (sentAtMs >= tooOld) continue
        owner.newest.delete(announcement)
        forgotten.push(announcement)
      }
      if (owner.newest.size === 0 && owner.line < tooOld) this.#owners.delete(identity)
    }
    this.#forget(forgotten)
  }

  #giveWay(owner: Owner): void {
    const [first] = owner.newest
    if (first === undefined) return
    const [announcement, sentAtMs] = first
    owner.line = Math.max(owner.line, sentAtMs)
    owner.newest.delete(announcement)
    this.#forget([announcement])
  }

  #forget(announcements: readonly string[]): void {
    if (announcements.length === 0) return
    for (const announcement of announcements) this.#held.delete(announcement)
    this.#onForgotten(announcements)
  }
}
