import { SubrosaError } from '../base/errors.ts'

// What the server says, by its numbers.
const WRONG_LAST_SEQUENCE = [10071, 10164]
const NO_STREAM = 10059
const NOT_FOR_THIS_ACCOUNT = 10039

/** Whether something else was appended before. */
export function isWrongSequence(error: unknown): boolean {
  return WRONG_LAST_SEQUENCE.includes(serverCode(error) ?? 0)
}

/** Whether a stream is not there. For a publish nobody is there who would store it. */
export function isStreamMissing(error: unknown): boolean {
  return serverCode(error) === NO_STREAM || isNotEnabled(error)
}

/** What stands between a replica and the log, for people. */
export function jetStreamError(cause: unknown): SubrosaError {
  if (cause instanceof SubrosaError) return cause
  if (isNotEnabled(cause) || serverCode(cause) === NOT_FOR_THIS_ACCOUNT) {
    return new SubrosaError('ERR_SETUP', 'the broker has no JetStream for this login', {
      hint: 'turn it on in the configuration of the broker, and in its account: subrosa init writes both',
      cause,
    })
  }
  if (isNamed(cause, 'PermissionViolationError')) {
    return new SubrosaError('ERR_SETUP', 'this login may not use what the replicas share in JetStream', {
      hint: 'make it anew: subrosa agent add rotator --renew',
      cause,
    })
  }
  if (isNamed(cause, 'ClosedConnectionError')) {
    return new SubrosaError('ERR_CONNECTION', 'the NATS connection is closed', { cause })
  }
  if (isNamed(cause, 'TimeoutError')) {
    return new SubrosaError('ERR_TIMEOUT', 'JetStream does not answer in time', {
      hint: 'is it turned on in the configuration of the broker? subrosa init writes one with it',
      cause,
    })
  }
  return new SubrosaError('ERR_STATE', `JetStream refuses: ${messageOf(cause)}`, { cause })
}

function isNotEnabled(error: unknown): boolean {
  return isNamed(error, 'JetStreamNotEnabled')
}

function serverCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'number' ? error.code : undefined
}

/** The classes come with the client, which is loaded when a log is opened: it is asked by name. */
function isNamed(error: unknown, name: string): boolean {
  return error instanceof Error && (error.name === name || isNamed(error.cause, name))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
}
