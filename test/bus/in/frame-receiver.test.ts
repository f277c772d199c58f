import { headers } from '@nats-io/nats-core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hex, utf8 } from '../../../src/base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  FAILED_OPENING_MS_PER_SECOND,
  FAILED_OPENS_PER_SECOND,
  LOOKUP_TIMEOUT_MS,
  MAX_FORGERIES,
  MAX_FREE_HEADER_BYTES,
  MAX_HANDSHAKE_INBOXES,
  REPLAY_WINDOW,
  SUSPECT_SESSION_MS,
} from '../../../src/base/limits.ts'
import type { RecipientKey } from '../../../src/envelope/keys.ts'
import { FrameOpener, FrameSealer } from '../../../src/session/frame-cipher.ts'
import { OutgoingSession } from '../../../src/session/outgoing.ts'
import { FRAME_HEADER_BYTES } from '../../../src/wire/frame.ts'
import { SessionMode } from '../../../src/wire/handshake.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { newRecipient } from '../../envelope/forge.ts'
import { contentOf } from '../../session/pair.ts'
import { HAND_GRACE_MS, HandRealm } from '../../support/hand-agents.ts'
import { engine, may } from '../../support/identities.ts'
import { passing } from '../../support/passing.ts'
import { collectStatus } from '../../support/realm.ts'
import { MINUTE } from '../../support/statements.ts'
import { until } from '../../support/until.ts'

const LIFE_MS = 60_000
let all: HandRealm
let mary: RecipientKey

beforeEach(async () => {
  all = await HandRealm.start()
  mary = newRecipient(engine)
})
afterEach(() => {
  vi.restoreAllMocks()
  return all.stop()
})

// The wall clock alone moves: no timer runs, and no tick is late.
const goTo = (ms: number): Promise<void> => all.goTo(ms)

const count = (reason: string): number =>
  Object.entries(all.bob.rejections()).find(([name]) => name === reason)?.[1] ?? 0

/** Publishes so many and waits until bob has judged them all. */
async function flood(frames: readonly Uint8Array[]): Promise<void> {
  const before = all.rejected + all.got.length
  for (const frame of frames) all.broker.publish('orders.new', frame)
  await until('all are judged', () => all.rejected + all.got.length === before + frames.length)
}

/** A copy with other bytes of salt, as anybody can make it. */
function resalted(frame: Uint8Array): Uint8Array {
  const copy = new Uint8Array(frame)
  copy.set(engine.randomBytes(10), 25)
  return copy
}

