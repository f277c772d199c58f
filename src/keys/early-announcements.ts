import { hex } from '../base/bytes.ts'
import { MAX_EARLY_ANNOUNCEMENTS } from '../base/limits.ts'
import type { ParsedAnnouncement } from './announcements.ts'

/**
 * Announcements for an epoch that is not known yet. Their signatures cannot be checked, so the places are shared by name:
 * where they are full, the name that has most of them loses its oldest one.
 */
export class EarlyAnnouncements {
  /** Wire bytes by the hash, oldest first, by name. */
  readonly #byName = new Map<string, Map<string, Uint8Array>>()
  #count = 0

  /** Keeps one. Its token was verified, and names the agent. */
  keep({ announcement, bytes, hash }: ParsedAnnouncement): void {
    const { agent } = announcement
    const ofName = this.#byName.get(agent) ?? new Map<string, Uint8Array>()
    this.#byName.set(agent, ofName)
    const before = ofName.size
    ofName.set(hex(hash), bytes)
    this.#count += ofName.size - before
    if (this.#count > MAX_EARLY_ANNOUNCEMENTS) this.#dropOne()
  }

  /** All of them, which are then not kept any more. */
  take(): readonly Uint8Array[] {
    const all = [...this.#byName.values()].flatMap((ofName) => [...ofName.values()])
    this.#byName.clear()
    this.#count = 0
    return all
  }

  #dropOne(): void {
    let most: Map<string, Uint8Array> | undefined
    for (const ofName of this.#byName.values()) if (ofName.size > (most?.size ?? 0)) most = ofName
    const [oldest] = most?.keys() ?? []
    if (oldest !== undefined && most?.delete(oldest) === true) this.#count--
  }
}
