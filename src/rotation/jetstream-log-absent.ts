import { SubrosaError } from '../errors.ts'
import type { RotationLog } from './log.ts'

/** Stands in for the log in JetStream where no rotation service runs, as in browsers. @throws SubrosaError ERR_SETUP */
export function jetStreamRotationLog(_nc: unknown): RotationLog {
  throw new SubrosaError('ERR_SETUP', 'replicas of the rotation service do not run here')
}
