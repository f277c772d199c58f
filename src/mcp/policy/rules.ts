import { isPlainText } from '../pipes/plain-text.ts'
import { matches, patternOf } from './pattern.ts'
import { readUri, type UriReadings } from './uri.ts'

/** What is allowed and what is not. Deny wins, and what nothing allows is not allowed. */
export interface Rules<Written> {
  readonly allow: readonly Written[]
  readonly deny: readonly Written[]
}

/** Whether a value that a message holds is allowed. What is no text is not. */
export type Judge = (value: unknown) => boolean

/** Judges names of tools and prompts. They are compared as they are written, upper and lower case being two. */
export function nameJudge({ allow, deny }: Rules<string>): Judge {
  const [allowed, denied] = [allow.map(patternOf), deny.map(patternOf)]
  return (name) =>
    typeof name === 'string' &&
    isPlainText(name) &&
    !denied.some((pattern) => matches(pattern, name)) &&
    allowed.some((pattern) => matches(pattern, name))
}

/**
 * Judges URIs of resources. A pattern that allows must cover the URI as it is written and what servers make of it; one
 * that denies need cover it in a single reading.
 */
export function uriJudge({ allow, deny }: Rules<UriReadings>): Judge {
  const [allowed, denied] = [allow.map(allowing), deny.map(denying)]
  return (value) => {
    const uri = typeof value === 'string' ? readUri(value) : undefined
    return uri !== undefined && !denied.some((denies) => denies(uri)) && allowed.some((allows) => allows(uri))
  }
}

function allowing(written: UriReadings): (uri: UriReadings) => boolean {
  const [text, decoded] = [patternOf(written.text), patternOf(written.decoded)]
  // `*.md` is not to allow secret.txt#.md, which many servers read as secret.txt.
  const namesQuery = written.decoded !== written.path
  return (uri) => matches(text, uri.text) && (namesQuery || matches(decoded, uri.path))
}

function denying({ loose: [written = ''] }: UriReadings): (uri: UriReadings) => boolean {
  const pattern = patternOf(written)
  return (uri) => uri.loose.some((reading) => matches(pattern, reading))
}
