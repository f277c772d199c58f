import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { PlanRecord } from '../../setup/plan-records.ts'
import { makeNextPlan, type PlanChange } from '../../setup/plans.ts'
import type { Realm } from '../../setup/realm.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { parseDuration, realmOption, serverOption } from '../terminal/options.ts'
import { type Names, planRemarks } from '../terminal/plan-view.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'
import { type Gathered, gather } from './gather.ts'
import { refusalOf } from './gather-refusals.ts'
import { asOperator } from './operator.ts'
import { rotatorsReminder, sayNewRotators } from './plan-rotators.ts'
import { namesShown, servicesShown, wordText } from './plan-word.ts'
import { isConfirmed, type PlanWord, publishPlan } from './publish-plan.ts'

/** Longer than services take to hand over to each other. */
const DEFAULT_TIMEOUT_MS = 30_000

/** What every command takes that publishes a plan. */
export interface PublishPlanOptions {
  readonly realm: string
  readonly server?: string
  readonly timeout: number
}

/** What every command takes that makes a plan. */
export interface ChangePlanOptions extends PublishPlanOptions {
  readonly lost?: true
}

/** A plan that is to be made. */
export interface PlanMaking {
  readonly realm: Realm
  /** The plan in force. */
  readonly former: PlanRecord
  /** What the broker calls the connection, such as `subrosa plan renew`. */
  readonly purpose: string
  /** The services of it that the new one does not name. Default: none. */
  readonly leaving?: readonly string[]
  /** A service whose word counts for nothing: its key is in wrong hands. */
  readonly stolen?: string
  /** Called once it is certain that a plan can be made, and before it is. */
  readonly change: () => Promise<PlanChange>
}

/** Adds the options of {@link PublishPlanOptions}. */
export function addPublishOptions(command: Command, terminal: Terminal): Command {
  return command
    .addOption(realmOption(terminal))
    .addOption(serverOption())
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for the rotation services')
        .argParser(parseDuration)
        .default(DEFAULT_TIMEOUT_MS, '30s'),
    )
}

/** Adds the options of {@link ChangePlanOptions}. */
export function addChangeOptions(command: Command, terminal: Terminal): Command {
  return addPublishOptions(command, terminal).option(
    '--lost',
    'so many of the services are gone for good that the plan in force cannot be confirmed any more',
  )
}

/**
 * Makes the next plan of a realm and brings it to the rotation services: only after the one in force is confirmed, unless
 * its services are lost. The realm's folder is locked meanwhile: see `inLockedRealm`.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE when the plan in force is not confirmed, what services hold that answer does
 *   not come, or the new plan is not confirmed yet; ERR_ROLLBACK when there is a newer plan, ERR_CLOCK_SKEW when a service has
 *   another time; what makeNextPlan throws
 */
export async function changePlan(
  terminal: Terminal,
  options: ChangePlanOptions,
  making: PlanMaking,
): Promise<void> {
  const { realm, former, purpose, change } = making
  const isFormerLost = options.lost === true || isOutvoted(making)
  const gathered = await gatherFirst(terminal, options, { ...making, isFormerLost })
  const changed = await change()
  const record = await makeNextPlan(
    realm,
    { ...changed, isFormerLost },
    { former, revocations: gathered?.revocations ?? [] },
  )
  terminal.data(record.path)
  note(terminal, `made plan ${record.plan.version}, until ${whenShown(record.plan.until)}`)
  const newcomers = record.plan.rotators.filter((rotator) => !former.plan.rotators.includes(rotator))
  const known = await rotatorNames(realm)
  const names = newcomers.flatMap((rotator) => known.get(rotator) ?? [])
  sayNewRotators(terminal, realm, { names, planPath: record.path })
  for (const caveat of caveatsOf(making, record.plan)) note(terminal, caveat)
  const reminder = await rotatorsReminder(realm, record.plan, Date.now())
  if (reminder !== undefined) note(terminal, reminder)
  // Agents would take it up, and find too few who answer.
  const isEarly = record.plan.rotators.length - newcomers.length < record.plan.threshold
  if (isEarly && !isFormerLost) throw await early(realm, record, newcomers)
  await bringPlan(terminal, realm, { options, purpose, record, former })
}

/** Whether the services that are left are too few to hand over. */
function isOutvoted({ stolen, former: { plan } }: PlanMaking): boolean {
  return stolen !== undefined && plan.rotators.length - 1 < plan.threshold
}

