import { copy } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import {
  MAX_EPOCH_MS,
  MAX_FIRST_EPOCH,
  MAX_GRACE_MS,
  MAX_ROTATORS,
  MAX_SUITES,
  MIN_LEAD_MS,
} from '../base/limits.ts'
import { HASH_BYTES, readNkey } from './fields.ts'
import { type FieldReader, pack, unpack } from './msgpack.ts'
import { WireType } from './preamble.ts'
import { decodeStatement, encodeStatement } from './statements.ts'

/** Of the salt of a schedule. */
const SALT_BYTES = 16
const MAX_SCHEDULES = 2

// As SPEC calls them.
const PLAN_FIELDS = [
  'realm',
  'version',
  'made',
  'until',
  'rotators',
  'threshold',
  'former',
  'schedules',
  'revocations_hash',
]
const FORMER_FIELDS = ['version', 'rotators', 'threshold']
const SCHEDULE_FIELDS = ['first', 'origin', 'period_ms', 'lead_ms', 'grace_ms', 'suites', 'salt']
const EPOCH_FIELDS = ['realm', 'number', 'not_before', 'not_after', 'grace_ms', 'suites', 'salt']
const NOTICE_FIELDS = ['epoch', 'plan_version', 'rotator']

/** How epochs follow each other from a time on. Times are milliseconds, `originMs` since 1970. */
export interface Schedule {
  /** The number of the epoch that begins at the origin. */
  readonly first: number
  readonly originMs: number
  /** From the beginning of one epoch to that of the next. */
  readonly periodMs: number
  /** For how long an epoch goes on beside the next. */
  readonly leadMs: number
  /** How long after its end messages of an epoch may arrive. */
  readonly graceMs: number
  readonly suites: readonly number[]
  /** Random, 16 bytes: nobody can know the hash of an epoch before the plan is made. */
  readonly salt: Uint8Array
}

/** The rotation services of the plan before, whose revocations must be taken over. */
interface FormerSet {
  readonly version: number
  readonly rotators: readonly string[]
  readonly threshold: number
}

/** G of SPEC: who answers for freshness in a realm, how many of them it takes, and how its epochs follow each other. */
export interface Plan {
  readonly realm: string
  /** 1 and up: a higher one replaces a lower one. */
  readonly version: number
  /** In ms since 1970, as is `until`. */
  readonly made: number
  readonly until: number
  /** The public keys of the rotation services, `U…`, ascending. */
  readonly rotators: readonly string[]
  /** How many of them must have answered lately. More than half. */
  readonly threshold: number
  /** `undefined` in the first plan, and where the former services are lost. */
  readonly former: FormerSet | undefined
  /** One or two, in the order in which they begin. */
  readonly schedules: readonly Schedule[]
  /** SHA-256 over the sorted hashes of the revocations that travel beside the plan. */
  readonly revocationsHash: Uint8Array
}

/** A plan as it travels: the structure's bytes as they were signed, and an authority's signature. */
export interface SignedPlan {
  readonly structure: Uint8Array
  readonly signature: Uint8Array
}

/** E of SPEC: one numbered span of time, as a plan has it. Times are milliseconds since 1970. */
export interface EpochTerms {
  readonly realm: string
  readonly number: number
  readonly notBefore: number
  readonly notAfter: number
  readonly graceMs: number
  readonly suites: readonly number[]
  readonly salt: Uint8Array
}

/** N of SPEC: a rotation service says which epoch begins. Nothing is believed because of it. */
export interface Notice {
  /** The bytes of E. */
  readonly epoch: Uint8Array
  readonly planVersion: number
  readonly rotator: string
}

/** The bytes of G that are signed and hashed. They follow {@link checkPlan} only where the plan does. */
export function encodePlan(plan: Plan): Uint8Array {
  const { realm, version, made, until, rotators, threshold, former, schedules, revocationsHash } = plan
  const before = former && [former.version, former.rotators, former.threshold]
  return pack([
    realm,
    version,
    made,
    until,
    rotators,
    threshold,
    before,
    schedules.map(scheduleFields),
    revocationsHash,
  ])
}

/**
 * Reads G.
 *
 * @throws SubrosaError ERR_MALFORMED, and ERR_PLAN_INVALID where it is well-formed and breaks a rule of {@link checkPlan}
 */
export function decodePlan(bytes: Uint8Array): Plan {
  const fields = unpack(bytes, 'plan', PLAN_FIELDS)
  const plan: Plan = {
    realm: readNkey(fields),
    version: fields.uint(),
    made: fields.uint(),
    until: fields.uint(),
    rotators: fields.list(MAX_ROTATORS, readNkey, 1),
    threshold: fields.uint(MAX_ROTATORS),
    former: fields.optional(readFormer),
    schedules: fields.list(MAX_SCHEDULES, readSchedule, 1),
    revocationsHash: copy(fields.bytes(HASH_BYTES)),
  }
  fields.end()
  checkPlan(plan)
  return plan
}

/**
 * The rules that every plan follows by itself, whoever signs it and whenever. SPEC, "Plan".
 *
 * @throws SubrosaError ERR_PLAN_INVALID
 */
export function checkPlan({ version, made, until, rotators, threshold, former, schedules }: Plan): void {
  if (version < 1) throw invalidPlan('its version is below 1')
  if (until <= made) throw invalidPlan('it ends before it is made')
  checkServices(rotators, threshold)
  if (former !== undefined) {
    if (former.version < 1 || former.version >= version)
      throw invalidPlan('the plan that it names as the former one is no earlier one')
    checkServices(former.rotators, former.threshold)
  }
  for (const schedule of schedules) checkSchedule(schedule)
  const [first, second, third] = schedules
  if (first === undefined || third !== undefined) throw invalidPlan('it has one schedule of epochs, or two')
  if (second !== undefined) checkJoint(first, second)
}

