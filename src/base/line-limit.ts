/** Interval between log lines of one kind, in ms. */
const LINE_INTERVAL_MS = 10_000

interface Counted<Line> {
  loggedAt: number
  /** How many came since, and the latest of them. */
  unlogged: number
  latest: Line
}

/**
 * Keeps what comes as fast as a stranger sends it from filling a log: of one kind the first line is written at once, and
 * those that follow share one with their count every ten seconds. Time is passed in.
 */
export class LineLimit<Kind, Line> {
  readonly #kinds = new Map<Kind, Counted<Line>>()

  /** Counts a line. @returns how many it is written for, or `undefined` where it waits for the next one */
  admit(kind: Kind, latest: Line, nowMs: number): number | undefined {
    const known = this.#kinds.get(kind)
    if (known !== undefined && nowMs - known.loggedAt < LINE_INTERVAL_MS) {
      known.unlogged++
      known.latest = latest
      return undefined
    }
    const count = (known?.unlogged ?? 0) + 1
    this.#kinds.set(kind, { loggedAt: nowMs, unlogged: 0, latest })
    return count
  }

  /** Takes out what still waits: the latest line of each kind, and how many it stands for. */
  takeWaiting(): readonly { readonly kind: Kind; readonly latest: Line; readonly count: number }[] {
    const waiting = [...this.#kinds].filter(([, { unlogged }]) => unlogged > 0)
    this.#kinds.clear()
    return waiting.map(([kind, { latest, unlogged }]) => ({ kind, latest, count: unlogged }))
  }
}
