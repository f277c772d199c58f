import { hex } from '../../base/bytes.ts'
import { MAX_HASHES_PER_QUERY, MAX_HASHES_WANTED } from '../../base/limits.ts'
import { QueryKind, writeHashes } from '../../wire/queries.ts'
import type { PageFetches } from './page-fetches.ts'

/** What came of a question: no whole answer, one without anything of what was asked for, or something of it each time. */
export type HashAnswer = 'silent' | 'lacking' | 'given'

/** Hashes that are asked of one rotation service. */
export interface HashQuestion {
  readonly rotator: string
  /** Any number. */
  readonly hashes: readonly Uint8Array[]
  /** Whether the rest of it is still to be asked for. Default: always. */
  readonly isWanted?: () => boolean
  /** Takes what comes of what was asked for, as views. */
  readonly onStatements: (statements: readonly Uint8Array[]) => void
  /** It is over. Whoever does not answer, or has nothing of what it has listed, is asked for no more of it. */
  readonly onEnd: (answer: HashAnswer) => void
}

/** What lookups are made with. */
export interface HashLookupsOptions {
  readonly fetches: Pick<PageFetches, 'begin' | 'isUnderWay'>
  /** Rotation services that have answered lately, in a random order. */
  readonly rotators: () => readonly string[]
  /** The hash of an announcement that has come; `undefined` where it is none. */
  readonly hashOf: (statement: Uint8Array) => Uint8Array | undefined
  /** Whether an announcement (hash in hexadecimal) is held. */
  readonly isHeld: (hash: string) => boolean
  /** Takes in an announcement that was looked up. */
  readonly onStatement: (statement: Uint8Array) => void
}

/** A sender whose announcement somebody waits for, and which services have not been asked for it. */
interface Wanted {
  readonly hash: Uint8Array
  readonly unasked: readonly string[]
}

/** A question under way. */
interface Asking extends HashQuestion {
  left: readonly Uint8Array[]
}

/**
 * Asks for announcements by their hashes: up to 64 at once, one query at a time at each rotation service. Those for which
 * messages wait go first, and each is asked of one service after the other, since one of them may not have it. A service may send
 * what it likes: only what was asked for is taken, and brings anything.
 */
export class HashLookups {
  readonly #options: HashLookupsOptions
  /** By hash, in hexadecimal. */
  readonly #wanted = new Map<string, Wanted>()
  readonly #questions = new Map<string, Asking[]>()

  constructor(options: HashLookupsOptions) {
    this.#options = options
  }

  /** Looks an announcement up for which somebody waits. @returns `false` where too many are looked up, or nobody can be asked */
  want(hash: Uint8Array): boolean {
    const key = hex(hash)
    const unasked = this.#options.rotators()
    if (this.#wanted.has(key)) return true
    if (unasked.length === 0 || this.#wanted.size >= MAX_HASHES_WANTED) return false
    this.#wanted.set(key, { hash, unasked })
    this.#goOn()
    return true
  }

  /** Asks one service for many. */
  ask(question: HashQuestion): void {
    const { rotator, hashes } = question
    if (hashes.length === 0) return question.onEnd('given')
    const line = this.#questions.get(rotator) ?? []
    this.#questions.set(rotator, line)
    line.push({ ...question, left: hashes })
    this.#goOn()
  }

  #goOn(): void {
    const rotators = new Set(this.#questions.keys())
    for (const { unasked } of this.#wanted.values()) for (const rotator of unasked) rotators.add(rotator)
    for (const rotator of rotators) {
      if (this.#options.fetches.isUnderWay({ rotator, kind: QueryKind.byHash })) continue
      if (!this.#askWanted(rotator)) this.#askQuestion(rotator)
    }
  }

  /** @returns whether there was anything to ask */
  #askWanted(rotator: string): boolean {
    const { isHeld, onStatement } = this.#options
    const asked: Wanted[] = []
    for (const [key, { hash, unasked }] of this.#wanted) {
      if (asked.length >= MAX_HASHES_PER_QUERY) break
      if (!unasked.includes(rotator)) continue
      this.#wanted.delete(key)
      if (!isHeld(key)) asked.push({ hash, unasked: unasked.filter((other) => other !== rotator) })
    }
    if (asked.length === 0) return false
    this.#fetch(
      rotator,
      asked.map(({ hash }) => hash),
      {
        take: (statements) => {
          for (const statement of statements) onStatement(statement)
        },
        end: () => {
          for (const one of asked) {
            const key = hex(one.hash)
            if (one.unasked.length > 0 && !isHeld(key)) this.#wanted.set(key, one)
          }
        },
      },
    )
    return true
  }

  #askQuestion(rotator: string): void {
    const line = this.#questions.get(rotator)
    const question = line?.[0]
    if (line === undefined || question === undefined) return
    const asked = question.left.slice(0, MAX_HASHES_PER_QUERY)
    question.left = question.left.slice(MAX_HASHES_PER_QUERY)
    let count = 0
    this.#fetch(rotator, asked, {
      take: (statements) => {
        count += statements.length
        question.onStatements(statements)
      },
      end: (isWhole) => {
        const answer = !isWhole ? 'silent' : count === 0 ? 'lacking' : 'given'
        const isWanted = question.isWanted?.() ?? true
        if (answer === 'given' && question.left.length > 0 && isWanted) return
        line.shift()
        if (line.length === 0) this.#questions.delete(rotator)
        question.onEnd(answer)
      },
    })
  }

  #fetch(
    rotator: string,
    hashes: readonly Uint8Array[],
    on: {
      readonly take: (statements: readonly Uint8Array[]) => void
      readonly end: (isWhole: boolean) => void
    },
  ): void {
    const { fetches, hashOf } = this.#options
    const missing = new Set(hashes.map(hex))
    fetches.begin({
      rotator,
      kind: QueryKind.byHash,
      cursor: writeHashes(hashes),
      onPage: (statements) => {
        const asked = statements.filter((statement) => {
          const hash = hashOf(statement)
          return hash !== undefined && missing.delete(hex(hash))
        })
        on.take(asked)
        // A page of other things is no better than silence.
        return asked.length > 0 || statements.length === 0
      },
      onEnd: (isWhole) => {
        on.end(isWhole)
        this.#goOn()
      },
    })
  }
}
