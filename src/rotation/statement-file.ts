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
import { SubrosaError } from '../base/errors.ts'
import { writeDurably } from '../keys/state-folder.ts'

const HEAD = 'subrosa statements 1\n'
const CHECKSUM_DIGITS = 16
const LINE = /^([0-9a-f]{16}) ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/

/**
 * A file that only ever grows: one line for each statement, with a checksum. A line counts once it is whole and on the disk.
 * What a crash has left of the last one was never confirmed to anybody, and is cut off before the next is written.
 */
export class StatementFile {
  readonly #path: string
  readonly #sync: (file: number) => void
  /** Where the last whole line ends. */
  #end = 0

  /** @param sync brings what was written to the disk, or throws */
  constructor(path: string, sync: (file: number) => void = fsyncSync) {
    this.#path = path
    this.#sync = sync
  }

  /** Makes it, with no statement in it. @throws SubrosaError ERR_STATE where it is there already, or cannot be written */
  begin(): void {
    if (existsSync(this.#path)) {
      throw new SubrosaError('ERR_STATE', `there is a record already: ${this.#path}`, {
        hint: 'start the service with it: subrosa rotator. If it is not the record of this service, give it another folder with --state',
      })
    }
    writeDurably(this.#path, HEAD)
  }

  /** Every statement that was ever appended; `undefined` where there is no file. @throws SubrosaError ERR_STATE */
  read(): readonly Uint8Array[] | undefined {
    if (!existsSync(this.#path)) return undefined
    const bytes = this.#try('read', () => readFileSync(this.#path))
    this.#end = bytes.lastIndexOf('\n') + 1
    const text = bytes.toString('latin1', 0, this.#end)
    if (!text.startsWith(HEAD)) throw this.#damaged()
    return text
      .slice(HEAD.length)
      .split('\n')
      .slice(0, -1)
      .map((line) => this.#parse(line))
  }

  /** Adds statements: all of them, or none. They are on the disk when this returns. @throws SubrosaError ERR_STATE */
  append(statements: readonly Uint8Array[]): void {
    const text = statements.map(format).join('')
    this.#try('write', () => {
      // Never made here: where it is gone, what was confirmed is gone with it.
      const file = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND)
      try {
        this.#write(file, text)
      } finally {
        closeSync(file)
      }
    })
    this.#end += text.length
  }

  /** Replaces all statements at once. @throws SubrosaError ERR_STATE */
  replace(statements: readonly Uint8Array[]): void {
    const text = HEAD + statements.map(format).join('')
    writeDurably(this.#path, text)
    this.#end = text.length
  }

  #write(file: number, text: string): void {
    if (fstatSync(file).size < this.#end) throw this.#damaged()
    ftruncateSync(file, this.#end)
    try {
      // Not writeSync: that may write less than all of it, and says so by a number alone.
      writeFileSync(file, text)
      this.#sync(file)
    } catch (error) {
      // A whole line that nobody was told of must not come back after a restart.
      ftruncateSync(file, this.#end)
      throw error
    }
  }

  #parse(line: string): Uint8Array {
    const [, checksum, text] = LINE.exec(line) ?? []
    if (text === undefined || checksum !== checksumOf(text)) throw this.#damaged()
    return new Uint8Array(Buffer.from(text, 'base64'))
  }

  #try<T>(what: string, task: () => T): T {
    try {
      return task()
    } catch (cause) {
      if (cause instanceof SubrosaError) throw cause
      throw new SubrosaError('ERR_STATE', `cannot ${what} ${this.#path}`, { cause })
    }
  }

  #damaged(): SubrosaError {
    return new SubrosaError('ERR_STATE', `${this.#path} is damaged`, {
      hint: 'restore no backup, which lacks what was revoked since: give the realm a plan with another rotation service in its place: subrosa plan replace-rotator',
    })
  }
}

function format(statement: Uint8Array): string {
  const text = Buffer.from(statement).toString('base64')
  return `${checksumOf(text)} ${text}\n`
}

function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, CHECKSUM_DIGITS)
}
