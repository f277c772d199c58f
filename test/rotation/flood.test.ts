import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_LOOKUPS_PER_SECOND, MAX_UNVERIFIED_PER_AGENT } from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { RealmLink } from '../../src/bus/realm/realm-link.ts'
import type { RecipientKey } from '../../src/envelope/keys.ts'
import { type Sealed, seal } from '../../src/envelope/seal.ts'
import { Trust } from '../../src/identity/trust.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { memoryState } from '../../src/keys/state.ts'
import { decodeQuery, QueryKind } from '../../src/wire/statements.ts'
import { makeContent } from '../envelope/forge.ts'
import { testContext } from '../support/context.ts'
import { engine, newAuthority, newIdentity } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import {
  announceSubject,
  junkAnnouncement,
  reparse,
  verifyAnnouncement,
  World,
} from '../support/statements.ts'
import { until } from '../support/until.ts'

const JUNK_ANNOUNCEMENTS = 20_000
const UNKNOWN_SENDERS = 5000

let realm: TestRealm
let broker: NatsConnection
let alice: SecureConnection
let bob: SecureConnection
let watcher: RealmLink
let epoch: AcceptedEpoch
let toBob: RecipientKey
let got: SecureMessage[]

beforeEach(async () => {
  realm = await TestRealm.start({ rotation: false })
  broker = await realm.connection()
  const epochs = await realm.tap(`${realm.root}.epoch`)
  const announcements = await realm.tap(`${realm.root}.announce.*.*`)
  await realm.startService()
  alice = await realm.agent('alice')
  bob = await realm.agent('bob')
  watcher = await link('watcher')
  await alice.waitForAudience('orders.new', { atLeast: 2 })
  got = []
  bob.subscribe('orders.new', { callback: (_error, m) => got.push(m) })
  await bob.flush()
  const world = new World({ like: realm })
  const bytes = epochs[0]?.data ?? new Uint8Array(0)
  epoch = world.chain.accept([bytes], world.chain.peek(bytes), Date.now())
  const ofBob = announcements
    .map(({ data }) => reparse(data))
    .find(({ announcement }) => announcement.agent === 'bob')
  if (ofBob === undefined) throw new Error('bob has not announced himself')
  const around = { engine, trust: world.trust, revocations: world.revocations }
  const recipient = verifyAnnouncement(around, ofBob, { epoch, nowMs: Date.now() })?.recipient
  if (recipient === undefined) throw new Error('bob has no key')
  toBob = recipient
})
afterEach(async () => {
  watcher.close()
  await realm.stop()
})

/** An agent without its connection, so that what it holds can be counted. */
async function link(name: string): Promise<RealmLink> {
  const trust = new Trust(engine, realm.trust)
  const identity = realm.identity(name)
  const joined = new RealmLink(await realm.connection(), {
    ...testContext({ trust, clock: realm.clock }),
    identity,
    claims: trust.verify(identity.token, realm.clock.now()),
    state: memoryState(),
    onHandshake: () => {},
    onForgotten: () => {},
    onTime: () => {},
  })
  await joined.join(10_000)
  return joined
}

/** Numbered messages of alice's to bob; resolves when all have come. */
async function expectExchange(count: number): Promise<void> {
  const before = got.length
  for (let i = 0; i < count; i++) alice.publish('orders.new', String(i), { to: ['bob'] })
  await until('bob has them all', () => got.length >= before + count)
  expect(got.slice(before).map((m) => m.string())).toEqual(Array.from({ length: count }, (_, i) => String(i)))
}

function fromNobody(): Sealed {
  const content = makeContent({ sender: engine.randomBytes(32), payload: new Uint8Array(1) })
  return seal(engine, content, {
    type: 0,
    epoch: epoch.number,
    recipients: [toBob],
    messageKey: engine.ed25519KeyPair().secretKey,
    sentAtMs: Date.now(),
    padding: 'padme',
  })
}

/** How much bob has rejected. */
function rejected(): number {
  return Object.values(bob.rejections()).reduce((all, count) => all + count, 0)
}

