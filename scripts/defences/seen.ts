import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LIST, type Row, SEEN } from './list.ts'
import { filesOfTest } from './test-files.ts'

/** Folder of tools that all tests share, which no digest covers. */
const SHARED = 'test/support/'

/** Digests of a row's source and of its test. */
type Digests = { readonly source: string; readonly test: string }

/**
 * With which sources and tests each row was last seen to fail. A row's test is the test file and what it imports below
 * `test/`, but for `test/support`.
 */
export class Seen {
  readonly #root: string
  readonly #seen: Map<string, Digests>
  /** Digests of the files as they are when the command begins, which is when they are copied. */
  readonly #now: ReadonlyMap<Row, Digests | undefined>

  private constructor(root: string, seen: Map<string, Digests>, now: ReadonlyMap<Row, Digests | undefined>) {
    this.#root = root
    this.#seen = seen
    this.#now = now
  }

  /**
   * Reads what was written, and the files of the rows; nothing was seen where nothing was written.
   *
   * @param root the repository
   * @throws Error when the file is not what {@link write} writes
   */
  static read(root: string, rows: readonly Row[]): Seen {
    const path = join(root, LIST, SEEN)
    const json: unknown = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
    const digests = Object.entries(Object(json)).map(([key, value]) => {
      const [source, test, ...more] = typeof value === 'string' ? value.split(' ') : []
      if (source === undefined || test === undefined || more.length > 0)
        throw new Error(`${LIST}/${SEEN}: ${key} is not what the command writes; remove the line`)
      return [key, { source, test }] as const
    })
    return new Seen(root, new Map(digests), new Map(rows.map((row) => [row, digestsOf(root, row)])))
  }

  /** Whether neither the row nor its source nor its test has changed since it was seen. */
  isCurrent(row: Row): boolean {
    const seen = this.#seen.get(keyOf(row))
    const now = this.#now.get(row)
    return seen !== undefined && seen.source === now?.source && seen.test === now.test
  }

  /** Takes note that a row was seen with its files as they were when the command began. */
  note(row: Row): void {
    const now = this.#now.get(row)
    if (now !== undefined) this.#seen.set(keyOf(row), now)
  }

  /** Forgets a row that was not seen. */
  forget(row: Row): void {
    this.#seen.delete(keyOf(row))
  }

  /** Writes the file, in a fixed order and without rows that are not in the list any more. */
  write(): void {
    const keys = new Set([...this.#now.keys()].map(keyOf))
    const entries = [...this.#seen]
      .filter(([key]) => keys.has(key))
      .map(([key, { source, test }]) => [key, `${source} ${test}`] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    const json = JSON.stringify(Object.fromEntries(entries), undefined, 2)
    writeFileSync(join(this.#root, LIST, SEEN), `${json}\n`)
  }
}

/** The source file, and a digest of all that the row says but its words. */
function keyOf({ file, takeOut, putIn, test, name }: Row): string {
  return `${file} ${digest(JSON.stringify([file, takeOut, putIn, test, name]))}`
}

function digestsOf(root: string, { file, test }: Row): Digests | undefined {
  if (![file, test].every((path) => existsSync(join(root, path)))) return undefined
  const read = (path: string) => readFileSync(join(root, path), 'utf8')
  const own = filesOfTest(root, test).filter((path) => path === test || !path.startsWith(SHARED))
  return { source: digest(read(file)), test: digest(own.map(read).join('\0')) }
}

/** Short, since it finds changes and holds no attacker off. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
