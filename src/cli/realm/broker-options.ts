import { type Command, InvalidArgumentError, Option } from 'commander'
import { isAgentName } from '../../identity/token.ts'
import { addLogOptions, type LogLevel, type LogOptions } from '../terminal/log.ts'
import { parseDuration, parseName, passphraseOption } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** The environment variable of each option. */
const VARIABLES = {
  server: 'NATS_URL',
  user: 'NATS_USER',
  password: 'NATS_PASSWORD',
  token: 'NATS_TOKEN',
  creds: 'NATS_CREDS',
  nkey: 'NATS_NKEY',
  jwt: 'NATS_JWT',
  seed: 'NATS_SEED',
  tlscert: 'NATS_CERT',
  tlskey: 'NATS_KEY',
  tlsca: 'NATS_CA',
  context: 'NATS_CONTEXT',
  inboxPrefix: 'NATS_INBOX_PREFIX',
  realm: 'SUBROSA_REALM',
  as: 'SUBROSA_AGENT',
  authority: 'SUBROSA_AUTHORITY',
  pins: 'SUBROSA_PINS',
  identity: 'SUBROSA_IDENTITY',
  identityToken: 'SUBROSA_IDENTITY_TOKEN',
  state: 'SUBROSA_STATE',
} as const

const TIMEOUT_VARIABLE = 'NATS_TIMEOUT'
const DEFAULT_TIMEOUT_MS = 5000

/** The options of which each has a text. */
type TextOption = keyof typeof VARIABLES

/** Texts by option, where they are given. */
type TextOptions = { readonly [option in TextOption]?: string }

/** What the command line says about how to connect and whom to trust, as commander hands it over. */
export interface BrokerOptions extends Omit<TextOptions, 'context'>, LogOptions {
  /** Where the passphrase of an encrypted identity key is. */
  readonly passphrase?: string
  /** `false` for `--no-context`. */
  readonly context?: string | false
  readonly tlsfirst?: true
  readonly timeout?: number
  readonly connectionName?: string
}

/** Options as they hold, from the command line first and then from the environment. */
export interface GivenOptions {
  /** From the command line alone. */
  readonly flags: TextOptions
  /** From the environment alone. */
  readonly env: TextOptions
  /** Both. */
  readonly all: TextOptions
  readonly mayUseContext: boolean
  readonly tlsFirst: boolean
  /** How long to wait for answers. */
  readonly timeoutMs: number
  /** How long connecting and joining may take: who wants quick answers does not mean these. */
  readonly joinTimeoutMs: number
  readonly connectionName: string | undefined
  readonly passphrase: string | undefined
}

/** Adds what says where the broker is, how to log in, and which realm it is: the names are those of `nats`. */
export function addBrokerOptions(command: Command): Command {
  return addGroup(command, 'Connection:', [
    textOption('-s, --server <url>', 'where the broker is; several are separated by commas'),
    textOption('--context <name>', 'a context of the nats command'),
    new Option('--no-context', 'do not use the context that nats context select has chosen'),
    textOption('--creds <file>', 'login: a creds file'),
    textOption('--nkey <file>', 'login: a file with an nkey seed'),
    textOption('--user <user>', 'login: a user, or without --password a token'),
    textOption('--password <password>', 'its password; others can see a command line'),
    textOption('--token <token>', 'login: a token'),
    textOption('--jwt <jwt>', 'login: a user JWT'),
    textOption('--seed <seed>', 'the seed for it; others can see a command line'),
    textOption('--tlsca <file>', 'certificate authority that the broker must be of'),
    textOption('--tlscert <file>', 'certificate of this client'),
    textOption('--tlskey <file>', 'its key'),
    new Option('--tlsfirst', 'begin with TLS, before the greeting of the broker'),
    new Option(
      '--timeout <duration>',
      `how long to wait for answers; also ${TIMEOUT_VARIABLE} (default: 5s)`,
    ).argParser(parseDuration),
    textOption('--inbox-prefix <prefix>', 'first tokens of reply subjects'),
    new Option('--connection-name <name>', 'what the broker calls this connection'),
    textOption('--realm <dir>', "the realm's folder", './subrosa-realm, or what subrosa use has installed'),
    textOption('--as <name>', 'an agent of that folder; under --pins the name of a private key').argParser(
      parseName,
    ),
    ...trustOptions(),
  ])
}

/** Adds what says whom to trust, for commands that connect to nobody. */
export function addTrustOptions(command: Command): Command {
  return addGroup(command, 'Trust:', [textOption('--realm <dir>', "the realm's folder"), ...trustOptions()])
}

/**
 * Adds {@link addBrokerOptions}, what says who this agent is, and what is logged of its sealed connection.
 *
 * @param logLevel the level of a command line that names none; without it pino's `warn`
 */
export function addAgentOptions(command: Command, logLevel?: LogLevel): Command {
  addGroup(addBrokerOptions(command), 'Connection:', [
    textOption('--identity <source>', 'who this is: an identity file, a private key, or env:NAME'),
    textOption('--identity-token <source>', 'the token of a private key: a file, or env:NAME'),
    passphraseOption(),
    textOption('--state <dir>', "what this agent must not forget, or 'memory'"),
  ])
  return addLogOptions(command, logLevel)
}

/**
 * What holds of the command line and the environment.
 *
 * @throws RangeError when a variable has no value that the option would take
 */
export function givenOptions(terminal: Terminal, options: BrokerOptions): GivenOptions {
  const { tlsfirst, timeout, connectionName, context, passphrase, logLevel, log, ...texts } = options
  const flags: Record<string, string> = {}
  const env: Record<string, string> = {}
  for (const [option, variable] of Object.entries(VARIABLES)) {
    const flag = option === 'context' ? context : texts[option as keyof typeof texts]
    const value = terminal.env[variable]
    if (typeof flag === 'string') flags[option] = flag
    if (value) env[option] = value
  }
  // On the command line it is checked already.
  if (env['as'] !== undefined && !isAgentName(env['as']))
    throw new RangeError(`${VARIABLES.as} is no agent's name`)
  const timeoutMs = timeout ?? timeoutOf(terminal) ?? DEFAULT_TIMEOUT_MS
  return {
    flags,
    env,
    all: { ...env, ...flags },
    mayUseContext: context !== false,
    tlsFirst: tlsfirst === true,
    timeoutMs,
    joinTimeoutMs: Math.max(timeoutMs, DEFAULT_TIMEOUT_MS),
    connectionName,
    passphrase,
  }
}

function timeoutOf({ env }: Terminal): number | undefined {
  const text = env[TIMEOUT_VARIABLE]
  if (!text) return undefined
  try {
    return parseDuration(text)
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new RangeError(`${TIMEOUT_VARIABLE}: ${error.message}`)
    throw error
  }
}

function textOption(flags: string, description: string, standard?: string): Option {
  const option = new Option(flags)
  const variable = VARIABLES[option.attributeName() as TextOption]
  option.description = `${description}; also ${variable}${standard === undefined ? '' : ` (default: ${standard})`}`
  return option
}

function trustOptions(): readonly Option[] {
  return [
    textOption(
      '--authority <key>',
      'public key of the authority, or of several, the first of which names the realm',
    ).argParser(collectKeys),
    textOption('--pins <file>', 'trust the keys pinned in this file, and no authority'),
  ]
}

function collectKeys(text: string, before: string | undefined): string {
  return before === undefined ? text : `${before},${text}`
}

function addGroup(command: Command, heading: string, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option.helpGroup(heading))
  return command
}