describe('a co-recipient', () => {
  it('moves no window with a huge number: what the sender says afterwards is delivered', async () => {
    const session = all.openSession(await all.join('alice'), { to: [all.toBob, mary] })
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    await all.expectDelivered(session.frame({ counter: 0 }))
    for (const counter of [1, REPLAY_WINDOW + 1, 2 ** 20 - 1])
      await all.expectRejected(session.frame({ counter, messageKey }), 'signature')
    for (const counter of [2 ** 20, 2 ** 53 - 1])
      await all.expectRejected(session.frame({ counter, messageKey }), 'session')
    for (const counter of [1, 2, REPLAY_WINDOW]) await all.expectDelivered(session.frame({ counter }))
  })

  it('that forges without end has the sender leave the session, and loses nothing of what is under way in it', async () => {
    const alice = await all.join('alice')
    const [shared, own] = [all.openSession(alice, { to: [all.toBob, mary] }), all.openSession(alice)]
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    const heard = await all.realm.tap(`${all.realm.root}.session.${hex(shared.secrets.sid)}`)
    const forge = (count: number): Promise<void> =>
      flood(Array.from({ length: count }, () => shared.frame({ messageKey })))
    await forge(MAX_FORGERIES - 1)
    await all.expectDelivered(shared.frame())
    await all.realm.settled()
    expect(heard).toEqual([])
    await forge(1)
    const refusals = (): number => heard.filter(({ data }) => wireType(data) === WireType.refusal).length
    await all.realm.settled()
    expect(refusals()).toBe(1)
    for (let i = 0; i < 3; i++) await all.expectDelivered(shared.frame())
    await all.expectDelivered(own.frame())
    // Where the sender has not heard of it, it is told again: once a second.
    all.clock.advance(1000)
    for (let i = 0; i < 3; i++) await all.expectDelivered(shared.frame())
    await all.realm.settled()
    expect(refusals()).toBe(2)
    expect(all.bob.rejections()).toEqual({ signature: MAX_FORGERIES })
  })

  it('that goes on forging has frames of the session turned away two seconds after its sender was told, while it does', async () => {
    const session = all.openSession(await all.join('alice'), { to: [all.toBob, mary] })
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    await flood(Array.from({ length: MAX_FORGERIES }, () => session.frame({ messageKey })))
    all.clock.advance(LOOKUP_TIMEOUT_MS - 1)
    await all.expectDelivered(session.frame())
    await all.expectRejected(session.frame({ messageKey }), 'signature')
    all.clock.advance(1001)
    const heard = await all.realm.tap(`${all.realm.root}.session.${hex(session.secrets.sid)}`)
    const decryptions = vi.spyOn(engine, 'xaeadOpen')
    await all.expectRejected(session.frame({ messageKey }), 'session')
    const macs = vi.spyOn(engine, 'hmac')
    await all.expectRejected(session.frame(), 'session')
    expect([decryptions.mock.calls.length, macs.mock.calls.length]).toEqual([0, 0])
    await all.realm.settled()
    expect(heard).toHaveLength(1)
    // The forging has stopped, and the sender may not have heard of it.
    all.clock.advance(SUSPECT_SESSION_MS)
    await all.expectDelivered(session.frame())
  })

  it('that forges slowly finds its session in want of budget at last', async () => {
    const alice = await all.join('alice')
    const session = all.openSession(alice, { to: [all.toBob, mary] })
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    for (let i = 0; i < MAX_FORGERIES; i++) {
      await all.expectDelivered(session.frame())
      await all.expectRejected(session.frame({ messageKey }), 'signature')
      all.clock.advance(SUSPECT_SESSION_MS)
    }
    // Somebody spends the budget in another session, and nothing waits.
    const other = all.openSession(alice, { to: [all.toBob, mary] })
    all.clock.workMs = 10 * FAILED_OPENING_MS_PER_SECOND
    await all.expectDelivered(other.frame())
    await all.expectRejected(other.frame({ messageKey }), 'signature')
    all.clock.workMs = 0
    const before = all.got.length
    all.broker.publish('orders.new', session.frame())
    await all.broker.flush()
    await all.bob.flush()
    expect(all.got.length).toBe(before)
    all.clock.advance(2000)
    expect(all.got.length).toBe(before + 1)
  })

  it('that forges in a session of more than 32 has its frames wait for budget: none of them is dropped at once', async () => {
    const before = await tenWaiting()
    expect([all.got.length, all.bob.rejections()]).toEqual([before, { signature: 50 }])
    all.clock.advance(1000)
    await until('they are delivered', () => all.got.length === before + 10)
  })

  it('that has frames wait for budget has none of them opened when freshness has ended meanwhile', async () => {
    await all.join('sync')
    all.hand.isTicking = false
    all.clock.advance(all.freshForMs - 1)
    const before = await tenWaiting()
    all.clock.advance(1500)
    expect([count('stale'), all.got.length]).toEqual([10, before])
  })

  it('that forges in many sessions by turns has as many signatures verified as there are of them and budget', async () => {
    const SESSIONS = 20
    const alice = await all.join('alice')
    const sessions = Array.from({ length: SESSIONS }, () => all.openSession(alice, { to: [all.toBob, mary] }))
    for (const session of sessions) await all.expectDelivered(session.frame())
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    const verifications = vi.spyOn(engine, 'verify')
    all.clock.workMs = 1
    for (let round = 0; round < 10; round++) {
      // Whoever looks how many are allowed now has them refilled.
      for (const session of sessions) {
        const junk = session.frame({ messageKey })
        junk.fill(0, FRAME_HEADER_BYTES)
        for (const frame of [junk, session.frame({ messageKey })]) all.broker.publish('orders.new', frame)
      }
      await all.broker.flush()
      await all.bob.flush()
      all.clock.advance(17)
    }
    expect(verifications.mock.calls.length).toBeGreaterThan(SESSIONS)
    expect(verifications.mock.calls.length).toBeLessThan(SESSIONS + FAILED_OPENING_MS_PER_SECOND)
    all.clock.workMs = 0
  })

  it('that has spent far more than the budget keeps messages waiting for two seconds at most', async () => {
    const alice = await all.join('alice')
    const sessions = Array.from({ length: 3 }, () => all.openSession(alice, { to: [all.toBob, mary] }))
    for (const session of sessions) await all.expectDelivered(session.frame())
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    // Each of them is the first in its session, for which nothing waits.
    all.clock.workMs = 10 * FAILED_OPENING_MS_PER_SECOND
    await flood(sessions.map((session) => session.frame({ messageKey })))
    all.clock.workMs = 0
    const before = all.got.length
    all.broker.publish('orders.new', all.seal(alice))
    await all.broker.flush()
    await all.bob.flush()
    expect(all.got.length).toBe(before)
    all.clock.advance(2000)
    expect(all.got.length).toBe(before + 1)
  })

  it('that repeats frames with long headers in clear finds an end of the budget, and keeps no frame away', async () => {
    const session = all.openSession(await all.join('alice'), { to: [all.toBob, mary] })
    await all.expectDelivered(session.frame())
    const decryptions = vi.spyOn(engine, 'xaeadOpen')
    all.clock.workMs = 1
    const long = headers()
    long.set('Nats-Msg-Id', 'x'.repeat(MAX_FREE_HEADER_BYTES))
    for (let i = 0; i < 3 * FAILED_OPENING_MS_PER_SECOND; i++)
      all.broker.publish('orders.new', session.frame(), { headers: long })
    await all.broker.flush()
    await all.bob.flush()
    expect(count('headers')).toBeGreaterThan(0)
    expect(decryptions.mock.calls.length).toBeLessThanOrEqual(FAILED_OPENING_MS_PER_SECOND)
    await all.expectDelivered(session.frame())
    all.clock.workMs = 0
  })

  /** Has a co-recipient forge until what follows waits for budget, and ten good frames with it; how many came before. */
  async function tenWaiting(): Promise<number> {
    const others = Array.from({ length: MAX_HANDSHAKE_INBOXES }, () => ({
      ...mary,
      kid: engine.randomBytes(16),
    }))
    const session = all.openSession(await all.join('alice'), { to: [all.toBob, ...others] })
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    await all.expectDelivered(session.frame())
    all.clock.workMs = 1
    // As many as the half of a tenth of a core allows.
    await flood(Array.from({ length: 50 }, () => session.frame({ messageKey })))
    all.clock.workMs = 0
    const before = all.got.length
    for (let i = 0; i < 10; i++) all.broker.publish('orders.new', session.frame())
    await all.broker.flush()
    await all.bob.flush()
    return before
  }
})

