import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { type Sealed, seal } from '../../src/envelope/seal.ts'
import { encodeIdentityFile, type Identity, parseIdentityFile } from '../../src/identity/identity.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { issueToken } from '../../src/identity/token.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { makeContent } from '../envelope/forge.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { EVERYTHING, engine } from '../support/identities.ts'
import { pass, passing } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import {
  DAY,
  HOUR,
  type MadeEpoch,
  MINUTE,
  reparse,
  verifyAnnouncement,
  World,
} from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** The rotation service of these tests is in the hands of the attacker: it has the real key and token. */
let clock: ManualClock
let realm: TestRealm
let hand: HandRotator
let first: MadeEpoch
let alice: SecureConnection

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
})
afterEach(() => realm.stop())

async function startWith(revocations: readonly Uint8Array[] = []): Promise<void> {
  hand = await HandRotator.start(realm, {
    epochs: (world) => [world.epoch(undefined, { notBefore: clock.now(), revocations })],
  })
  hand.revocations = revocations
  const [made] = hand.epochs
  if (made === undefined) throw new Error('no epoch')
  first = made
  alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
}

const names = (): string[] => alice.audience('orders.new').map(({ name }) => name)

/**
 * Published by the hostile service, an epoch changes nothing at alice; what follows it makes her stale. Nobody joins, but
 * where that takes an epoch that newcomers do not ask for.
 */
async function expectRefused(made: MadeEpoch, { byNewcomers = true } = {}): Promise<void> {
  const events = collectStatus(alice)
  hand.publishEpoch(made)
  await pass(clock, 5000)
  await alice.flush()
  expect(alice.epoch).toBe(1)
  // Ticks name it now, and do not count.
  await pass(clock, 100_000)
  expect(alice.epoch).toBe(1)
  expect(events.some(({ type }) => type === 'stale')).toBe(true)
  expect(events.some(({ type }) => type === 'rotated')).toBe(false)
  expect((await failure(() => alice.publish('orders.new', 'x'))).code).toBe('ERR_STALE')
  if (!byNewcomers) return
  const joining = failure(() => realm.agent('late', {}, { timeout: 5000 }))
  expect((await passing(clock, joining)).code).toBe('ERR_EPOCH_INVALID')
}

describe('a rotation service that mints an identity', () => {
  /** An identity whose token has this signer, whoever it says that it is. */
  function mint(signer: Signer): Identity {
    const seed = engine.randomBytes(32)
    const own = engine.ed25519KeyPair(seed)
    const token = issueToken(
      engine,
      {
        realm: realm.authority.publicKey,
        name: 'admin',
        identity: encodeNkey('U', own.publicKey),
        permissions: EVERYTHING,
        expiresAtMs: clock.now() + DAY,
      },
      { signer, issuedAtMs: clock.now() - HOUR },
    )
    return parseIdentityFile(engine, encodeIdentityFile(token, seed))
  }

  /** A message to alice in the name of an announcement. */
  function sealToAlice(sender: Uint8Array, messageKey: Uint8Array, epoch: AcceptedEpoch): Sealed {
    const { trust, revocations } = hand.world
    const announced = hand.announcements
      .map(reparse)
      .find(({ announcement }) => announcement.agent === 'alice')
    if (announced === undefined) throw new Error('alice has not announced herself')
    const around = { engine, trust, revocations }
    const recipient = verifyAnnouncement(around, announced, { epoch, nowMs: clock.now() })?.recipient
    if (recipient === undefined) throw new Error('no key')
    const content = makeContent({ sender, payload: new Uint8Array(1) })
    return seal(engine, content, {
      type: 0,
      epoch: epoch.number,
      recipients: [recipient],
      messageKey,
      sentAtMs: clock.now(),
      padding: 'padme',
    })
  }

  it('finds nobody who believes it: neither signed by itself, nor in the name of the authority', async () => {
    await startWith()
    const broker = await realm.connection()
    const epoch = hand.world.accept(first)
    const got: SecureMessage[] = []
    alice.subscribe('orders.new', { callback: (_error, m) => got.push(m) })
    await alice.flush()
    const forger: Signer = {
      publicKey: realm.authority.publicKey,
      sign: (message) => realm.rotator.sign(message),
    }
    // The keys with which a token of the real authority would get in: the way there works.
    const real = realm.identity('admin')
    const signers = [forger, real]
    for (const identity of signers.map((signer) => (signer === real ? real : mint(signer)))) {
      const message = engine.ed25519KeyPair()
      const changes = { messageKey: message.publicKey }
      const own = { messageKey: message.secretKey }
      const parsed = hand.world.announcement(identity, epoch, changes, own)
      hand.publish(`announce.admin.${hex(parsed.announcement.instance)}`, parsed.bytes)
      const { bytes } = sealToAlice(parsed.hash, message.secretKey, epoch)
      const isReal = identity === real
      await until('alice could have taken it in', () => hand.announcements.some((b) => same(b, parsed.bytes)))
      await alice.flush()
      expect(names().includes('admin')).toBe(isReal)
      broker.publish('orders.new', bytes)
      if (isReal) await until('the real one is heard', () => got.length === 1)
      else {
        await broker.flush()
        await pass(clock, 3000)
        await until('it is rejected', () => alice.rejections()['unknown sender'] === 1)
        expect(got).toHaveLength(0)
      }
    }
  })

  it('cannot sign a token as itself: a token of a U key is none', async () => {
    await startWith()
    expect(() => mint(realm.rotator)).toThrow()
  })

  const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(Buffer.from(b))
})

