import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../support/clock.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { passing } from '../../support/passing.ts'
import { TestRealm } from '../../support/realm.ts'

let realm: TestRealm
afterEach(() => realm.stop())

describe('joining', () => {
  it('works', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, rotation: false })
    await HandRotator.start(realm)
    const before = performance.now()
    const alice = await realm.agent('alice')
    console.log('joined after', performance.now() - before, alice.epoch, alice.planVersion)
    const bob = await passing(clock, realm.agent('bob'))
    await passing(clock, alice.waitForAudience('orders.new'))
    expect(alice.audience('orders.new')).toHaveLength(2)
    void bob
  })
})
