import type { Clock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/logger.ts'
import { type Context, makeContext } from '../../src/bus/context.ts'
import { StatusFeed } from '../../src/bus/status.ts'
import { Trust } from '../../src/identity/trust.ts'
import { protocolSubjects } from '../../src/keys/subjects.ts'
import { houseClock, ManualClock } from './clock.ts'
import { engine, newAuthority } from './identities.ts'

/** What parts of a connection work with, for tests that make one by itself: silent, and on a clock that is moved by hand. */
export function testContext(
  parts: Partial<Omit<Context, 'clock'>> & { readonly clock?: Clock } = {},
): Context {
  const clock = houseClock(parts.clock ?? new ManualClock())
  const trust = parts.trust ?? new Trust(engine, { authority: [newAuthority().publicKey] })
  const context = makeContext({
    engine,
    trust,
    subjects: protocolSubjects(engine, trust.realm),
    log: silentLog,
    feed: new StatusFeed(),
    ...parts,
    clock,
  })
  return { ...context, ...parts, clock }
}
