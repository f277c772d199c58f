import { afterEach, describe, expect, it } from 'vitest'
import { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import { StatusFeed } from '../../../src/bus/status.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { memoryState } from '../../../src/keys/state.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { TestRealm } from '../../support/realm.ts'
import { until } from '../../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

describe('who listens for changes of a realm', () => {
  it('hears of them also when somebody before him throws, and that is reported', async () => {
    realm = await TestRealm.start()
    const trust = new Trust(engine, realm.trust)
    const identity = realm.identity('alice')
    const feed = new StatusFeed()
    const link = new RealmLink(await realm.connection(), {
      ...testContext({ trust, clock: realm.clock, feed }),
      identity,
      claims: trust.verify(identity.token, realm.clock.now()),
      state: memoryState(),
      onHandshake: () => {},
      onForgotten: () => {},
      onTime: () => {},
    })
    await link.join(10_000)
    const thrown = new Error('a listener that throws')
    const events = feed.read()
    let heard = 0
    link.onChange(() => {
      throw thrown
    })
    link.onChange(() => heard++)
    await realm.agent('bob')
    await until('it was heard', () => heard > 0)
    expect((await events.next()).value).toEqual({ type: 'error', error: thrown })
    link.close()
    feed.close()
  })
})
