/** A control or format character, or half of a pair of surrogates. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}]/u
const MAX_LENGTH = 8192

/**
 * Whether text is the same to every reader: without a NUL that ends it for some, blanks around it that some trim, half a
 * character that some replace, and characters that Unicode takes for others.
 */
export function isPlainText(text: string): boolean {
  return (
    text.length <= MAX_LENGTH && !UNSEEN.test(text) && text.trim() === text && text.normalize('NFKC') === text
  )
}
