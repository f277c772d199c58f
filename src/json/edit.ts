import { fromUtf8, utf8 } from '../base/bytes.ts'
import { itemsOf, type JsonSpan, membersOf } from './text.ts'

/** What comes in place of a value: another one, or of a list those items whose place is kept. */
export interface JsonEdit {
  /** The keys that lead to the value. */
  readonly path: readonly string[]
  readonly change: { readonly value: unknown } | { readonly keep: (item: number) => boolean }
}

/**
 * Changes a message that {@link readMessage} has read, and leaves all else of it as it is written: numbers that
 * JavaScript would round, for one. What a path does not lead to stays.
 */
export function editMessage(raw: Uint8Array, edits: readonly JsonEdit[]): Uint8Array {
  const text = fromUtf8(raw) ?? ''
  const changes = edits
    .map(({ path, change }) => ({ span: valueAt(text, path), change }))
    .filter(({ span: { start, end } }) => end > start)
    .sort((a, b) => a.span.start - b.span.start)
  let edited = ''
  let at = 0
  for (const { span, change } of changes) {
    edited += text.slice(at, span.start)
    edited += 'keep' in change ? kept(text, span, change.keep) : JSON.stringify(change.value)
    at = span.end
  }
  return utf8(edited + text.slice(at))
}

function valueAt(text: string, path: readonly string[]): JsonSpan {
  return path.reduce<JsonSpan>(
    (object, key) => membersOf(text, object).get(key) ?? { start: object.end, end: object.end },
    { start: 0, end: text.length },
  )
}

function kept(text: string, list: JsonSpan, keep: (item: number) => boolean): string {
  const items = itemsOf(text, list).filter((_, index) => keep(index))
  return `[${items.map(({ start, end }) => text.slice(start, end)).join(',')}]`
}
