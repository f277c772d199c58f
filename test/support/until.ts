import { assert } from 'vitest'

const DEADLINE_MS = 15_000

/** Resolves when `condition` holds; fails with `what` when it does not within 15 s. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
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
