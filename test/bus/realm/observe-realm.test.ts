import { afterEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { type Observation, observeRealm } from '../../../src/bus/realm/observe-realm.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { signRevocation } from '../../../src/keys/revocations.ts'
import type { RotationEvent } from '../../../src/rotation/events.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { decodeQuery, encodePage, QueryKind } from '../../../src/wire/statements.ts'
import { ManualClock } from '../../support/clock.ts'
import { HandRotator, type HandRotatorOptions } from '../../support/hand-rotator.ts'
import { engine, may, newAuthority, newIdentity } from '../../support/identities.ts'
import { passing, passingUntil } from '../../support/passing.ts'
import { TestRealm, type TestRealmOptions } from '../../support/realm.ts'
import { junkAnnouncement, World } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'

const HOUR = 3_600_000

let realm: TestRealm
afterEach(() => realm.stop())

async function start(options: TestRealmOptions = {}): Promise<void> {
  realm = await TestRealm.start(options)
}

async function observe(options: { readonly timeout?: number } = {}): Promise<Observation> {
  return observeRealm(await realm.connection(), { trust: realm.trust, clock: realm.clock, ...options })
}

/** Everything that is live in an observation, as `name instance epoch`. */
function live({ directory, takenAt }: Observation): string[] {
  return directory
    .live(takenAt)
    .map(({ claims: { name }, announcement: { instance, epoch } }) => `${name} ${hex(instance)} ${epoch}`)
    .sort()
}

function revoke(identity: Identity, reason = 'lost'): Uint8Array {
  return signRevocation(realm.authority, {
    realm: realm.authority.publicKey,
    identity: identity.publicKey,
    since: realm.clock.now(),
    until: realm.clock.now() + 24 * HOUR,
    reason,
  })
}

describe('looking at a realm', () => {
  it('sees exactly the live instances, in the epochs for which they have announced keys', async () => {
    const clock = new ManualClock()
    await start({ clock })
    const join = (who: string | Identity) => passing(clock, realm.agent(who))
    const alice = await join('alice')
    const twice = realm.identity('bob')
    const bobs = [await join(twice), await join(twice)]
    await (await join('carol')).close()
    const expected = [alice, ...bobs].map(({ name, instance }) => `${name} ${instance} 1`)
    expect(live(await passing(clock, observe()))).toEqual(expected.sort())

    await realm.service?.rotate()
    const announced = () => [alice, ...bobs].every(({ epoch }) => epoch === 2)
    await passingUntil(clock, 'all have keys for the next epoch', announced)
    const late = await join('late')
    const seen = await passing(clock, observe())
    expect([seen.newest.number, seen.previous?.number]).toEqual([2, 1])
    const both = [alice, ...bobs, late].flatMap(({ name, instance }) => [
      `${name} ${instance} 1`,
      `${name} ${instance} 2`,
    ])
    expect(live(seen)).toEqual(both.sort())
  })

  it('says who signs, and how far the clocks are apart', async () => {
    await start()
    const { tick, tickCameAt, takenAt, rotator, epochSigner, newest, previous } = await observe()
    expect(rotator).toMatchObject({ name: 'rotator', identity: realm.rotator.publicKey })
    expect(epochSigner?.identity).toBe(realm.rotator.publicKey)
    expect(newest.hash).toEqual(tick.epochHash)
    expect(previous).toBeUndefined()
    expect(Math.abs(tick.now - tickCameAt)).toBeLessThan(10_000)
    expect(tickCameAt).toBeLessThanOrEqual(takenAt)
  })

  it('leaves no trace: it asks from an inbox of its own, and nobody seals to it', async () => {
    const events: RotationEvent[] = []
    await start({ rotation: { onEvent: (event) => events.push(event) } })
    const alice = await realm.agent('alice')
    await realm.agent('bob')
    await alice.waitForAudience('orders.new')
    const before = alice.audience('orders.new')
    const announced = () => events.filter(({ type }) => type === 'announced').length
    await until('the service knows them', () => announced() === 2)
    const held = events.length
    const tapped = await realm.tap(`${realm.root}.>`)
    await observe()
    await alice.flush()
    expect(alice.audience('orders.new')).toEqual(before)
    expect(events).toHaveLength(held)
    const asked = tapped.filter(({ data }) => wireType(data) === WireType.query)
    const answered = tapped.filter(({ data }) => wireType(data) === WireType.page)
    const ticks = tapped.filter(({ data }) => wireType(data) === WireType.tick)
    expect(asked.length).toBeGreaterThan(0)
    expect(tapped).toHaveLength(asked.length + answered.length + ticks.length)
    const inboxes = new Set(asked.map(({ reply }) => reply))
    expect(inboxes.size).toBe(1)
    expect([...inboxes][0]).not.toBe(`${realm.root}.inbox.${alice.instance}`)
  })

  it('collects many pages, each of them once though it comes twice', async () => {
    const events: RotationEvent[] = []
    await start({ rotation: { onEvent: (event) => events.push(event) } })
    const world = new World({ like: realm })
    const { newest } = await observe()
    const connection = await realm.connection()
    const expected: string[] = []
    for (const name of ['a', 'b', 'c', 'd']) {
      const identity = realm.identity(name, { maxInstances: 100 })
      for (let i = 0; i < 60; i++) {
        const { bytes, announcement } = world.announcement(identity, newest)
        connection.publish(`${realm.root}.announce.${name}.${hex(announcement.instance)}`, bytes)
        expected.push(`${name} ${hex(announcement.instance)} 1`)
      }
    }
    await until(
      'the service has them all',
      () => events.filter(({ type }) => type === 'announced').length === 240,
    )
    const pages = new Set<string>()
    const echo = await realm.connection()
    echo.subscribe(`${realm.root}.inbox.*`, {
      callback: (_error, { subject, data }) => {
        if (pages.has(hex(data))) return
        pages.add(hex(data))
        echo.publish(subject, new Uint8Array(data))
      },
    })
    await echo.flush()
    expect(live(await observe({ timeout: 15_000 }))).toEqual(expected.sort())
    // Of announcements three, and one each of epochs and of revocations.
    await until('each has come twice', () => pages.size === 5)
  })

  it('proves more announcements of one agent than it may verify at once', async () => {
    await start({ rotation: false })
    const hand = await HandRotator.start(realm)
    const epoch = hand.world.accept(hand.epochs[0] ?? hand.world.epoch(undefined), realm.clock.now())
    const identity = realm.identity('many', { maxInstances: 200 })
    for (let i = 0; i < 100; i++) hand.announcements.push(hand.world.announcement(identity, epoch).bytes)
    expect(live(await observe({ timeout: 15_000 }))).toHaveLength(100)
  })

  it('asks again for what is lost', async () => {
    await start({ rotation: false })
    const tapped = await realm.tap(`${realm.root}.query`)
    const observing = observe()
    await until('it has asked', () => tapped.length === 1)
    await realm.startService()
    expect((await observing).newest.number).toBe(1)
  })

  it('knows who is revoked, by name, and sees it no more', async () => {
    await start()
    const mallory = realm.identity('mallory')
    await realm.agent('alice')
    const bus = await realm.agent(mallory)
    expect(live(await observe())).toHaveLength(2)
    const connection = await realm.connection()
    connection.publish(`${realm.root}.revoke`, revoke(mallory, 'left'))
    await connection.flush()
    const seen = await observe()
    expect(live(seen).map((text) => text.split(' ')[0])).toEqual(['alice'])
    expect(seen.revocations.map(({ revocation, byAuthority }) => [revocation.reason, byAuthority])).toEqual([
      ['left', true],
    ])
    expect([...seen.revokedNames]).toEqual([[mallory.publicKey, 'mallory']])
    await bus.close().catch(() => {})
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
})

describe('looking at a realm fails', () => {
  const refused = async (timeout = 700) => failure(() => observe({ timeout }))

  async function startHand(options: HandRotatorOptions = {}): Promise<HandRotator> {
    await start({ rotation: false })
    return HandRotator.start(realm, options)
  }

  it('without a rotation service, and says so', async () => {
    await start({ rotation: false })
    expect(await refused(300)).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: 'no tick from the rotation service in time',
    })
  })

  it('on a closed connection', async () => {
    await start({ rotation: false })
    const connection = await realm.connection()
    await connection.close()
    const observing = () => observeRealm(connection, { trust: realm.trust })
    expect(await failure(observing)).toMatchObject({ code: 'ERR_CONNECTION' })
  })

  it('on a connection that is cut off', async () => {
    await start({ rotation: false })
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

  it('when a recorded tick is played again, with all the pages that belong to it', async () => {
    await start()
    const recorded = await realm.tap(`${realm.root}.tick`)
    await observe()
    await until('a tick with a nonce is there', () => recorded.length > 0)
    const { newest } = await observe()
    await realm.service?.close()
    const broker = await realm.connection()
    broker.subscribe(`${realm.root}.query`, {
      callback: (_error, { data, reply = '' }) => {
        for (const tick of recorded.slice()) broker.publish(`${realm.root}.tick`, tick.data)
        const { nonce, kind } = decodeQuery(data)
        const statements = kind === QueryKind.epochs ? [newest.bytes] : []
        broker.publish(reply, encodePage({ nonce, kind, statements, next: undefined }))
      },
    })
    await broker.flush()
    expect(await refused()).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
  })

  it.each([
    ['an agent without the role', () => realm.identity('mallory'), 'ERR_EPOCH_INVALID'],
    ['a rotator of another authority', () => stranger('rotator'), 'ERR_UNKNOWN_AUTHORITY'],
  ])('when the epoch is signed by %s', async (_what, signer, code) => {
    await startHand({
      epochs: (world) => {
        const by = signer()
        return [world.epoch(undefined, { notBefore: realm.clock.now() }, { signer: by, token: by.token })]
      },
    })
    expect(await refused()).toMatchObject({ code })
  })

  it('when another epoch is served than the tick names', async () => {
    const hand = await startHand()
    hand.served = [hand.world.epoch(undefined, { notBefore: realm.clock.now() - 1000 })]
    expect(await refused()).toMatchObject({ code: 'ERR_EPOCH_INVALID' })
  })

  it('when a revocation that the tick names is held back', async () => {
    const hand = await startHand()
    hand.namedRevocations = [revoke(realm.identity('mallory'))]
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: expect.stringContaining('revocations'),
    })
  })

  it('when a revocation that the epoch carries is left out of the tick', async () => {
    await startHand({
      epochs: (world) => [
        world.epoch(undefined, {
          notBefore: realm.clock.now(),
          revocations: [revoke(realm.identity('mallory'))],
        }),
      ],
    })
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: expect.stringContaining('revocations'),
    })
  })

  it('when the rotation service itself is revoked, whoever signed the epoch', async () => {
    const hand = await startHand({
      epochs: (world) => [world.anchor(undefined, { notBefore: realm.clock.now() })],
    })
    expect((await observe()).epochSigner).toBeUndefined()
    hand.revocations = [revoke(realm.rotator)]
    expect(await refused()).toMatchObject({ code: 'ERR_REVOKED' })
  })

  it('when pages go on for ever', async () => {
    const hand = await startHand()
    hand.isAnswering = false
    const broker = await realm.connection()
    let asked = 0
    broker.subscribe(`${realm.root}.query`, {
      callback: (_error, { data, reply = '' }) => {
        asked++
        const { nonce, kind } = decodeQuery(data)
        broker.publish(reply, encodePage({ nonce, kind, statements: [], next: engine.randomBytes(8) }))
      },
    })
    await broker.flush()
    expect(await refused()).toMatchObject({
      code: 'ERR_NO_ROTATION_SERVICE',
      message: 'the directory did not come in step in time',
    })
    expect(asked).toBeGreaterThan(2)
  })
})

