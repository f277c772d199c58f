import { fromUtf8 } from '../bytes.ts'

/** What a message is, as far as can be told without refusing any. */
export interface Outline {
  readonly kind: 'request' | 'notification' | 'response'
  /** As it stands in the message. `undefined` in a notification. */
  readonly id: unknown
  readonly method: string | undefined
  /** The whole message, to write it anew with something changed. */
  readonly fields: Readonly<Record<string, unknown>>
}

/**
 * What a message holds: one message, several in a batch, or none that is JSON-RPC. It is for keeping count, and lets
 * pass what a stricter reader refuses: what is forwarded are the bytes, not what was read.
 */
export function outlinesOf(message: Uint8Array): readonly Outline[] {
  const text = fromUtf8(message)
  if (text === undefined) return []
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return []
  }
  return (Array.isArray(value) ? value : [value]).flatMap(outline)
}

/** The key of an id in a `Map`: `1` and `"1"` are two. */
export function idKey(id: unknown): string {
  return JSON.stringify(id) ?? ''
}

function outline(value: unknown): readonly Outline[] {
  if (typeof value !== 'object' || value === null) return []
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const { id, method } = fields
  if (typeof method !== 'string')
    return id === undefined ? [] : [{ kind: 'response', id, method: undefined, fields }]
  return [{ kind: id === undefined ? 'notification' : 'request', id, method, fields }]
}