describe('somebody without a key', () => {
  it('keeps no frame away by repeating a recorded one where it is not wanted, and has no signature verified', async () => {
    const session = all.openSession(await all.join('alice'))
    const recorded = session.frame()
    await all.expectDelivered(recorded)
    all.bob.subscribe('orders.*', { callback: () => {} })
    await all.bob.flush()
    const verify = vi.spyOn(engine, 'verify')
    for (let i = 0; i < 5; i++) {
      for (let n = 0; n < 2 * FAILED_OPENS_PER_SECOND; n++) all.broker.publish(`orders.${n}`, recorded)
      await until('all are judged', () => count('subject') === 2 * FAILED_OPENS_PER_SECOND * (i + 1))
      expect(verify).not.toHaveBeenCalled()
      await all.expectDelivered(session.frame())
      verify.mockClear()
    }
    verify.mockRestore()
  })

  it('has no frame decrypted of which the time in clear is too old, though its session stands', async () => {
    const session = all.openSession(await all.join('alice'))
    await all.expectDelivered(session.frame())
    const recorded = session.frame()
    all.clock.advance(CLOCK_WINDOW_MS)
    await all.untilFresh()
    all.clock.advance(1000)
    const decrypt = vi.spyOn(engine, 'xaeadOpen')
    await all.expectRejected(recorded, 'time')
    expect(decrypt).not.toHaveBeenCalled()
    decrypt.mockRestore()
    await all.expectDelivered(session.frame())
  })
})

