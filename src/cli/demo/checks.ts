import type { SecureConnection } from '../../bus/connection.ts'
import type { RejectReason } from '../../bus/status.ts'
import type { Screen } from './screen.ts'

const DEADLINE_MS = 8000
const POLL_MS = 5

/** A step of the demo that did not do what it says. */
export class DemoFailure extends Error {}

/** Prints what holds; ends the demo where it does not. */
export function check(screen: Screen, holds: boolean, text: string, detail?: string): void {
  if (!holds) throw new DemoFailure(text)
  screen.check(text, detail)
}

/** Resolves when the condition holds; ends the demo when it does not in time. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new DemoFailure(`waited in vain until ${what}`)
    await pause(POLL_MS)
  }
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}

/** Runs an attack, and checks that the victim turned it away for this reason, and delivered nothing. */
export async function expectRejected(
  screen: Screen,
  attack: {
    readonly name: string
    readonly victim: SecureConnection
    readonly reason: RejectReason
    readonly delivered: () => number
    readonly run: () => unknown
  },
): Promise<void> {
  const { name, victim, reason, delivered, run } = attack
  const count = (): number => victim.rejections()[reason] ?? 0
  const before = { rejected: count(), delivered: delivered() }
  await run()
  await until(`${victim.name} turns away ${name}`, () => count() > before.rejected)
  check(screen, delivered() === before.delivered, `${name}: turned away`, `reason: ${reason}`)
}
