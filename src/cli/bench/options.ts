import { type Command, Option } from 'commander'
import type { SealMode } from '../../bus/messages/opened.ts'
import { assertNamed } from '../messages/addressing.ts'
import { toOption } from '../messages/message-options.ts'
import { addAgentOptions, givenOptions } from '../realm/broker-options.ts'
import { parseAmount, parseCount } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { ClientsOptions } from './clients.ts'
import { parseSize } from './sizes.ts'

const DEFAULT_MSGS = 100_000
const DEFAULT_BYTES = 128
const MODES: readonly SealMode[] = ['session', 'channel', 'message']

/** Options of every benchmark. */
export interface BenchOptions extends ClientsOptions {
  readonly msgs: number
  readonly csv?: string
  readonly progress: boolean
}

/** Options of benchmarks that send. */
export interface SendingOptions extends BenchOptions {
  /** Bytes. */
  readonly size: number
  readonly mode: SealMode
  readonly to?: readonly string[]
  readonly waitFor: number
}

/** What every benchmark says about the subject that it takes. */
export const SUBJECT_HELP = `
Take a subject that nothing else reads: whoever may read it gets these messages. The payloads are random bytes.`

/** Adds the options of {@link BenchOptions} and of the agent, after those that are there already. */
export function addBenchOptions(command: Command): Command {
  command
    .option('--clients <number>', 'how many clients at a time, each an instance of the agent', parseCount, 1)
    .option('--csv <file>', 'write the results to this file')
    .option('--no-progress', 'show no progress bar; without a terminal there is none')
    .option('--plain', 'for comparison: in plaintext, on a connection that seals nothing')
  return addAgentOptions(command)
}

/** Adds the options of {@link SendingOptions}. */
export function addSendingOptions(command: Command): Command {
  addMsgsOption(command, 'how many messages, of all clients together')
    .option('--size <bytes>', 'size of a payload, such as 128, 1KB or 1MB', parseSize, DEFAULT_BYTES)
    .addOption(
      sealingOption(new Option('--mode <mode>', 'how they are sealed').choices(MODES).default('session')),
    )
    .addOption(sealingOption(toOption()))
    .addOption(
      sealingOption(
        new Option('--wait-for <number>', 'how many others must be there to read it, within --timeout')
          .argParser(parseAmount)
          .default(1),
      ),
    )
  return command
}

/** Adds `--msgs`. */
export function addMsgsOption(command: Command, description: string): Command {
  return command.option('--msgs <number>', description, parseCount, DEFAULT_MSGS)
}

/** An option that says how to seal, and that nothing can obey where nothing is sealed. */
export function sealingOption(option: Option): Option {
  return option.conflicts('plain')
}

/** @throws RangeError under pins, when nobody is named */
export function assertAddressed(terminal: Terminal, options: SendingOptions): void {
  if (!options.plain) assertNamed(givenOptions(terminal, options), options)
}
