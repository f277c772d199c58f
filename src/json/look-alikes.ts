import type { JsonObject } from './objects.ts'

/**
 * Whether an object has a key that some readers take for one of these names, and others do not: Go's readers match keys
 * without regard to case, newer ones without regard to `_` and `-`; readers in C stop at NUL; and `__proto__` puts names
 * into an object of JavaScript's that it does not have itself.
 */
export function hasLookAlike(object: JsonObject, names: readonly string[]): boolean {
  const folded = names.map(fold)
  return Object.keys(object).some(
    (key) => key === '__proto__' || (!names.includes(key) && folded.includes(fold(key))),
  )
}

function fold(key: string): string {
  const [untilNul = ''] = key.split('\0')
  // NFKC, because U+017F is an `s` to Go, and U+212A a `k`.
  return untilNul
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '')
}
