import { isPlainText } from '../pipes/plain-text.ts'

/** What servers make of a URI. Several go on to use another text than the one that they were given. */
export interface UriReadings {
  readonly text: string
  /** Without percent-encoding. */
  readonly decoded: string
  /** Decoded, and without query and fragment: what is left of the URI of a file, for one. */
  readonly path: string
  /**
   * Decoded, in lower case, composed, without characters that nobody sees, repeated slashes and `localhost`: with all
   * else first, and then without query and fragment, and each without a slash at the end.
   */
  readonly loose: readonly string[]
}

/** Dots that are all of a segment, whatever its borders are: `..`, `..;x`, `?path=..`. Asterisks and braces are names. */
const DOT_SEGMENT = /(?<![\p{L}\p{N}._~*{}-])\.+(?![\p{L}\p{N}._~*{}-])/u

/**
 * Reads a URI, or a template or pattern of URIs, in every way in which servers do.
 *
 * @returns `undefined` where one of them may lead anywhere: with dot segments, plain or encoded, encoding that is encoded
 *   once more or no UTF-8, backslashes, or what is no plain text
 */
export function readUri(text: string): UriReadings | undefined {
  if (text.includes('%25')) return undefined
  const decoded = decode(text)
  if (decoded === undefined || !isPlainText(decoded)) return undefined
  if (decoded.includes('\\') || DOT_SEGMENT.test(decoded)) return undefined
  const path = withoutQuery(decoded)
  const loose = [decoded, path].map(loosen)
  return { text, decoded, path, loose: [...loose, ...loose.map((reading) => reading.replace(/\/$/, ''))] }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function withoutQuery(text: string): string {
  const end = text.search(/[?#]/)
  return end < 0 ? text : text.slice(0, end)
}

function loosen(text: string): string {
  return text
    .normalize('NFC')
    .replaceAll(/\p{Cf}/gu, '')
    .toLowerCase()
    .replaceAll(/\/+/g, '/')
    .replace(/^([a-z0-9+.-]+:\/)localhost(?:\/|$)/, '$1')
}
