import { SubrosaError } from '../../base/errors.ts'
import type { Plan } from '../../wire/plans.ts'

/** How far somebody has come who asked the rotation services of a realm. */
export interface AnswersSoFar {
  /** The plan that was found. */
  readonly plan: Pick<Plan, 'rotators' | 'threshold'> | undefined
  /** How many rotation services of the plan count: all that was asked of them is held. */
  readonly counted: number
}

/** The error where rotation services do not answer, too few of them count, or the directory of those that do did not come. */
export function noRotationService({ plan, counted }: AnswersSoFar): SubrosaError {
  if (plan === undefined) {
    return new SubrosaError(
      'ERR_NO_ROTATION_SERVICE',
      'no rotation service has answered with a plan of the realm in time',
      { hint: 'is `subrosa rotator` running, and may this connection use the subjects below subrosa.v1?' },
    )
  }
  const { rotators, threshold } = plan
  if (counted >= threshold) {
    return new SubrosaError(
      'ERR_NO_ROTATION_SERVICE',
      'rotation services answer, but the directory did not come in step in time',
      { hint: 'the realm may be large, or the broker slow: allow more time' },
    )
  }
  const services = rotators.length === 1 ? 'rotation service' : 'rotation services'
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `${counted} of ${rotators.length} ${services} answered in time, and it takes ${threshold}`,
    { hint: 'start `subrosa rotator` where it is down; subrosa rotate status shows each of them' },
  )
}
