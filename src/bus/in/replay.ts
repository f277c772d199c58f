import { REPLAY_WINDOW } from '../../base/limits.ts'

const WORD_BITS = 32
const WORDS = REPLAY_WINDOW / WORD_BITS
/** Words of a window at first: most sessions have a few frames. */
const FIRST_WORDS = 2
const WORD_BYTES = 4
/** What a window takes besides its words, with its place in the map of its subscription, in bytes. */
const WINDOW_OVERHEAD_BYTES = 400

/**
 * Which sequence numbers of one sender were seen: a bitmap of the newest 4096, as in RFC 6479. What lies before them
 * counts as seen. While the highest number is small its memory is too.
 */
export class ReplayWindow {
  /** A power of two. Below {@link WORDS} it has a bit for every number up to the highest. */
  #bits = new Uint32Array(FIRST_WORDS)
  #highest = 0

  /** How much memory it takes, in bytes. */
  get bytes(): number {
    return WINDOW_OVERHEAD_BYTES + WORD_BYTES * this.#bits.length
  }

  /** Whether `seq` was seen, or is too old to tell. Sequence numbers start at 1. */
  seen(seq: number): boolean {
    if (seq > this.#highest) return false
    if (this.#highest - seq >= REPLAY_WINDOW || seq < 1) return true
    return ((this.#bits[wordOf(seq)] ?? 0) & bitOf(seq)) !== 0
  }

  /** Marks `seq` as seen, and moves the window where it is the highest. */
  mark(seq: number): void {
    if (seq > this.#highest) this.#moveTo(seq)
    const word = wordOf(seq)
    this.#bits[word] = (this.#bits[word] ?? 0) | bitOf(seq)
  }

  /** Takes over everything that another window has seen. */
  merge(other: ReplayWindow): void {
    const source = other.#highest < this.#highest ? other.clone() : other
    if (source !== other) source.#moveTo(this.#highest)
    else this.#moveTo(other.#highest)
    this.#growTo(source.#bits.length)
    for (let word = 0; word < source.#bits.length; word++)
      this.#bits[word] = (this.#bits[word] ?? 0) | (source.#bits[word] ?? 0)
  }

  /** One that has seen the same, and then goes its own way. */
  clone(): ReplayWindow {
    const window = new ReplayWindow()
    window.#bits = this.#bits.slice()
    window.#highest = this.#highest
    return window
  }

  /** Makes this the highest number, which is not seen yet itself. What falls out of the window is forgotten. */
  #moveTo(highest: number): void {
    this.#growTo(wordsFor(highest))
    this.#clearBetween(this.#highest, highest)
    this.#highest = highest
  }

  #growTo(words: number): void {
    if (words <= this.#bits.length) return
    const grown = new Uint32Array(words)
    grown.set(this.#bits)
    this.#bits = grown
  }

  #clearBetween(from: number, to: number): void {
    if (to - from >= REPLAY_WINDOW) {
      this.#bits.fill(0)
      return
    }
    let seq = from + 1
    while (seq <= to) {
      const word = wordOf(seq)
      if (seq % WORD_BITS === 0 && to - seq >= WORD_BITS - 1) {
        this.#bits[word] = 0
        seq += WORD_BITS
      } else {
        this.#bits[word] = (this.#bits[word] ?? 0) & ~bitOf(seq)
        seq++
      }
    }
  }
}

/** How many words a window has whose highest number this is. */
function wordsFor(highest: number): number {
  let words = FIRST_WORDS
  while (words < WORDS && highest >= words * WORD_BITS) words *= 4
  return Math.min(words, WORDS)
}

function wordOf(seq: number): number {
  return Math.floor((seq % REPLAY_WINDOW) / WORD_BITS)
}

function bitOf(seq: number): number {
  return 1 << (seq % WORD_BITS)
}

/**
 * The windows of one subscription, one for each announcement that sealed to it (a sender instance in an epoch) and for
 * each session.
 */
export type SubscriptionWindows = Map<string, ReplayWindow>

/**
 * All windows of a connection. A window outlives its subscription: a later one with the same pattern and queue starts
 * with what any of them has seen, so that closing and subscribing again opens no door.
 */
export class ReplayWindows {
  readonly #open = new Map<string, Set<SubscriptionWindows>>()
  readonly #closed = new Map<string, SubscriptionWindows>()
  readonly #onCopied: (name: string, bytes: number) => void

  /**
   * @param onCopied called where the windows of an announcement or session take so many bytes more, or less, because a
   *   subscription began or ended
   */
  constructor(onCopied: (name: string, bytes: number) => void = () => {}) {
    this.#onCopied = onCopied
  }

  /** Windows for a new subscription. */
  open(pattern: string, queue: string | undefined): SubscriptionWindows {
    const key = keyOf(pattern, queue)
    // They live on in the new ones, until these are closed.
    const windows = this.#closed.get(key) ?? new Map<string, ReplayWindow>()
    this.#closed.delete(key)
    const siblings = this.#open.get(key) ?? new Set()
    for (const sibling of siblings) this.#mergeInto(windows, sibling, 'copy')
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
    this.#mergeInto(kept, windows, 'move')
    windows.clear()
    if (kept.size > 0) this.#closed.set(key, kept)
  }

  /** Forgets the windows of announcements and sessions that are not held any more: nothing of them opens. */
  prune(isHeld: (name: string) => boolean): void {
    for (const windows of this.#all()) {
      for (const name of windows.keys()) if (!isHeld(name)) windows.delete(name)
    }
    this.#forgetEmpty()
  }

  /** Forgets the windows of these sessions: nothing of them opens any more. */
  forget(sids: readonly string[]): void {
    for (const windows of this.#all()) for (const sid of sids) windows.delete(sid)
    this.#forgetEmpty()
  }

  /** Most of what is merged, the target has not: that costs no more than `copy` or `move`. */
  #mergeInto(target: SubscriptionWindows, source: SubscriptionWindows, how: 'copy' | 'move'): void {
    for (const [name, window] of source) {
      const known = target.get(name)
      const merged = known ?? (how === 'copy' ? window.clone() : window)
      const before = (known?.bytes ?? 0) + (how === 'move' ? window.bytes : 0)
      if (known === undefined) target.set(name, merged)
      else known.merge(window)
      if (merged.bytes !== before) this.#onCopied(name, merged.bytes - before)
    }
  }

  #all(): readonly SubscriptionWindows[] {
    return [...this.#closed.values(), ...[...this.#open.values()].flatMap((siblings) => [...siblings])]
  }

  #forgetEmpty(): void {
    for (const [key, windows] of this.#closed) if (windows.size === 0) this.#closed.delete(key)
  }
}

/** Whether a number of an announcement or session was seen in a subscription. A look makes no window. */
export function seenIn(windows: SubscriptionWindows, name: string, seq: number): boolean {
  return windows.get(name)?.seen(seq) ?? seq < 1
}

/** The window of an announcement or session in a subscription, to mark what was seen: only what is proved makes one. */
export function windowFor(windows: SubscriptionWindows, name: string): ReplayWindow {
  const known = windows.get(name)
  if (known !== undefined) return known
  const window = new ReplayWindow()
  windows.set(name, window)
  return window
}

function keyOf(pattern: string, queue: string | undefined): string {
  return `${pattern} ${queue ?? ''}`
}
