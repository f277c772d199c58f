import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_MESSAGE_BYTES } from '../../base/limits.ts'
import { printableJson } from '../../base/printable.ts'
import { engineFor } from '../../crypto/engine.ts'
import { Trust } from '../../identity/trust.ts'
import { findPlan } from '../../setup/plan-records.ts'
import { capturedBytes } from '../inspect/captured.ts'
import { type Around, dissect } from '../inspect/dissect.ts'
import { Judge } from '../inspect/judge.ts'
import { outline } from '../inspect/outline.ts'
import { trustOf } from '../realm/broker.ts'
import { addTrustOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { findRealm } from '../realm/find-realm.ts'
import { addExamples } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

/** Hexadecimal takes two characters a byte, and then there is white space. */
const MAX_INPUT_BYTES = 3 * MAX_MESSAGE_BYTES

type InspectOptions = Pick<BrokerOptions, 'realm' | 'authority' | 'pins'> & { readonly json?: true }

/** Registers `subrosa inspect`. */
export function registerInspect(program: Command, terminal: Terminal): void {
  const command = program
    .command('inspect')
    .description('show what a captured message is made of; no key is needed, and nothing is opened')
    .argument(
      '[file]',
      'the payload of one message, as it travels, or as hex or base64; default: standard input',
    )
    .option('--json', 'as JSON')
    .action((file: string | undefined, options: InspectOptions) => inspect(terminal, file, options))
  addTrustOptions(command)
  addExamples(
    command,
    'subrosa inspect captured.bin --json',
    "nats sub 'orders.>' --raw --count 1 | subrosa inspect",
    'echo wQEHk8AAwA== | subrosa inspect',
  )
}

async function inspect(terminal: Terminal, file: string | undefined, options: InspectOptions): Promise<void> {
  const around: Around = { engine: engineFor(), judge: await judgeOf(terminal, options) }
  const input = await readInput(terminal, file)
  const { anatomy, faults } = dissect(
    around,
    capturedBytes(input, (bytes) => isWhole(around, bytes)),
  )
  if (options.json) terminal.data(printableJson(anatomy))
  else for (const line of outline(anatomy)) terminal.data(line)
  const [first, ...others] = faults
  if (first === undefined) return
  throw others.length === 0
    ? first
    : new SubrosaError(first.code, `${first.message}; and ${others.length} faults more`)
}

/** Signatures are verified where somebody says outright whom to trust. */
async function judgeOf(terminal: Terminal, options: InspectOptions): Promise<Judge | undefined> {
  const { realm, authority, pins } = givenOptions(terminal, options).all
  if (realm === undefined && authority === undefined && pins === undefined) return undefined
  const engine = engineFor()
  const found = await findRealm(terminal, givenOptions(terminal, options))
  const plan = found && (await findPlan(found.realm))?.plan
  return new Judge(engine, new Trust(engine, await trustOf(terminal, options)), plan)
}

function isWhole(around: Around, bytes: Uint8Array): boolean {
  try {
    dissect(around, bytes)
    return true
  } catch {
    return false
  }
}

async function readInput(terminal: Terminal, file: string | undefined): Promise<Uint8Array> {
  if (file !== undefined && file !== '-') return collect(createReadStream(file), file)
  if (terminal.input.isTyped) note(terminal, 'reading a message from standard input; end it with Ctrl-D')
  return collect(terminal.input.read(), 'the standard input')
}

async function collect(stream: AsyncIterable<Uint8Array>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of stream) {
      length += chunk.length
      if (length > MAX_INPUT_BYTES) break
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot read ${name}`, { cause })
  }
  if (length > MAX_INPUT_BYTES)
    throw new SubrosaError('ERR_MALFORMED', `${name} holds more than the longest message in any form`)
  return Buffer.concat(chunks)
}
