import { connect as connectNats3, type NatsConnection } from '@nats-io/transport-node'
import { connect as connectNats2 } from 'nats'

/** Options that both client lines take. */
export interface ClientOptions {
  readonly servers?: string
  readonly name?: string
  readonly inboxPrefix?: string
  readonly user?: string
  readonly pass?: string
  /** Default: what SUBROSA_TEST_CLIENT says, else the current line. */
  readonly client?: ClientLine
}

/** `@nats-io/transport-node` 3.4, or `nats` 2.29. */
export type ClientLine = '@nats-io' | 'nats'

/** The line over which this run of the tests goes. */
export const clientLine: ClientLine = process.env['SUBROSA_TEST_CLIENT'] === 'nats' ? 'nats' : '@nats-io'

/** Connects over one of the client lines. Tests use only what both have, so one type does for both. */
export async function connectClient({
  client = clientLine,
  ...options
}: ClientOptions): Promise<NatsConnection> {
  const patient = { reconnectTimeWait: 20, maxReconnectAttempts: -1, ...options }
  if (client === '@nats-io') return connectNats3(patient)
  return (await connectNats2(patient)) as unknown as NatsConnection
}
