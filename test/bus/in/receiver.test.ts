import { headers } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../../src/base/bytes.ts'
import { FAILED_OPENS_PER_SECOND, MAX_PENDING_MESSAGES } from '../../../src/base/limits.ts'
import type { SealMode } from '../../../src/bus/messages/opened.ts'
import { signRetirement } from '../../../src/keys/announcements.ts'
import { encodeHandshake, SessionMode } from '../../../src/wire/handshake.ts'
import { WireType } from '../../../src/wire/preamble.ts'
import { decodeSealed } from '../../../src/wire/sealed.ts'
import { HAND_GRACE_MS, type HandAgent, HandRealm } from '../../support/hand-agents.ts'
import { engine, may } from '../../support/identities.ts'
import { MINUTE, reparse } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'
import { badSubjects } from '../../wire/subjects.ts'

let all: HandRealm

beforeEach(async () => {
  all = await HandRealm.start()
})
afterEach(() => all.stop())

const modes: readonly SealMode[] = ['message', 'session', 'channel']

describe.each(modes)('a member that seals what its library would refuse, in mode %s', (mode) => {
  it('is not heard on a subject that its token does not allow', async () => {
    const mary = await all.join('mary', { permissions: may(['reports.>'], ['>']) })
    await all.expectRejected(all.writer(mary, mode)(), 'not permitted')
  })

  it('is not heard with a subject or a reply subject that nobody may publish on', async () => {
    const write = all.writer(await all.join('alice'), mode)
    for (const text of Object.values(badSubjects)) {
      await all.expectRejected(write({ reply: text }), 'content')
      await all.expectRejected(write({ subject: text }), 'content')
    }
    await all.expectDelivered(write({ reply: '_INBOX.a' }))
  })

  it('uses up no number with what is rejected', async () => {
    const write = all.writer(await all.join('alice'), mode)
    await all.expectRejected(write({ number: 7, sentAtMs: all.epoch.notBefore - 120_001 }), TOO_EARLY[mode])
    await all.expectRejected(write({ number: 7, subject: 'orders.old' }), 'subject')
    await all.expectRejected(write({ number: 7, ttlMs: 1, sentAtMs: all.clock.now() - 2 }), 'time')
    await all.expectDelivered(write({ number: 7 }))
    await all.expectRejected(write({ number: 7 }), 'replay')
  })
})

/** What is older than its session is not one of its frames. */
const TOO_EARLY = { message: 'time', session: 'session', channel: 'session' } as const

describe.each(['message', 'session'] as const)('a member, in mode %s,', (mode) => {
  it('cannot speak for another one, nor use up its numbers by trying', async () => {
    const write = all.writer(await all.join('alice'), mode)
    const mary = await all.join('mary')
    await all.expectRejected(write({ number: 7, messageKey: mary.keys.secretKey }), 'signature')
    await all.expectDelivered(write({ number: 7 }))
  })
})

describe('a member that seals messages or handshakes by hand', () => {
  it('uses up what may be opened by forging signatures, for a second', async () => {
    const alice = await all.join('alice')
    const { keys } = await all.join('mary')
    // A message is opened and its signature verified in a millisecond each, of 50 in a second.
    const tried = 25
    all.clock.workMs = 1
    for (let i = 0; i < tried + MAX_PENDING_MESSAGES + 1; i++)
      all.broker.publish('orders.new', all.seal(alice, { messageKey: keys.secretKey }))
    await until('all are judged', () => all.rejected === tried + 1)
    expect(all.bob.rejections()).toEqual({ signature: tried, flood: 1 })
    all.clock.workMs = 0
    all.clock.advance(5000)
    await all.expectDelivered(all.seal(alice))
  })

  it.each([WireType.sealed, WireType.handshake])(
    'cannot speak as an instance that has retired, in type %s',
    async (type) => {
      const alice = await all.join('alice')
      const { notBefore, notAfter } = all.epoch
      const retirement = reparse(
        signRetirement(alice.identity, all.epoch, {
          instance: alice.instance,
          seq: all.clock.now(),
          notBefore,
          notAfter,
        }),
      )
      await all.tell(`announce.alice.${hex(alice.instance)}`, retirement.bytes)
      await all.expectRejected(all.seal({ ...alice, hash: retirement.hash }, { type }), 'epoch')
    },
  )

  it.each([WireType.sealed, WireType.handshake])(
    'cannot seal in one epoch under what it announced for another, in type %s',
    async (type) => {
      const alice = await all.join('alice')
      const at = all.hand.epoch(2)
      await all.goTo(at.notBefore)
      const later = await all.join(alice.identity, { at, instance: alice.instance })
      await all.expectRejected(all.seal(later, { type }), 'epoch')
      await all.expectDelivered(all.seal(alice))
    },
  )

  it('cannot open a session with a handshake whose subject or reply subject nobody may publish on', async () => {
    const alice = await all.join('alice')
    const payload = encodeHandshake({ mode: SessionMode.signed, maxFrames: 1, lifetimeMs: 1000 })
    for (const text of Object.values(badSubjects)) {
      for (const bad of [{ subject: text }, { reply: text }])
        await all.expectRejected(all.seal(alice, { type: 1, content: { payload, ...bad } }), 'content')
    }
  })

  it('cannot pass a message off as a handshake, nor a handshake as a message', async () => {
    const alice = await all.join('alice')
    await all.expectRejected(all.seal(alice, { type: 1 }), 'content')
    const { handshake } = all.session(alice)
    const renamed = new Uint8Array(handshake)
    renamed[2] = WireType.sealed
    await all.expectRejected(renamed, 'malformed')
  })

  it('cannot have a message taken on the inbox for handshakes', async () => {
    const alice = await all.join('alice')
    all.broker.publish(all.inboxOfBob, all.seal(alice))
    await all.expectDelivered(all.seal(alice))
    expect(all.got).toHaveLength(1)
  })
})

