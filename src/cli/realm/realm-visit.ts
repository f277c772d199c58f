import { setTimeout as pause } from 'node:timers/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import type { SecureConnection } from '../../bus/connection.ts'
import { Interrupted } from '../terminal/failure.ts'
import { openLog } from '../terminal/log.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { BrokerOptions } from './broker-options.ts'
import { watchDenials } from './denials.ts'
import { joinRealm } from './join.ts'

const LEAVE_MS = 2000

/** A command's time in the realm. */
export interface Session {
  readonly bus: SecureConnection
  /** Resolves when this process is asked to end. */
  readonly interrupted: Promise<void>
  /** Throws the error that the broker has sent, if any: it denies a publish in no other way. */
  readonly assertAllowed: () => void
}

/**
 * Joins the realm, does the task, and leaves in order: whoever seals to this agent is told that it is gone. What
 * happens to the connection meanwhile is logged.
 *
 * @param purpose what the broker calls the connection, where nobody says it
 * @throws what joinRealm and the task throw
 */
export async function inRealm(
  terminal: Terminal,
  options: BrokerOptions,
  { purpose, task }: { readonly purpose: string; readonly task: (session: Session) => Promise<void> },
): Promise<void> {
  const log = await openLog(terminal, options)
  const { bus, nc } = await joinRealm(terminal, options, { purpose, log })
  const interrupted = terminal.interrupted()
  const assertAllowed = watchDenials(nc)
  try {
    await task({ bus, interrupted, assertAllowed })
  } finally {
    await leave(nc, bus)
  }
}

/**
 * Leaves in order, or where the broker is gone without.
 *
 * @param bus what to drain: the sealed connection on it, where there is one
 */
export async function leave(nc: NatsConnection, bus: Pick<NatsConnection, 'drain'> = nc): Promise<void> {
  // That the connection broke meanwhile is reported already.
  await Promise.race([bus.drain().catch(() => {}), pause(LEAVE_MS, undefined, { ref: false })])
  await nc.close()
}

/** Does what has an end. @throws what the task throws, and Interrupted when it is interrupted first */
export async function unlessInterrupted(interrupted: Promise<void>, task: Promise<void>): Promise<void> {
  await Promise.race([
    task,
    interrupted.then(() => {
      throw new Interrupted()
    }),
  ])
}
