import { expect, it } from 'vitest'
import { Timers } from '../../../src/base/timers.ts'
import { RealmRevocations } from '../../../src/bus/realm/realm-revocations.ts'
import { memoryState } from '../../../src/keys/state.ts'
import { readTick } from '../../../src/keys/ticks.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { DAY, T0, World } from '../../support/statements.ts'

it('the revocations of an agent are forgotten by the latest confirmed time, whatever counts while the wall clock is ahead', () => {
  const world = new World()
  const machine = new ManualClock(T0)
  const context = testContext({ clock: machine, trust: world.trust })
  const { clock } = context
  const realm = new RealmRevocations({
    ...context,
    state: memoryState(),
    timers: new Timers(clock, () => {}),
    fetches: () => {
      throw new Error('nothing is fetched')
    },
    publish: () => {},
    stands: () => true,
    onHeld: () => {},
    onRevoked: () => {},
  })
  const mallory = world.identity('mallory')
  realm.take(world.revocation(mallory, { until: T0 + DAY }))
  clock.counted(clock.late())
  machine.jump(3 * DAY)
  const { tick } = readTick(engine, world.tick({ now: T0 + 3 * DAY }))
  realm.counted(tick)
  expect(realm.set.isRevoked(mallory.claims)).toBe(true)
  machine.advance(1)
  clock.counted(clock.late())
  realm.counted(tick)
  expect(realm.set.isRevoked(mallory.claims)).toBe(false)
  realm.close()
})
