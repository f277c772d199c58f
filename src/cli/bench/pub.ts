import { type Command, InvalidArgumentError, Option } from 'commander'
import { MAX_MESSAGE_BYTES, MAX_PAYLOADS_PER_FRAME } from '../../base/limits.ts'
import { quoted } from '../messages/message-format.ts'
import { parseSubject } from '../messages/message-options.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseCount } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import {
  addBenchOptions,
  addSendingOptions,
  assertAddressed,
  type SendingOptions,
  SUBJECT_HELP,
  sealingOption,
} from './options.ts'
import { publishShare } from './publishing.ts'
import { numberShown } from './results.ts'
import { filler, type Running, runBench, shareOf, together, untilAborted } from './run.ts'
import { sizeShown } from './sizes.ts'

interface BenchPubOptions extends SendingOptions {
  readonly many?: number
}

/** Registers `subrosa bench pub`. */
export function registerBenchPub(bench: Command, terminal: Terminal): void {
  const command = bench
    .command('pub')
    .description('measure publishing: from the first message until the broker has the last one')
    .argument('<subject>', 'where to', parseSubject)
  addSendingOptions(command).addOption(
    sealingOption(
      new Option('--many <number>', 'publish so many together, with publishMany').argParser(parseMany),
    ),
  )
  addBenchOptions(command).action((subject: string, options: BenchPubOptions) => {
    assertAddressed(terminal, options)
    const { msgs, mode, plain, size, many = 1 } = options
    if (size * many > MAX_MESSAGE_BYTES)
      throw new RangeError(
        `what is published together has at most ${MAX_MESSAGE_BYTES} bytes: --many times --size`,
      )
    return runBench(terminal, options, {
      purpose: 'subrosa bench pub',
      mode: plain ? 'plain' : mode,
      wanted: msgs,
      work: (running) => publishAll(terminal, running, { subject, options }),
    })
  })
  addExamples(
    command,
    'subrosa bench pub orders.bench --as orders',
    'subrosa bench pub orders.bench --as orders --size 1KB --many 64',
    'subrosa bench pub orders.bench --as orders --size 1KB --plain',
  ).addHelpText('after', SUBJECT_HELP + EXIT_CODES_HELP)
}

function parseMany(text: string): number {
  const many = parseCount(text)
  if (many > MAX_PAYLOADS_PER_FRAME) throw new InvalidArgumentError(`Use at most ${MAX_PAYLOADS_PER_FRAME}.`)
  return many
}

interface Publishing {
  readonly subject: string
  readonly options: BenchPubOptions
}

async function publishAll(terminal: Terminal, running: Running, publishing: Publishing): Promise<void> {
  const { subject, options } = publishing
  const { msgs, size, mode, to, many, waitFor, clients } = options
  const sending = { subject, payload: filler(size), to, mode }
  for (const { client } of running.measured)
    await untilAborted(running.signal, client.awaitAudience(sending, waitFor))
  if (running.signal.aborted) return
  note(terminal, `publishing ${numberShown(msgs)} messages of ${sizeShown(size)} to ${quoted(subject)}`)
  await together(running, (measured, { index, signal }) =>
    publishShare(measured, { sending, many, count: shareOf(msgs, clients, index), signal }),
  )
}
