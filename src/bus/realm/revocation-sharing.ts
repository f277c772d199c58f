import { hex, samePublic } from '../../base/bytes.ts'
import { MAX_SHARED_REVOCATIONS, MAX_SHARING_DOUBLINGS, SHARE_REVOCATIONS_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'

/** A revocation as it travels. */
interface Statement {
  readonly bytes: Uint8Array
}

/** What sharing works with. */
export interface RevocationSharingOptions {
  readonly engine: Pick<CryptoEngine, 'randomBytes'>
  readonly timers: Pick<Timers, 'after'>
  readonly publish: (bytes: Uint8Array) => void
}

const BYTE = 256

/**
 * Tells the rotation service of revocations that this agent holds and the service does not name: it verifies them, and
 * may take them in. All agents of a realm may lack nothing that it lacks, so each waits for a random time, says only what
 * nobody has said meanwhile, a few at once, and waits for twice as long after each time. SPEC, "Acting on a revocation".
 */
export class RevocationSharing {
  readonly #options: RevocationSharingOptions
  #lacking: readonly Statement[] = []
  /** What has been said since the round began. */
  readonly #heard = new Set<string>()
  #rounds = 0
  #cancel: (() => void) | undefined

  constructor(options: RevocationSharingOptions) {
    this.#options = options
  }

  /** What the tick that has just counted does not name. */
  lacks(statements: readonly Statement[]): void {
    this.#lacking = statements
    if (statements.length === 0) {
      this.#cancel?.()
      this.#cancel = undefined
      this.#heard.clear()
      this.#rounds = 0
      return
    }
    if (this.#cancel !== undefined) return
    const [high = 0, low = 0] = this.#options.engine.randomBytes(2)
    const longest = SHARE_REVOCATIONS_MS * 2 ** Math.min(this.#rounds, MAX_SHARING_DOUBLINGS)
    const delayMs = Math.floor((longest * (high * BYTE + low)) / (BYTE * BYTE))
    this.#cancel = this.#options.timers.after(delayMs, () => this.#say())
  }

  /** Somebody has published this revocation. */
  heard(bytes: Uint8Array): void {
    if (this.#cancel === undefined) return
    // Nothing else is remembered: anybody can say anything.
    if (this.#lacking.some((lacking) => samePublic(lacking.bytes, bytes))) this.#heard.add(hex(bytes))
  }

  #say(): void {
    this.#cancel = undefined
    const unsaid = this.#lacking.filter(({ bytes }) => !this.#heard.has(hex(bytes)))
    this.#heard.clear()
    // Others come to their turn where the first ones are not taken in.
    const start = (this.#rounds++ * MAX_SHARED_REVOCATIONS) % Math.max(1, unsaid.length)
    const turn = [...unsaid.slice(start), ...unsaid.slice(0, start)].slice(0, MAX_SHARED_REVOCATIONS)
    for (const { bytes } of turn) this.#options.publish(bytes)
  }
}
