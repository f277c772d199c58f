import { endOfString, readString, skipSpace } from './text.ts'

/** A number as it is written: readers make different things of `1.0`, and of more digits than they keep. */
export class ExactNumber {
  readonly digits: string

  constructor(digits: string) {
    this.digits = digits
  }
}

/** A value of JSON that has lost nothing but its layout. */
export type ExactJson =
  | string
  | boolean
  | null
  | ExactNumber
  | readonly ExactJson[]
  | ReadonlyMap<string, ExactJson>

/** Reads text that is known to be JSON, without repeated keys, and not nested too deeply to be read in recursion. */
export function readExactJson(text: string): ExactJson {
  return new Reader(text).read()
}

/**
 * One text for each value: keys sorted by their UTF-16 units, no space, strings escaped where they must be, and numbers
 * as they were written.
 *
 * @example
 * ```ts
 * canonicalJson(readExactJson('{"b": [1.0], "a": "\\u0041"}')) // {"a":"A","b":[1.0]}
 * ```
 */
export function canonicalJson(value: ExactJson): string {
  if (value instanceof Map) {
    const members = [...value.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
  }
  if (value instanceof ExactNumber) return value.digits
  return Array.isArray(value) ? `[${value.map(canonicalJson).join(',')}]` : JSON.stringify(value)
}

/** Commas and colons need no look: the text is known to be JSON. */
class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): ExactJson {
    switch (this.#next()) {
      case '{':
        return this.#object()
      case '[':
        return this.#list()
      case '"':
        return this.#string()
      default:
        return this.#word()
    }
  }

  #object(): ReadonlyMap<string, ExactJson> {
    const members = new Map<string, ExactJson>()
    this.#at++
    while (this.#next() !== '}') {
      const key = this.#string()
      members.set(key, this.read())
    }
    this.#at++
    return members
  }

  #list(): readonly ExactJson[] {
    const items: ExactJson[] = []
    this.#at++
    while (this.#next() !== ']') items.push(this.read())
    this.#at++
    return items
  }

  #string(): string {
    const start = this.#at
    this.#at = endOfString(this.#text, start)
    return readString(this.#text, { start, end: this.#at })
  }

  #word(): ExactJson {
    const start = this.#at
    while (/[\w.+-]/.test(this.#text[this.#at] ?? '')) this.#at++
    const word = this.#text.slice(start, this.#at)
    if (word === 'true' || word === 'false') return word === 'true'
    return word === 'null' ? null : new ExactNumber(word)
  }

  /** The character that the next token begins with. */
  #next(): string | undefined {
    this.#at = skipSpace(this.#text, this.#at)
    while (this.#text[this.#at] === ',' || this.#text[this.#at] === ':')
      this.#at = skipSpace(this.#text, this.#at + 1)
    return this.#text[this.#at]
  }
}
