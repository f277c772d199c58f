import { Option } from 'commander'
import { concat, utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_MESSAGE_BYTES } from '../../base/limits.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { expandTemplate } from './template.ts'

/** Options of commands that send something. */
export interface PayloadOptions {
  readonly forceStdin?: true
  readonly sendOn: 'eof' | 'newline'
  readonly quiet?: true
  readonly templates: boolean
}

/** Makes the payload of the message with this number. */
export type Payload = (count: number) => Uint8Array

const NEWLINE = 0x0a
const RETURN = 0x0d

/** The options of {@link PayloadOptions}, but for `quiet`. */
export function payloadOptions(): readonly Option[] {
  return [
    new Option('--force-stdin', 'read the payload from standard input, whatever it is'),
    new Option('--send-on <when>', 'when to send what comes on standard input')
      .choices(['eof', 'newline'])
      .default('eof'),
    new Option('--no-templates', 'send body and subject as they are'),
  ]
}

/**
 * What to send: the body, which may be a template, or without one what comes on standard input, as it is.
 *
 * @throws SubrosaError ERR_MESSAGE_TOO_LARGE when no message can hold it
 */
export async function* payloadsOf(
  terminal: Terminal,
  body: string | undefined,
  options: PayloadOptions,
): AsyncIterable<Payload> {
  const { forceStdin, sendOn, quiet, templates } = options
  // Who types commands with their output in a pipe does not mean to type the payload too.
  const reads = body === undefined && (forceStdin || !terminal.input.isTyped || terminal.showsData)
  if (!reads) {
    const text = body ?? ''
    yield (count) => utf8(templates ? expandTemplate(text, { count }) : text)
    return
  }
  if (!quiet && terminal.input.isTyped) note(terminal, 'reading the payload from standard input')
  const input = terminal.input.read()
  for await (const bytes of sendOn === 'newline' ? readLines(input) : readAll(input)) yield () => bytes
}

async function* readAll(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of input) {
    size += chunk.length
    if (size > MAX_MESSAGE_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  yield concat(...chunks)
}

/** Lines without their ends. */
async function* readLines(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let begun: Uint8Array[] = []
  let size = 0
  for await (const chunk of input) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield withoutReturn(concat(...begun, chunk.subarray(start, end)))
      begun = []
      size = 0
      start = end + 1
    }
    size += chunk.length - start
    if (size > MAX_MESSAGE_BYTES) throw tooLarge()
    begun.push(chunk.slice(start))
  }
  const last = concat(...begun)
  if (last.length > 0) yield last
}

function withoutReturn(line: Uint8Array): Uint8Array {
  return line.at(-1) === RETURN ? line.subarray(0, -1) : line
}

function tooLarge(): SubrosaError {
  return new SubrosaError('ERR_MESSAGE_TOO_LARGE', `a message has at most ${MAX_MESSAGE_BYTES} bytes`)
}