describe('a handshake', () => {
  it('opens a channel for one recipient alone', async () => {
    const alice = await all.join('alice')
    const toTwo = all.session(alice, { mode: SessionMode.channel, to: [all.toBob, mary] })
    for (const bytes of [toTwo.handshake, toTwo.frame()]) all.broker.publish('orders.new', bytes)
    await passing(
      all.clock,
      until('both are judged', () => all.rejected === 2 || all.got.length > 0),
    )
    expect(all.got).toHaveLength(0)
    expect(all.bob.rejections()).toEqual({ content: 1, 'unknown session': 1 })
    const toOne = all.openSession(alice, { mode: SessionMode.channel })
    await all.expectDelivered(toOne.frame())
  })

  it('that comes again changes nothing: what was read is not read twice', async () => {
    const session = all.openSession(await all.join('alice'))
    const frames = [session.frame(), session.frame()]
    await all.expectDelivered(frames[0] ?? new Uint8Array(0))
    const before = all.bob.rejections()
    const places = [all.inboxOfBob, 'orders.new', `${all.realm.root}.handshake.${hex(session.secrets.sid)}`]
    for (let i = 0; i < 5; i++) for (const place of places) all.broker.publish(place, session.handshake)
    await all.expectRejected(frames[0] ?? new Uint8Array(0), 'replay')
    await all.expectDelivered(frames[1] ?? new Uint8Array(0))
    expect(all.bob.rejections()).toEqual({ ...before, replay: 1 })
  })

  it('that comes again, however often, leaves its sender as many sessions as before', async () => {
    const alice = await all.join('alice')
    const session = all.openSession(alice)
    for (let i = 0; i < 300; i++) all.broker.publish('orders.new', session.handshake)
    await all.expectDelivered(all.openSession(alice).frame())
    expect(all.bob.rejections()).toEqual({})
  })

  it('in the name of another opens nothing', async () => {
    const alice = await all.join('alice')
    const { keys } = await all.join('mary')
    for (const [i, mode] of [SessionMode.channel, SessionMode.signed].entries()) {
      const forged = all.session({ ...alice, keys }, { mode })
      for (const bytes of [forged.handshake, forged.frame()]) all.broker.publish('orders.new', bytes)
      await passing(
        all.clock,
        until('both are judged', () => all.rejected === 2 * (i + 1) || all.got.length > 0),
      )
      expect(all.got).toHaveLength(0)
    }
    expect(all.bob.rejections()).toEqual({ signature: 2, 'unknown session': 2 })
  })

  it('is of its epoch, and not of the future', async () => {
    const alice = await all.join('alice')
    const { notBefore, notAfter } = all.epoch
    const at = (sentAtMs: number) => all.session(alice, { sentAtMs }).handshake
    await goTo(notBefore + MINUTE)
    await all.expectRejected(at(all.clock.now() + CLOCK_WINDOW_MS + 1), 'time')
    await all.expectRejected(at(notBefore - CLOCK_WINDOW_MS - 1), 'time')
    const good = all.session(alice, { sentAtMs: all.clock.now() + CLOCK_WINDOW_MS })
    all.broker.publish(all.inboxOfBob, good.handshake)
    await all.expectDelivered(good.frame({ sentAtMs: all.clock.now() }))
    await goTo(notAfter + HAND_GRACE_MS - 1)
    await all.expectRejected(at(notAfter + CLOCK_WINDOW_MS + 1), 'time')
    await goTo(notAfter + HAND_GRACE_MS)
    await all.expectRejected(at(notAfter), 'time')
  })

  it('with other bounds than a session may have opens nothing', async () => {
    const alice = await all.join('alice')
    for (const wrong of [{ lifetimeMs: 900_001 }, { maxFrames: 2 ** 20 + 1 }, { mode: 2 as never }])
      await all.expectRejected(all.session(alice, wrong).handshake, 'content')
  })
})

