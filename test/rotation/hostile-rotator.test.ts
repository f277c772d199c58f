import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { type Sealed, seal } from '../../src/envelope/seal.ts'
import { encodeIdentityFile, type Identity, parseIdentityFile } from '../../src/identity/identity.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { issueToken } from '../../src/identity/token.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { makeContent } from '../envelope/forge.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { EVERYTHING, engine } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { DAY, HOUR, reparse, verifyAnnouncement } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** The rotation service of these tests is in the hands of the attacker: it has the real key. */
let clock: ManualClock
let realm: TestRealm
let hand: HandRotator
let alice: SecureConnection

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
  hand = await HandRotator.start(realm)
  alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
})
afterEach(() => realm.stop())

const names = (): string[] => alice.audience('orders.new').map(({ name }) => name)

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
  function sealToAlice(sender: Uint8Array, messageKey: Uint8Array, epoch: Epoch): Sealed {
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
    const broker = await realm.connection()
    const epoch = hand.epoch(1)
    const got: SecureMessage[] = []
    alice.subscribe('orders.new', { callback: (_error, m) => got.push(m) })
    await alice.flush()
    const forger: Signer = {
      publicKey: realm.authority.publicKey,
      sign: (message) => realm.rotator.sign(message),
    }
    // The keys with which a token of the real authority would get in: the way there works.
    const real = realm.identity('admin')
    for (const identity of [mint(forger), real]) {
      const message = engine.ed25519KeyPair()
      const changes = { messageKey: message.publicKey }
      const own = { messageKey: message.secretKey }
      const parsed = hand.world.announcement(identity, epoch, changes, own)
      hand.publish(`announce.admin.${hex(parsed.announcement.instance)}`, parsed.bytes)
      const { bytes } = sealToAlice(parsed.hash, message.secretKey, epoch)
      const isReal = identity === real
      await until('alice could have taken it in', () => hand.announcements.some((b) => same(b, parsed.bytes)))
      await alice.flush()
      await pass(clock, 100)
      expect(names().includes('admin')).toBe(isReal)
      broker.publish('orders.new', bytes)
      if (isReal) await passingUntil(clock, 'the real one is heard', () => got.length === 1)
      else {
        await broker.flush()
        await pass(clock, 3000)
        await until('it is rejected', () => alice.rejections()['unknown sender'] === 1)
        expect(got).toHaveLength(0)
      }
    }
  })

  it('cannot sign a token as itself: a token of a U key is none', () => {
    expect(() => mint(realm.rotator)).toThrow()
  })

  const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(Buffer.from(b))
})

describe('a rotation service that takes a revocation back', () => {
  it('changes nothing: agents keep it, and are no less fresh for knowing more', async () => {
    const mallory = realm.identity('mallory')
    const bus = await passing(clock, realm.agent(mallory, {}, { timeout: 120_000 }))
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const revocation = hand.world.revocation(mallory, { since: clock.now() })
    hand.revocations = [revocation]
    await passingUntil(clock, 'it acts', () => !names().includes('mallory'))
    hand.revocations = []
    const events = collectStatus(alice)
    await pass(clock, 200_000)
    expect(events.filter(({ type }) => type === 'stale')).toEqual([])
    expect(names()).not.toContain('mallory')
    expect((await failure(() => bus.publish('x', 'x'))).code).toBe('ERR_REVOKED')
  })
})

describe('a rotation service that goes beyond what it may', () => {
  it('with other epochs is believed by nobody: the difference is reported', async () => {
    const events = collectStatus(alice)
    const epoch = hand.epoch(1)
    hand.notice({ ...epoch, notAfter: epoch.notAfter + 365 * DAY })
    await passingUntil(clock, 'it is reported', () => events.some(({ type }) => type === 'epochDiffers'))
    await pass(clock, HOUR)
    expect(alice.epoch).toBe(2)
  })

  it('is heard no more as soon as the authority has revoked it', async () => {
    const events = collectStatus(alice)
    hand.publish('revoke', hand.world.revocation(realm.rotator, { since: clock.now() }))
    await passingUntil(clock, 'alice has heard of it', () => events.some(({ type }) => type === 'revoked'))
    await pass(clock, 100_000)
    expect((await failure(() => alice.publish('orders.new', 'x'))).code).toBe('ERR_STALE')
  })
})
