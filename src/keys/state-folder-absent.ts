import { SubrosaError } from '../base/errors.ts'
import type { AgentState } from './state.ts'

/** Stands in for the state folder where there is no file system, as in browsers. @throws SubrosaError ERR_STATE */
export function openStateFolder(): AgentState {
  throw new SubrosaError('ERR_STATE', 'there is no file system to keep state in', {
    hint: "set state to 'memory'",
  })
}
