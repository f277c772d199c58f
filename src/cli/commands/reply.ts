import { setTimeout as pause } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import { deliveries } from '../messages/deliveries.ts'
import { quoted } from '../messages/message-format.ts'
import { type HeaderOption, headerOption, parsePattern } from '../messages/message-options.ts'
import { MessagePrinter, type ShowOptions } from '../messages/message-printer.ts'
import { type Responder, responderOf } from '../messages/responders.ts'
import { TEMPLATE_HELP } from '../messages/template.ts'
import { addAgentOptions } from '../realm/broker-options.ts'
import { inRealm, type Session } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP, reportFailure } from '../terminal/failure.ts'
import { addExamples, parseAmount, parseDuration } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

/** The group of everyone who answers with the `nats` command or with this one, where nobody says another. */
const DEFAULT_GROUP = 'NATS-RPLY-22'

const COMMAND_HELP = `
  {{Request}}        the request

The command is started as it stands, by no shell. In its arguments {{0}}, {{1}}, ... are the tokens of the subject and
{{Request}} is the request: each becomes part of one argument, whatever is in it. The request is on its standard input
too, and NATS_REQUEST_SUBJECT, NATS_REQUEST_BODY and SUBROSA_SENDER are in its environment. Never put templates into
the arguments of a shell: whoever sends a request would write the script.`

interface ReplyOptions extends ShowOptions {
  readonly echo?: true
  readonly command?: string
  readonly queue: string
  readonly sleep?: number
  readonly header?: readonly HeaderOption[]
  readonly count: number
}

/** Registers `subrosa reply`. */
export function registerReply(program: Command, terminal: Terminal): void {
  const command = program
    .command('reply')
    .description('answer requests, until interrupted')
    .argument('<subject>', 'a subject or a pattern', parsePattern)
    .argument('[body]', 'what to answer')
    .option('--echo', 'answer with the request itself')
    .addOption(new Option('--command <command>', 'answer with what this command prints').conflicts('echo'))
    .option('-q, --queue <group>', 'answer as a member of this queue group', DEFAULT_GROUP)
    .option('--sleep <max>', 'wait for a random time before each answer', parseDuration)
    .addOption(headerOption())
    .option('--count <number>', 'end after so many answers', parseAmount, 0)
    .option('--json', 'print one line of JSON for each request')
  addAgentOptions(command).action((subject: string, body: string | undefined, options: ReplyOptions) => {
    const responder = responderOf(terminal, body, options)
    const printer = new MessagePrinter(terminal, options)
    return inRealm(terminal, options, {
      purpose: 'subrosa reply',
      task: (session) => replyAll(terminal, session, { subject, options, responder, printer }),
    })
  })
  command.addHelpText('after', TEMPLATE_HELP + COMMAND_HELP)
  addExamples(
    command,
    "subrosa reply tools.time 'it is {{Time}}' --as clock",
    "subrosa reply 'weather.*' --command 'curl -s wttr.in/{{1}}?format=3' --as weather",
  ).addHelpText('after', EXIT_CODES_HELP)
}

interface Replying {
  readonly subject: string
  readonly options: ReplyOptions
  readonly responder: Responder
  readonly printer: MessagePrinter
}

async function replyAll(terminal: Terminal, session: Session, replying: Replying): Promise<void> {
  const { subject, options, responder, printer } = replying
  const { queue, sleep, count: limit } = options
  const stop = new AbortController()
  void session.interrupted.then(() => stop.abort())
  const onReady = (): void => note(terminal, `listening on ${quoted(subject)} in group ${quoted(queue)}`)
  let count = 0
  let answered = 0
  for await (const message of deliveries(session, { subjects: [subject], queue, onReady })) {
    count++
    await printer.print(message, count)
    if (sleep !== undefined) await pause(Math.random() * sleep, undefined, { ref: false })
    try {
      const { data, headers } = await responder({ message, count, signal: stop.signal })
      if (message.respond(data, headers && { headers })) answered++
      else note(terminal, `nothing was asked: the message on ${quoted(message.subject)} has no reply subject`)
    } catch (error) {
      // One request that cannot be answered is not the end of the others.
      reportFailure(terminal, error)
    }
    if (answered === limit && limit > 0) return
  }
}