it('junk that costs no key agreement keeps nothing else from being opened', async () => {
  const alice = await all.join('alice')
  for (let i = 0; i < 2 * FAILED_OPENS_PER_SECOND; i++)
    all.broker.publish('orders.new', all.seal(alice).subarray(0, 60))
  await until('all are judged', () => all.bob.rejections().malformed === 2 * FAILED_OPENS_PER_SECOND)
  await all.expectDelivered(all.seal(alice))
})

it.each(modes)(
  'a response in mode %s is not published on a delivered reply subject that is not valid',
  async (mode) => {
    const write = all.writer(await all.join('alice'), mode)
    // A broker, or a mapping of its server, writes it.
    all.broker.publish('orders.new', write({ reply: '_INBOX.a.b' }), { reply: 'vault.*' })
    await until('it is delivered', () => all.got.length === 1)
    const seen = await all.realm.tap('>')
    const error = await failure(() => all.got[0]?.respond('x'))
    expect(error.code).toBe('ERR_MALFORMED')
    expect(error.message).toContain('not a valid subject')
    await all.bob.flush()
    expect(seen.filter(({ subject }) => subject.startsWith('vault'))).toEqual([])
  },
)

describe.each(modes)('the time of what is sealed in mode %s', (mode) => {
  // The wall clock alone moves: no timer runs, and no tick is late.
  const goTo = (ms: number): Promise<void> => all.goTo(ms)

  it('is within 120 s of the own clock, on either side', async () => {
    const write = all.writer(await all.join('alice'), mode)
    await goTo(all.epoch.notBefore + 5 * MINUTE)
    for (const by of [-120_001, 120_001])
      await all.expectRejected(write({ sentAtMs: all.clock.now() + by }), 'time')
    for (const by of [-120_000, 120_000]) await all.expectDelivered(write({ sentAtMs: all.clock.now() + by }))
  })

  it('is within 120 s of the epoch, also where the own clock is slow', async () => {
    const write = all.writer(await all.join('alice'), mode)
    const { notBefore, notAfter } = all.epoch
    const seen = all.clock.now()
    await goTo(notBefore - 30_000)
    await all.expectRejected(write({ sentAtMs: notBefore - 120_001 }), TOO_EARLY[mode])
    // What is too old is judged by the latest time that was confirmed.
    await all.expectDelivered(write({ sentAtMs: seen - 120_000 }))
    await goTo(notAfter + 30_000)
    await all.expectRejected(write({ sentAtMs: notAfter + 120_001 }), 'time')
    await all.expectDelivered(write({ sentAtMs: notAfter + 120_000 }))
  })

  it('is over when the grace of its epoch is, although the keys are still there', async () => {
    const write = all.writer(await all.join('alice'), mode)
    const { notAfter } = all.epoch
    await goTo(notAfter + HAND_GRACE_MS - 1)
    await all.expectDelivered(write())
    await goTo(notAfter + HAND_GRACE_MS)
    await all.expectRejected(write(), 'time')
    await all.expectRejected(write({ sentAtMs: notAfter }), 'time')
  })

  it('is over when the message says so', async () => {
    const write = all.writer(await all.join('alice'), mode)
    await goTo(all.epoch.notBefore + MINUTE)
    await all.expectRejected(write({ ttlMs: 1000, sentAtMs: all.clock.now() - 1001 }), 'time')
    await all.expectDelivered(write({ ttlMs: 1000, sentAtMs: all.clock.now() - 1000 }))
  })
})

