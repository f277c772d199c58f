import type { ManualClock } from './clock.ts'

/** A manual clock, or several that move together. */
type Advancing = Pick<ManualClock, 'advance'>

const REAL_PAUSE_MS = 2
/** What hangs, hangs. On a busy machine the longest takes several times as long as alone, and tests have 90 s. */
const DEADLINE_MS = 60_000

/** Lets a shared clock run, in steps that leave room for the network, until `condition` holds. */
export async function passingUntil(
  clock: Advancing,
  what: string,
  condition: () => boolean,
  stepMs = 20,
): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    clock.advance(stepMs)
    await pause()
  }
}

/** Lets a shared clock run until a task ends. */
export async function passing<Result>(clock: Advancing, task: Promise<Result>, stepMs = 20): Promise<Result> {
  let isOver = false
  const end = (): void => {
    isOver = true
  }
  task.then(end, end)
  await passingUntil(clock, 'the task ended', () => isOver, stepMs)
  return task
}

/** Lets a shared clock run by so much, in steps that leave room for the network. */
export async function pass(clock: Advancing, ms: number, stepMs = 1000): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs))
    await pause()
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, REAL_PAUSE_MS))
}
