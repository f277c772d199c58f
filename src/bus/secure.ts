import { openStateFolder } from '#state-folder'
import { type Clock, systemClock } from '../base/clock.ts'
import { type Logger, warningLog } from '../base/logger.ts'
import { isSubject } from '../base/subject.ts'
import { assertDelay } from '../base/timers.ts'
import { type EngineName, engineFor } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import type { Identity } from '../identity/identity.ts'
import { ownTrust, Trust, type TrustOptions } from '../identity/trust.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { memoryState } from '../keys/state.ts'
import { protocolSubjects } from '../keys/subjects.ts'
import { SecureConnection } from './connection.ts'
import { type SubjectMappings, SubjectPolicy } from './in/subject-policy.ts'
import { assertConnection, inboxPrefixOf, type NatsLike } from './nats-like.ts'

/** Options of {@link secure}. */
export interface SecureOptions {
  /** Who this agent is; see {@link loadIdentity}. */
  readonly identity: Identity
  /** Whom it trusts to say who the others are. */
  readonly trust: TrustOptions
  /**
   * A folder where it remembers the newest plan and revocations between runs, so that nobody can show it older ones. Default
   * `$XDG_STATE_HOME/subrosa` or `~/.local/state/subrosa`. `'memory'` does without, and has to be asked for.
   */
  readonly state?: string
  /**
   * The newest plan that is known, with its list, as a bundle has it: what the agent goes by where it remembers none that is
   * newer. Default: its own token says which version it must reach, and the rotation services have the plan.
   */
  readonly plan?: KeptPlan
  /** Milliseconds in which enough rotation services must answer. Default 10,000. */
  readonly timeout?: number
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  /** Whether lengths are hidden. Default `'padme'`. */
  readonly padding?: Padding
  /** The first tokens of the protocol's own subjects. Default `subrosa.v1`. */
  readonly subjectPrefix?: string
  /** The first tokens of reply subjects. Default: those that the NATS connection was made with, or `_INBOX`. */
  readonly inboxPrefix?: string
  /**
   * Subjects that servers rename on their way here, by account imports or mappings: `{ 'orders.>': 'b.orders.>' }`.
   * What is subscribed to is the new name; permissions, and the message, keep the sealed one. Default: none.
   */
  readonly subjectMappings?: SubjectMappings
  /**
   * Patterns of the subjects that streams of JetStream capture: what is published there is sealed in messages that stand
   * for themselves. Default: JetStream is asked, now and then.
   */
  readonly capturedSubjects?: readonly string[]
  /**
   * Where log lines go: a pino logger, or anything of its shape. Default: warnings of the process for what an operator
   * must not miss (rejections, clones, a lost connection, thrown callbacks), and nothing else.
   */
  readonly log?: Logger
  /** Where time comes from, for tests. Default the machine's. */
  readonly clock?: Clock
}

const DEFAULT_JOIN_TIMEOUT_MS = 10_000
const DEFAULT_INBOX_PREFIX = '_INBOX'

/**
 * Wraps a NATS connection so that everything on it is sealed. Resolves when this agent has announced its keys, its
 * directory is in step and enough rotation services have answered.
 *
 * @param nc an open connection of `nats` 2.29, of `@nats-io/transport-node` 3.4, or of `wsconnect()`
 * @throws SubrosaError ERR_TOKEN_INVALID, ERR_TOKEN_EXPIRED, ERR_UNKNOWN_AUTHORITY, ERR_NOT_PINNED, ERR_PIN_MISMATCH,
 *   ERR_CONNECTION, ERR_NO_ROTATION_SERVICE, ERR_PLAN_INVALID, ERR_PLAN_EXPIRED, ERR_ROLLBACK, ERR_CLOCK_SKEW, ERR_REVOKED,
 *   ERR_SUITE, ERR_STATE, ERR_ENGINE
 * @throws TypeError, RangeError when the connection or an option is none
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
  assertConnection(nc)
  assertDelay('timeout', timeout)
  const inboxPrefix = options.inboxPrefix ?? inboxPrefixOf(nc) ?? DEFAULT_INBOX_PREFIX
  if (!isSubject(inboxPrefix)) throw new TypeError('inboxPrefix must be a subject without wildcards')
  const policy = new SubjectPolicy(options.subjectMappings)
  const engine = engineFor(options.engine)
  const trust = new Trust(engine, ownTrust(options.trust, identity))
  const claims = trust.verify(identity.token, clock.now())
  const state =
    options.state === 'memory'
      ? memoryState()
      : openStateFolder({
          realm: trust.realm,
          agent: identity.name,
          ...(options.state === undefined ? {} : { root: options.state }),
        })
  const subjects = protocolSubjects(engine, trust.realm, options.subjectPrefix)
  const connection = new SecureConnection(nc, {
    engine,
    identity,
    claims,
    trust,
    policy,
    inboxPrefix,
    captured: options.capturedSubjects,
    state,
    plan: options.plan,
    subjects,
    clock,
    log: options.log ?? warningLog,
    padding,
  })
  await connection.join(timeout)
  return connection
}
