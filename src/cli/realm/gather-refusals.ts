import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { Names } from '../terminal/plan-view.ts'
import { whenShown } from '../terminal/times.ts'
import { type Gathered, type GatherTerms, isGathered } from './gather.ts'
import { namesShown, wordText } from './plan-word.ts'
import { isConfirmed } from './publish-plan.ts'

/** Of what a refusal speaks. */
export interface RefusalOptions extends GatherTerms {
  readonly names: Names
  /** The realm's folder. */
  readonly dir: string
  readonly nowMs: number
}

/** Why no plan is made after what was gathered, or `undefined` where one may be made. */
export function refusalOf(
  plan: HeldPlan,
  gathered: Gathered,
  { isLost = false, leaving = [], names, dir, nowMs }: RefusalOptions,
): SubrosaError | undefined {
  const { newer, apart, withheld } = gathered
  if (newer !== undefined) return behindServices(dir, plan, newer)
  if (apart.length > 0) return clocksApart(namesShown(apart, names))
  if (isLost) {
    // One of an earlier plan has gone already.
    const owing = withheld.filter((rotator) => plan.rotators.includes(rotator) && !leaving.includes(rotator))
    return owing.length > 0 ? setsMissing(plan, { ...gathered, withheld: owing }, names) : undefined
  }
  if (isGathered(plan, gathered)) return undefined
  if (isConfirmed(plan, gathered.word)) return setsMissing(plan, gathered, names)
  if (plan.until <= nowMs) return hasEnded(plan)
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `plan ${plan.version}, which is in force, is not confirmed, and nothing was made: ${wordText(plan, gathered.word, names)}`,
    {
      hint: 'start those services, and see: subrosa plan publish; where too many of them are gone for good, add --lost',
    },
  )
}

function setsMissing(plan: HeldPlan, { word, withheld }: Gathered, names: Names): SubrosaError {
  const confirmed = isConfirmed(plan, word) ? `plan ${plan.version} is confirmed, and ` : ''
  const who = namesShown(withheld, names)
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `${confirmed}nothing was made: ${who} answered, and the revocations that they have signed for did not come`,
    {
      hint: 'they are up, and the next plan must have what they hold: repeat this with a longer --timeout; one that never sends them is stopped, or replaced: subrosa plan replace-rotator NAME',
    },
  )
}

function hasEnded({ version, until }: HeldPlan): SubrosaError {
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `plan ${version} ended at ${whenShown(until)}, and nothing was made: no service counts under it any more`,
    {
      hint: 'start all of its services, with logins that last (subrosa agent add NAME --renew), and while they answer: subrosa plan renew --lost',
    },
  )
}

function clocksApart(names: string): SubrosaError {
  return new SubrosaError(
    'ERR_CLOCK_SKEW',
    `the clocks of ${names} and of this machine are too far apart: nothing was made`,
    {
      hint: 'set right the one that is wrong: by a clock that is ahead nobody would take the plan up, nor could another follow; a service whose clock cannot be set is stopped, one in wrong hands replaced: subrosa plan replace-rotator NAME --stolen',
    },
  )
}

function behindServices(dir: string, plan: HeldPlan, newer: HeldPlan): SubrosaError {
  return new SubrosaError(
    'ERR_ROLLBACK',
    `a rotation service acts on plan ${newer.version}, and the newest one in ${dir} is plan ${plan.version}: nothing was made`,
    {
      hint: 'this is an old copy of the folder: restore the newest one, or plans and agents are signed twice',
    },
  )
}
