import { headers, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/message.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { fromHex, hex } from '../../src/bytes.ts'
import type { KeyPair } from '../../src/crypto/engine.ts'
import type { RecipientKey } from '../../src/envelope/keys.ts'
import { seal } from '../../src/envelope/seal.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { Permissions } from '../../src/identity/permissions.ts'
import { signRetirement, verifyAnnouncement } from '../../src/keys/announcements.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { FAILED_OPENS_PER_SECOND } from '../../src/limits.ts'
import type { SealedType } from '../../src/wire/sealed.ts'
import { decodeSealed, type SealedContent } from '../../src/wire/sealed.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { EVERYTHING, engine, may } from '../support/identities.ts'
import { passing } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { MINUTE, reparse } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** A member of the realm that seals what it likes: valid keys and a valid token, and no library that refuses. */
interface HandAgent {
  readonly identity: Identity
  readonly keys: KeyPair
  readonly hash: Uint8Array
  readonly instance: Uint8Array
}

interface Sealing {
  readonly content?: Partial<SealedContent>
  readonly sentAtMs?: number
  readonly in?: AcceptedEpoch
  readonly to?: readonly RecipientKey[]
  readonly messageKey?: Uint8Array
  readonly type?: SealedType
}

const EPOCH_MS = 10 * MINUTE
const GRACE_MS = 100_000

let clock: ManualClock
let realm: TestRealm
let hand: HandRotator
let broker: NatsConnection
let epoch: AcceptedEpoch
let bob: SecureConnection
let toBob: RecipientKey
let got: SecureMessage[]

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
  await startWith(GRACE_MS)
})
afterEach(() => realm.stop())

async function startWith(graceMs: number): Promise<void> {
  broker = await realm.connection()
  const notBefore = clock.now()
  hand = await HandRotator.start(realm, {
    epochs: (world) => [world.epoch(undefined, { notBefore, notAfter: notBefore + EPOCH_MS, graceMs })],
  })
  const [made] = hand.epochs
  if (made === undefined) throw new Error('no epoch')
  epoch = hand.world.accept(made)
  bob = await passing(clock, realm.agent('bob', {}, { timeout: 120_000 }))
  await until('bob was heard', () => hand.announcements.length > 0)
  toBob = keyOfBob(epoch)
  got = []
  bob.subscribe('orders.new', { callback: (_error, m) => got.push(m) })
  await bob.flush()
}

/** The key that bob has announced for an epoch. */
function keyOfBob(of: AcceptedEpoch): RecipientKey {
  const { trust, revocations } = hand.world
  const around = { engine, trust, revocations }
  for (const bytes of hand.announcements) {
    const parsed = reparse(bytes)
    const key = verifyAnnouncement(around, parsed, { epoch: of, nowMs: clock.now() })?.recipient
    if (parsed.announcement.agent === 'bob' && key !== undefined) return key
  }
  throw new Error('bob has no key')
}

/** Announces a fresh instance; messages of an announcement that has not arrived would wait for it. */
async function join(
  who: string | Identity,
  options: {
    readonly permissions?: Permissions
    readonly at?: AcceptedEpoch
    readonly instance?: Uint8Array
  } = {},
): Promise<HandAgent> {
  const { permissions = EVERYTHING, at = epoch, instance = engine.randomBytes(8) } = options
  const identity = typeof who === 'string' ? realm.identity(who, { permissions }) : who
  const keys = engine.ed25519KeyPair()
  const changes = { instance, messageKey: keys.publicKey }
  const parsed = hand.world.announcement(identity, at, changes, { messageKey: keys.secretKey })
  await tell(`announce.${identity.name}.${hex(instance)}`, parsed.bytes)
  return { identity, keys, hash: parsed.hash, instance }
}

/** Publishes a statement; resolves when bob has taken it in. */
async function tell(subject: string, bytes: Uint8Array): Promise<void> {
  hand.publish(subject, bytes)
  const heard = collectStatus(bob)
  hand.publish('revoke', hand.world.revocation(realm.identity('nobody'), { since: clock.now() }))
  await until('bob has heard what came before', () => heard.some(({ type }) => type === 'revoked'))
}

let seq = 0
function sealed(by: HandAgent, options: Sealing = {}): Uint8Array {
  const { content, sentAtMs = clock.now(), to = [toBob], type = 0 } = options
  const whole: SealedContent = {
    sender: by.hash,
    seq: ++seq,
    subject: 'orders.new',
    reply: undefined,
    inReplyTo: undefined,
    ttlMs: 0,
    headers: [],
    clearHeaders: [],
    payload: new Uint8Array(1),
    ...content,
  }
  const { bytes } = seal(engine, whole, {
    type,
    epoch: (options.in ?? epoch).number,
    recipients: to,
    messageKey: options.messageKey ?? by.keys.secretKey,
    sentAtMs,
    padding: 'padme',
  })
  return bytes
}

async function expectDelivered(bytes: Uint8Array): Promise<void> {
  const before = got.length
  const rejections = bob.rejections()
  broker.publish('orders.new', bytes)
  await until('it is delivered', () => got.length > before || total() > sum(rejections))
  expect(bob.rejections()).toEqual(rejections)
  expect(got).toHaveLength(before + 1)
}

