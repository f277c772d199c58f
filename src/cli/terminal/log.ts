import { type Command, Option } from 'commander'
import { type Logger, silentLog } from '../../base/logger.ts'
import { printable } from '../../base/printable.ts'
import type { Terminal } from './terminal.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
const FORMS = ['json', 'pretty'] as const
const DEFAULT_LEVEL = 'warn'

/** The least level that is logged, by pino's names. */
export type LogLevel = (typeof LEVELS)[number]

/** What the command line says about the log. */
export interface LogOptions {
  readonly logLevel?: LogLevel
  /** Default: pretty for a person at a terminal, JSON for everything else. */
  readonly log?: (typeof FORMS)[number]
}

/**
 * Adds the options of {@link LogOptions}.
 *
 * @param byDefault the level of a command line that names none
 *
 * @example
 * ```ts
 * addLogOptions(command, 'info')
 * ```
 */
export function addLogOptions(command: Command, byDefault: LogLevel = DEFAULT_LEVEL): Command {
  const options = [
    new Option('--log-level <level>', 'the least that is logged, to standard error')
      .choices(LEVELS)
      .default(byDefault),
    new Option(
      '--log <form>',
      'how: a line of JSON for each event, or lines for people (default: pretty on a terminal, else json)',
    ).choices(FORMS),
  ]
  for (const option of options) command.addOption(option.helpGroup('Log:'))
  return command
}

/**
 * Opens the log that a command line asks for: a pino logger that writes whole lines to the terminal's standard error,
 * each before the call returns, in order with what the command says there itself.
 *
 * @example
 * ```ts
 * const bus = await secure(nc, { identity, trust, log: await openLog(terminal, options) })
 * ```
 */
export async function openLog(terminal: Terminal, options: LogOptions): Promise<Logger> {
  const { logLevel: level = DEFAULT_LEVEL, log: form = terminal.redraw === undefined ? 'json' : 'pretty' } =
    options
  if (level === 'silent') return silentLog
  // Most commands need nothing of it, and it takes its time to load.
  const { pino, stdTimeFunctions } = await import('pino')
  const linesOf = form === 'pretty' ? prettyLines : (json: string) => [json.trimEnd()]
  const log: Logger = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => errorFields(error, level === 'debug') },
    },
    {
      write: (json) => {
        // A broker chooses subjects, and strangers choose names.
        for (const line of linesOf(json)) terminal.say(printable(line))
      },
    },
  )
  return log
}

interface ErrorFields {
  readonly message: string
  readonly code?: string
  readonly stack?: string
}

/** Nothing else of an error: its cause and its own fields may hold data. */
function errorFields(error: unknown, showsStack: boolean): ErrorFields {
  if (!(error instanceof Error)) return { message: 'non-error value thrown' }
  const { message, stack } = error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return { message, ...(code !== undefined && { code }), ...(showsStack && stack !== undefined && { stack }) }
}

/** What pino writes, as this file has set it up. */
interface Written {
  readonly level: string
  readonly time: string
  readonly pid: number
  readonly event: string
  readonly msg: string
  readonly err?: ErrorFields
  readonly [field: string]: unknown
}

/** A line for people, and below it the stack of an error where there is one. */
function prettyLines(json: string): readonly string[] {
  const { level, time, pid, event, msg, err, ...fields } = JSON.parse(json) as Written
  const { stack, message: error, ...more } = err ?? {}
  const shown = Object.entries({ ...fields, ...(error !== undefined && { error }), ...more }).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? wordOf(value) : JSON.stringify(value)}`,
  )
  // The message is in the stack too, and what others wrote into it begins no line here.
  const frames = stack?.split('\n').filter((line) => /^\s+at /.test(line)) ?? []
  return [[time, level, `${event}: ${msg}`, ...shown].join(' '), ...frames]
}

/** A text that cannot be taken for two fields, as it is, and any other one in quotation marks. */
function wordOf(text: string): string {
  return /^[\w.:/+*>@-]+$/.test(text) ? text : JSON.stringify(text)
}
