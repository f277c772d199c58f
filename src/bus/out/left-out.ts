import { SubrosaError } from '../../base/errors.ts'
import type { RecipientKey } from '../../envelope/keys.ts'
import type { AudienceMember } from '../../keys/directory.ts'

/** The report of recipients for which sealing could make no wrap: the others have got theirs. */
export function leftOutError(
  members: readonly AudienceMember[],
  leftOut: readonly RecipientKey[],
): SubrosaError {
  const names = members
    .filter(({ key }) => leftOut.includes(key))
    .map(({ name, instance }) => `${name}/${instance}`)
  return new SubrosaError('ERR_KEY_INVALID', `nothing was sealed to ${names.join(', ')}`, {
    hint: 'it announced a key of low order, or a key id that another instance has: remove that agent',
  })
}