async function expectRejected(
  bytes: Uint8Array,
  reason: RejectReason,
  subject = 'orders.new',
): Promise<void> {
  const before = got.length
  const rejections = bob.rejections()
  broker.publish(subject, bytes)
  await until('it is judged', () => got.length > before || total() > sum(rejections))
  expect(bob.rejections()).toEqual({ ...rejections, [reason]: (rejections[reason] ?? 0) + 1 })
  expect(got).toHaveLength(before)
}

const sum = (counts: object): number =>
  Object.values(counts).reduce((all: number, count: number) => all + count, 0)
const total = (): number => sum(bob.rejections())

describe('a member that seals what its library would refuse', () => {
  it('is not heard on a subject that its token does not allow', async () => {
    const mary = await join('mary', { permissions: may(['reports.>'], ['>']) })
    await expectRejected(sealed(mary), 'not permitted')
  })

  it('cannot speak for another one, nor use up its numbers by trying', async () => {
    const alice = await join('alice')
    const mary = await join('mary')
    const forged = sealed(alice, { content: { seq: 7 }, messageKey: mary.keys.secretKey })
    await expectRejected(forged, 'signature')
    const late = sealed(alice, { content: { seq: 7 }, sentAtMs: clock.now() - 120_001 })
    await expectRejected(late, 'time')
    const elsewhere = sealed(alice, { content: { seq: 7, subject: 'orders.old' } })
    await expectRejected(elsewhere, 'subject')
    const good = sealed(alice, { content: { seq: 7 } })
    await expectDelivered(good)
    await expectRejected(sealed(alice, { content: { seq: 7 } }), 'replay')
  })

  it('cannot speak as an instance that says of itself that it has retired', async () => {
    const alice = await join('alice')
    const { notBefore, notAfter } = epoch
    const retirement = reparse(
      signRetirement(alice.identity, epoch, {
        instance: alice.instance,
        seq: clock.now(),
        notBefore,
        notAfter,
      }),
    )
    await tell(`announce.alice.${hex(alice.instance)}`, retirement.bytes)
    await expectRejected(sealed({ ...alice, hash: retirement.hash }), 'epoch')
  })

  it('cannot seal in one epoch under what it announced for another', async () => {
    const alice = await join('alice')
    const next = hand.world.epoch(hand.epochs[0], { notBefore: clock.now() })
    hand.publishEpoch(next)
    const at = hand.world.accept(next)
    const later = await join(alice.identity, { at, instance: alice.instance })
    await expectRejected(sealed(later), 'epoch')
    await expectDelivered(sealed(alice))
  })

  it('cannot pass a sealed message of another type off as one', async () => {
    // A handshake holds no message: as its payload this one is none.
    await expectRejected(sealed(await join('alice'), { type: 1 }), 'content')
  })

  it('that forges signatures uses up what may be unwrapped, for a second', async () => {
    const alice = await join('alice')
    const mary = await join('mary')
    const forged = () => sealed(alice, { messageKey: mary.keys.secretKey })
    for (let i = 0; i < FAILED_OPENS_PER_SECOND + 1; i++) broker.publish('orders.new', forged())
    await until('all are judged', () => total() === FAILED_OPENS_PER_SECOND + 1)
    expect(bob.rejections()).toEqual({ signature: FAILED_OPENS_PER_SECOND, flood: 1 })
    clock.advance(1000)
    await expectDelivered(sealed(alice))
  })
})

it('junk that costs no key agreement keeps nothing else from being opened', async () => {
  const alice = await join('alice')
  for (let i = 0; i < 2 * FAILED_OPENS_PER_SECOND; i++)
    broker.publish('orders.new', sealed(alice).subarray(0, 60))
  await until('all are judged', () => bob.rejections().malformed === 2 * FAILED_OPENS_PER_SECOND)
  await expectDelivered(sealed(alice))
})

describe('the time of a message', () => {
  // The wall clock alone moves: no timer runs, no key is destroyed, and no tick is late.
  const goTo = (ms: number): void => clock.jump(ms - clock.now())

  it('is within 120 s of the own clock, on either side', async () => {
    const alice = await join('alice')
    goTo(epoch.notBefore + 5 * MINUTE)
    for (const by of [-120_001, 120_001])
      await expectRejected(sealed(alice, { sentAtMs: clock.now() + by }), 'time')
    for (const by of [-120_000, 120_000]) await expectDelivered(sealed(alice, { sentAtMs: clock.now() + by }))
  })

  it('is within 120 s of the epoch, also where the own clock is slow', async () => {
    const alice = await join('alice')
    goTo(epoch.notBefore - 30_000)
    await expectRejected(sealed(alice, { sentAtMs: epoch.notBefore - 120_001 }), 'time')
    await expectDelivered(sealed(alice, { sentAtMs: epoch.notBefore - 120_000 }))
    goTo(epoch.notAfter + 30_000)
    await expectRejected(sealed(alice, { sentAtMs: epoch.notAfter + 120_001 }), 'time')
    await expectDelivered(sealed(alice, { sentAtMs: epoch.notAfter + 120_000 }))
  })

  it('is over when the grace of its epoch is, although the keys are still there', async () => {
    const alice = await join('alice')
    goTo(epoch.notAfter + GRACE_MS - 1)
    await expectDelivered(sealed(alice))
    goTo(epoch.notAfter + GRACE_MS)
    await expectRejected(sealed(alice), 'time')
    await expectRejected(sealed(alice, { sentAtMs: epoch.notAfter }), 'time')
  })

  it('is over when the message says so', async () => {
    const alice = await join('alice')
    const content = { ttlMs: 1000 }
    goTo(epoch.notBefore + MINUTE)
    await expectRejected(sealed(alice, { content, sentAtMs: clock.now() - 1001 }), 'time')
    await expectDelivered(sealed(alice, { content, sentAtMs: clock.now() - 1000 }))
  })
})

