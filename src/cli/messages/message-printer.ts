import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import type { BrokerOptions } from '../realm/broker-options.ts'
import { reportError, type Terminal } from '../terminal/terminal.ts'
import { messageJson, messageText, payloadText, quoted, rawPayload, senderText } from './message-format.ts'
import { publicEnvironment, runProgram } from './run-program.ts'
import { splitWords } from './shell-words.ts'

const STANDARD_OUTPUT = '-'

/** How messages are printed. */
export interface ShowOptions extends BrokerOptions {
  readonly raw?: true
  readonly json?: true
  readonly headersOnly?: true
  readonly subjectsOnly?: true
  readonly timestamp?: true
  readonly deltaTime?: true
  readonly dump?: string
  readonly translate?: string
}

/** Prints messages, one after the other. */
export class MessagePrinter {
  readonly #terminal: Terminal
  readonly #options: ShowOptions
  readonly #translate: readonly string[] | undefined
  readonly #started = performance.now()

  /** @throws RangeError when the command of `--translate` is none */
  constructor(terminal: Terminal, options: ShowOptions) {
    this.#terminal = terminal
    this.#options = options
    this.#translate = options.translate === undefined ? undefined : splitWords(options.translate)
  }

  /**
   * Prints a message, and resolves when there is room for the next one.
   *
   * @param count its number
   * @throws SubrosaError ERR_SETUP when a file of `--dump` is there already or cannot be written
   */
  async print(message: SecureMessage, count: number): Promise<void> {
    const { raw, json, dump, headersOnly, subjectsOnly } = this.#options
    const data = await this.#translated(message)
    if (data === undefined) return
    const parts = { message, data, headersOnly, subjectsOnly }
    if (dump === STANDARD_OUTPUT) await this.#terminal.write(`${messageJson(parts)}\0`)
    else if (dump !== undefined) await writeMessage(join(dump, `${count}.json`), messageJson(parts))
    else if (raw) await this.#terminal.write(rawPayload(data))
    else if (json) await this.#terminal.write(`${messageJson(parts)}\n`)
    else await this.#terminal.write(`${this.#heading(message, count)}\n${messageText(parts)}`)
  }

  /** Prints the payload of a response alone, or a line of JSON, and resolves when there is room for the next one. */
  async printPayload(message: SecureMessage): Promise<void> {
    const { raw, json } = this.#options
    const data = await this.#translated(message)
    if (data === undefined) return
    if (raw) await this.#terminal.write(rawPayload(data))
    else if (json) await this.#terminal.write(`${messageJson({ message, data })}\n`)
    else await this.#terminal.write(`${payloadText(data)}\n\n`)
  }

  #heading(message: SecureMessage, count: number): string {
    const reply = message.reply === undefined ? '' : ` with reply ${quoted(message.reply)}`
    return `[#${count}]${this.#time()} Received on ${quoted(message.subject)} from ${senderText(message)}${reply}`
  }

  #time(): string {
    const { timestamp, deltaTime } = this.#options
    if (timestamp) return ` @ ${new Date().toISOString()}`
    return deltaTime ? ` @ ${((performance.now() - this.#started) / 1000).toFixed(6)}s` : ''
  }

  /** The payload, or what the command makes of it; `undefined` where it fails. */
  async #translated({ data, subject }: SecureMessage): Promise<Uint8Array | undefined> {
    if (this.#translate === undefined) return data
    // Words first, then what others have chosen: a subject never becomes more than part of one argument.
    const words = this.#translate.map((word) => word.replace(/\{\{-?\s*\.?Subject\s*-?\}\}/g, () => subject))
    const { identity, passphrase } = this.#options
    const env = publicEnvironment(this.#terminal, [identity, passphrase])
    const { output, failure } = await runProgram(this.#terminal, words, { input: data, env })
    if (failure === undefined) return output
    reportError(this.#terminal, `a message on ${quoted(subject)} is not shown: ${words[0]}: ${failure}`)
    return undefined
  }
}

/** Only its owner may read it: it is plaintext. */
async function writeMessage(path: string, json: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(path, json, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, {
      hint: 'choose a folder for --dump that can be written and holds no earlier messages',
      cause,
    })
  }
}
