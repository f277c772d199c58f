import type { Command } from 'commander'
import { quoted } from '../messages/message-format.ts'
import { parseSubject } from '../messages/message-options.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import {
  addBenchOptions,
  addSendingOptions,
  assertAddressed,
  type SendingOptions,
  SUBJECT_HELP,
} from './options.ts'
import { numberShown } from './results.ts'
import { filler, type Measured, type Running, runBench, shareOf, together, untilAborted } from './run.ts'
import { sizeShown } from './sizes.ts'

/** Registers `subrosa bench request`. */
export function registerBenchRequest(bench: Command, terminal: Terminal): void {
  const command = bench
    .command('request')
    .description('measure requests: how long each takes until its answer is there, one after the other')
    .argument('<subject>', 'where to', parseSubject)
  addSendingOptions(command)
  addBenchOptions(command).action((subject: string, options: SendingOptions) => {
    assertAddressed(terminal, options)
    const { msgs, mode, plain } = options
    return runBench(terminal, options, {
      purpose: 'subrosa bench request',
      mode: plain ? 'plain' : mode,
      wanted: msgs,
      work: (running) => requestAll(terminal, running, { subject, options }),
    })
  })
  addExamples(
    command,
    'subrosa bench sub orders.bench --reply --msgs 10000 --as billing',
    'subrosa bench request orders.bench --msgs 10000 --as orders',
  ).addHelpText('after', SUBJECT_HELP + EXIT_CODES_HELP)
}

interface Requesting {
  readonly subject: string
  readonly options: SendingOptions
}

async function requestAll(terminal: Terminal, running: Running, requesting: Requesting): Promise<void> {
  const { subject, options } = requesting
  const { msgs, size, mode, to, waitFor, clients } = options
  const { measured, signal } = running
  const sending = { subject, payload: filler(size), to, mode }
  for (const { client } of measured) await untilAborted(signal, client.awaitAudience(sending, waitFor))
  if (signal.aborted) return
  note(terminal, `sending ${numberShown(msgs)} requests of ${sizeShown(size)} to ${quoted(subject)}`)
  await together(running, (each, { index, signal: either }) => {
    const ask = each.client.requester(sending)
    return untilAborted(
      either,
      requestShare(each, { ask, count: shareOf(msgs, clients, index), signal: either }),
    )
  })
}

interface Share {
  readonly ask: () => Promise<number>
  readonly count: number
  readonly signal: AbortSignal
}

async function requestShare({ tally }: Measured, { ask, count, signal }: Share): Promise<void> {
  tally.begin()
  for (let i = 0; i < count; i++) {
    const sentAt = process.hrtime.bigint()
    const bytes = await ask()
    if (signal.aborted) return
    tally.answered(sentAt, bytes)
  }
}
