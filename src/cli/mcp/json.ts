import { fromUtf8 } from '../../base/bytes.ts'

/** The value of a JSON text in UTF-8, or `undefined` where it is none. */
export function readJson(bytes: Uint8Array): { readonly value: unknown } | undefined {
  const text = fromUtf8(bytes)
  if (text === undefined) return undefined
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}