describe('a session', () => {
  it('takes as many frames as its handshake says', async () => {
    const session = all.openSession(await all.join('alice'), { maxFrames: 3 })
    await all.expectDelivered(session.frame({ counter: 2 }))
    await all.expectRejected(session.frame({ counter: 3 }), 'session')
  })

  it('takes what was sent before its end, as much later as clocks may differ', async () => {
    const session = all.openSession(await all.join('alice'), { lifetimeMs: LIFE_MS })
    const end = all.epoch.notBefore + LIFE_MS
    await goTo(end - 1)
    await all.expectRejected(session.frame({ sentAtMs: end }), 'session')
    await goTo(end + CLOCK_WINDOW_MS - 1)
    await all.expectRejected(session.frame({ sentAtMs: end }), 'session')
    await all.expectDelivered(session.frame({ sentAtMs: end - 1 }))
    await goTo(end + CLOCK_WINDOW_MS)
    await all.expectRejected(session.frame({ sentAtMs: end - 1 }), 'session')
  })

  it('that is over opens nothing, also when its handshake comes again', async () => {
    const session = all.openSession(await all.join('alice'), { lifetimeMs: LIFE_MS })
    const frame = session.frame()
    await all.expectDelivered(frame)
    await goTo(all.epoch.notBefore + LIFE_MS + CLOCK_WINDOW_MS)
    await all.expectRejected(session.handshake, 'time', all.inboxOfBob)
    await all.expectRejected(frame, 'time')
    await all.expectRejected(session.frame({ sentAtMs: all.epoch.notBefore + LIFE_MS - 1 }), 'time')
  })

  it('ends with the trust in its sender', async () => {
    const alice = await all.join('alice')
    const session = all.openSession(alice)
    await all.expectDelivered(session.frame())
    const revocation = all.hand.world.revocation(alice.identity, { since: all.clock.now() })
    await all.tell('revoke', revocation)
    await all.expectRejected(session.frame(), 'revoked')
    // For good: its key is gone.
    await all.expectRejected(session.frame(), 'session')
    await all.expectRejected(all.session(alice).handshake, 'revoked')
  })

  it('ends with the token of its sender', async () => {
    const expiresAtMs = all.epoch.notBefore + MINUTE
    const session = all.openSession(await all.join(all.realm.identity('alice', { expiresAtMs })))
    await goTo(expiresAtMs - 1)
    await all.expectDelivered(session.frame())
    await goTo(expiresAtMs)
    await all.expectRejected(session.frame(), 'revoked')
  })

  it('ends when another identity turns out to hold the name of its sender', async () => {
    const session = all.openSession(await all.join('alice'))
    await all.expectDelivered(session.frame())
    await all.join(all.realm.identity('alice', { issuedAtMs: all.clock.now() - 3_600_000 }))
    await all.expectRejected(session.frame(), 'revoked')
  })
})

