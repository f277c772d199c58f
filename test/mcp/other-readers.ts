/** An object as it is written: with every key, in order. */
export interface WrittenObject {
  readonly members: readonly (readonly [key: string, value: Written])[]
}
export type Written = WrittenObject | readonly Written[] | string | number | boolean | null

/** Finds the value of a key in an object, as one kind of reader does. */
export type Lookup = (object: WrittenObject, key: string) => Written | undefined

export function isWrittenObject(value: unknown): value is WrittenObject {
  return typeof value === 'object' && value !== null && 'members' in value
}

/** Reads JSON without losing a key; `undefined` where it is none. */
export function readWritten(text: string): Written | undefined {
  try {
    // Only for what is JSON. The rest of this reads it.
    JSON.parse(text)
  } catch {
    return undefined
  }
  return new Reader(text).value()
}

class Reader {
  readonly #tokens: readonly string[]
  #next = 0

  constructor(text: string) {
    this.#tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g) ?? []
  }

  value(): Written {
    const token = this.#take()
    if (token === '{') return this.#object()
    if (token === '[') return this.#list()
    return JSON.parse(token)
  }

  #object(): WrittenObject {
    const members: (readonly [string, Written])[] = []
    while (this.#tokens[this.#next] !== '}') {
      const key = String(JSON.parse(this.#take()))
      this.#take()
      members.push([key, this.value()])
      if (this.#tokens[this.#next] === ',') this.#next++
    }
    this.#next++
    return { members }
  }

  #list(): readonly Written[] {
    const items: Written[] = []
    while (this.#tokens[this.#next] !== ']') {
      items.push(this.value())
      if (this.#tokens[this.#next] === ',') this.#next++
    }
    this.#next++
    return items
  }

  #take(): string {
    return this.#tokens[this.#next++] ?? ''
  }
}

function finder(sameKey: (key: string) => string, wins: 'first' | 'last'): Lookup {
  return (object, key) => {
    const found = object.members.filter(([written]) => sameKey(written) === sameKey(key))
    return found.at(wins === 'first' ? 0 : -1)?.[1]
  }
}

function folded(key: string): string {
  return key.replaceAll('\u017f', 's').replaceAll('\u212a', 'k').toLowerCase()
}

function untilNul(key: string): string {
  return key.split('\0')[0] ?? ''
}

/** Kinds of readers that servers are written with. */
export const LOOKUPS: Readonly<Record<string, Lookup>> = {
  'the last key wins, as with JSON.parse': finder((key) => key, 'last'),
  'the first key wins': finder((key) => key, 'first'),
  'keys fold, and the last wins, as in Go': finder(folded, 'last'),
  'keys fold, and the first wins': finder(folded, 'first'),
  'keys fold without _ and -': finder((key) => folded(key).replaceAll(/[_-]/g, ''), 'last'),
  'keys end at NUL': finder(untilNul, 'last'),
  'keys are trimmed': finder((key) => key.trim(), 'last'),
  '__proto__ is followed': (object, key) => {
    const own = object.members.findLast(([written]) => written === key)
    const proto = object.members.findLast(([written]) => written === '__proto__')?.[1]
    if (own !== undefined) return own[1]
    return isWrittenObject(proto) ? proto.members.findLast(([written]) => written === key)?.[1] : undefined
  },
}