describe('a flood', () => {
  it('of announcements of made-up agents, and of real ones with bad signatures, costs bounded memory', async () => {
    const stranger = newAuthority()
    const options = { issuedAtMs: Date.now() - 60_000, realm: realm.authority.publicKey }
    const madeUp = Array.from(
      { length: 100 },
      (_, i) => newIdentity(stranger, `made-up-${i}`, options).identity,
    )
    // Nobody holds the key of the real authority, but everybody can write its name into a token.
    const forger = { publicKey: realm.authority.publicKey, sign: () => engine.randomBytes(64) }
    const forged = Array.from({ length: 100 }, (_, i) => newIdentity(forger, `forged-${i}`, options).identity)
    const real = ['carol', 'dave'].map((name) => realm.identity(name))
    const tokens = [...madeUp, ...forged, ...real]
    let largest = 0
    for (let i = 0; i < JUNK_ANNOUNCEMENTS; i++) {
      const token = tokens[i % 3 === 0 ? 200 + (i % 2) : i % 200] ?? real[0]
      if (token === undefined) continue
      const junk = junkAnnouncement(token, epoch)
      broker.publish(`${realm.root}.${announceSubject(junk)}`, junk)
      if (i % 500 === 0) {
        // Nobody falls so far behind that the server would end its connection.
        await Promise.all([broker.flush(), alice.flush(), bob.flush()])
        largest = Math.max(largest, watcher.directory.size)
      }
    }
    await broker.flush()
    await Promise.all([alice.flush(), bob.flush()])
    largest = Math.max(largest, watcher.directory.size)
    // Three that are real, and what waits in the names of two whose tokens are.
    expect(largest).toBeLessThanOrEqual(3 + 2 * MAX_UNVERIFIED_PER_AGENT)
    expect(watcher.directory.size).toBeGreaterThanOrEqual(3)
    await expectExchange(100)
    // Who joins now is known to all, and knows them.
    const late = await realm.agent('late')
    await until('alice knows it', () => alice.audience('orders.new').some(({ name }) => name === 'late'))
    expect(late.audience('orders.new').map(({ name }) => name)).toEqual(
      expect.arrayContaining(['alice', 'bob', 'late', 'watcher']),
    )
    expect(
      alice
        .audience('orders.new')
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['alice', 'bob', 'late', 'watcher'])
  })

  it('of messages of unknown senders causes a bounded number of lookups', async () => {
    const queries = await realm.tap(`${realm.root}.query`)
    const startedAt = performance.now()
    for (let i = 0; i < UNKNOWN_SENDERS; i++) {
      broker.publish('orders.new', fromNobody().bytes)
      if (i % 250 === 0) await broker.flush()
    }
    // Those that find no budget to be opened are given up.
    await until('all are rejected', () => rejected() >= UNKNOWN_SENDERS)
    expect(bob.rejections()['unknown sender']).toBeGreaterThan(0)
    await bob.flush()
    const seconds = (performance.now() - startedAt) / 1000
    const lookups = queries.filter(({ data }) => decodeQuery(data).kind === QueryKind.announcement)
    expect(lookups.length).toBeGreaterThan(0)
    expect(lookups.length).toBeLessThanOrEqual(MAX_LOOKUPS_PER_SECOND * (1 + seconds))
    expect(new Set(lookups.map(({ reply }) => reply)).size).toBe(1)
    expect(got).toHaveLength(0)
    await expectExchange(100)
  })

  it('of one unknown sender asks for it once', async () => {
    const queries = await realm.tap(`${realm.root}.query`)
    const { bytes } = fromNobody()
    for (let i = 0; i < 1000; i++) broker.publish('orders.new', bytes)
    // It is opened once, and waits; the others are known.
    const before = bob.rejections()['unknown sender'] ?? 0
    await until('all are rejected', () => (bob.rejections().replay ?? 0) >= 999)
    await until('the first is given up', () => bob.rejections()['unknown sender'] === before + 1)
    for (let i = 0; i < 1000; i++) broker.publish('orders.new', bytes)
    await until('all are rejected', () => (bob.rejections().replay ?? 0) >= 1999)
    expect(queries.filter(({ data }) => decodeQuery(data).kind === QueryKind.announcement)).toHaveLength(1)
    await expectExchange(10)
  })
})