describe('a frame', () => {
  it('is judged by its own subject: what its sender may say on another one does not count', async () => {
    const permissions = may(['orders.new', 'orders.good'], ['>'])
    const [one, two] = [await all.join('alice', { permissions }), await all.join('carol', { permissions })]
    all.bob.subscribe('orders.bad', { callback: (_error, m) => all.got.push(m) })
    await all.bob.flush()
    const bad = { meta: { subject: 'orders.bad' } }
    const session = all.openSession(one)
    await all.expectDelivered(session.frame())
    await all.expectRejected(session.frame(bad), 'not permitted', 'orders.bad')
    const other = all.openSession(two)
    await all.expectRejected(other.frame(bad), 'not permitted', 'orders.bad')
    await all.expectDelivered(other.frame())
    await all.expectRejected(other.frame(bad), 'not permitted', 'orders.bad')
  })

  it('that is junk costs nothing but its AEAD: however much of it comes, the next good one is read', async () => {
    const session = all.openSession(await all.join('alice'))
    const good = session.frame()
    const junk = Array.from({ length: 500 }, (_, i) => {
      const frame = engine.randomBytes(200)
      frame.set(good.subarray(0, FRAME_HEADER_BYTES))
      new DataView(frame.buffer).setUint32(39, i + 1)
      return frame
    })
    all.clock.workMs = 1
    for (const frame of junk) all.broker.publish('orders.new', frame)
    await all.broker.flush()
    await all.bob.flush()
    all.clock.workMs = 0
    expect(all.bob.rejections()).toEqual({ ciphertext: 500 })
    await all.expectDelivered(good)
  })

  it('that is cut short is no frame', async () => {
    const frame = all.openSession(await all.join('alice')).frame()
    for (const length of [3, 19, FRAME_HEADER_BYTES])
      await all.expectRejected(frame.subarray(0, length), 'malformed')
    await all.expectRejected(frame.subarray(0, FRAME_HEADER_BYTES + 15), 'ciphertext')
    const huge = new Uint8Array(frame)
    huge[35] = 0xff
    await all.expectRejected(huge, 'malformed')
  })

  it('is delivered once to each of two subscriptions that overlap', async () => {
    const session = all.openSession(await all.join('alice'))
    const wide: string[] = []
    all.bob.subscribe('orders.>', { callback: (_error, m) => wide.push(m.string()) })
    await all.bob.flush()
    const frame = session.frame({ payload: utf8('x') })
    await all.expectDelivered(frame)
    await until('the other has it too', () => wide.length === 1)
    all.broker.publish('orders.new', frame)
    await until('both reject it', () => count('replay') === 2)
    expect([wide.length, all.got.length]).toEqual([1, 1])
  })

  it('too far behind the newest is taken for one that was read', async () => {
    const session = all.openSession(await all.join('alice'))
    await all.expectDelivered(session.frame({ counter: REPLAY_WINDOW + 4 }))
    // 3 has not the place in the window that the newest has, and 4 has.
    for (const counter of [3, 4]) await all.expectRejected(session.frame({ counter }), 'replay')
    await all.expectDelivered(session.frame({ counter: 5 }))
  })

  it('with many payloads is delivered payload by payload, in order, and once', async () => {
    const session = all.openSession(await all.join('alice'))
    const frame = session.frame({ payloads: ['one', '', 'three'].map(utf8) })
    all.broker.publish('orders.new', frame)
    await until('all are delivered', () => all.got.length === 3)
    expect(all.got.map((m) => m.string())).toEqual(['one', '', 'three'])
    await all.expectRejected(frame, 'replay')
  })

  it.each([
    ['signed', SessionMode.signed],
    ['channel', SessionMode.channel],
  ])('of mode %s with many payloads and a reply subject is none', async (_, mode) => {
    // It would be many requests of one name, and a response could not say to which of them it is.
    const session = all.openSession(await all.join('alice'), { mode })
    const meta = { reply: '_INBOX.alice.1' }
    for (const payloads of [
      ['a', 'b'],
      ['', 'ab', ''],
    ].map((texts) => texts.map(utf8)))
      await all.expectRejected(session.frame({ meta, payloads }), 'content')
    // With the one or the other it is delivered.
    await all.expectDelivered(session.frame({ meta, payload: utf8('ab') }))
    all.broker.publish('orders.new', session.frame({ payloads: [utf8('a'), utf8('b')] }))
    await until('both are delivered', () => all.got.length === 3)
  })

  it('with clear headers that were not delivered is rejected', async () => {
    const session = all.openSession(await all.join('alice'))
    await all.expectRejected(
      session.frame({ meta: { clearHeaders: [{ name: 'Nats-Msg-Id', value: 'one' }] } }),
      'headers',
    )
  })
})