describe('a rotation service that takes a revocation back', () => {
  it('in an epoch is refused, and agents keep the revocation', async () => {
    const mallory = realm.identity('mallory')
    const world = new World({ like: realm })
    const revocation = world.revocation(mallory, { since: clock.now() })
    await startWith([revocation])
    hand.revocations = []
    await expectRefused(hand.world.epoch(first, { notBefore: clock.now() }))
  })

  it('in an epoch after one that is not shown is refused too', async () => {
    const world = new World({ like: realm })
    const revocation = world.revocation(realm.identity('mallory'), { since: clock.now() })
    await startWith([revocation])
    hand.revocations = []
    // Two at once: the one that drops it lies between.
    const between = hand.world.epoch(first, { notBefore: clock.now() })
    hand.epochs.push(between)
    // To one that starts a rotation service can leave revocations out: SECURITY.md says so.
    await expectRefused(hand.world.epoch(between, { notBefore: clock.now() }), { byNewcomers: false })
  })

  it('in its ticks alone changes nothing: agents keep the revocation, and are no less fresh for knowing more', async () => {
    await startWith()
    const mallory = realm.identity('mallory')
    const bus = await passing(clock, realm.agent(mallory, {}, { timeout: 120_000 }))
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const revocation = hand.world.revocation(mallory, { since: clock.now() })
    hand.publish('revoke', revocation)
    await until('it acts', () => !names().includes('mallory'))
    const events = collectStatus(alice)
    await pass(clock, 100_000)
    expect(events.filter(({ type }) => type === 'stale')).toEqual([])
    expect(names()).not.toContain('mallory')
    expect((await failure(() => bus.publish('x', 'x'))).code).toBe('ERR_REVOKED')
  })
})

describe('a rotation service that goes beyond its limits', () => {
  const excesses: readonly (readonly [string, { notAfter?: number; graceMs?: number; suites?: number[] }])[] =
    [
      ['an epoch of more than 24 hours', { notAfter: DAY + 1 }],
      ['a grace of more than 15 minutes', { graceMs: 15 * MINUTE + 1 }],
      ['no suite at all', { suites: [] }],
    ]
  it.each(excesses)('with %s is refused', async (_what, { notAfter, ...rest }) => {
    await startWith()
    const notBefore = clock.now()
    const times = notAfter === undefined ? {} : { notAfter: notBefore + notAfter }
    await expectRefused(hand.world.epoch(first, { notBefore, ...rest, ...times }))
  })

  it('with a revocation of tomorrow is refused', async () => {
    await startWith()
    const revocation = hand.world.revocation(realm.identity('bob'), { since: clock.now() + DAY })
    await expectRefused(hand.world.epoch(first, { notBefore: clock.now(), revocations: [revocation] }))
  })

  it('with an overlong epoch hidden behind a good one lets nobody in', async () => {
    const notBefore = clock.now()
    hand = await HandRotator.start(realm, {
      epochs: (world) => {
        const long = world.epoch(undefined, { notBefore, notAfter: notBefore + 365 * DAY })
        return [long, world.epoch(long, { notBefore })]
      },
    })
    const joining = failure(() => realm.agent('late', {}, { timeout: 5000 }))
    expect((await passing(clock, joining)).code).toBe('ERR_EPOCH_INVALID')
  })

  it('is refused as soon as the authority has revoked it', async () => {
    await startWith()
    const events = collectStatus(alice)
    hand.publish('revoke', hand.world.revocation(realm.rotator, { since: clock.now() }))
    await until('alice has heard of it', () => events.some(({ type }) => type === 'revoked'))
    await pass(clock, 100_000)
    expect((await failure(() => alice.publish('orders.new', 'x'))).code).toBe('ERR_STALE')
  })
})
