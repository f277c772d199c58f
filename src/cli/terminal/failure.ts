import { CommanderError } from 'commander'
import { SubrosaError, type SubrosaErrorCode } from '../../base/errors.ts'
import { OutputClosed, reportError, reportHint, type Terminal } from './terminal.ts'

/** The command did what it should. */
export const EXIT_OK = 0
/** It could not. */
const EXIT_FAILURE = 1
/** It was asked for in a way that it does not understand. */
const EXIT_USAGE = 2
/** Nobody is there who could read the message or answer the request. Later somebody may be. */
const EXIT_NOBODY = 3
/** No answer came in time. */
const EXIT_TIMEOUT = 4
/** It was ended before it was done. What runs until it is interrupted, as `sub`, ends with {@link EXIT_OK} instead. */
const EXIT_INTERRUPTED = 130

const BY_CODE: { readonly [code in SubrosaErrorCode]?: number } = {
  ERR_EMPTY_AUDIENCE: EXIT_NOBODY,
  ERR_RECIPIENT_NOT_ALLOWED: EXIT_NOBODY,
  ERR_NO_RESPONDERS: EXIT_NOBODY,
  ERR_UNADDRESSED: EXIT_NOBODY,
  ERR_TIMEOUT: EXIT_TIMEOUT,
  ERR_NO_ROTATION_SERVICE: EXIT_TIMEOUT,
}

/** A command that had something to finish was interrupted before it had. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted')
  }
}

/** What `--help` says of the exit codes. */
export const EXIT_CODES_HELP = `
Exit codes:
  ${EXIT_OK}    done; also what runs until it is interrupted, and was
  ${EXIT_FAILURE}    failed
  ${EXIT_USAGE}    not understood: wrong arguments
  ${EXIT_NOBODY}    nobody is there to read the message or to answer the request
  ${EXIT_TIMEOUT}    no answer in time
  ${EXIT_INTERRUPTED}  interrupted before it was done`

/**
 * Says what went wrong on standard error, without a stack trace.
 *
 * @returns the exit code
 */
export function reportFailure(terminal: Terminal, error: unknown): number {
  // What commander has to say, it has said. What the others mean is no news to anyone.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
  if (error instanceof OutputClosed) return EXIT_OK
  if (error instanceof Interrupted) return EXIT_INTERRUPTED
  if (error instanceof SubrosaError) {
    reportError(terminal, `${error.message}${reasonOf(error.cause)} [${error.code}]`)
    if (error.hint !== undefined) reportHint(terminal, error.hint)
    return BY_CODE[error.code] ?? EXIT_FAILURE
  }
  reportError(terminal, error instanceof Error ? error.message : 'something that is no error was thrown')
  return error instanceof RangeError ? EXIT_USAGE : EXIT_FAILURE
}

/** The system's word on a failed call, such as ENOENT. Other causes may quote data. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error) || !('code' in cause) || !('syscall' in cause)) return ''
  return ` (${String(cause.code)})`
}
