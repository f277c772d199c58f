import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { MessageHeaders } from '../../bus/messages/headers.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import type { BrokerOptions } from '../realm/broker-options.ts'
import { note, reportError, type Terminal } from '../terminal/terminal.ts'
import { expandHeaders } from './addressing.ts'
import type { HeaderOption } from './message-options.ts'
import { publicEnvironment, runProgram } from './run-program.ts'
import { splitWords } from './shell-words.ts'
import { expandTemplate, type TemplateValues } from './template.ts'

/** More does not fit into a variable everywhere. */
const MAX_VARIABLE_BYTES = 100_000

/** A request that is to be answered. */
interface RequestToAnswer {
  readonly message: SecureMessage
  /** Its number. */
  readonly count: number
  /** Gives up. */
  readonly signal: AbortSignal
}

/** Makes the answer to a request. */
export type Responder = (request: RequestToAnswer) => Promise<{
  readonly data: Uint8Array
  readonly headers: MessageHeaders | undefined
}>

/** What answers are made of. */
export interface ResponderOptions extends BrokerOptions {
  readonly echo?: true
  readonly command?: string
  readonly header?: readonly HeaderOption[]
}

/**
 * How to answer: with what a command prints, with a body, or without either with the request itself.
 *
 * @throws RangeError when the command is none
 */
export function responderOf(
  terminal: Terminal,
  body: string | undefined,
  options: ResponderOptions,
): Responder {
  const { echo, command, header } = options
  if (command !== undefined) return commandResponder(terminal, splitCommand(command), options)
  if (echo || body === undefined) {
    if (!echo) note(terminal, 'there is no body and no command: answering with the request itself')
    return async ({ message, count }) => ({ data: message.data, headers: echoed(message, count, header) })
  }
  return async ({ message, count }) => ({
    data: utf8(expandTemplate(body, valuesOf(message, count))),
    headers: expandHeaders(header, count),
  })
}

function splitCommand(command: string): readonly string[] {
  const words = splitWords(command)
  if (words[0]?.includes('{{')) throw new RangeError('which program is run is not up to a request: name it')
  return words
}

function commandResponder(
  terminal: Terminal,
  words: readonly string[],
  { identity, passphrase, header }: ResponderOptions,
): Responder {
  return async ({ message, count, signal }) => {
    const filled = words.map((word) => expandWord(word, valuesOf(message, count)))
    const env = { ...publicEnvironment(terminal, [identity, passphrase]), ...variables(message) }
    const { output, failure } = await runProgram(terminal, filled, { input: message.data, env, signal })
    if (failure === undefined) return { data: output, headers: expandHeaders(header, count) }
    reportError(terminal, `${words[0]}: ${failure}`)
    return { data: new Uint8Array(0), headers: FAILED }
  }
}

/** As NATS's services say it. What went wrong is nobody else's business. */
const FAILED = new MessageHeaders([
  { name: 'Nats-Service-Error-Code', value: '500' },
  { name: 'Nats-Service-Error', value: 'the command failed' },
])

function expandWord(word: string, values: TemplateValues): string {
  const expanded = expandTemplate(word, values)
  if (expanded.startsWith('-') && !word.startsWith('-'))
    throw new RangeError('the request would be taken for an option of the command')
  return expanded
}

function valuesOf({ subject, data }: SecureMessage, count: number): TemplateValues {
  return { count, request: Buffer.from(data).toString(), tokens: subject.split('.') }
}

function variables({ subject, data, sender }: SecureMessage): Readonly<Record<string, string>> {
  const text = data.length <= MAX_VARIABLE_BYTES ? fromUtf8(data) : undefined
  return {
    NATS_REQUEST_SUBJECT: subject,
    SUBROSA_SENDER: sender.name,
    // What does not fit is on standard input all the same.
    ...(text !== undefined && !text.includes('\0') && { NATS_REQUEST_BODY: text }),
  }
}

function echoed(
  { headers }: SecureMessage,
  count: number,
  added: readonly HeaderOption[] | undefined,
): MessageHeaders {
  const all = expandHeaders(added, count) ?? new MessageHeaders()
  for (const [name, values] of headers ?? []) for (const value of values) all.append(name, value)
  all.append('NATS-Reply-Counter', String(count))
  return all
}
