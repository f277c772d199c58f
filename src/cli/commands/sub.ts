import { type Command, Option } from 'commander'
import { covers } from '../../base/subject.ts'
import { deliveries } from '../messages/deliveries.ts'
import { collectSubjects, translateOption } from '../messages/message-options.ts'
import { MessagePrinter, type ShowOptions } from '../messages/message-printer.ts'
import { addAgentOptions } from '../realm/broker-options.ts'
import { inRealm, type Session } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseAmount, parseDuration } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface SubOptions extends ShowOptions {
  readonly queue?: string
  readonly count: number
  readonly wait?: number
  readonly ignoreSubject?: readonly string[]
}

/** Registers `subrosa sub`. */
export function registerSub(program: Command, terminal: Terminal): void {
  const command = program
    .command('sub')
    .alias('subscribe')
    .description('print messages that were sealed to this agent, until interrupted')
    .argument('<subject...>', 'subjects and patterns', collectSubjects)
    .option('--queue <group>', 'receive as a member of this queue group')
    .option('-r, --raw', 'print payloads alone, as they are')
    .addOption(new Option('--json', 'print one line of JSON for each message').conflicts('raw'))
    .option('--count <number>', 'end after so many messages', parseAmount, 0)
    .option('--wait <duration>', 'end when none has come for so long', parseDuration)
    .option('-t, --timestamp', 'show when a message came')
    .option('-d, --delta-time', 'show how long after the start a message came')
    .option('--headers-only', 'print no payloads')
    .option('--subjects-only', 'print neither payloads nor headers')
    .option(
      '--dump <dir>',
      "write messages to files of a folder, which is only for its owner's eyes; - for standard output, each ended by NUL",
    )
    .addOption(translateOption())
    .option('-I, --ignore-subject <subject>', 'do not print what matches; again for others', collectSubjects)
  addAgentOptions(command).action((subjects: readonly string[], options: SubOptions) => {
    const printer = new MessagePrinter(terminal, options)
    return inRealm(terminal, options, {
      purpose: 'subrosa sub',
      task: (session) => printAll(terminal, session, { subjects, options, printer }),
    })
  })
  addExamples(
    command,
    "subrosa sub 'orders.>' --as billing",
    "subrosa sub 'orders.>' --as billing --json | jq -r .data",
    'subrosa sub invoices.paid --as billing --count 1 --raw',
  ).addHelpText('after', EXIT_CODES_HELP)
}

interface Printing {
  readonly subjects: readonly string[]
  readonly options: SubOptions
  readonly printer: MessagePrinter
}

async function printAll(
  terminal: Terminal,
  session: Session,
  { subjects, options, printer }: Printing,
): Promise<void> {
  const { queue, count: limit, wait: waitMs, ignoreSubject: ignored = [] } = options
  const onReady = (): void => note(terminal, `subscribed to ${subjects.join(', ')}`)
  let count = 0
  for await (const message of deliveries(session, { subjects, queue, waitMs, onReady })) {
    if (ignored.some((pattern) => covers(pattern, message.subject))) continue
    count++
    await printer.print(message, count)
    if (count === limit) return
  }
}
