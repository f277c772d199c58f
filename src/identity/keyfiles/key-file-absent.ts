import { SubrosaError } from '../../base/errors.ts'
import type { Identity } from '../identity.ts'
import type { PinTrust } from '../pins.ts'
import type { IdentitySource, LoadIdentityOptions } from './identity-source.ts'

/** Stands in for key files where there is no file system, as in browsers. @throws SubrosaError ERR_KEY_FILE */
export async function loadIdentity(
  _source: IdentitySource,
  _options?: LoadIdentityOptions,
): Promise<Identity> {
  throw new SubrosaError('ERR_KEY_FILE', 'there is no file system to read an identity from')
}

/** Stands in for the file of pins where there is no file system. @throws SubrosaError ERR_KEY_FILE */
export async function loadPins(_path: string): Promise<PinTrust> {
  throw new SubrosaError('ERR_KEY_FILE', 'there is no file system to read pins from', {
    hint: 'give them as an object: trust: { realm, pins }',
  })
}
