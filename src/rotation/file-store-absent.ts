import { SubrosaError } from '../base/errors.ts'
import type { RotationStore } from './store.ts'

/** Stands in for the record in a folder where there is no file system, as in browsers. @throws SubrosaError ERR_STATE */
export function fileRotationStore(_folder: string): RotationStore {
  throw absent()
}

/** Stands in for beginning one. @throws SubrosaError ERR_STATE */
export function beginRecord(_folder: string): void {
  throw absent()
}

function absent(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'there is no file system to keep a record in')
}
