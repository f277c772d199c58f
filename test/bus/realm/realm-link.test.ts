import { afterEach, describe, expect, it } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import { StatusFeed } from '../../../src/bus/status.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { memoryState } from '../../../src/keys/state.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { engine } from '../../support/identities.ts'
import { pass, passing, passingUntil } from '../../support/passing.ts'
import { TestRealm } from '../../support/realm.ts'
import { DAY, MINUTE } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

/** A link of an agent that has not joined yet. */
async function linkOf(identity: Identity, feed: StatusFeed): Promise<RealmLink> {
  const trust = new Trust(engine, realm.trust)
  return new RealmLink(await realm.connection(), {
    ...testContext({ trust, clock: realm.clock, feed }),
    identity,
    claims: trust.verify(identity.token, realm.clock.now()),
    state: memoryState(),
    plan: undefined,
    onHandshake: () => {},
    onForgotten: () => {},
    onTime: () => {},
  })
}

describe('who listens for changes of a realm', () => {
  it('hears of them also when somebody before him throws, and that is reported', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, rotation: false })
    await HandRotator.start(realm)
    const feed = new StatusFeed()
    const link = await linkOf(realm.identity('alice'), feed)
    await passing(clock, link.join(10_000))
    const thrown = new Error('a listener that throws')
    const events = feed.read()
    let heard = 0
    link.onChange(() => {
      throw thrown
    })
    link.onChange(() => heard++)
    await passing(clock, realm.agent('bob'))
    await until('it was heard', () => heard > 0)
    expect((await events.next()).value).toEqual({ type: 'error', error: thrown })
    link.close()
    feed.close()
  })
})

describe('what guards', () => {
  it('is forgotten by the latest confirmed time alone: a wall clock that is ahead for a moment takes none of it', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, rotation: false })
    const hand = await HandRotator.start(realm)
    const mallory = realm.identity('mallory')
    hand.revocations = [hand.world.revocation(mallory, { since: clock.now() - 1, until: clock.now() + DAY })]
    const first = hand.epoch()
    const feed = new StatusFeed()
    const link = await linkOf(realm.identity('alice'), feed)
    await passing(clock, link.join(120_000))
    const announced = hand.world.announcement(realm.identity('bob'), first)
    expect(link.directory.add(announced.bytes, clock.now())).toBeDefined()
    const held = () => [
      link.epochs.byHash(first.hash) !== undefined,
      link.directory.has(hex(announced.hash)),
      link.revocations.isRevoked(mallory.claims),
    ]
    expect(held()).toEqual([true, true, true])
    hand.isTicking = false
    clock.jump(3 * DAY)
    // Whoever asks finds it stale, and it looks for what has ended.
    await failure(() => link.assertUsable())
    await pass(clock, 2 * MINUTE)
    expect(held()).toEqual([true, true, true])
    // When ticks confirm the time, it is over.
    hand.namedRevocations = []
    hand.isTicking = true
    await passingUntil(clock, 'it is fresh', () => !link.isStale())
    expect(held()).toEqual([false, false, false])
    link.close()
    feed.close()
  })
})

describe('a tick that waits for a page', () => {
  it('confirms no wall clock that was set meanwhile: what guards stays, and nobody is fresh by it', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, rotation: false })
    const hand = await HandRotator.start(realm)
    const mallory = realm.identity('mallory')
    const until2Days = { since: clock.now() - 1, until: clock.now() + 2 * DAY }
    const held = hand.world.revocation(mallory, until2Days)
    const withheld = hand.world.revocation(realm.identity('eve'), { since: clock.now() - 1 })
    hand.revocations = [held]
    const feed = new StatusFeed()
    const link = await linkOf(realm.identity('alice'), feed)
    await passing(clock, link.join(120_000))
    hand.isAnswering = false
    hand.namedRevocations = [held, withheld]
    const asked = hand.pings.length
    await passingUntil(clock, 'a tick waits', () => hand.pings.length > asked)
    hand.isTicking = false
    await pass(clock, 500)
    // Ahead for a moment. The page comes before anybody has looked at the clock.
    clock.jump(3 * DAY)
    hand.publish('revoke', withheld)
    hand.revocations = [held, withheld]
    hand.isAnswering = true
    await pass(clock, 3000)
    expect(link.revocations.all()).toHaveLength(2)
    expect([link.isStale(), link.revocations.isRevoked(mallory.claims)]).toEqual([true, true])
    clock.jump(-3 * DAY)
    hand.isTicking = true
    await passingUntil(clock, 'it is fresh', () => !link.isStale())
    expect([link.revocations.isRevoked(mallory.claims), link.epochs.all().length > 0]).toEqual([true, true])
    link.close()
    feed.close()
  })
})

describe('an answer that comes before the plan', () => {
  it('waits for it, whatever else comes that answers nothing', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, rotation: false })
    const hand = await HandRotator.start(realm)
    hand.isAnswering = false
    const feed = new StatusFeed()
    const link = await linkOf(realm.identity('alice'), feed)
    let isJoined = false
    const joining = link.join(60_000).then(() => {
      isJoined = true
    })
    await until('it has answered', () => hand.pings.length > 0)
    hand.isTicking = false
    for (let i = 0; i < 100; i++) hand.send(link.inbox, hand.answer(engine.randomBytes(16)))
    await hand.flush()
    hand.isAnswering = true
    await pass(clock, 20_000)
    // By the one answer.
    expect(isJoined).toBe(true)
    await joining
    link.close()
    feed.close()
  })
})