describe('two processes that go on with one session', () => {
  it('are found in what two real senders publish: each number is delivered once, and both are reported', async () => {
    const alice = await all.join('alice')
    const { secrets } = all.openSession(alice)
    const events = collectStatus(all.bob)
    const clones = [1, 2].map(() => {
      const sealer = new FrameSealer(engine, 'padme')
      const session = new OutgoingSession(engine, {
        secrets: { ...secrets, key: secrets.key.slice() },
        mode: SessionMode.signed,
        maxFrames: 100,
        expiresAtMs: Number.MAX_SAFE_INTEGER,
        messageKey: alice.keys.secretKey,
      })
      return (payloads: readonly string[]): readonly Uint8Array[] => {
        const frames = payloads.map((text) => ({
          ...session.takeNumber(all.clock.now()),
          content: [contentOf({}, utf8(text))],
        }))
        return session.seal(sealer, frames)
      }
    })
    const wires: Uint8Array[] = []
    for (let turn = 0; turn < 4; turn++) {
      for (const [i, seal] of clones.entries())
        wires.push(...seal(Array.from({ length: 5 }, (_, n) => `${i} ${turn} ${n}`)))
    }
    await flood(wires)
    expect(all.bob.rejections()).toEqual({ replay: 20 })
    expect(all.got.map((m) => m.string())).toEqual(
      [0, 1, 2, 3].flatMap((turn) => [0, 1, 2, 3, 4].map((n) => `0 ${turn} ${n}`)),
    )
    // Once a minute for one instance.
    expect(events.filter(({ type }) => type === 'clone')).toHaveLength(1)
    expect(new Set(wires.map((wire) => hex(wire.subarray(19, 43)))).size).toBe(40)
  })

  it('are reported as a clone, and nothing is delivered twice', async () => {
    const alice = await all.join('alice')
    const session = all.openSession(alice)
    const events = collectStatus(all.bob)
    for (const counter of [0, 1, 2]) await all.expectDelivered(session.frame({ counter }))
    expect(events.filter(({ type }) => type === 'clone')).toEqual([])
    // The other one repeats the number, with another salt and under the same key.
    await all.expectRejected(session.frame({ counter: 1, payload: utf8('other') }), 'replay')
    const clone = { type: 'clone', name: 'alice', instance: hex(alice.instance) }
    expect(events.filter(({ type }) => type === 'clone')).toEqual([clone])
  })

  it('are not suspected where somebody plays a frame again, as it was or with another salt', async () => {
    const session = all.openSession(await all.join('alice'))
    const events = collectStatus(all.bob)
    const frame = session.frame()
    await all.expectDelivered(frame)
    await flood([frame, ...Array.from({ length: 3 * FAILED_OPENS_PER_SECOND }, () => resalted(frame))])
    expect(all.bob.rejections()).toEqual({ replay: 3 * FAILED_OPENS_PER_SECOND + 1 })
    // Whoever has no key uses up nothing of what the session may fail.
    await all.expectDelivered(session.frame())
    expect(events.filter(({ type }) => type === 'clone')).toEqual([])
  })

  it('are not suspected where a co-recipient forges such a frame', async () => {
    const session = all.openSession(await all.join('alice'), { to: [all.toBob, mary] })
    const events = collectStatus(all.bob)
    await all.expectDelivered(session.frame({ counter: 0 }))
    const { secretKey: messageKey } = engine.ed25519KeyPair()
    await all.expectRejected(session.frame({ counter: 0, messageKey }), 'replay')
    expect(events.filter(({ type }) => type === 'clone')).toEqual([])
  })

  it('are looked for so often and no more, and reported once', async () => {
    const session = all.openSession(await all.join('alice'))
    const events = collectStatus(all.bob)
    await all.expectDelivered(session.frame({ counter: 0 }))
    const opened = vi.spyOn(FrameOpener.prototype, 'open')
    await flood(Array.from({ length: 2 * FAILED_OPENS_PER_SECOND }, () => session.frame({ counter: 0 })))
    expect(opened).toHaveBeenCalledTimes(FAILED_OPENS_PER_SECOND)
    opened.mockRestore()
    expect(events.filter(({ type }) => type === 'clone')).toHaveLength(1)
  })
})
