import { expect, it } from 'vitest'
import type { Fetch } from '../../src/bus/realm/page-fetches.ts'
import { ANY_SERVICE } from '../../src/keys/subjects.ts'
import { PlanDesk, type PlanDeskOptions } from '../../src/rotation/plan-desk.ts'
import { houseClock, ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { T0, World } from '../support/statements.ts'

it('a rotation service asks for a newer plan only whom its own plan names, and all others by one question', () => {
  const world = new World({ rotators: 3 })
  const machine = new ManualClock(T0)
  const fetches: Fetch[] = []
  const plans = new PlanDesk({
    engine,
    trust: world.trust,
    clock: houseClock(machine),
    record: { plan: world.held } as Partial<PlanDeskOptions['record']> as PlanDeskOptions['record'],
    fetches: {
      begin: (fetch: Fetch) => {
        fetches.push(fetch)
        fetch.onEnd(false)
        return true
      },
    } as Partial<PlanDeskOptions['fetches']> as PlanDeskOptions['fetches'],
    ofOperator: undefined,
    publish: () => {},
    onPlan: () => {},
    onError: () => {},
  })
  const peer = world.rotators[1]?.publicKey ?? ''
  for (let i = 0; i < 100; i++) plans.named(9, `U${i}`)
  plans.named(9, peer)
  expect(fetches.map(({ rotator }) => rotator)).toEqual([ANY_SERVICE, peer])
  machine.advance(2000)
  for (let i = 0; i < 100; i++) plans.named(9, `U${i}`)
  expect(fetches.map(({ rotator }) => rotator)).toEqual([ANY_SERVICE, peer, ANY_SERVICE])
})
