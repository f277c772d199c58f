/** Characters that steer a terminal, or reorder or hide the text around them: none is shown as it is. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/**
 * Text of a stranger as one line that a terminal shows and does not obey: control, format and line-breaking characters
 * become escapes such as `\u001b`. Everything that others may have chosen passes through here before it is printed.
 *
 * @example
 * ```ts
 * terminal.data(printable(revocation.reason))
 * ```
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeUnits)
}

/** Indented JSON that a terminal shows and does not obey. It reads back as the same value. */
export function printableJson(value: unknown): string {
  // What JSON leaves as it is, such as U+009B, stands inside of strings, where an escape means the same.
  return JSON.stringify(value, null, 2).split('\n').map(printable).join('\n')
}

/** One UTF-16 unit after the other, as JSON writes them. */
function escapeUnits(character: string): string {
  let escaped = ''
  for (let i = 0; i < character.length; i++) {
    escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
  }
  return escaped
}
