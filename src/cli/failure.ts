import { CommanderError } from 'commander'
import { SubrosaError } from '../errors.ts'
import { reportError, reportHint, type Terminal } from './terminal.ts'

/** The command did what it should. */
export const EXIT_OK = 0
/** It could not. */
const EXIT_FAILURE = 1
/** It was asked for in a way that it does not understand. */
const EXIT_USAGE = 2

/**
 * Says what went wrong on standard error, without a stack trace.
 *
 * @returns the exit code
 */
export function reportFailure(terminal: Terminal, error: unknown): number {
  // What commander has to say, it has said.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
  if (error instanceof SubrosaError) {
    reportError(terminal, `${error.message}${reasonOf(error.cause)} [${error.code}]`)
    if (error.hint !== undefined) reportHint(terminal, error.hint)
    return EXIT_FAILURE
  }
  reportError(terminal, error instanceof Error ? error.message : 'something that is no error was thrown')
  return error instanceof RangeError ? EXIT_USAGE : EXIT_FAILURE
}

/** The system's word on a failed call, such as ENOENT. Other causes may quote data. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error) || !('code' in cause) || !('syscall' in cause)) return ''
  return ` (${String(cause.code)})`
}
