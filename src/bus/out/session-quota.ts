import { CLOCK_WINDOW_MS, MAX_SESSIONS_PER_SENDER, SESSION_TOMBSTONE_MS } from '../../base/limits.ts'

interface Opened {
  /** When the last of its recipients has forgotten it. */
  readonly until: number
  readonly recipients: readonly string[]
}

/**
 * How many sessions of this instance each recipient still remembers. A recipient refuses more than 256, and then loses
 * what is said in them: the sender must not come so far. SPEC, "Sessions".
 */
export class SessionQuota {
  readonly #perRecipient = new Map<string, number>()
  /** In the order of opening, which is about that of their ends. */
  readonly #opened = new Set<Opened>()

  /** Whether each of these recipients takes one more session. */
  hasRoom(recipients: readonly string[], nowMs: number): boolean {
    this.#prune(nowMs)
    return recipients.every((kid) => (this.#perRecipient.get(kid) ?? 0) < MAX_SESSIONS_PER_SENDER)
  }

  /** A session was opened to these recipients. */
  add(recipients: readonly string[], endsAtMs: number): void {
    const until = endsAtMs + SESSION_TOMBSTONE_MS + CLOCK_WINDOW_MS
    this.#opened.add({ until, recipients })
    for (const kid of recipients) this.#perRecipient.set(kid, (this.#perRecipient.get(kid) ?? 0) + 1)
  }

  #prune(nowMs: number): void {
    for (const opened of this.#opened) {
      if (opened.until > nowMs) return
      this.#opened.delete(opened)
      for (const kid of opened.recipients) this.#forget(kid)
    }
  }

  #forget(kid: string): void {
    const left = (this.#perRecipient.get(kid) ?? 1) - 1
    if (left > 0) this.#perRecipient.set(kid, left)
    else this.#perRecipient.delete(kid)
  }
}