describe('what a broker makes up', () => {
  it('is not shown: announcements that nobody signed, of strangers, and altered ones', async () => {
    await start({ rotation: false })
    const hand = await HandRotator.start(realm)
    const epoch = hand.world.accept(hand.epochs[0] ?? hand.world.epoch(undefined), realm.clock.now())
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
    await start({ rotation: false })
    const hand = await HandRotator.start(realm)
    const epoch = hand.world.accept(hand.epochs[0] ?? hand.world.epoch(undefined), realm.clock.now())
    const { bytes, announcement } = hand.world.announcement(realm.identity('alice'), epoch)
    hand.isAnswering = false
    const broker = await realm.connection()
    broker.subscribe(`${realm.root}.query`, {
      callback: (_error, { data, reply = '' }) => {
        const { nonce, kind } = decodeQuery(data)
        const epochs = kind === QueryKind.epochs ? hand.epochs.map((made) => made.bytes) : []
        const statements = kind === QueryKind.announcements ? [bytes] : epochs
        const page = { kind, next: undefined }
        broker.publish(reply, encodePage({ ...page, nonce: engine.randomBytes(16), statements: [] }))
        broker.publish(reply, encodePage({ ...page, nonce, statements }))
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
    broker.subscribe(`${realm.root}.query`, {
      callback: (_error, { reply = '' }) => {
        for (const bytes of junk) {
          broker.publish(reply, bytes)
          broker.publish(`${realm.root}.tick`, bytes)
        }
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
