import { allows, type SubjectRules } from '../../identity/permissions.ts'

const MAX_BYTES = 32 * 1024
const MAX_SUBJECT_LENGTH = 256
/** What an entry of a map takes besides its text. */
const ENTRY_BYTES = 64
const BYTES_PER_CHARACTER = 2

/**
 * What rules said of subjects, remembered in bounded memory. Answers are kept for the rules, and not for each session
 * or announcement: one token has one set of rules, however many of the others its owner makes.
 */
export class PermittedSubjects {
  static readonly #byRules = new WeakMap<SubjectRules, PermittedSubjects>()
  readonly #rules: SubjectRules
  readonly #known = new Map<string, boolean>()
  #bytes = 0

  private constructor(rules: SubjectRules) {
    this.#rules = rules
  }

  /** Those of these rules: everybody who asks with the same object shares them. */
  static of(rules: SubjectRules): PermittedSubjects {
    const known = PermittedSubjects.#byRules.get(rules)
    if (known !== undefined) return known
    const made = new PermittedSubjects(rules)
    PermittedSubjects.#byRules.set(rules, made)
    return made
  }

  /** About how much memory the answers take that are remembered. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether the rules allow this subject. */
  allows(subject: string): boolean {
    const known = this.#known.get(subject)
    if (known !== undefined) return known
    const isAllowed = allows(this.#rules, subject)
    this.#remember(subject, isAllowed)
    return isAllowed
  }

  #remember(subject: string, isAllowed: boolean): void {
    // Whoever writes to so long a subject pays for the look at its rules each time.
    if (subject.length > MAX_SUBJECT_LENGTH) return
    const bytes = ENTRY_BYTES + BYTES_PER_CHARACTER * subject.length
    if (this.#bytes + bytes > MAX_BYTES) {
      this.#known.clear()
      this.#bytes = 0
    }
    this.#known.set(subject, isAllowed)
    this.#bytes += bytes
  }
}
