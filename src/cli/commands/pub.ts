import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import type { Command } from 'commander'
import {
  addOutgoingOptions,
  assertNamed,
  type OutgoingMessage,
  type OutgoingOptions,
  outgoingMessages,
} from '../messages/addressing.ts'
import { awaitAudience, namedIn } from '../messages/audience.ts'
import { quoted } from '../messages/message-format.ts'
import { parseSubject } from '../messages/message-options.ts'
import { TEMPLATE_HELP } from '../messages/template.ts'
import { addAgentOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { inRealm, type Session, unlessInterrupted } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseDuration } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

/** Of more messages than these only the sum is told. */
const TOLD_ONE_BY_ONE = 20

interface PubOptions extends BrokerOptions, OutgoingOptions {
  readonly reply?: string
  readonly sleep?: number
  readonly json?: true
}

/** Registers `subrosa pub`. */
export function registerPub(program: Command, terminal: Terminal): void {
  const command = program
    .command('pub')
    .alias('publish')
    .description('publish sealed messages')
    .argument('<subject>', 'where to')
    .argument('[body]', 'what; without it standard input is read')
    .option('--reply <subject>', 'where a response should go', parseSubject)
  addOutgoingOptions(command)
    .option('--sleep <duration>', 'how long to wait in between', parseDuration)
    .option('-q, --quiet', 'say nothing of what is sent')
    .option('--json', 'print what was sent and to whom, one line of JSON for each message')
  addAgentOptions(command).action((subject: string, body: string | undefined, options: PubOptions) => {
    assertNamed(givenOptions(terminal, options), options)
    const messages = outgoingMessages(terminal, { subject, body }, options)
    return inRealm(terminal, options, {
      purpose: 'subrosa pub',
      task: (session) =>
        unlessInterrupted(session.interrupted, publishAll(terminal, session, { messages, options })),
    })
  })
  command.addHelpText('after', TEMPLATE_HELP)
  addExamples(
    command,
    'subrosa pub orders.new \'{"id":7}\' --as orders',
    "subrosa pub orders.new 'order {{Count}}' --count 10 --sleep 1s --as orders",
    'tail -f log | subrosa pub logs.app --send-on newline --to billing --as orders',
  ).addHelpText('after', EXIT_CODES_HELP)
}

interface Publishing {
  readonly messages: AsyncIterable<OutgoingMessage>
  readonly options: PubOptions
}

async function publishAll(
  terminal: Terminal,
  { bus, assertAllowed }: Session,
  { messages, options }: Publishing,
): Promise<void> {
  const { timeoutMs } = givenOptions(terminal, options)
  const { to, waitFor: atLeast, reply, sleep, quiet } = options
  let sent = 0
  for await (const { count, subject, payload, headers } of messages) {
    if (sleep !== undefined && count > 1) await pause(sleep, undefined, { ref: false })
    await awaitAudience(bus, subject, { to, atLeast, timeoutMs })
    const recipients = namedIn(bus.audience(subject), to)
    bus.publish(subject, payload, { ...(to && { to }), ...(headers && { headers }), ...(reply && { reply }) })
    // As the nats command: what it says was sent has reached the server.
    await bus.flush()
    await turn()
    assertAllowed()
    sent = count
    if (options.json)
      await terminal.write(`${JSON.stringify({ subject, bytes: payload.length, recipients })}\n`)
    const what = `published ${payload.length} bytes to ${quoted(subject)}`
    if (!quiet && count <= TOLD_ONE_BY_ONE)
      note(terminal, `${what}, sealed to ${instances(recipients.length)}`)
  }
  if (!quiet && sent > TOLD_ONE_BY_ONE) note(terminal, `published ${sent} messages in all`)
}

function instances(count: number): string {
  return count === 1 ? 'one instance' : `${count} instances`
}
