import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { quoted } from '../messages/message-format.ts'
import { parsePattern } from '../messages/message-options.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseDuration } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { durationShown } from '../terminal/times.ts'
import { addBenchOptions, addMsgsOption, type BenchOptions, SUBJECT_HELP } from './options.ts'
import { numberShown } from './results.ts'
import { type Running, runBench, untilAborted } from './run.ts'

const DEFAULT_WAIT_MS = 10_000
/** How often it is looked whether anything has come. */
const LOOK_MS = 250

interface BenchSubOptions extends BenchOptions {
  readonly queue?: string
  readonly reply?: true
  readonly wait: number
}

/** Registers `subrosa bench sub`. */
export function registerBenchSub(bench: Command, terminal: Terminal): void {
  const command = bench
    .command('sub')
    .description('measure receiving, from the first message to the last; or answer requests')
    .argument('<subject>', 'a subject or a pattern', parsePattern)
  addMsgsOption(command, 'how many messages to wait for: of each client, or in a queue group of all together')
    .option('--queue <group>', 'receive as members of this queue group')
    .option('--reply', 'answer each request with its own payload, for bench request')
    .addOption(
      new Option('--wait <duration>', 'end when after the first none has come for so long')
        .argParser(parseDuration)
        .default(DEFAULT_WAIT_MS, '10s'),
    )
  addBenchOptions(command).action((subject: string, options: BenchSubOptions) => {
    const { plain, msgs, clients, queue } = options
    const wanted = queue === undefined ? msgs * clients : msgs
    return runBench(terminal, options, {
      purpose: 'subrosa bench sub',
      mode: plain ? 'plain' : 'sealed',
      wanted,
      work: (running) => receiveAll(terminal, running, { subject, options, wanted }),
    })
  })
  addExamples(
    command,
    'subrosa bench sub orders.bench --as billing',
    'subrosa bench sub orders.bench --as billing --clients 2 --queue workers',
    'subrosa bench sub orders.bench --as billing --reply --msgs 10000',
  ).addHelpText('after', SUBJECT_HELP + EXIT_CODES_HELP)
}

interface ReceivingAll {
  readonly subject: string
  readonly options: BenchSubOptions
  readonly wanted: number
}

async function receiveAll(terminal: Terminal, running: Running, receiving: ReceivingAll): Promise<void> {
  const { subject, options, wanted } = receiving
  const { measured, signal } = running
  let count = 0
  const received = new Promise<void>((resolve, reject) => {
    for (const { client, tally } of measured) {
      client.subscribe({
        subject,
        queue: options.queue,
        isAnswering: options.reply === true,
        onMessage: (bytes) => {
          // Of what comes beyond that nothing is counted.
          if (tally.msgs === options.msgs || count === wanted) return
          tally.arrived(bytes)
          count++
          if (count === wanted) resolve()
        },
        onEnd: reject,
      })
    }
  })
  // What ends it may come before it is awaited.
  received.catch(() => {})
  await untilAborted(signal, flushAll(running))
  if (signal.aborted) return
  const doing = options.reply ? 'listening on' : 'subscribed to'
  note(terminal, `${doing} ${quoted(subject)} for ${numberShown(wanted)} messages`)
  const silence = watchSilence(() => count, { waitMs: options.wait, wanted })
  try {
    await untilAborted(signal, Promise.race([received, silence.happened]))
  } finally {
    silence.stop()
  }
}

async function flushAll({ measured }: Running): Promise<void> {
  await Promise.all(measured.map(({ client }) => client.flush()))
}

interface SilenceOptions {
  readonly waitMs: number
  readonly wanted: number
}

/** Core NATS loses what a subscriber cannot keep up with: whoever waits for all of it would wait for ever. */
function watchSilence(
  count: () => number,
  { waitMs, wanted }: SilenceOptions,
): { readonly happened: Promise<never>; readonly stop: () => void } {
  let before = 0
  let since = performance.now()
  let timer: NodeJS.Timeout | undefined
  const happened = new Promise<never>((_, reject) => {
    const look = (): void => {
      const now = count()
      if (now !== before) since = performance.now()
      before = now
      if (now > 0 && performance.now() - since >= waitMs) reject(silent(now, { waitMs, wanted }))
    }
    timer = setInterval(look, Math.min(waitMs, LOOK_MS))
  })
  return { happened, stop: () => clearInterval(timer) }
}

function silent(count: number, { waitMs, wanted }: SilenceOptions): SubrosaError {
  return new SubrosaError(
    'ERR_TIMEOUT',
    `${numberShown(count)} of ${numberShown(wanted)} messages came, and then none for ${durationShown(waitMs)}`,
    { hint: 'send as many as --msgs says; a broker drops what a subscriber is too slow for' },
  )
}
