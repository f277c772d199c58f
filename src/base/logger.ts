import { printable } from './printable.ts'

/**
 * Where log lines go: the shape of a pino logger, so that one can be passed as it is. Each line has fields and a text;
 * the field `event` names what happened, and never changes. No line holds a secret or a payload.
 *
 * @example
 * ```ts
 * const print = (fields: LogFields, text: string) => console.error(JSON.stringify({ ...fields, text }))
 * const log: Logger = { debug() {}, info: print, warn: print, error: print }
 * ```
 */
export interface Logger {
  /** Details that matter only when looking for a fault. */
  debug(fields: LogFields, text: string): void
  /** What happens in the ordinary course: keys rotate, the rotation service is heard again. */
  info(fields: LogFields, text: string): void
  /** What an operator should look at: rejections, clones, staleness, a lost connection. */
  warn(fields: LogFields, text: string): void
  /** What needs somebody: a rollback, an error that nobody caught. */
  error(fields: LogFields, text: string): void
}

/** The fields of a log line. An error stands in `err`, as pino's serializers expect. */
export interface LogFields {
  readonly event: string
  readonly err?: unknown
  readonly [field: string]: unknown
}

/** Says nothing. */
export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/**
 * What is used where no logger is given: warnings and errors become warnings of the process, so that a thrown callback,
 * a rejection or a clone is never silent. In a browser they go to its console. What a broker has chosen steers no terminal.
 */
export const warningLog: Logger = { debug() {}, info() {}, warn, error: warn }

function warn({ event, err, ...fields }: LogFields, text: string): void {
  const details = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`)
  const cause = err === undefined ? [] : [err instanceof Error ? err.message : 'non-error value thrown']
  const line = printable([[text, ...cause].join(': '), ...details].join(' '))
  if (typeof globalThis.process?.emitWarning === 'function')
    globalThis.process.emitWarning(line, { type: 'SubrosaWarning', code: event })
  else console.warn(`SubrosaWarning: ${line}`)
}
