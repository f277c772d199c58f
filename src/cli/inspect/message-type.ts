import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAGIC, VERSION, wireType } from '../../wire/preamble.ts'

/** The type of a message. @throws SubrosaError ERR_MALFORMED for what is no message of this version of the protocol */
export function readType(bytes: Uint8Array): number {
  const type = wireType(bytes)
  if (type !== undefined) return type
  const [magic, version, unknown] = bytes
  if (magic === undefined) throw notSubrosa('it is empty')
  if (magic !== MAGIC)
    throw notSubrosa(`it begins with the byte ${byteShown(magic)}, and not with ${byteShown(MAGIC)}`)
  if (version === undefined || unknown === undefined) throw notSubrosa('it ends within its first three bytes')
  throw version === VERSION
    ? notSubrosa(`its type ${unknown} is not known here`)
    : notSubrosa(`its version ${version} is not known here`)
}

/** The error for what is no message. */
export function notSubrosa(why: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `this is no message of subrosa: ${why}`, {
    hint: 'give the payload of one message as it travels, or as hex or base64',
  })
}

function byteShown(byte: number): string {
  return `0x${hex(Uint8Array.of(byte))}`
}