describe('a response', () => {
  /** A request of bob's to mary alone, and how somebody answers it. */
  async function ask(mary: HandAgent) {
    const seen = await realm.tap('tools.ask')
    await until('mary is known', () => bob.audience('tools.ask').some(({ name }) => name === 'mary'))
    const to = [`mary/${hex(mary.instance)}`]
    const reply = bob.request('tools.ask', 'q', { timeout: 60_000, to })
    reply.catch(() => {})
    await until('it was sent', () => seen.length === 1)
    const inbox = seen[0]?.reply ?? ''
    const { mid } = decodeSealed(seen[0]?.data ?? new Uint8Array(0)).header
    const answer = (by: HandAgent, content: Partial<SealedContent> = {}, to_ = [toBob]): Uint8Array =>
      sealed(by, { to: to_, content: { subject: inbox, inReplyTo: mid, ...content } })
    return { reply, inbox, answer }
  }

  it('is what the instance that was asked seals to the requester alone, naming the request', async () => {
    const mary = await join('mary', { permissions: may([], ['>']) })
    const twin = await join(mary.identity)
    // Who chooses its instance can choose that of another agent.
    const double = await join('double', { instance: mary.instance })
    const { reply, inbox, answer } = await ask(mary)
    const another = { ...toBob, kid: engine.randomBytes(8) }
    const wrong = [
      answer(mary, {}, [toBob, another]),
      answer(mary, { inReplyTo: undefined }),
      answer(mary, { inReplyTo: engine.randomBytes(16) }),
      answer(twin),
      answer(double),
    ]
    for (const bytes of wrong) await expectRejected(bytes, 'not a response', inbox)
    // What the broker adds in clear ends a request only where there is nothing to open.
    const added = headers()
    added.set('Subrosa-Status', 'unaddressed')
    broker.publish(inbox, answer(mary, { payload: fromHex('01') }), { headers: added })
    expect((await reply).data).toEqual(fromHex('01'))
  })

  it('to a request of an ended epoch is sent until its grace ends, and not beyond', async () => {
    const alice = await join('alice')
    const request = sealed(alice, { content: { reply: '_INBOX.alice.1' } })
    broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
    await until('bob was asked', () => got.length === 1)
    const seen = await realm.tap('_INBOX.alice.1')
    clock.jump(epoch.notAfter + GRACE_MS - 1 - clock.now())
    expect(got[0]?.respond('in time')).toBe(true)
    await until('it was sent', () => seen.length === 1)
    clock.jump(1)
    expect((await failure(() => got[0]?.respond('too late'))).code).toBe('ERR_EMPTY_AUDIENCE')
  })

  it('is sent for at most 120 s after the epoch of its request: later, nobody takes it', async () => {
    await realm.stop()
    realm = await TestRealm.start({ clock, rotation: false })
    await startWith(5 * MINUTE)
    const alice = await join('alice')
    const request = sealed(alice, { content: { reply: '_INBOX.alice.1' } })
    broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
    await until('bob was asked', () => got.length === 1)
    clock.jump(epoch.notAfter + 120_000 - 1 - clock.now())
    expect(got[0]?.respond('in time')).toBe(true)
    clock.jump(1)
    expect((await failure(() => got[0]?.respond('too late'))).code).toBe('ERR_EMPTY_AUDIENCE')
  })

  it('is sealed in an epoch of which the worker has keys, also where the requester is ahead', async () => {
    const alice = await join('alice')
    const request = sealed(alice, { content: { reply: '_INBOX.alice.1' } })
    broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
    await until('bob was asked', () => got.length === 1)
    const next = hand.world.epoch(hand.epochs[0], { notBefore: clock.now() })
    hand.publishEpoch(next)
    await join(alice.identity, { at: hand.world.accept(next), instance: alice.instance })
    expect(bob.epoch).toBe(1)
    const seen = await realm.tap('_INBOX.alice.1')
    expect(got[0]?.respond('x')).toBe(true)
    await until('it was sent', () => seen.length === 1)
    expect(decodeSealed(seen[0]?.data ?? new Uint8Array(0)).header.epoch).toBe(1)
  })
})
