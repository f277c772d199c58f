import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import { syncFolder, writeDurably } from './state-folder.ts'

const HEAD = /^subrosa statements 1 ([0-9a-f]{32}) ([0-9a-f]{16})\n/
const CHECKSUM_DIGITS = 16
const LINE = /^([0-9a-f]{16}) ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/

/** How {@link StatementFile} writes. */
export interface StatementFileOptions {
  /** Brings what was written to the disk, or throws. */
  readonly sync?: (file: number) => void
  /** The same for the folder in which a file was replaced. */
  readonly syncFolder?: (path: string) => void
}

/** Where the next statement goes. */
interface End {
  /** Where the last whole line ends. */
  readonly at: number
  /** What is missing of that line: its end of line was damaged. */
  readonly missing: '' | '\n'
}

/**
 * A file that only ever grows: one line for each statement, with a checksum. A line counts once it is whole and on the disk.
 * What a crash has left of the last one was never confirmed to anybody, and is cut off before the next is written.
 *
 * Each file says of which record it is part, 32 random hexadecimal digits: one of another record is as good as none.
 */
export class StatementFile {
  readonly #path: string
  readonly #record: string
  readonly #sync: (file: number) => void
  readonly #syncFolder: (path: string) => void
  /** `undefined` before the file was read, and while nobody knows which one is on the disk. */
  #end: End | undefined
  /** Whether a crash could bring back the file that was replaced last. */
  #isReplacing = false

  /** @param record of which it is part */
  constructor(path: string, record: string, options: StatementFileOptions = {}) {
    this.#path = path
    this.#record = record
    this.#sync = options.sync ?? fsyncSync
    this.#syncFolder = options.syncFolder ?? syncFolder
  }

  /** The record that a file is part of; `undefined` where there is no file. @throws SubrosaError ERR_STATE */
  static recordOf(path: string): string | undefined {
    if (!existsSync(path)) return undefined
    return readHead(
      path,
      attempt('read', path, () => readFileSync(path, 'latin1')),
    ).record
  }

  /** Every statement that was ever appended; `undefined` where there is no file of this record. @throws SubrosaError ERR_STATE */
  read(): readonly Uint8Array[] | undefined {
    this.#end = undefined
    if (!existsSync(this.#path)) return undefined
    const text = attempt('read', this.#path, () => readFileSync(this.#path, 'latin1'))
    const { record, length } = readHead(this.#path, text)
    if (record !== this.#record) return undefined
    const lines = text.slice(length).split('\n')
    const tail = lines.pop() ?? ''
    // Whole, but for its end of line, which is damaged or was not written: it may have been confirmed.
    const last = [tail, tail.slice(0, -1)].find((line) => parse(line) !== undefined)
    const at = text.length - tail.length
    this.#end = last === undefined ? { at, missing: '' } : { at: at + last.length, missing: '\n' }
    return (last === undefined ? lines : [...lines, last]).map((line) => {
      const statement = parse(line)
      if (statement === undefined) throw damaged(this.#path)
      return statement
    })
  }

  /** Adds statements: all of them, or none. They are on the disk when this returns. @throws SubrosaError ERR_STATE */
  append(statements: readonly Uint8Array[]): void {
    if (this.#isReplacing) this.#finishReplacing()
    const end = this.#end
    if (end === undefined) throw unread(this.#path)
    const text = end.missing + statements.map(format).join('')
    attempt('write', this.#path, () => {
      // Never made here: where it is gone, what was confirmed is gone with it.
      const file = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND)
      try {
        this.#write(file, text, end.at)
      } finally {
        closeSync(file)
      }
    })
    this.#end = { at: end.at + text.length, missing: '' }
  }

  /** Replaces all statements at once. Where it throws, the old ones or the new ones are there. @throws SubrosaError ERR_STATE */
  replace(statements: readonly Uint8Array[]): void {
    const text = `${headOf(this.#record)}${statements.map(format).join('')}`
    this.#end = undefined
    this.#isReplacing = true
    writeDurably(this.#path, text, this.#syncFolder)
    this.#isReplacing = false
    this.#end = { at: text.length, missing: '' }
  }

  /** Whichever file is there is there for good from now on, and is the one to go on with. */
  #finishReplacing(): void {
    attempt('write', this.#path, () => this.#syncFolder(dirname(this.#path)))
    this.read()
    this.#isReplacing = false
  }

  #write(file: number, text: string, at: number): void {
    if (fstatSync(file).size < at) throw damaged(this.#path)
    ftruncateSync(file, at)
    try {
      // Not writeSync: that may write less than all of it, and says so by a number alone.
      writeFileSync(file, text)
      this.#sync(file)
    } catch (error) {
      // A whole line that nobody was told of must not come back after a restart.
      ftruncateSync(file, at)
      throw error
    }
  }
}

function headOf(record: string): string {
  return `subrosa statements 1 ${record} ${checksumOf(record)}\n`
}

function readHead(path: string, text: string): { readonly record: string; readonly length: number } {
  const [head, record, checksum] = HEAD.exec(text) ?? []
  if (head === undefined || record === undefined || checksum !== checksumOf(record)) throw damaged(path)
  return { record, length: head.length }
}

/** The statement in a line; `undefined` where the line is not as it was written. */
function parse(line: string): Uint8Array | undefined {
  const [, checksum, text] = LINE.exec(line) ?? []
  if (text === undefined || checksum !== checksumOf(text)) return undefined
  return new Uint8Array(Buffer.from(text, 'base64'))
}

function format(statement: Uint8Array): string {
  const text = Buffer.from(statement).toString('base64')
  return `${checksumOf(text)} ${text}\n`
}

function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, CHECKSUM_DIGITS)
}

function attempt<T>(what: string, path: string, task: () => T): T {
  try {
    return task()
  } catch (cause) {
    if (cause instanceof SubrosaError) throw cause
    throw new SubrosaError('ERR_STATE', `cannot ${what} ${path}`, { cause })
  }
}

function unread(path: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `${path} is not there, or was not read before it is written to`)
}

function damaged(path: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `${path} is damaged`, {
    hint: 'restore no backup, which lacks what was revoked since: give the realm a plan with another rotation service in its place: subrosa plan replace-rotator',
  })
}
