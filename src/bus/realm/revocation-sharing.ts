import { hex, samePublic } from '../../base/bytes.ts'
import {
  MAX_SHARED_REVOCATIONS,
  MAX_SHARING_DOUBLINGS,
  SHARE_REVOCATIONS_MS,
  SHARED_REVOCATION_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { randomDelay } from './random.ts'

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

/** What one rotation service does not name. */
interface Lacking {
  statements: readonly Statement[]
  /** What has been said since the round began, in hexadecimal. */
  readonly heard: Set<string>
  /** How often it was told. */
  rounds: number
  /** Ends the wait for the next round; `undefined` between rounds. */
  cancel: (() => void) | undefined
}

/**
 * Tells rotation services of revocations that this agent holds and that one of them does not name: it verifies them, and
 * may take them in. All agents of a realm may hold what it lacks, so each waits for a random time, says only what nobody has said
 * meanwhile, a few in each round and one in each second, and waits for twice as long after each round. Each service has rounds of its
 * own: one that never takes anything in does not keep the others from being told. SPEC, "Acting on a revocation".
 */
export class RevocationSharing {
  readonly #options: RevocationSharingOptions
  readonly #lacking = new Map<string, Lacking>()
  /** What is said next, in this order, by its bytes in hexadecimal. */
  readonly #turn = new Map<string, Statement>()
  #isSaying = false

  constructor(options: RevocationSharingOptions) {
    this.#options = options
  }

  /** What the tick of a rotation service that has just counted does not name. */
  lacks(rotator: string, statements: readonly Statement[]): void {
    const known = this.#lacking.get(rotator)
    if (statements.length === 0) {
      known?.cancel?.()
      this.#lacking.delete(rotator)
      return
    }
    const lacking = known ?? { statements, heard: new Set(), rounds: 0, cancel: undefined }
    this.#lacking.set(rotator, lacking)
    lacking.statements = statements
    if (lacking.cancel !== undefined) return
    const { engine, timers } = this.#options
    const longestMs = SHARE_REVOCATIONS_MS * 2 ** Math.min(lacking.rounds, MAX_SHARING_DOUBLINGS)
    lacking.cancel = timers.after(randomDelay(engine, longestMs), () => this.#beginRound(lacking))
  }

  /** Another plan: services that it does not name need not be told. */
  adopt({ rotators }: { readonly rotators: readonly string[] }): void {
    for (const rotator of this.#lacking.keys()) if (!rotators.includes(rotator)) this.lacks(rotator, [])
  }

  /** Somebody has published this revocation. */
  heard(bytes: Uint8Array): void {
    const isIt = (statement: Statement): boolean => samePublic(statement.bytes, bytes)
    for (const [key, statement] of this.#turn) if (isIt(statement)) this.#turn.delete(key)
    for (const { statements, heard, cancel } of this.#lacking.values()) {
      // Nothing else is remembered: anybody can say anything.
      if (cancel !== undefined && statements.some(isIt)) heard.add(hex(bytes))
    }
  }

  #beginRound(lacking: Lacking): void {
    const { statements, heard } = lacking
    lacking.cancel = undefined
    const unsaid = statements.filter(({ bytes }) => !heard.has(hex(bytes)))
    heard.clear()
    // Others come to their turn where the first ones are not taken in.
    const start = (lacking.rounds++ * MAX_SHARED_REVOCATIONS) % Math.max(1, unsaid.length)
    const turn = [...unsaid.slice(start), ...unsaid.slice(0, start)].slice(0, MAX_SHARED_REVOCATIONS)
    for (const statement of turn) this.#turn.set(hex(statement.bytes), statement)
    if (!this.#isSaying) this.#sayNext()
  }

  #sayNext(): void {
    const [next] = [...this.#turn.values()].filter((statement) => this.#isLacking(statement))
    this.#isSaying = next !== undefined
    if (next === undefined) {
      this.#turn.clear()
      return
    }
    this.#options.timers.after(SHARED_REVOCATION_MS, () => this.#sayNext())
    this.#options.publish(next.bytes)
    this.heard(next.bytes)
  }

  /** It may have come there meanwhile by way of another service. */
  #isLacking({ bytes }: Statement): boolean {
    return [...this.#lacking.values()].some(({ statements }) =>
      statements.some((statement) => samePublic(statement.bytes, bytes)),
    )
  }
}
