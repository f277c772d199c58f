const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20

/**
 * A message that is known to be JSON, on one line. Line ends are spaces to JSON, but to a reader of lines there would be
 * several messages, one of which nobody has judged; and `\r` alone ends a line for some.
 *
 * @returns the message itself where it is on one line
 */
export function onOneLine(message: Uint8Array): Uint8Array {
  if (!message.includes(LF) && !message.includes(CR)) return message
  return message.map((byte) => (byte === LF || byte === CR ? SPACE : byte))
}
