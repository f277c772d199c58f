import { afterEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { type Observation, observeRealm, surveyRealm } from '../../../src/bus/realm/observe-realm.ts'
import type { Survey } from '../../../src/bus/realm/survey.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { OBSERVER_NAME } from '../../../src/identity/token.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { decodeQuery, encodePage, QueryKind } from '../../../src/wire/queries.ts'
import { ManualClock } from '../../support/clock.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { engine, may, newAuthority, newIdentity } from '../../support/identities.ts'
import { passing } from '../../support/passing.ts'
import { TestRealm, type TestRealmOptions } from '../../support/realm.ts'
import { junkAnnouncement, MINUTE } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'

let realm: TestRealm
let hands: HandRotator[]
afterEach(() => realm.stop())

/** A realm whose rotation services are made by hand. */
async function start(options: TestRealmOptions = {}): Promise<HandRotator> {
  realm = await TestRealm.start({ rotation: false, ...options })
  hands = []
  for (const which of realm.rotators.keys()) hands.push(await HandRotator.start(realm, { which }))
  return handOf(0)
}

const handOf = (which: number): HandRotator => {
  const hand = hands[which]
  if (hand === undefined) throw new Error(`no rotation service ${which}`)
  return hand
}

async function observe(options: { readonly timeout?: number } = {}): Promise<Observation> {
  return observeRealm(await realm.connection(), { trust: realm.trust, clock: realm.clock, ...options })
}

async function survey(options: { readonly timeout?: number } = {}): Promise<Survey> {
  return surveyRealm(await realm.connection(), { trust: realm.trust, clock: realm.clock, ...options })
}

/** Everything that is live in an observation, as `name instance epoch`. */
function live({ directory, takenAt }: Observation): string[] {
  return directory
    .live(takenAt)
    .map(({ claims: { name }, announcement: { instance, epoch } }) => `${name} ${hex(instance)} ${epoch}`)
    .sort()
}

/** How each rotation service does, in the order of the realm's. */
const conditions = ({ services }: Survey): readonly (string | undefined)[] =>
  realm.rotators.map(({ publicKey }) => services.find(({ rotator }) => rotator === publicKey)?.condition)

describe('looking at a realm', () => {
  it('sees exactly the live instances, in the epochs for which they have announced keys', async () => {
    const clock = new ManualClock()
    await start({ clock })
    const join = (who: string | Identity) => passing(clock, realm.agent(who))
    const alice = await join('alice')
    const twice = realm.identity('bob')
    const bobs = [await join(twice), await join(twice)]
    await passing(clock, (await join('carol')).close())
    const expected = [alice, ...bobs].map(({ name, instance }) => `${name} ${instance} 1`)
    const seen = await passing(clock, observe())
    expect(live(seen)).toEqual(expected.sort())
    expect([seen.newest.number, seen.previous, seen.plan.version]).toEqual([1, undefined, 1])
  })

  it('says which services there are, and how far their clocks and the own one are apart', async () => {
    await start()
    const { services, plan, takenAt } = await observe()
    expect(services).toMatchObject([{ rotator: realm.rotator.publicKey, condition: 'counts' }])
    const [{ tick, cameAt } = { tick: undefined, cameAt: undefined }] = services
    expect(Math.abs((tick?.now ?? 0) - (cameAt ?? 0))).toBeLessThan(10_000)
    expect(cameAt).toBeLessThanOrEqual(takenAt)
    expect(plan.rotators).toEqual([realm.rotator.publicKey])
  })

  it('leaves no trace: it asks from an inbox of its own, under a name that is nobody’s, and announces nothing', async () => {
    await start()
    const alice = await realm.agent('alice')
    await realm.agent('bob')
    await alice.waitForAudience('orders.new')
    const before = alice.audience('orders.new')
    const tapped = await realm.tap(`${realm.root}.>`)
    await observe()
    await alice.flush()
    expect(alice.audience('orders.new')).toEqual(before)
    const asked = tapped.filter(
      ({ data, subject }) => wireType(data) === WireType.query && subject.includes(`.${OBSERVER_NAME}.`),
    )
    expect(asked.length).toBeGreaterThan(2)
    expect(tapped.filter(({ data }) => wireType(data) === WireType.announcement)).toEqual([])
    expect(new Set(asked.map(({ reply }) => reply)).size).toBe(1)
    for (const { subject, reply } of asked)
      expect(reply).toBe(realm.inboxOf({ name: OBSERVER_NAME, instance: subject.split('.').at(-1) ?? '' }))
  })

  it('collects all of a large directory of one agent', async () => {
    const hand = await start()
    const identity = realm.identity('many', { maxInstances: 200 })
    for (let i = 0; i < 100; i++)
      hand.announcements.push(hand.world.announcement(identity, hand.epoch()).bytes)
    expect(live(await observe({ timeout: 15_000 }))).toHaveLength(100)
  })

  it('asks again for what is lost', async () => {
    realm = await TestRealm.start({ rotation: false })
    const tapped = await realm.tap(`${realm.root}.query.>`)
    const observing = observe()
    await until('it has asked', () => tapped.length > 0)
    await HandRotator.start(realm)
    expect((await observing).newest.number).toBe(1)
  })

  it('knows who is revoked, by name, and sees it no more', async () => {
    const hand = await start()
    const mallory = realm.identity('mallory')
    for (const name of ['alice', mallory] as const) {
      const identity = typeof name === 'string' ? realm.identity(name) : name
      hand.announcements.push(hand.world.announcement(identity, hand.epoch()).bytes)
    }
    expect(live(await observe())).toHaveLength(2)
    hand.revocations = [hand.world.revocation(mallory, { since: realm.clock.now() - 1, reason: 'left' })]
    const seen = await observe()
    expect(live(seen).map((text) => text.split(' ')[0])).toEqual(['alice'])
    expect(seen.revocations.map(({ revocation, byAuthority }) => [revocation.reason, byAuthority])).toEqual([
      ['left', true],
    ])
    expect([...seen.revokedNames]).toEqual([[mallory.publicKey, 'mallory']])
  })

  it('says who would get a message, and why others would not', async () => {
    await start()
    await realm.agent('reader', { permissions: may([], ['orders.>']) })
    await realm.agent('writer', { permissions: may(['orders.>'], []) })
    const { directory, takenAt } = await observe()
    expect(directory.audience('orders.new', takenAt)?.members.map(({ name }) => name)).toEqual(['reader'])
    expect(directory.absences('orders.new', takenAt)).toEqual([
      { name: 'writer', why: 'its token does not allow it to read this subject' },
    ])
  })

  it('takes the newest plan that any service has, and is not held up by one that has gone wild', async () => {
    await start({ rotators: 3 })
    const newest = realm.nextPlan()
    for (const which of [1, 2]) handOf(which).adopt(newest, { isPublished: false })
    handOf(0).changes = { planVersion: 77 }
    const seen = await observe()
    expect([seen.plan.version, conditions(seen)]).toEqual([2, ['other plan', 'counts', 'counts']])
  })
})

describe('a survey of the rotation services', () => {
  it('asks all for a newer plan that is named, and nobody alone whom an unproved tick names', async () => {
    await start({ rotators: 2 })
    const later = realm.nextPlan()
    const honest = handOf(1)
    // One that has gone wild names a service that nobody knows; another one takes the newer plan up meanwhile.
    handOf(0).changes = { planVersion: 99, rotator: realm.identity('nobody').publicKey }
    handOf(0).isAnswering = false
    const surveying = survey({ timeout: 6000 })
    await until('it asks for ticks', () => honest.pings.length > 0)
    honest.adopt(later, { isPublished: false })
    expect((await surveying).plan.version).toBe(2)
  })

  it('says of each how it does, however many count', async () => {
    await start({ rotators: 5 })
    const [, second, third, fourth, fifth] = hands
    if (second !== undefined) second.isTicking = false
    if (third !== undefined) third.changes = { standing: 0 }
    if (fourth !== undefined) fourth.changes = { now: realm.clock.now() + 10 * MINUTE }
    if (fifth !== undefined) {
      const named = fifth.world.revocation(realm.identity('nobody'), { since: realm.clock.now() - 1 })
      fifth.namedRevocations = [named]
    }
    const seen = await survey()
    expect(conditions(seen)).toEqual(['counts', 'silent', 'not complete', 'clock', 'revocations missing'])
    expect(seen.services.filter(({ tick }) => tick === undefined)).toHaveLength(1)
  })

  it('hears nobody whom an authority has revoked', async () => {
    const hand = await start({ rotators: 3 })
    const list = [hand.world.revocation(realm.rotator, { since: realm.clock.now() - 1 })]
    for (const one of hands) one.revocations = list
    expect(conditions(await survey())).toEqual(['revoked', 'counts', 'counts'])
  })

  it('says that the plan is over', async () => {
    const hand = await start()
    hand.adopt(realm.nextPlan({ made: realm.clock.now() - 2 * MINUTE, until: realm.clock.now() - MINUTE }))
    expect(conditions(await survey())).toEqual(['plan over'])
    expect(await failure(() => observe())).toMatchObject({ code: 'ERR_PLAN_EXPIRED' })
  })

  it('fails where nobody has a plan', async () => {
    realm = await TestRealm.start({ rotation: false })
    expect(await failure(() => survey({ timeout: 300 }))).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: 'no rotation service has answered with a plan of the realm in time',
    })
  })
})

