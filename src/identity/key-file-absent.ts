import { SubrosaError } from '../errors.ts'
import type { Identity } from './identity.ts'

/** Stands in for key files where there is no file system, as in browsers. @throws SubrosaError ERR_KEY_FILE */
export async function loadIdentity(_source: string): Promise<Identity> {
  throw new SubrosaError('ERR_KEY_FILE', 'there is no file system to read an identity from')
}
