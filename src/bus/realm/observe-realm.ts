import { hex, samePublic } from '../../base/bytes.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import { type EngineName, engineFor } from '../../crypto/engine.ts'
import { Trust, type TrustOptions, type VerifiedClaims } from '../../identity/trust.ts'
import { Directory } from '../../keys/directory.ts'
import { type AcceptedEpoch, EpochChain } from '../../keys/epochs.ts'
import { RevocationSet, type VerifiedRevocation } from '../../keys/revocations.ts'
import { protocolSubjects } from '../../keys/subjects.ts'
import { clockSkew } from '../../keys/ticks.ts'
import { WireType } from '../../wire/preamble.ts'
import { decodeStatement, QueryKind, type Tick, writeCursor } from '../../wire/statements.ts'
import type { NatsLike } from '../nats-like.ts'
import { type AnsweredTick, Questions } from './questions.ts'

/** Options of {@link observeRealm}. */
export interface ObserveOptions {
  readonly trust: TrustOptions
  /** Milliseconds in which the rotation service must answer. Default 5000. */
  readonly timeout?: number
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  readonly subjectPrefix?: string
  readonly clock?: Clock
}

/** What is proved of a realm at one time. */
export interface Observation {
  /** When it was complete, by the own clock. */
  readonly takenAt: number
  readonly tick: Tick
  /** When the tick came, by the own clock. */
  readonly tickCameAt: number
  /** The rotation service that signed the tick. */
  readonly rotator: VerifiedClaims
  /** The epoch that the tick names. */
  readonly newest: AcceptedEpoch
  /** Who signed it; `undefined` where an authority did. */
  readonly epochSigner: VerifiedClaims | undefined
  /** The epoch that the newest one follows, where it was served. */
  readonly previous: AcceptedEpoch | undefined
  /** Those in force, as the tick names them. */
  readonly revocations: readonly VerifiedRevocation[]
  /** Names of revoked identities, where a token that says so was served. */
  readonly revokedNames: ReadonlyMap<string, string>
  /** Every agent that has announced itself. */
  readonly directory: Directory
}

interface Realm {
  readonly questions: Questions
  readonly trust: Trust
  readonly engine: ReturnType<typeof engineFor>
  readonly clock: Clock
}

const DEFAULT_TIMEOUT_MS = 5000
const PROVE_AGAIN_MS = 20

/**
 * Looks at a realm and changes nothing in it: it asks the rotation service from a random inbox, without an identity,
 * and announces nothing. All that it returns is proved as an agent proves it that joins without a floor: the tick
 * carries a nonce of its own, the newest epoch and the revocations are those that it names, and each announcement is
 * verified.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE, ERR_CLOCK_SKEW, ERR_CONNECTION, ERR_SUBSCRIBE_DENIED when the server
 *   refuses to let it hear the answers, ERR_REVOKED when the rotation service is, or what was wrong with what came:
 *   ERR_EPOCH_INVALID, ERR_TOKEN_EXPIRED, ERR_UNKNOWN_AUTHORITY, ...
 *
 * @example
 * ```ts
 * const { newest, directory, takenAt } = await observeRealm(nc, { trust: { authority: ['A…'] } })
 * console.log(newest.number, directory.audience('orders.new', takenAt)?.members.length)
 * ```
 */
export async function observeRealm(nc: NatsLike, options: ObserveOptions): Promise<Observation> {
  const { clock = systemClock, timeout = DEFAULT_TIMEOUT_MS } = options
  const engine = engineFor(options.engine)
  const trust = new Trust(engine, options.trust)
  const subjects = protocolSubjects(trust.realm, options.subjectPrefix)
  const questions = await Questions.open(nc, { engine, trust, subjects, clock, timeout })
  try {
    return await questions.persist(() => observe({ questions, trust, engine, clock }))
  } finally {
    questions.close()
  }
}

/** One look. What does not fit together is an error, and may fit the next time. */
async function observe(realm: Realm): Promise<Observation> {
  const { questions, trust, engine, clock } = realm
  const revocations = new RevocationSet(engine, trust)
  const answered = await questions.tick(revocations)
  const { tick, rotator, cameAt } = answered
  if (Math.abs(cameAt - tick.now) > CLOCK_WINDOW_MS) throw clockSkew(tick, cameAt)
  revocations.adopt(await questions.pages(QueryKind.revocations), tick)
  // Not before the set is whole: it may be the rotation service itself that is revoked.
  assertInStep(revocations, answered)
  const epochs = new EpochChain({ engine, trust, revocations, floor: undefined, keepFloor: () => {} })
  const newest = epochs.accept(
    await questions.pages(QueryKind.epochs, writeCursor(Math.max(0, tick.number - 1))),
    { number: tick.number, hash: tick.epochHash },
    clock.now(),
  )
  // An epoch carries revocations too: one that the tick does not name was left out of it.
  assertInStep(revocations, answered)
  const directory = new Directory({
    engine,
    trust,
    epochs,
    revocations,
    monotonic: () => clock.monotonic(),
    onClone: () => {},
    onRefused: () => {},
  })
  const revokedNames = await takeAnnouncements(realm, directory, revocations)
  const takenAt = clock.now()
  const { token } = decodeStatement(WireType.epoch, newest.bytes)
  return {
    takenAt,
    tick,
    tickCameAt: cameAt,
    rotator,
    newest,
    epochSigner: token === undefined ? undefined : trust.verify(token, takenAt),
    previous: epochs.byHash(newest.prevHash),
    revocations: revocations.inForce(tick.now),
    revokedNames,
    directory,
  }
}

function assertInStep(revocations: RevocationSet, { tick, rotator }: AnsweredTick): void {
  if (!samePublic(revocations.hash(tick.now), tick.revocationsHash)) {
    throw new SubrosaError(
      'ERR_NO_ROTATION_SERVICE',
      'the revocations that came are not those that the rotation service names',
      { hint: 'something between here and the rotation service holds them back' },
    )
  }
  if (revocations.isRevoked(rotator))
    throw new SubrosaError('ERR_REVOKED', `the rotation service ${rotator.name} is revoked`)
}

/** Takes in every announcement, no faster than the directory proves them. @returns the names of revoked identities */
async function takeAnnouncements(
  { questions, trust, clock }: Realm,
  directory: Directory,
  revocations: RevocationSet,
): Promise<ReadonlyMap<string, string>> {
  const revokedNames = new Map<string, string>()
  for (const bytes of await questions.pages(QueryKind.announcements)) {
    const parsed = directory.add(bytes, clock.now())
    if (parsed === undefined) continue
    const key = hex(parsed.hash)
    while (directory.has(key) && directory.sender(parsed.hash, clock.now()).standing === 'unknown') {
      await questions.pause(PROVE_AGAIN_MS)
    }
    const claims = trust.verify(parsed.announcement.token, clock.now())
    if (revocations.isRevoked(claims)) revokedNames.set(claims.identity, claims.name)
  }
  return revokedNames
}
