import { SubrosaError } from '../../base/errors.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { StatusEvent } from '../../bus/status.ts'
import { quoted } from '../messages/message-format.ts'
import { note, reportError, type Terminal } from '../terminal/terminal.ts'

/** Rejections that are told one by one; after them every power of ten is. */
const TOLD_ONE_BY_ONE = 10

/** A report that is being given. */
export interface StatusReport {
  /** Throws the error that the broker has sent, if any. */
  readonly assertAllowed: () => void
  /** Sums up what was refused. */
  readonly end: () => void
}

/** Tells a person what happens to a connection, on standard error. */
export function reportStatus(terminal: Terminal, bus: SecureConnection): StatusReport {
  let rejected = 0
  let brokerError: Error | undefined
  const report = (event: StatusEvent): void => {
    if (event.type === 'rejected') {
      rejected++
      if (isTold(rejected)) note(terminal, rejection(event, rejected))
      return
    }
    if (event.type === 'nats') brokerError ??= errorOf(event.status)
    reportEvent(terminal, event)
  }
  void (async () => {
    for await (const event of bus.status()) report(event)
  })()
  return {
    assertAllowed: () => {
      if (brokerError !== undefined) throw deniedByBroker(brokerError)
    },
    end: () => {
      const reasons = Object.entries(bus.rejections()).map(([reason, count]) => `${reason} ${count}`)
      if (rejected > TOLD_ONE_BY_ONE) note(terminal, `refused in all: ${reasons.join(', ')}`)
    },
  }
}

function errorOf(status: { readonly type: string }): Error | undefined {
  return 'error' in status && status.error instanceof Error ? status.error : undefined
}

/** What a broker that denies something leaves to say. */
export function deniedByBroker(error: Error): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', `the broker has sent an error: ${error.message}`, {
    hint: 'the login may allow less than the identity does: issue both anew with subrosa agent add NAME --renew',
  })
}

function isTold(count: number): boolean {
  return count <= TOLD_ONE_BY_ONE || Number.isInteger(Math.log10(count))
}

function rejection(event: StatusEvent & { readonly type: 'rejected' }, count: number): string {
  const message = `refused a message on ${quoted(event.subject)}: ${event.reason}`
  return count <= TOLD_ONE_BY_ONE ? message : `${message}; ${count} so far`
}

function reportEvent(terminal: Terminal, event: StatusEvent): void {
  switch (event.type) {
    case 'stale':
      note(terminal, 'no word from the rotation service for too long: nothing is sent and nothing is opened')
      break
    case 'fresh':
      note(terminal, 'the rotation service is back')
      break
    case 'revoked':
      note(terminal, event.self ? 'this agent was revoked' : `revoked ${event.identity}: ${event.reason}`)
      break
    case 'clone':
      note(terminal, `two processes say that they are ${event.name}/${event.instance}`)
      break
    case 'sessionRefused':
      note(terminal, `${event.by}/${event.instance} takes no frames of a session: ${event.reason}`)
      break
    case 'refusedSession':
      note(terminal, `refused a session of ${event.sender}: ${event.reason}`)
      break
    case 'rollback':
      reportError(terminal, event.message)
      break
    case 'error':
      reportError(terminal, event.error instanceof Error ? event.error.message : 'unknown')
      break
    case 'nats':
      if (event.status.type === 'disconnect')
        note(terminal, 'the connection to the broker is lost: trying again')
      if (event.status.type === 'reconnect') note(terminal, 'the broker is back')
      break
  }
}
