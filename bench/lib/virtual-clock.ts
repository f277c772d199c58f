import type { Clock } from '../../dist/base/clock.js'

/** What a piece of work is measured to take, in ms: about as long as a signature takes to verify. */
const WORK_MS = 0.05
/** Cancelled timers are dropped when they are more than the others, and not before there are so many. */
const MIN_DROPPED = 1024

interface Timer {
  /** By the monotonic clock. */
  readonly atMs: number
  /** Timers due at the same time run in the order in which they were set. */
  readonly order: number
  /** `undefined` once it has run, or was cancelled. */
  task: (() => void) | undefined
}

/**
 * A clock that moves from one timer to the next, in no real time. Everything that hangs on it (agents, services, the line between
 * them) has the same time, and all timers stand in one queue, so that they run in the same order in every run.
 *
 * Wall, monotonic and boot clock go together. Work takes the same time whatever it is: budgets are spent alike on every machine.
 *
 * @example
 * ```ts
 * const clock = new VirtualClock(Date.UTC(2030, 0, 1))
 * clock.after(60_000, () => console.log('a minute later'))
 * await clock.run(3_600_000)
 * ```
 */
export class VirtualClock implements Clock {
  readonly #startMs: number
  readonly #queue = new TimerQueue()
  #elapsedMs = 0
  #workMs = 0

  /** @param startMs what the wall clock says first, in ms since 1970 */
  constructor(startMs: number) {
    this.#startMs = startMs
  }

  now(): number {
    return Math.floor(this.#startMs + this.#elapsedMs)
  }

  monotonic(): number {
    return this.#elapsedMs
  }

  boot(): number {
    return this.#elapsedMs
  }

  /** Goes on by the same amount with each look: a piece of work is begun by one and ended by another. */
  work(): number {
    this.#workMs += WORK_MS
    return this.#workMs
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#queue.add(this.#elapsedMs + Math.max(0, delayMs), task)
  }

  /**
   * Lets so much time pass: runs the timers that fall due, those too that are set meanwhile, and after each one whatever promises
   * it has settled. What a timer throws ends the run.
   */
  async run(forMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + forMs
    await settled()
    for (;;) {
      const timer = this.#queue.takeDue(untilMs)
      if (timer === undefined) break
      this.#elapsedMs = timer.atMs
      timer.task()
      await settled()
    }
    this.#elapsedMs = untilMs
  }
}

/** Resolves when all that promises have begun has ended, as far as it waits for no timer. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Timers in the order of their times: a binary heap. */
class TimerQueue {
  #heap: Timer[] = []
  #made = 0
  #cancelled = 0

  /** @returns how to cancel it */
  add(atMs: number, task: () => void): () => void {
    const timer: Timer = { atMs, order: this.#made++, task }
    this.#heap.push(timer)
    this.#rise(this.#heap.length - 1)
    return () => {
      if (timer.task === undefined) return
      timer.task = undefined
      this.#cancelled++
      this.#dropCancelled()
    }
  }

  /** Takes the first one, where it is due then or before. */
  takeDue(atMs: number): { readonly atMs: number; readonly task: () => void } | undefined {
    for (;;) {
      const [first] = this.#heap
      if (first === undefined || first.atMs > atMs) return undefined
      this.#dropFirst()
      const { task } = first
      if (task === undefined) {
        this.#cancelled--
        continue
      }
      first.task = undefined
      return { atMs: first.atMs, task }
    }
  }

  #dropFirst(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink(0)
  }

  #dropCancelled(): void {
    if (this.#cancelled < MIN_DROPPED || this.#cancelled * 2 < this.#heap.length) return
    this.#heap = this.#heap.filter(({ task }) => task !== undefined)
    this.#cancelled = 0
    for (let i = (this.#heap.length >> 1) - 1; i >= 0; i--) this.#sink(i)
  }

  #rise(from: number): void {
    const heap = this.#heap
    const timer = heap[from]
    if (timer === undefined) return
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above]
      if (parent === undefined || !isBefore(timer, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = timer
  }

  #sink(from: number): void {
    const heap = this.#heap
    const timer = heap[from]
    if (timer === undefined) return
    let at = from
    for (;;) {
      const left = heap[2 * at + 1]
      const right = heap[2 * at + 2]
      if (left === undefined) break
      const isRight = right !== undefined && isBefore(right, left)
      const child = isRight ? right : left
      if (!isBefore(child, timer)) break
      heap[at] = child
      at = 2 * at + (isRight ? 2 : 1)
    }
    heap[at] = timer
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
