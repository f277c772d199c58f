import { type Clock, systemClock } from '../../base/clock.ts'
import { HouseClock } from '../../base/house-clock.ts'
import { type CryptoEngine, type EngineName, engineFor } from '../../crypto/engine.ts'
import { Trust, type TrustOptions, type VerifiedClaims } from '../../identity/trust.ts'
import { parseAnnouncement } from '../../keys/announcements.ts'
import { Directory } from '../../keys/directory.ts'
import { type Epoch, Epochs } from '../../keys/epochs.ts'
import { expiredPlan, isExpired } from '../../keys/plan.ts'
import { RevocationSet, type VerifiedRevocation } from '../../keys/revocations.ts'
import { protocolSubjects } from '../../keys/subjects.ts'
import { clockSkew } from '../../keys/ticks.ts'
import type { NatsLike } from '../nats-like.ts'
import { noRotationService } from './no-rotation-service.ts'
import { Questions } from './questions.ts'
import { countOf, type Survey, surveyServices } from './survey.ts'

/** Options of {@link observeRealm} and {@link surveyRealm}. */
export interface ObserveOptions {
  readonly trust: TrustOptions
  /** Milliseconds in which rotation services must answer. Default 5000. */
  readonly timeout?: number
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  readonly subjectPrefix?: string
  readonly clock?: Clock
}

/** What is proved of a realm at one time. */
export interface Observation extends Survey {
  /** When it was complete, by the own clock. */
  readonly takenAt: number
  /** The epoch that has begun last. */
  readonly newest: Epoch
  /** The one before it, while messages of it may come. */
  readonly previous: Epoch | undefined
  /** Those in force. */
  readonly revocations: readonly VerifiedRevocation[]
  /** Names of revoked identities, where a token that says so was served. */
  readonly revokedNames: ReadonlyMap<string, string>
  /** Every agent that has announced itself. */
  readonly directory: Directory
}

interface Realm {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly clock: HouseClock
  readonly questions: Questions
  readonly revocations: RevocationSet
}

const DEFAULT_TIMEOUT_MS = 5000
const PROVE_AGAIN_MS = 20
const ASK_AGAIN_MS = 500

/**
 * Looks at a realm and changes nothing in it: it asks the rotation services from a random inbox, without an identity, and
 * announces nothing. All that it returns is proved as an agent proves it that joins without a state: enough rotation services
 * of the newest plan have answered questions of its own, all revocations that they name are held, and each announcement is
 * verified.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE where too few of them count, ERR_PLAN_EXPIRED, ERR_CLOCK_SKEW, ERR_CONNECTION,
 *   ERR_SUBSCRIBE_DENIED when the server refuses to let it hear the answers, or what was wrong with the plan: ERR_PLAN_INVALID
 *
 * @example
 * ```ts
 * const { newest, directory, takenAt } = await observeRealm(nc, { trust: { authority: ['A…'] } })
 * console.log(newest.number, directory.audience('orders.new', takenAt)?.members.length)
 * ```
 */
export function observeRealm(nc: NatsLike, options: ObserveOptions): Promise<Observation> {
  return visit(nc, options, observe)
}

/**
 * Asks every rotation service of a realm how it does, in the same way. It does not matter how many of them count.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE where none of them answers with a plan, ERR_CONNECTION, ERR_SUBSCRIBE_DENIED,
 *   ERR_PLAN_INVALID
 *
 * @example
 * ```ts
 * const { plan, services } = await surveyRealm(nc, { trust: { authority: ['A…'] } })
 * console.log(plan.version, services.map(({ condition }) => condition))
 * ```
 */
export function surveyRealm(nc: NatsLike, options: ObserveOptions): Promise<Survey> {
  return visit(nc, options, surveyServices)
}

async function visit<T>(
  nc: NatsLike,
  options: ObserveOptions,
  task: (realm: Realm) => Promise<T>,
): Promise<T> {
  const { timeout = DEFAULT_TIMEOUT_MS } = options
  const engine = engineFor(options.engine)
  const trust = new Trust(engine, options.trust)
  const subjects = protocolSubjects(engine, trust.realm, options.subjectPrefix)
  const clock = new HouseClock(options.clock ?? systemClock, () => {})
  const questions = await Questions.open(nc, { engine, trust, subjects, clock, timeout })
  try {
    return await task({
      engine,
      trust,
      clock,
      questions,
      revocations: new RevocationSet({ engine, trust, clock }),
    })
  } finally {
    questions.close()
  }
}

async function observe(realm: Realm): Promise<Observation> {
  const { engine, trust, clock, questions, revocations } = realm
  const survey = await untilEnoughCount(realm)
  const { plan } = survey
  const epochs = new Epochs({ engine })
  epochs.adopt(plan)
  const directory = new Directory({
    engine,
    trust,
    epochs,
    revocations,
    clock,
    timers: clock,
    onClone: () => {},
    onLeftOut: () => {},
  })
  const revokedNames = await takeDirectory(realm, survey, directory)
  while (directory.unverified > 0 && !questions.isOver) await questions.pause(PROVE_AGAIN_MS)
  const takenAt = clock.now()
  const newest = epochs.at(takenAt)
  if (newest === undefined) throw noRotationService({ plan, counted: countOf(survey) })
  return {
    ...survey,
    takenAt,
    newest,
    previous: epochs.all().find(({ number }) => number === newest.number - 1),
    revocations: revocations.inForce(takenAt),
    revokedNames,
    directory,
  }
}

/** What does not fit together now may do so in a moment. */
async function untilEnoughCount(realm: Realm): Promise<Survey> {
  const { questions, clock } = realm
  for (;;) {
    const survey = await surveyServices(realm)
    const { plan, services } = survey
    const counted = countOf(survey)
    if (counted >= plan.threshold) return survey
    if (isExpired(plan, clock.now())) throw expiredPlan(plan)
    const skewed = services.filter(({ condition }) => condition === 'clock')
    const [first] = skewed
    // The own clock is wrong, and stays so.
    if (first?.tick !== undefined && plan.rotators.length - skewed.length < plan.threshold)
      throw clockSkew(first.tick, first.cameAt ?? clock.now())
    if (questions.isOver) throw questions.trouble ?? noRotationService({ plan, counted })
    await questions.pause(ASK_AGAIN_MS)
  }
}

/** Takes in every announcement. @returns the names of revoked identities */
async function takeDirectory(
  { engine, questions, trust, clock, revocations }: Realm,
  survey: Survey,
  directory: Directory,
): Promise<ReadonlyMap<string, string>> {
  const revokedNames = new Map<string, string>()
  const counting = survey.services.filter(({ condition }) => condition === 'counts')
  const isWhole = await questions.directory(
    counting.map(({ rotator }) => rotator),
    (bytes) => {
      directory.add(bytes, clock.now(), { isAsked: true })
      const claims = announcerOf({ engine, trust }, bytes, clock.now())
      if (claims !== undefined && revocations.isRevoked(claims))
        revokedNames.set(claims.identity, claims.name)
    },
  )
  if (!isWhole) throw noRotationService({ plan: survey.plan, counted: counting.length })
  return revokedNames
}

/** Whose announcement it is by its token, whether or not it is taken. */
function announcerOf(
  { engine, trust }: Pick<Realm, 'engine' | 'trust'>,
  bytes: Uint8Array,
  nowMs: number,
): VerifiedClaims | undefined {
  try {
    return trust.verify(parseAnnouncement(engine, bytes).announcement.token, nowMs)
  } catch {
    return undefined
  }
}
