import { fromUtf8 } from '../../base/bytes.ts'

/** What a message is, as far as can be told without refusing any. */
export interface Outline {
  readonly kind: 'request' | 'notification' | 'response'
  /** As it stands in the message. `undefined` in a notification. */
  readonly id: string | number | undefined
  readonly method: string | undefined
  /** The whole message, to write it anew with something changed. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** What stands in one message. */
export interface Outlines {
  readonly isBatch: boolean
  /** One, several of a batch, or none that is JSON-RPC. */
  readonly all: readonly Outline[]
}

/**
 * What a message holds. It is for keeping count, and lets pass what a stricter reader refuses: what is forwarded are the
 * bytes, not what was read. An id that is neither text nor number is no id of MCP's: what has one is not counted.
 */
export function outlinesOf(message: Uint8Array): Outlines {
  const value = parse(message)
  return Array.isArray(value)
    ? { isBatch: true, all: value.flatMap(outline) }
    : { isBatch: false, all: outline(value) }
}

/** The key of an id in a `Map`: `1` and `"1"` are two. */
export function idKey(id: string | number | undefined): string {
  return JSON.stringify(id) ?? ''
}

function parse(message: Uint8Array): unknown {
  const text = fromUtf8(message)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function outline(value: unknown): readonly Outline[] {
  if (typeof value !== 'object' || value === null) return []
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const { id, method } = fields
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') return []
  if (typeof method !== 'string')
    return id === undefined ? [] : [{ kind: 'response', id, method: undefined, fields }]
  return [{ kind: id === undefined ? 'notification' : 'request', id, method, fields }]
}
