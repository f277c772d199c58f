import type { Command } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { printable, printableJson } from '../../base/printable.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { noRotationService } from '../../bus/realm/no-rotation-service.ts'
import { observeRealm, surveyRealm } from '../../bus/realm/observe-realm.ts'
import { countOf, type ServiceReport, type Survey } from '../../bus/realm/survey.ts'
import { instanceKey } from '../../keys/announcement-store.ts'
import { expiredPlan, isExpired } from '../../keys/plan.ts'
import { findPlan } from '../../setup/plan-records.ts'
import type { Realm } from '../../setup/realm.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { openBroker, trustOf } from '../realm/broker.ts'
import { addBrokerOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { findRealm } from '../realm/find-realm.ts'
import { addExamples } from '../terminal/options.ts'
import { type Names, planRemarks, planRows, planView } from '../terminal/plan-view.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { durationShown, whenShown } from '../terminal/times.ts'

const PURPOSE = 'subrosa rotate status'

/** What each condition means, in one line. */
const CONDITIONS: Readonly<Record<ServiceReport['condition'], string>> = {
  counts: 'counts',
  silent: 'does not answer',
  revoked: 'revoked: it counts for nothing',
  'other plan': 'acts on another plan',
  'not complete': 'takes over from others, and does not count yet',
  clock: 'does not count: its clock and this one are too far apart',
  'revocations missing': 'does not count: it does not send the revocations that it names',
  'plan over': 'does not count: the plan has ended',
}

interface RotateStatusOptions extends BrokerOptions {
  readonly json?: true
}

/** Who has announced keys: only seen where enough services count. */
interface Announced {
  readonly instances: number
  readonly announced: number
  readonly revocations: number
}

/** Registers `subrosa rotate status`. */
export function registerRotateStatus(rotate: Command, terminal: Terminal): void {
  const command = rotate
    .command('status')
    .description('show the plan in force, each rotation service, the epoch, and who has keys for it')
    .option('--json', 'as JSON')
    .action((options: RotateStatusOptions) => status(terminal, options))
  addBrokerOptions(command)
  addExamples(
    command,
    'subrosa rotate status --as billing',
    "subrosa rotate status --context prod --authority AB… --json | jq '.services[].condition'",
  )
}

async function status(terminal: Terminal, options: RotateStatusOptions): Promise<void> {
  const trust = await trustOf(terminal, options)
  const realm = (await findRealm(terminal, givenOptions(terminal, options)))?.realm
  const { timeoutMs: timeout } = givenOptions(terminal, options)
  const nc = await openBroker(terminal, options, PURPOSE)
  try {
    const survey = await surveyRealm(nc, { trust, timeout })
    const takenAt = Date.now()
    const announced = await announcedIn(nc, { trust, timeout }, survey)
    const view = statusOf(survey, { names: await namesIn(realm), takenAt, announced })
    if (options.json) terminal.data(printableJson(view))
    else for (const line of formatTable(rowsOf(view))) terminal.data(line)
    for (const remark of planRemarks(survey.plan, takenAt)) note(terminal, remark)
    await remarkOnFolder(terminal, realm, survey)
    check(survey, takenAt)
  } finally {
    await nc.close()
  }
}

/** @throws SubrosaError where no agent can be fresh */
function check(survey: Survey, takenAt: number): void {
  const { plan } = survey
  if (isExpired(plan, takenAt)) throw expiredPlan(plan)
  const counted = countOf(survey)
  if (counted >= plan.threshold) return
  const { hint } = noRotationService({ plan, counted })
  throw new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `${counted} of ${plan.rotators.length} rotation services count, and it takes ${plan.threshold}: agents are stale within 90 s`,
    hint === undefined ? {} : { hint },
  )
}

async function announcedIn(
  nc: NatsLike,
  options: Parameters<typeof observeRealm>[1],
  survey: Survey,
): Promise<Announced | undefined> {
  if (countOf(survey) < survey.plan.threshold) return undefined
  const { directory, newest, takenAt, revocations } = await observeRealm(nc, options)
  const live = directory.live(takenAt)
  return {
    instances: new Set(live.map(instanceKey)).size,
    announced: live.filter(({ announcement }) => announcement.epoch === newest.number).length,
    revocations: revocations.length,
  }
}

async function namesIn(realm: Realm | undefined): Promise<Names> {
  return realm === undefined ? new Map() : rotatorNames(realm)
}

/** A folder that is behind signs plans that nobody acts on, and makes bundles with an old one. */
async function remarkOnFolder(terminal: Terminal, realm: Realm | undefined, { plan }: Survey): Promise<void> {
  const own = realm && (await findPlan(realm))?.plan
  if (own === undefined || own.version === plan.version) return
  note(
    terminal,
    own.version < plan.version
      ? `warning: ${realm?.dir} has plan ${own.version}, which is older than the plan in force`
      : `warning: ${realm?.dir} has plan ${own.version}, and no rotation service acts on it yet: subrosa plan publish`,
  )
}

type StatusView = ReturnType<typeof statusOf>

function statusOf(
  { plan, services }: Survey,
  {
    names,
    takenAt,
    announced,
  }: { readonly names: Names; readonly takenAt: number; readonly announced: Announced | undefined },
) {
  return {
    takenAt: whenShown(takenAt),
    plan: planView(plan, names, takenAt),
    services: services.map((report) => serviceView(report, names)),
    counting: services.filter(({ condition }) => condition === 'counts').length,
    ...announced,
  }
}

function serviceView({ rotator, condition, tick, cameAt }: ServiceReport, names: Names) {
  const name = names.get(rotator)
  return {
    ...(name !== undefined && { name }),
    key: rotator,
    condition,
    ...(tick !== undefined && {
      planVersion: tick.planVersion,
      standing: tick.standing,
      now: whenShown(tick.now),
      clockAheadMs: tick.now - (cameAt ?? tick.now),
    }),
  }
}

function rowsOf({ plan, services, counting, instances, announced, revocations }: StatusView): string[][] {
  const rows = [
    ...planRows(plan),
    ['services', `${counting} of ${services.length} count, and it takes ${plan.threshold}`],
    ...services.map(({ name, key, ...service }) => [`  ${name ?? key}`, serviceText(service)]),
    ...(instances === undefined
      ? []
      : [
          ['announced', `keys for epoch ${plan.epoch.number} by ${announced} of ${instances} live instances`],
          ['revocations', `${revocations} in force`],
        ]),
  ]
  return rows.map((row) => row.map(printable))
}

type ServiceText = Omit<ReturnType<typeof serviceView>, 'name' | 'key'>

function serviceText({ condition, planVersion, clockAheadMs }: ServiceText): string {
  const plan = condition === 'other plan' ? `, ${planVersion}` : ''
  const clock = clockAheadMs === undefined ? '' : `; its clock is ${clockText(clockAheadMs)}`
  return `${CONDITIONS[condition]}${plan}${clock}`
}

/** As far as can be seen from here: the way of the tick is part of it. */
function clockText(aheadMs: number): string {
  if (aheadMs === 0) return 'as here'
  return `${durationShown(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead' : 'behind'}`
}
