import { openStateFolder } from '#state-folder'
import { type Clock, systemClock } from '../clock.ts'
import { type EngineName, engineFor } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import { SubrosaError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import { memoryState } from '../keys/state.ts'
import { protocolSubjects } from '../keys/subjects.ts'
import { SecureConnection } from './connection.ts'
import type { NatsLike } from './nats-like.ts'

/** Options of {@link secure}. */
export interface SecureOptions {
  /** Who this agent is; see {@link loadIdentity}. */
  readonly identity: Identity
  /** Whom it trusts to say who the others are. */
  readonly trust: TrustOptions
  /**
   * A folder where it remembers the newest epoch between runs, so that nobody can show it an old one. Default
   * `$XDG_STATE_HOME/subrosa` or `~/.local/state/subrosa`. `'memory'` does without, and has to be asked for.
   */
  readonly state?: string
  /** Milliseconds in which the rotation service must answer. Default 10,000. */
  readonly timeout?: number
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  /** Whether lengths are hidden. Default `'padme'`. */
  readonly padding?: Padding
  /** The first tokens of the protocol's own subjects. Default `subrosa.v1`. */
  readonly subjectPrefix?: string
  /** Where time comes from, for tests. Default the machine's. */
  readonly clock?: Clock
}

const DEFAULT_JOIN_TIMEOUT_MS = 10_000

/**
 * Wraps a NATS connection so that everything on it is sealed. Resolves when this agent has announced its keys, its
 * directory is in step and a fresh tick of the rotation service has come.
 *
 * @param nc an open connection of `@nats-io/transport-node` or another transport of that line
 * @throws SubrosaError ERR_TOKEN_INVALID, ERR_TOKEN_EXPIRED, ERR_UNKNOWN_AUTHORITY, ERR_CONNECTION,
 *   ERR_NO_ROTATION_SERVICE, ERR_CLOCK_SKEW, ERR_ROLLBACK, ERR_REVOKED, ERR_SUITE, ERR_STATE, ERR_ENGINE
 * @throws TypeError when the connection or an option is none
 *
 * @example
 * ```ts
 * import { connect } from '@nats-io/transport-node'
 * import { loadIdentity, secure } from 'subrosa'
 *
 * const bus = await secure(await connect({ servers: 'tls://localhost:4222' }), {
 *   identity: await loadIdentity('file:billing.identity'),
 *   trust: { authority: ['A…'] },
 * })
 * bus.publish('orders.new', JSON.stringify({ id: 7 }))
 * ```
 */
export async function secure(nc: NatsLike, options: SecureOptions): Promise<SecureConnection> {
  const { identity, clock = systemClock, padding = 'padme', timeout = DEFAULT_JOIN_TIMEOUT_MS } = options
  if (typeof nc?.publish !== 'function' || typeof nc.subscribe !== 'function') {
    throw new TypeError('nc must be an open NATS connection')
  }
  if (nc.isClosed()) throw new SubrosaError('ERR_CONNECTION', 'the NATS connection is closed')
  const engine = engineFor(options.engine)
  const trust = new Trust(engine, options.trust)
  trust.verify(identity.token, clock.now())
  const state =
    options.state === 'memory'
      ? memoryState()
      : openStateFolder({
          realm: trust.realm,
          agent: identity.name,
          ...(options.state === undefined ? {} : { root: options.state }),
        })
  const subjects = protocolSubjects(trust.realm, options.subjectPrefix)
  const connection = new SecureConnection(nc, { engine, identity, trust, state, subjects, clock, padding })
  await connection.join(timeout)
  return connection
}
