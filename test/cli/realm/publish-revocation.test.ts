import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { publishRevocation } from '../../../src/cli/realm/publish-revocation.ts'
import { ManualClock } from '../../support/clock.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { passing } from '../../support/passing.ts'
import { TestRealm } from '../../support/realm.ts'

let clock: ManualClock
let realm: TestRealm
beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
})
afterEach(() => realm.stop())

describe('a revocation', () => {
  it('is confirmed also while another one is in force whose revoker’s token has ended', async () => {
    const hand = await HandRotator.start(realm)
    const { world } = hand
    const guard = realm.identity('guard', { roles: ['revoker'], expiresAtMs: clock.now() + 1000 })
    const bySomebody = { signer: guard, token: guard.token }
    const earlier = world.revocation(realm.identity('intern'), { since: clock.now() }, bySomebody)
    clock.advance(2000)
    const statement = world.revocation(realm.identity('mallory'), { since: clock.now() })
    const published = async (): Promise<string> => {
      const nc = await realm.connection()
      const options = { trust: realm.trust, statement, clock, timeoutMs: 5000 }
      const done = publishRevocation(nc, options).then(
        () => 'confirmed',
        (error: { readonly code: string }) => error.code,
      )
      return passing(clock, done)
    }
    hand.revocations = [earlier]
    expect(await published()).toBe('ERR_NO_ROTATION_SERVICE')
    hand.revocations = [earlier, statement]
    expect(await published()).toBe('confirmed')
    // What a tick does not name is not confirmed by being shown.
    hand.namedRevocations = [earlier]
    expect(await published()).toBe('ERR_NO_ROTATION_SERVICE')
  })
})
