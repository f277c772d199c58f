import { hex } from '../../base/bytes.ts'
import { MAX_QUERIES_REMEMBERED } from '../../base/limits.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { NONCE_BYTES, type PageHead, type QueryKind } from '../../wire/statements.ts'

/**
 * Which pages were asked for and have not come. Anybody can publish in an inbox, and a page proves nothing about who sent
 * it: what bears no nonce of one's own is no answer, and each nonce is answered once.
 */
export class AskedPages {
  readonly #engine: CryptoEngine
  /** The kind, by the nonce in hexadecimal, oldest first. */
  readonly #asked = new Map<string, QueryKind>()

  constructor(engine: CryptoEngine) {
    this.#engine = engine
  }

  /** A nonce for a query of this kind. @returns it */
  expect(kind: QueryKind): Uint8Array {
    const nonce = this.#engine.randomBytes(NONCE_BYTES)
    this.#asked.set(hex(nonce), kind)
    const [oldest] = this.#asked.keys()
    if (this.#asked.size > MAX_QUERIES_REMEMBERED && oldest !== undefined) this.#asked.delete(oldest)
    return nonce
  }

  /** Expects no page of this kind any more: those that may still come belong to a fetch that was given up. */
  giveUp(kind: QueryKind): void {
    for (const [nonce, asked] of this.#asked) if (asked === kind) this.#asked.delete(nonce)
  }

  /** Whether a page was asked for. It is then answered. */
  takes({ nonce, kind }: PageHead): boolean {
    const name = hex(nonce)
    return this.#asked.get(name) === kind && this.#asked.delete(name)
  }
}
