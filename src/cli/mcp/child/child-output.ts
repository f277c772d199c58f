import { SubrosaError } from '../../../base/errors.ts'

/** What programs print besides their messages is short: a longer line is not read to its end. */
const MAX_READ_BYTES = 64 * 1024

/**
 * Whether a line that an MCP server has printed can be a message: whether it is a JSON object or array. Of more than
 * 64 KiB only the beginning and the end are looked at.
 */
export function looksLikeMessage(line: Uint8Array): boolean {
  const text = Buffer.from(line.buffer, line.byteOffset, line.length)
  if (line.length > MAX_READ_BYTES)
    return (
      /^\s*[{[]/.test(text.toString('latin1', 0, 64)) &&
      /[}\]]\s*$/.test(text.toString('latin1', line.length - 64))
    )
  try {
    const value: unknown = JSON.parse(text.toString())
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}

/** A line for people that is no message. What is too long to be of use to them is left out. */
export function shownLine(line: Uint8Array | SubrosaError): string {
  if (line instanceof SubrosaError) return `(${line.message})`
  if (line.length > MAX_READ_BYTES) return `(a line of ${line.length} bytes that is no message is left out)`
  return new TextDecoder().decode(line)
}
