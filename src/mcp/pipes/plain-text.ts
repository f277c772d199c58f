/** A control character, or half of a pair of surrogates. */
const BROKEN = /[\p{Cc}\p{Cs}]/u
const MAX_LENGTH = 8192

/**
 * Whether text is the same to every reader: without a NUL that ends it for some, blanks around it that some trim, half a
 * character that some replace, and characters that Unicode has for the sake of compatibility with others, a wide full
 * stop for one.
 */
export function isPlainText(text: string): boolean {
  if (text.length > MAX_LENGTH || BROKEN.test(text) || text.trim() !== text) return false
  return text.normalize('NFKC') === text.normalize('NFC')
}