describe('looking at a realm fails', () => {
  const refused = async (timeout = 1200) => failure(() => observe({ timeout }))

  it('where too few rotation services count, and says how many', async () => {
    await start({ rotators: 3 })
    handOf(0).isTicking = false
    handOf(1).changes = { standing: 0 }
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: '1 of 3 rotation services answered in time, and it takes 2',
    })
  })

  it('on a closed connection', async () => {
    await start()
    const connection = await realm.connection()
    await connection.close()
    const observing = () => observeRealm(connection, { trust: realm.trust })
    expect(await failure(observing)).toMatchObject({ code: 'ERR_CONNECTION' })
  })

  it('on a connection that is cut off', async () => {
    await start()
    const connection = await realm.connection()
    let isLost = false
    void (async () => {
      for await (const { type } of connection.status()) isLost ||= type === 'disconnect'
    })()
    await realm.server.kill()
    await until('the connection is lost', () => isLost)
    const observing = () => observeRealm(connection, { trust: realm.trust, timeout: 200 })
    expect(await failure(observing)).toMatchObject({ code: 'ERR_CONNECTION' })
  })

  it('at once when the clocks are too far apart', async () => {
    await start()
    const clock = { ...systemClock, now: () => systemClock.now() + 180_000 }
    const nc = await realm.connection()
    const error = await failure(() => observeRealm(nc, { trust: realm.trust, clock, timeout: 20_000 }))
    expect(error).toMatchObject({ code: 'ERR_CLOCK_SKEW', message: expect.stringContaining('180 s apart') })
  })

  it('when recorded answers are played again, with all the pages that belong to them', async () => {
    const hand = await start()
    const recorded = await realm.tap(`${realm.root}.inbox.*`)
    await observe()
    hand.isTicking = false
    hand.isAnswering = false
    const broker = await realm.connection()
    const ticks = recorded.filter(({ data }) => wireType(data) === WireType.tick)
    expect(ticks.length).toBeGreaterThan(0)
    broker.subscribe(`${realm.root}.>`, {
      callback: (_error, { data, reply = '' }) => {
        if (reply === '' || wireType(data) !== WireType.query) return
        for (const tick of ticks) broker.publish(reply, tick.data)
        const { nonce, kind } = decodeQuery(data)
        const statements = kind === QueryKind.plan ? [hand.kept.plan] : []
        if (kind !== QueryKind.tick)
          broker.publish(reply, encodePage({ nonce, kind, statements, next: undefined }))
      },
    })
    await broker.flush()
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: '0 of 1 rotation service answered in time, and it takes 1',
    })
  })

  it('when the plan is of another authority', async () => {
    const hand = await start()
    const other = await TestRealm.start({ rotation: false })
    hand.kept = other.kept
    expect(await refused()).toMatchObject({ code: 'ERR_PLAN_INVALID' })
    await other.stop()
  })

  it('when pages go on for ever', async () => {
    const hand = await start()
    hand.isAnswering = false
    const broker = await realm.connection()
    let asked = 0
    broker.subscribe(`${realm.root}.query.>`, {
      callback: (_error, { data, reply = '' }) => {
        asked++
        const { nonce, kind } = decodeQuery(data)
        const isPlan = kind === QueryKind.plan
        const statements = isPlan ? [hand.kept.plan] : []
        const next = isPlan ? undefined : engine.randomBytes(8)
        broker.publish(reply, encodePage({ nonce, kind, statements, next }))
      },
    })
    await broker.flush()
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: 'rotation services answer, but the directory did not come in step in time',
    })
    expect(asked).toBeGreaterThan(2)
  })
})