/** The wire message of a plan. */
export function encodeSignedPlan({ structure, signature }: SignedPlan): Uint8Array {
  return encodeStatement(WireType.plan, { structure, signature, token: undefined })
}

/** Reads the wire message of a plan. @throws SubrosaError ERR_MALFORMED */
export function decodeSignedPlan(wire: Uint8Array): SignedPlan {
  const { structure, signature } = decodeStatement(WireType.plan, wire)
  return { structure, signature }
}

/** The bytes of E that are hashed. */
export function encodeEpoch({
  realm,
  number,
  notBefore,
  notAfter,
  graceMs,
  suites,
  salt,
}: EpochTerms): Uint8Array {
  return pack([realm, number, notBefore, notAfter, graceMs, suites, salt])
}

/** Reads E. @throws SubrosaError ERR_MALFORMED */
export function decodeEpoch(bytes: Uint8Array): EpochTerms {
  const fields = unpack(bytes, 'epoch', EPOCH_FIELDS)
  const terms: EpochTerms = {
    realm: readNkey(fields),
    number: fields.uint(),
    notBefore: fields.uint(),
    notAfter: fields.uint(),
    graceMs: fields.uint(),
    suites: readSuites(fields),
    salt: copy(fields.bytes(SALT_BYTES)),
  }
  fields.end()
  return terms
}

/** The bytes of N that are signed. */
export function encodeNotice({ epoch, planVersion, rotator }: Notice): Uint8Array {
  return pack([epoch, planVersion, rotator])
}

/** Reads N. @throws SubrosaError ERR_MALFORMED */
export function decodeNotice(bytes: Uint8Array): Notice {
  const fields = unpack(bytes, 'notice', NOTICE_FIELDS)
  const notice: Notice = {
    epoch: copy(fields.bytesUpTo(bytes.length)),
    planVersion: fields.uint(),
    rotator: readNkey(fields),
  }
  fields.end()
  return notice
}

/** The error for a plan that nobody may act on, and why. */
export function invalidPlan(why: string, hint?: string): SubrosaError {
  return new SubrosaError(
    'ERR_PLAN_INVALID',
    `the plan is not valid: ${why}`,
    hint === undefined ? {} : { hint },
  )
}

function scheduleFields(schedule: Schedule): readonly (number | readonly number[] | Uint8Array)[] {
  const { first, originMs, periodMs, leadMs, graceMs, suites, salt } = schedule
  return [first, originMs, periodMs, leadMs, graceMs, suites, salt]
}

function readFormer(reader: FieldReader): FormerSet {
  const fields = reader.tuple(FORMER_FIELDS)
  const former = {
    version: fields.uint(),
    rotators: fields.list(MAX_ROTATORS, readNkey, 1),
    threshold: fields.uint(MAX_ROTATORS),
  }
  fields.end()
  return former
}

function readSchedule(reader: FieldReader): Schedule {
  const fields = reader.tuple(SCHEDULE_FIELDS)
  const schedule = {
    first: fields.uint(),
    originMs: fields.uint(),
    periodMs: fields.uint(),
    leadMs: fields.uint(),
    graceMs: fields.uint(),
    suites: readSuites(fields),
    salt: copy(fields.bytes(SALT_BYTES)),
  }
  fields.end()
  return schedule
}

function readSuites(fields: FieldReader): readonly number[] {
  return fields.list(MAX_SUITES, (reader) => reader.uint(255), 1)
}

/** Any two sets of `threshold` services must have one in common. */
function checkServices(rotators: readonly string[], threshold: number): void {
  if (rotators.length < 1 || rotators.length > MAX_ROTATORS)
    throw invalidPlan(`it has 1 to ${MAX_ROTATORS} rotation services`)
  if (rotators.some((key, i) => i > 0 && key <= (rotators[i - 1] ?? '')))
    throw invalidPlan('its rotation services are not in ascending order, each of them once')
  if (threshold > rotators.length || 2 * threshold <= rotators.length)
    throw invalidPlan(
      `its threshold is ${threshold} of ${rotators.length}`,
      'the threshold is more than half of the rotation services, and no more than there are',
    )
}

function checkSchedule({ first, periodMs, leadMs, graceMs, suites, salt }: Schedule): void {
  if (first > MAX_FIRST_EPOCH) throw invalidPlan('the number of its first epoch is too high')
  if (leadMs < MIN_LEAD_MS || leadMs > periodMs)
    throw invalidPlan('the lead of a schedule is 1 s at least, and no longer than its period')
  if (periodMs + leadMs > MAX_EPOCH_MS) throw invalidPlan('an epoch lasts 24 hours at most')
  if (graceMs > MAX_GRACE_MS) throw invalidPlan('the grace of an epoch is 15 minutes at most')
  if (suites.length === 0 || suites.length > MAX_SUITES)
    throw invalidPlan(`a schedule allows 1 to ${MAX_SUITES} suites`)
  if (salt.length !== SALT_BYTES) throw invalidPlan(`the salt of a schedule has ${SALT_BYTES} bytes`)
}

/** The second one begins with an epoch of the first, goes on counting, and leaves no three epochs beside each other. */
function checkJoint(first: Schedule, second: Schedule): void {
  const epochs = second.first - first.first
  if (epochs < 1 || second.originMs !== first.originMs + epochs * first.periodMs)
    throw invalidPlan('its second schedule does not begin with an epoch of the first one')
  if (first.leadMs > second.periodMs)
    throw invalidPlan(
      'three epochs would be current at once where its schedules meet',
      'the period of the second schedule is at least the lead of the first one',
    )
}