describe.each(modes)('a response in mode %s', (mode) => {
  /** A request of bob's to mary alone, and how somebody answers it. */
  async function ask(mary: HandAgent) {
    const { bob, realm } = all
    const seen = await realm.tapMessages('tools.ask')
    await until('mary is known', () => bob.audience('tools.ask').some(({ name }) => name === 'mary'))
    const to = [`mary/${hex(mary.instance)}`]
    const reply = bob.request('tools.ask', 'q', { timeout: 60_000, to, mode })
    reply.catch(() => {})
    await until('it was sent', () => seen.length === 1)
    const subject = seen[0]?.reply ?? ''
    const request = seen[0]?.data ?? new Uint8Array(0)
    const inReplyTo = mode === 'message' ? decodeSealed(request).header.mid : request.slice(3, 43)
    return { reply, subject, inReplyTo }
  }

  it('is what the instance that was asked seals to the requester alone, naming the request', async () => {
    const mary = await all.join('mary', { permissions: may([], ['>']) })
    const twin = await all.join(mary.identity)
    // Who chooses its instance can choose that of another agent.
    const double = await all.join('double', { instance: mary.instance })
    const { reply, subject, inReplyTo } = await ask(mary)
    const { publicKey, context } = all.toBob
    const another = { kid: engine.randomBytes(16), publicKey, context }
    // A channel to two does not begin at all.
    const toTwo = all.writer(mary, mode === 'channel' ? 'session' : mode, { to: [all.toBob, another] })
    const write = all.writer(mary, mode)
    const wrong = [
      toTwo({ subject, inReplyTo }),
      write({ subject }),
      write({ subject, inReplyTo: engine.randomBytes(inReplyTo.length) }),
      write({ subject, inReplyTo: inReplyTo.subarray(1) }),
      all.writer(twin, mode)({ subject, inReplyTo }),
      all.writer(double, mode)({ subject, inReplyTo }),
    ]
    if (mode !== 'message')
      wrong.push(write({ subject, inReplyTo, payloads: [fromHex('01'), fromHex('02')] }))
    const isTaken = reply.then(() => expect.fail('a wrong response was taken'))
    isTaken.catch(() => {})
    for (const bytes of wrong)
      await Promise.race([all.expectRejected(bytes, 'not a response', subject), isTaken])
    // What the broker adds in clear ends a request only where there is nothing to open.
    const added = headers()
    added.set('Subrosa-Status', 'unaddressed')
    const good = write({ subject, inReplyTo, payload: fromHex('01') })
    all.broker.publish(subject, good, { headers: added })
    expect((await reply).data).toEqual(fromHex('01'))
  })

  it('to a request of an ended epoch is sent until its grace ends, and not beyond', async () => {
    const alice = await all.join('alice')
    const request = all.writer(alice, mode)({ reply: '_INBOX.alice.1' })
    all.broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
    await until('bob was asked', () => all.got.length === 1)
    const seen = await all.realm.tapMessages('_INBOX.alice.1')
    await all.goTo(all.epoch.notAfter + HAND_GRACE_MS - 1)
    expect(all.got[0]?.respond('in time')).toBe(true)
    await until('it was sent', () => seen.length === 1)
    // No session begins in an epoch that is over.
    expect(seen[0]?.data[2]).toBe(WireType.sealed)
    all.clock.jump(1)
    expect((await failure(() => all.got[0]?.respond('too late'))).code).toBe('ERR_EMPTY_AUDIENCE')
  })

  it('is sealed in an epoch of which the worker has keys, also where the requester is ahead', async () => {
    const alice = await all.join('alice')
    const request = all.writer(alice, mode)({ reply: '_INBOX.alice.1' })
    all.broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
    await until('bob was asked', () => all.got.length === 1)
    const at = all.hand.epoch(2)
    await all.goTo(at.notBefore - MINUTE)
    await all.join(alice.identity, { at, instance: alice.instance })
    expect(all.bob.epoch).toBe(1)
    // A message says its epoch itself, and a session in its handshake, on the inbox of the instance.
    const seen = await all.realm.tap(
      mode === 'message'
        ? '_INBOX.alice.1'
        : all.realm.inboxOf({ name: 'alice', instance: hex(alice.instance) }),
    )
    expect(all.got[0]?.respond('x')).toBe(true)
    await until('it was sent', () => seen.length === 1)
    expect(decodeSealed(seen[0]?.data ?? new Uint8Array(0)).header.epoch).toBe(1)
  })
})

it('a response is sent for at most 120 s after the epoch of its request: later, nobody takes it', async () => {
  await all.stop()
  all = await HandRealm.start(5 * MINUTE)
  const alice = await all.join('alice')
  const request = all.seal(alice, { content: { reply: '_INBOX.alice.1' } })
  all.broker.publish('orders.new', request, { reply: '_INBOX.alice.1' })
  await until('bob was asked', () => all.got.length === 1)
  await all.goTo(all.epoch.notAfter + 120_000 - 1)
  expect(all.got[0]?.respond('in time')).toBe(true)
  all.clock.jump(1)
  expect((await failure(() => all.got[0]?.respond('too late'))).code).toBe('ERR_EMPTY_AUDIENCE')
})