describe('what a broker makes up', () => {
  it('is not shown: announcements that nobody signed, of strangers, and altered ones', async () => {
    const hand = await start()
    const epoch = hand.epoch()
    const genuine = hand.world.announcement(realm.identity('genuine'), epoch)
    const altered = new Uint8Array(hand.world.announcement(realm.identity('altered'), epoch).bytes)
    altered[altered.length - 10] = (altered[altered.length - 10] ?? 0) ^ 1
    const victim = realm.identity('victim')
    const impostor = realm.identity('impostor')
    hand.announcements.push(
      junkAnnouncement(victim, epoch),
      hand.world.announcement(stranger('stranger'), epoch).bytes,
      altered,
      // With the victim's token, and a signature of its own.
      hand.world.announcement(victim, epoch, {}, { signer: impostor }).bytes,
      hand.world.announcement(realm.identity('elsewhen'), { ...epoch, hash: new Uint8Array(32) }).bytes,
      utf8('junk'),
      new Uint8Array(0),
      genuine.bytes,
    )
    const seen = await observe()
    expect(live(seen)).toEqual([`genuine ${hex(genuine.announcement.instance)} 1`])
    expect(seen.directory.audience('orders.new', seen.takenAt)?.members).toHaveLength(1)
  })

  it('cuts no answer short: empty pages that bear another nonce', async () => {
    const hand = await start()
    const { bytes, announcement } = hand.world.announcement(realm.identity('alice'), hand.epoch())
    hand.announcements.push(bytes)
    const broker = await realm.connection()
    broker.subscribe(`${realm.root}.query.>`, {
      callback: (_error, { data, reply = '' }) => {
        const { kind } = decodeQuery(data)
        broker.publish(
          reply,
          encodePage({ kind, next: undefined, nonce: engine.randomBytes(16), statements: [] }),
        )
      },
    })
    await broker.flush()
    await expect(observe().then(live)).resolves.toEqual([`alice ${hex(announcement.instance)} 1`])
  })

  it('does not disturb: junk on every subject that is listened to', async () => {
    await start()
    await realm.agent('alice')
    const broker = await realm.connection()
    const junk = [utf8('junk'), new Uint8Array(0), Uint8Array.of(0xc1, 1, 8), Uint8Array.of(0xc1, 1, 4, 0x93)]
    broker.subscribe(`${realm.root}.>`, {
      callback: (_error, { reply = '' }) => {
        if (reply !== '') for (const bytes of junk) broker.publish(reply, bytes)
      },
    })
    await broker.flush()
    const nc = await realm.connection()
    for (let i = 0; i < 3; i++) expect(live(await observeRealm(nc, { trust: realm.trust }))).toHaveLength(1)
    await nc.flush()
  })
})

/** An identity whose token an unknown authority signed for this realm. */
function stranger(name: string): Identity {
  const { identity } = newIdentity(newAuthority(), name, {
    issuedAtMs: realm.clock.now() - 60_000,
    realm: realm.authority.publicKey,
    roles: ['rotator'],
  })
  return identity
}
