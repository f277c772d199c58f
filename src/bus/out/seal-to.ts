import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { type Sealed, type SealOptions, seal } from '../../envelope/seal.ts'
import type { AudienceMember } from '../../keys/directory.ts'
import type { SealedContent } from '../../wire/sealed.ts'
import type { LeftOutReports } from '../left-out.ts'

/** What sealing to an audience takes besides the content. */
export interface SealToOptions extends Omit<SealOptions, 'recipients'> {
  readonly engine: CryptoEngine
  /** Where members are reported to whom nothing can be sealed. */
  readonly reports: LeftOutReports
}

/** A sealed message, and the members of the audience that it is sealed to. */
export interface SealedTo extends Omit<Sealed, 'leftOut'> {
  readonly members: readonly AudienceMember[]
}

/**
 * Seals to the members of an audience. One to whom nothing can be sealed is left out and reported, and the others get the
 * message: SPEC, "Publishing". The directory takes no such key; nothing here relies on that.
 *
 * @throws SubrosaError ERR_EMPTY_AUDIENCE where nothing can be sealed to any of them (the hint names them),
 *   ERR_MESSAGE_TOO_LARGE above 16,384 members
 */
export function sealTo(
  members: readonly AudienceMember[],
  content: SealedContent,
  { engine, reports, ...options }: SealToOptions,
): SealedTo {
  const recipients = members.map(({ key }) => key)
  const { leftOut, ...sealed } = named(members, () => seal(engine, content, { ...options, recipients }))
  if (leftOut.length === 0) return { ...sealed, members }
  const reasons = new Map(leftOut.map(({ recipient, why }) => [recipient, why]))
  const others: AudienceMember[] = []
  for (const member of members) {
    const why = reasons.get(member.key)
    if (why === undefined) others.push(member)
    else reports.report({ name: member.name, instance: member.instance, why })
  }
  return { ...sealed, members: others }
}

/** Puts names into the error that nobody is left: sealing knows keys alone. */
function named(members: readonly AudienceMember[], task: () => Sealed): Sealed {
  try {
    return task()
  } catch (error) {
    if (!(error instanceof SubrosaError) || error.code !== 'ERR_EMPTY_AUDIENCE' || members.length === 0)
      throw error
    const names = members.map(({ name, instance }) => `${name}/${instance}`).join(', ')
    throw new SubrosaError('ERR_EMPTY_AUDIENCE', error.message, {
      hint: `nothing can be sealed to the key that was announced by ${names}`,
    })
  }
}
