import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import {
  addOutgoingOptions,
  assertNamed,
  type OutgoingMessage,
  type OutgoingOptions,
  outgoingMessages,
} from '../messages/addressing.ts'
import { awaitAudience } from '../messages/audience.ts'
import { headerLines, quoted, senderText } from '../messages/message-format.ts'
import { translateOption } from '../messages/message-options.ts'
import { MessagePrinter, type ShowOptions } from '../messages/message-printer.ts'
import { TEMPLATE_HELP } from '../messages/template.ts'
import { addAgentOptions, givenOptions } from '../realm/broker-options.ts'
import { inRealm, type Session, unlessInterrupted } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseAmount, parseDuration } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface RequestOptions extends ShowOptions, OutgoingOptions {
  readonly replies: number
  readonly replyTimeout: number
}

/** Registers `subrosa request`. */
export function registerRequest(program: Command, terminal: Terminal): void {
  const command = program
    .command('request')
    .alias('req')
    .description('send a sealed request and print what is answered')
    .argument('<subject>', 'where to')
    .argument('[body]', 'what; without it standard input is read')
  addOutgoingOptions(command)
    .option('-r, --raw', 'print payloads alone, as they are')
    .addOption(new Option('--json', 'print one line of JSON for each answer').conflicts('raw'))
    .option(
      '--replies <number>',
      'how many answers to wait for; 0 for all that come within --timeout',
      parseAmount,
      1,
    )
    .addOption(
      new Option('--reply-timeout <duration>', 'how long to wait for the next of several answers')
        .argParser(parseDuration)
        .default(300, '300ms'),
    )
    .addOption(translateOption())
  addAgentOptions(command).action((subject: string, body: string | undefined, options: RequestOptions) => {
    assertNamed(givenOptions(terminal, options), options)
    const printer = new MessagePrinter(terminal, options)
    const messages = outgoingMessages(terminal, { subject, body }, options)
    return inRealm(terminal, options, {
      purpose: 'subrosa request',
      task: (session) =>
        unlessInterrupted(session.interrupted, requestAll(terminal, session, { messages, options, printer })),
    })
  })
  command.addHelpText('after', TEMPLATE_HELP)
  addExamples(
    command,
    "subrosa request tools.search 'end-to-end encryption' --as orders",
    "subrosa request tools.time '' --replies 0 --timeout 2s --json --as orders",
  ).addHelpText('after', EXIT_CODES_HELP)
}

interface Requesting {
  readonly messages: AsyncIterable<OutgoingMessage>
  readonly options: RequestOptions
  readonly printer: MessagePrinter
}

async function requestAll(
  terminal: Terminal,
  session: Session,
  { messages, options, printer }: Requesting,
): Promise<void> {
  const { to, waitFor: atLeast, raw, json, replies: wanted } = options
  const { timeoutMs } = givenOptions(terminal, options)
  const isForPeople = !raw && !json
  for await (const message of messages) {
    const { subject } = message
    await awaitAudience(session.bus, subject, { to, atLeast, timeoutMs })
    if (isForPeople) note(terminal, `sending a request on ${quoted(subject)}`)
    const started = performance.now()
    let count = 0
    for await (const response of responses(session, message, { ...options, timeoutMs })) {
      count++
      if (isForPeople) {
        const rtt = (performance.now() - started).toFixed(3)
        note(terminal, `received from ${senderText(response)} with rtt ${rtt}ms`)
        for (const line of headerLines(response)) note(terminal, line)
      }
      await printer.printPayload(response)
      if (count === wanted) break
    }
    if (count < Math.max(wanted, 1)) throw tooFew(subject, count, wanted)
  }
}

async function* responses(
  { bus, assertAllowed }: Session,
  { subject, payload, headers }: OutgoingMessage,
  options: RequestOptions & { readonly timeoutMs: number },
): AsyncIterable<SecureMessage> {
  const { to, timeoutMs, replies, replyTimeout: stall } = options
  const sending = { ...(to && { to }), ...(headers && { headers }) }
  try {
    if (replies === 1) yield await bus.request(subject, payload, { ...sending, timeout: timeoutMs })
    else {
      const strategy = replies === 0 ? 'timer' : 'stall'
      yield* await bus.requestMany(subject, payload, { ...sending, strategy, stall, maxWait: timeoutMs })
    }
  } catch (error) {
    // That the broker denied the request tells more than that no answer came.
    assertAllowed()
    throw error
  }
}

function tooFew(subject: string, count: number, wanted: number): SubrosaError {
  const all = wanted === 0 ? '' : ` of ${wanted}`
  return new SubrosaError('ERR_TIMEOUT', `${count}${all} answers came on ${quoted(subject)} in time`, {
    hint: 'wait longer with --timeout, or with --reply-timeout between one answer and the next',
  })
}
