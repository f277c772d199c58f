import { REPLAY_WINDOW } from '../limits.ts'

const WORD_BITS = 32
const WORDS = REPLAY_WINDOW / WORD_BITS

/**
 * Which sequence numbers of one sender were seen: a bitmap of the newest 4096, as in RFC 6479. What lies before them
 * counts as seen.
 */
export class ReplayWindow {
  readonly #bits = new Uint32Array(WORDS)
  #highest = 0

  /** Whether `seq` was seen, or is too old to tell. Sequence numbers start at 1. */
  seen(seq: number): boolean {
    if (seq > this.#highest) return false
    if (this.#highest - seq >= REPLAY_WINDOW || seq < 1) return true
    return ((this.#bits[wordOf(seq)] ?? 0) & bitOf(seq)) !== 0
  }

  /** Marks `seq` as seen, and moves the window where it is the highest. */
  mark(seq: number): void {
    if (seq > this.#highest) {
      this.#clearBetween(this.#highest, seq)
      this.#highest = seq
    }
    const word = wordOf(seq)
    this.#bits[word] = (this.#bits[word] ?? 0) | bitOf(seq)
  }

  /** Takes over everything that another window has seen. */
  merge(other: ReplayWindow): void {
    const oldest = Math.max(1, other.#highest - REPLAY_WINDOW + 1)
    for (let seq = oldest; seq <= other.#highest; seq++) {
      if (other.seen(seq) && !this.seen(seq)) this.mark(seq)
    }
    if (other.#highest > this.#highest) this.mark(other.#highest)
  }

  #clearBetween(from: number, to: number): void {
    if (to - from >= REPLAY_WINDOW) {
      this.#bits.fill(0)
      return
    }
    for (let seq = from + 1; seq <= to; seq++) {
      const word = wordOf(seq)
      this.#bits[word] = (this.#bits[word] ?? 0) & ~bitOf(seq)
    }
  }
}

function wordOf(seq: number): number {
  return Math.floor((seq % REPLAY_WINDOW) / WORD_BITS)
}

function bitOf(seq: number): number {
  return 1 << (seq % WORD_BITS)
}

/** The windows of one subscription, one for each announcement that sealed to it: a sender instance in an epoch. */
export type SubscriptionWindows = Map<string, ReplayWindow>

/**
 * All windows of a connection. A window outlives its subscription: a later one with the same pattern and queue starts
 * with what any of them has seen, so that closing and subscribing again opens no door.
 */
export class ReplayWindows {
  readonly #open = new Map<string, Set<SubscriptionWindows>>()
  readonly #closed = new Map<string, SubscriptionWindows>()

  /** Windows for a new subscription. */
  open(pattern: string, queue: string | undefined): SubscriptionWindows {
    const key = keyOf(pattern, queue)
    const windows: SubscriptionWindows = new Map()
    const siblings = this.#open.get(key) ?? new Set()
    for (const former of [...siblings, this.#closed.get(key)]) {
      if (former !== undefined) mergeInto(windows, former)
    }
    siblings.add(windows)
    this.#open.set(key, siblings)
    return windows
  }

  /** The subscription has ended; its windows are kept for a later one. */
  close(pattern: string, queue: string | undefined, windows: SubscriptionWindows): void {
    const key = keyOf(pattern, queue)
    const siblings = this.#open.get(key)
    siblings?.delete(windows)
    if (siblings?.size === 0) this.#open.delete(key)
    const kept = this.#closed.get(key) ?? new Map<string, ReplayWindow>()
    mergeInto(kept, windows)
    if (kept.size > 0) this.#closed.set(key, kept)
  }

  /** Forgets the windows of announcements that are not held any more: nothing sealed under them opens. */
  prune(isHeld: (announcement: string) => boolean): void {
    const all = [...this.#closed.values(), ...[...this.#open.values()].flatMap((siblings) => [...siblings])]
    for (const windows of all) {
      for (const announcement of windows.keys()) if (!isHeld(announcement)) windows.delete(announcement)
    }
    for (const [key, windows] of this.#closed) if (windows.size === 0) this.#closed.delete(key)
  }
}

/** The window of one sender's announcement in a subscription. */
export function windowFor(windows: SubscriptionWindows, announcement: string): ReplayWindow {
  const known = windows.get(announcement)
  if (known !== undefined) return known
  const window = new ReplayWindow()
  windows.set(announcement, window)
  return window
}

function mergeInto(target: SubscriptionWindows, source: SubscriptionWindows): void {
  for (const [announcement, window] of source) windowFor(target, announcement).merge(window)
}

function keyOf(pattern: string, queue: string | undefined): string {
  return `${pattern} ${queue ?? ''}`
}