/** Brings the newest plan of a realm to its services, and says whether it is confirmed. */
export async function bringPlan(
  terminal: Terminal,
  realm: Realm,
  {
    options,
    purpose,
    record,
    former,
  }: {
    readonly options: PublishPlanOptions
    readonly purpose: string
    readonly record: PlanRecord
    readonly former?: PlanRecord
  },
): Promise<void> {
  const { plan, kept, path } = record
  const { server, timeout: timeoutMs } = options
  const names = await rotatorNames(realm)
  const plans = former === undefined ? [plan] : [plan, former.plan]
  const word = await asOperator(realm, { plans, server, purpose, timeoutMs }, (operator) =>
    publishPlan(operator, plan, kept),
  ).catch((error: unknown) => {
    throw unpublished(error, realm, record)
  })
  for (const remark of planRemarks(plan, Date.now())) note(terminal, remark)
  if (!isConfirmed(plan, word)) throw unconfirmed(plan, word, { names, path, realm })
  note(
    terminal,
    `plan ${plan.version} is confirmed: ${word.counting.length} of ${servicesShown(plan.rotators.length)} act on it, and ${plan.threshold} must`,
  )
}

/** What the services say and hold, before anything is signed. */
async function gatherFirst(
  terminal: Terminal,
  { server, timeout: timeoutMs }: ChangePlanOptions,
  {
    realm,
    former: { plan },
    purpose,
    stolen,
    leaving = [],
    isFormerLost,
  }: PlanMaking & { readonly isFormerLost: boolean },
): Promise<Gathered | undefined> {
  const names = await rotatorNames(realm)
  // What was confirmed under the plan before may be with its services alone, where this one never was.
  const { realm: key, former } = plan
  const plans =
    former !== undefined && isFormerLost ? [plan, { realm: key, rotators: former.rotators }] : [plan]
  const terms = { isLost: isFormerLost, leaving }
  try {
    const gathered = await asOperator(realm, { plans, server, purpose, timeoutMs, stolen }, (operator) =>
      gather(operator, plan, terms),
    )
    const refusal = refusalOf(plan, gathered, { ...terms, names, dir: realm.dir, nowMs: Date.now() })
    if (refusal !== undefined) throw refusal
    const { withheld } = gathered
    if (withheld.length > 0)
      note(
        terminal,
        `warning: the revocations of ${namesShown(withheld, names)} did not come as signed for, and are left out`,
      )
    const silent = gathered.silent.filter((rotator) => rotator !== stolen)
    if (isFormerLost && silent.length > 0)
      note(terminal, `warning: ${namesShown(silent, names)} did not answer: what only they hold is left out`)
    return gathered
  } catch (error) {
    // Whoever has no service left may have no broker either.
    const isUnreachable = error instanceof SubrosaError && error.code === 'ERR_CONNECTION'
    if (!isFormerLost || !isUnreachable) throw error
    note(terminal, `warning: no rotation service was asked: ${error.message}`)
    return undefined
  }
}

/** What a plan cannot promise. */
function caveatsOf({ former: { plan: former }, stolen }: PlanMaking, plan: HeldPlan): readonly string[] {
  const caveats: string[] = []
  if (stolen !== undefined && former.threshold === 1)
    caveats.push(
      `whoever has the key can go on for agents from which the broker keeps this plan: they believe it until ${whenShown(former.until)}, when plan ${former.version} ends`,
    )
  else if (stolen !== undefined)
    caveats.push(
      `agents from which the broker keeps this plan are stale within 90 s once ${former.rotators.length - former.threshold + 1} of the other services have taken it up`,
    )
  if (plan.former === undefined)
    caveats.push(
      `plan ${plan.version} takes over no more than its own list: revocations that only the services of plan ${former.version} knew are lost; revoke again where in doubt`,
    )
  return caveats
}

/** Those who are new bring the plan to the others when they start. */
async function early(
  realm: Realm,
  { plan, path }: PlanRecord,
  newcomers: readonly string[],
): Promise<SubrosaError> {
  const names = namesShown(newcomers, await rotatorNames(realm))
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `plan ${plan.version} is recorded in ${path} and not published yet: without ${names} too few services could answer under it`,
    {
      hint: `start ${names} with ${path} in the folder: that tells the others, and no agent misses anything; then see: subrosa plan publish --realm ${realm.dir}`,
    },
  )
}

function unconfirmed(
  plan: HeldPlan,
  word: PlanWord,
  { names, path, realm }: { readonly names: Names; readonly path: string; readonly realm: Realm },
): SubrosaError {
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `plan ${plan.version} is recorded in ${path} and published, and not confirmed yet: ${wordText(plan, word, names)}`,
    {
      hint: `start its services, those that are new with ${path} in their folders, and see: subrosa plan publish --realm ${realm.dir}`,
    },
  )
}

function unpublished(error: unknown, realm: Realm, { plan, path }: PlanRecord): SubrosaError {
  const { code, message, hint } =
    error instanceof SubrosaError
      ? error
      : new SubrosaError('ERR_CONNECTION', 'the connection failed', { cause: error })
  const retry = `nobody acts on it until this succeeds: subrosa plan publish --realm ${realm.dir}`
  return new SubrosaError(code, `plan ${plan.version} is recorded in ${path} and not published: ${message}`, {
    hint: hint === undefined ? retry : `${hint}\n${retry}`,
    cause: error,
  })
}
