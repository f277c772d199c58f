const MAX_REMEMBERED = 4096

/** Allows a report of each kind once in a while, whoever causes them as often as it likes. Time is passed in. */
export class ReportLimit {
  readonly #everyMs: number
  /** When something of a kind was reported last. */
  readonly #reported = new Map<string, number>()

  /** @param everyMs interval between reports of one kind, in ms */
  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  /** Whether one of this kind is allowed now; it then counts. Where there are too many kinds, all are forgotten. */
  take(kind: string, nowMs: number): boolean {
    const reportedAt = this.#reported.get(kind)
    if (reportedAt !== undefined && nowMs - reportedAt < this.#everyMs) return false
    if (this.#reported.size >= MAX_REMEMBERED) this.#reported.clear()
    this.#reported.set(kind, nowMs)
    return true
  }
}
