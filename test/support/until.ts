import { assert } from 'vitest'

const DEADLINE_MS = 15_000

/** What brings those up to date who only look on. */
const onlookers = new Set<() => Promise<void>>()

/**
 * From now on `until` waits for this too, before it resolves: what has happened by then has been seen by whoever looks on.
 *
 * @returns forgets it
 */
export function lookOn(catchUp: () => Promise<void>): () => void {
  onlookers.add(catchUp)
  return () => void onlookers.delete(catchUp)
}

/**
 * Resolves when `condition` holds, and what the broker had handled by then is with all taps; fails with `what` when it does not
 * hold within 15 s.
 */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await Promise.all([...onlookers].map((catchUp) => catchUp()))
}

/** The error that a task ends with; fails when it ends well. */
export async function failure(task: () => unknown): Promise<Error & { code?: string; hint?: string }> {
  try {
    await task()
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  assert.fail('expected a failure')
}
