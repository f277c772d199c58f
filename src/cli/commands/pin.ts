import { type Command, Option } from 'commander'
import { fingerprint } from '../../identity/fingerprint.ts'
import type { PinFile } from '../../identity/keyfiles/pin-file.ts'
import type { Pin } from '../../identity/pins.ts'
import { pinKey, readPins } from '../../setup/pins.ts'
import { resolvePublicKey } from '../realm/public-key.ts'
import { addExamples, parseName, patternsOption } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

const DEFAULT_FILE = 'subrosa-pins.json'

interface PinOptions {
  readonly file: string
  readonly pub?: readonly string[]
  readonly sub?: readonly string[]
  readonly denyPub?: readonly string[]
  readonly denySub?: readonly string[]
  readonly rotator?: true
  readonly replace?: true
  readonly json?: true
}

/** Registers `subrosa pin`. */
export function registerPin(program: Command, terminal: Terminal): void {
  const command = program
    .command('pin')
    .description('trust a key under a name, or list the keys that are trusted')
    .argument('[name]', 'the agent', parseName)
    .argument('[key]', 'its public key: U…, a line or file of OpenSSH, or a PEM file')
    .addOption(patternsOption('--pub <pattern...>', 'subjects that it may publish to'))
    .addOption(patternsOption('--sub <pattern...>', 'subjects that it may read'))
    .addOption(patternsOption('--deny-pub <pattern...>', 'subjects that it may not publish to after all'))
    .addOption(patternsOption('--deny-sub <pattern...>', 'subjects that it may not read after all'))
    .option('--rotator', "the key is the rotation service's: it names the realm")
    .option('--replace', 'pin this key even where another one is pinned')
    .option('--json', 'list as JSON')
    .addOption(
      new Option('--file <file>', 'the file of pins; also SUBROSA_PINS').default(
        terminal.env['SUBROSA_PINS'] || DEFAULT_FILE,
      ),
    )
    .action(async (name: string | undefined, key: string | undefined, options: PinOptions) => {
      if (name === undefined) return list(terminal, options)
      if (key === undefined) return command.error("error: missing required argument 'key'")
      return pin(terminal, { name, key, options })
    })
  command.addHelpText(
    'after',
    '\nWithout --pub, --sub and their like an agent may publish and read every subject.',
  )
  addExamples(
    command,
    'subrosa pin --rotator rotator UDXB…',
    "subrosa pin billing ~/billing.pub --sub 'orders.>'",
    'subrosa pin',
  )
}

interface PinArguments {
  readonly name: string
  readonly key: string
  readonly options: PinOptions
}

async function pin(terminal: Terminal, { name, key: argument, options }: PinArguments): Promise<void> {
  const { file: path, pub, sub, denyPub, denySub, rotator, replace } = options
  const key = await resolvePublicKey(argument)
  await pinKey({
    path,
    name,
    key,
    ...(pub && { pub }),
    ...(sub && { sub }),
    ...(denyPub && { denyPub }),
    ...(denySub && { denySub }),
    ...(rotator && { rotator }),
    ...(replace && { replace }),
  })
  terminal.data(fingerprint(key))
  note(terminal, `pinned ${name} in ${path}`)
  note(
    terminal,
    'compare the fingerprint on standard output with its owner, by a way that the broker cannot change;',
  )
  note(terminal, 'the owner sees it with: subrosa identity show FILE, or ssh-keygen -l -f FILE')
}

async function list(terminal: Terminal, { file: path, json }: PinOptions): Promise<void> {
  const file = await readPins(path)
  const pins = describe(file)
  if (json) {
    terminal.data(JSON.stringify({ realm: file.realm, pins }, null, 2))
    return
  }
  if (file.realm === undefined)
    note(terminal, `${path} does not say which key the rotation service has: subrosa pin --rotator NAME KEY`)
  if (pins.length === 0) return
  const rows = pins.map(({ name, rotator, fingerprint: print, pub, sub }) => [
    name,
    rotator ? 'rotator' : '-',
    summary(pub),
    summary(sub),
    print,
  ])
  for (const line of formatTable([['NAME', 'ROLE', 'MAY PUBLISH', 'MAY READ', 'FINGERPRINT'], ...rows]))
    terminal.data(line)
}

function describe({ realm, pins }: PinFile) {
  return Object.entries(pins).map(([name, pinned]) => {
    const {
      key,
      pub = {},
      sub = {},
    }: Pin = typeof pinned === 'string'
      ? { key: pinned, pub: { allow: ['>'] }, sub: { allow: ['>'] } }
      : pinned
    return { name, key, fingerprint: fingerprint(key), rotator: key === realm, pub, sub }
  })
}

function summary({ allow = [], deny = [] }: NonNullable<Pin['pub']>): string {
  const allowed = allow.join(' ') || '-'
  return deny.length === 0 ? allowed : `${allowed} but not ${deny.join(' ')}`
}
