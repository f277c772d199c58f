import { type Command, Option } from 'commander'
import { isSubject } from '../../base/subject.ts'
import { MessageHeaders } from '../../bus/messages/headers.ts'
import type { GivenOptions } from '../realm/broker-options.ts'
import { parseAmount, parseCount } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { type HeaderOption, headerOption, toOption } from './message-options.ts'
import { type PayloadOptions, payloadOptions, payloadsOf } from './payloads.ts'
import { expandTemplate } from './template.ts'

/** Options of commands that send messages. */
export interface OutgoingOptions extends PayloadOptions {
  readonly header?: readonly HeaderOption[]
  readonly count: number
  readonly to?: readonly string[]
  readonly waitFor: number
}

/** A message to send. */
export interface OutgoingMessage {
  /** Its number, from 1 on. */
  readonly count: number
  readonly subject: string
  readonly payload: Uint8Array
  readonly headers: MessageHeaders | undefined
}

/** Adds the options of {@link OutgoingOptions}, but for `quiet`. */
export function addOutgoingOptions(command: Command): Command {
  const options = [
    headerOption(),
    new Option('--count <number>', 'how often').argParser(parseCount).default(1),
    toOption(),
    new Option('--wait-for <number>', 'how many others must be there to read it, within --timeout')
      .argParser(parseAmount)
      .default(1),
    ...payloadOptions(),
  ]
  for (const option of options) command.addOption(option)
  return command
}

/** Under pins nobody else says who may read a message. @throws RangeError when nobody is named */
export function assertNamed({ all }: GivenOptions, { to }: Pick<OutgoingOptions, 'to'>): void {
  if (all.pins !== undefined && to === undefined)
    throw new RangeError('under --pins a message names its recipients: --to NAME')
}

/**
 * The messages that a command line asks for, each as often as it says.
 *
 * @throws RangeError for a template or a subject that is none, SubrosaError ERR_MESSAGE_TOO_LARGE
 */
export async function* outgoingMessages(
  terminal: Terminal,
  { subject, body }: { readonly subject: string; readonly body: string | undefined },
  options: OutgoingOptions,
): AsyncIterable<OutgoingMessage> {
  let count = 0
  for await (const payload of payloadsOf(terminal, body, options)) {
    for (let i = 0; i < options.count; i++) {
      count++
      yield {
        count,
        subject: expandSubject(subject, count, options.templates),
        payload: payload(count),
        headers: expandHeaders(options.header, count),
      }
    }
  }
}

/** Headers with their templates replaced. @throws RangeError for a template that is none */
export function expandHeaders(
  headers: readonly HeaderOption[] | undefined,
  count: number,
): MessageHeaders | undefined {
  if (headers === undefined) return undefined
  return new MessageHeaders(
    headers.map(({ name, value }) => ({ name, value: expandTemplate(value, { count }) })),
  )
}

function expandSubject(text: string, count: number, isTemplate: boolean): string {
  const subject = isTemplate ? expandTemplate(text, { count }) : text
  if (!isSubject(subject))
    throw new RangeError('the subject must be dot-separated tokens without wildcards and spaces')
  return subject
}
