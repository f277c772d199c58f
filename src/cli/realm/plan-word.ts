import type { HeldPlan } from '../../keys/plan.ts'
import type { Names } from '../terminal/plan-view.ts'
import type { PlanWord } from './publish-plan.ts'

/** Names of rotation services for people, and keys where there is no name. */
export function namesShown(rotators: readonly string[], names: Names): string {
  return rotators.map((rotator) => names.get(rotator) ?? rotator).join(', ') || 'none'
}

/** How many rotation services there are of a kind. */
export function servicesShown(count: number): string {
  return `${count} rotation service${count === 1 ? '' : 's'}`
}

/** Who of a plan's services acts on it and who does not, for people. */
export function wordText(plan: HeldPlan, word: PlanWord, names: Names): string {
  const { counting, handingOver, skewed, behind, ahead } = word
  const heard = new Set([...counting, ...handingOver, ...skewed, ...behind, ...ahead])
  const silent = plan.rotators.filter((rotator) => !heard.has(rotator))
  return [
    `${counting.length} of ${plan.threshold} needed act on plan ${plan.version} (${namesShown(counting, names)})`,
    ...(handingOver.length > 0 ? [`${namesShown(handingOver, names)} not complete yet`] : []),
    ...(skewed.length > 0
      ? [`the clocks of ${namesShown(skewed, names)} and of this machine too far apart`]
      : []),
    ...(behind.length > 0 ? [`${namesShown(behind, names)} on an older plan`] : []),
    ...(ahead.length > 0 ? [`${namesShown(ahead, names)} on a plan that is not in this folder`] : []),
    ...(silent.length > 0 ? [`${namesShown(silent, names)} silent`] : []),
  ].join('; ')
}
