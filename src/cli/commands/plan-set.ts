import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_PLAN_MS } from '../../base/limits.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import { checkTerms, majorityOf, type PlanChange } from '../../setup/plans.ts'
import type { Realm } from '../../setup/realm.ts'
import { inLockedRealm } from '../../setup/realm-lock.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { addChangeOptions, type ChangePlanOptions, changePlan } from '../realm/change-plan.ts'
import { addEpochOptions, type EpochOptions, timesOf } from '../realm/epoch-options.ts'
import { rotatorKeys } from '../realm/plan-rotators.ts'
import { addExamples, parseCount, parseName } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

interface PlanSetOptions extends ChangePlanOptions, EpochOptions {
  readonly rotators?: readonly string[]
  readonly threshold?: number
}

/** Registers `subrosa plan set`. */
export function registerPlanSet(plan: Command, terminal: Terminal): void {
  const command = plan
    .command('set')
    .description('make a plan with other rotation services, another threshold or another schedule of epochs')
    .addOption(
      new Option(
        '--rotators <name...>',
        'all rotation services, by name; those that are not there yet are added',
      ).argParser(collectNames),
    )
    .addOption(
      new Option(
        '--threshold <number>',
        'how many of them must answer (default: as before, or of another number more than half)',
      ).argParser(parseCount),
    )
    .action((options: PlanSetOptions) => set(terminal, options))
  const before = 'as before'
  addEpochOptions(command, { epoch: before, lead: before, grace: before, planFor: before })
  addChangeOptions(command, terminal)
  addExamples(
    command,
    'subrosa plan set --rotators rotator rotator-2 rotator-3 --threshold 2',
    'subrosa plan set --epoch 25m --lead 5m',
  )
}

function collectNames(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), parseName(text)]
}

async function set(terminal: Terminal, options: PlanSetOptions): Promise<void> {
  const { rotators: names, threshold, planFor } = options
  if (names === undefined && threshold === undefined && Object.keys(timesOf(options)).length === 0)
    throw new SubrosaError('ERR_SETUP', 'nothing is set', {
      hint: 'give --rotators, --threshold, --epoch, --lead or --grace; for a new end alone: subrosa plan renew',
    })
  // Before anybody is added for a plan that is not made.
  if (names !== undefined)
    checkTerms({
      count: names.length,
      threshold: threshold ?? majorityOf(names.length),
      lastsMs: planFor ?? MAX_PLAN_MS,
    })
  await inLockedRealm(options.realm, (realm) => setIn(realm, terminal, options))
}

async function setIn(realm: Realm, terminal: Terminal, options: PlanSetOptions): Promise<void> {
  const { rotators: names, threshold, planFor } = options
  const former = await newestPlan(realm)
  const known = await rotatorNames(realm)
  const isLeaving = (key: string): boolean => names !== undefined && !names.includes(known.get(key) ?? '')
  const change = async (): Promise<PlanChange> => {
    const rotators = names && (await rotatorKeys(terminal, realm, names))
    return {
      times: timesOf(options),
      ...(rotators !== undefined && { rotators }),
      ...(threshold !== undefined && { threshold }),
      ...(planFor !== undefined && { lastsMs: planFor }),
    }
  }
  await changePlan(terminal, options, {
    realm,
    former,
    purpose: 'subrosa plan set',
    leaving: former.plan.rotators.filter(isLeaving),
    change,
  })
}
