import { describe, expect, it } from 'vitest'
import { concat, hex, utf8 } from '../../../src/base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_SESSIONS,
  MAX_SESSIONS_PER_IDENTITY,
  MAX_SESSIONS_PER_SENDER,
  SESSION_TOMBSTONE_MS,
} from '../../../src/base/limits.ts'
import { HeldSession, IncomingSessions } from '../../../src/bus/in/incoming-sessions.ts'
import type { NatsLike } from '../../../src/bus/nats-like.ts'
import type { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import type { SessionSecrets } from '../../../src/envelope/keys.ts'
import type { Unsealed } from '../../../src/envelope/open.ts'
import type { VerifiedAnnouncement } from '../../../src/keys/announcements.ts'
import { encodeHandshake, SessionMode } from '../../../src/wire/handshake.ts'
import { WireType } from '../../../src/wire/preamble.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { World } from '../../support/statements.ts'

describe('the sessions that others have opened', () => {
  const ZEROS = new Uint8Array(32)
  const frameOf = (sid: Uint8Array = ZEROS): Uint8Array =>
    concat(Uint8Array.of(0xc1, 1, 2), sid.subarray(0, 16))

  it('have their keys wiped when they end, one by one or all together', () => {
    const { sessions, accept, last } = incoming(new ManualClock())
    const keys = ['one', 'two'].map((sender) => {
      accept(sender)
      return last()
    })
    const [first, second] = keys
    expect(keys.map(({ key }) => key)).not.toContainEqual(ZEROS)
    const held = sessions.find(frameOf(first?.sid))
    if (held === undefined) throw new Error('the session is not held')
    sessions.end(held)
    expect([first?.key, held.isEnded]).toEqual([ZEROS, true])
    expect(second?.key).not.toEqual(ZEROS)
    sessions.close()
    expect(second?.key).toEqual(ZEROS)
    expect(sessions.find(frameOf(first?.sid))).toBe(undefined)
  })

  it('have their keys wiped when nothing of them can come any more, and their names later', () => {
    const clock = new ManualClock()
    const { sessions, accept, last } = incoming(clock)
    accept('one')
    const { sid, key } = last()
    clock.advance(60_000 + CLOCK_WINDOW_MS - 1)
    sessions.prune()
    expect(key).not.toEqual(ZEROS)
    clock.advance(1)
    sessions.prune()
    expect(key).toEqual(ZEROS)
    clock.advance(SESSION_TOMBSTONE_MS - CLOCK_WINDOW_MS - 1)
    sessions.prune()
    expect(sessions.holds(hex(sid))).toBe(true)
    clock.advance(1)
    sessions.prune()
    expect(sessions.holds(hex(sid))).toBe(false)
  })

  it('that are refused, or known already, leave no key behind', () => {
    const { accept, last } = incoming(new ManualClock())
    for (let i = 0; i < MAX_SESSIONS_PER_SENDER; i++) accept('one')
    const { sid, key } = last()
    expect(accept('one')).toBe('flood')
    expect(last().key).toEqual(ZEROS)
    expect(accept('one', { sid })).toBe(undefined)
    expect(last().key).toEqual(ZEROS)
    expect(key).not.toEqual(ZEROS)
    expect(accept('two', { payload: ZEROS })).toBe('content')
    expect(last().key).toEqual(ZEROS)
    const channel = { mode: SessionMode.channel, maxFrames: 1, lifetimeMs: 1 }
    expect(accept('two', { payload: encodeHandshake(channel), recipients: 2 })).toBe('content')
    expect(last().key).toEqual(ZEROS)
  })

  it('are 65,536 at most, of all senders', () => {
    const clock = new ManualClock()
    const { sessions, accept } = incoming(clock)
    for (let i = 0; i < MAX_SESSIONS; i++) {
      const sender = `sender ${Math.floor(i / MAX_SESSIONS_PER_SENDER)}`
      accept(sender, { identity: sender })
    }
    expect(accept('one more')).toBe('flood')
    expect(sessions.holds('00')).toBe(false)
    // They are forgotten when they are over, and their sids may not be used again by then.
    clock.advance(60_000 + SESSION_TOMBSTONE_MS)
    expect(accept('one more')).toBe(undefined)
  })

  it('are 16,384 at most of one identity, however many instances it has, and others are not kept out', () => {
    const clock = new ManualClock()
    const { accept, last } = incoming(clock)
    for (let i = 0; i < MAX_SESSIONS_PER_IDENTITY; i++) {
      const refusal = accept(`instance ${Math.floor(i / MAX_SESSIONS_PER_SENDER)}`, { identity: 'mary' })
      if (refusal !== undefined) throw new Error(`refused after ${i}`)
    }
    expect(accept('one more instance', { identity: 'mary' })).toBe('flood')
    expect(last().key).toEqual(ZEROS)
    expect(accept('another', { identity: 'alice' })).toBe(undefined)
    clock.advance(60_000 + SESSION_TOMBSTONE_MS)
    expect(accept('one more instance', { identity: 'mary' })).toBe(undefined)
  })

  it('are refused when they are over, and take no place', () => {
    const clock = new ManualClock()
    const { sessions, accept, last } = incoming(clock)
    const ago = (ms: number) => accept('one', { sentAtMs: clock.now() - ms })
    expect(ago(60_000 + CLOCK_WINDOW_MS)).toBe('time')
    expect(last().key).toEqual(ZEROS)
    expect(sessions.holds(hex(last().sid))).toBe(false)
    expect(ago(60_000 + CLOCK_WINDOW_MS - 1)).toBe(undefined)
    expect(last().key).not.toEqual(ZEROS)
    // Those that were refused are not counted either.
    for (let i = 0; i < MAX_SESSIONS_PER_SENDER; i++) ago(60_000 + CLOCK_WINDOW_MS)
    expect(accept('one')).toBe(undefined)
  })

  it('are known by the bytes of their handshakes, until they are forgotten', () => {
    const clock = new ManualClock()
    const { sessions, accept } = incoming(clock)
    const handshake = concat(Uint8Array.of(0xc1, 1, WireType.handshake), utf8('one'))
    expect(sessions.knows(handshake)).toBe(false)
    accept('one', { wire: handshake })
    expect(sessions.knows(handshake)).toBe(true)
    expect(sessions.knows(concat(handshake, Uint8Array.of(0)))).toBe(false)
    // One that was refused may be good another time.
    const refused = concat(handshake, utf8(' refused'))
    accept('one', { wire: refused, payload: ZEROS })
    expect(sessions.knows(refused)).toBe(false)
    clock.advance(60_000 + SESSION_TOMBSTONE_MS)
    sessions.prune()
    expect(sessions.knows(handshake)).toBe(false)
  })

  it('are reported when they are forgotten, once', () => {
    const clock = new ManualClock()
    const { sessions, accept, last, forgotten } = incoming(clock)
    const sids = ['one', 'two'].map((sender) => {
      accept(sender)
      return hex(last().sid)
    })
    clock.advance(60_000 + SESSION_TOMBSTONE_MS - 1)
    sessions.prune()
    expect(forgotten).toEqual([])
    clock.advance(1000)
    // A handshake of somebody else is occasion enough.
    accept('three')
    expect(forgotten).toEqual([sids])
    sessions.prune()
    expect(forgotten).toEqual([sids])
  })
})

describe('what a session remembers of what its sender may publish', () => {
  it('is shared with the other sessions under one token', () => {
    let looks = 0
    const pub = {
      deny: [],
      get allow() {
        looks++
        return ['orders.>']
      },
    }
    const held = Array.from({ length: 100 }, () => {
      const sender = { claims: { permissions: { pub } } } as unknown as VerifiedAnnouncement
      return new HeldSession({} as never, { sender, epoch: {} as never, recipients: 1 })
    })
    expect(held.map((session) => session.mayPublish('orders.new'))).toEqual(held.map(() => true))
    expect(held.map((session) => session.mayPublish('talk.new'))).toEqual(held.map(() => false))
    expect(looks).toBe(2)
  })
})

/** Incoming sessions without a server, and handshakes whose senders are proved. */
function incoming(clock: ManualClock) {
  const forgotten: (readonly string[])[] = []
  const sessions = new IncomingSessions({} as NatsLike, {
    ...testContext({ clock }),
    link: {} as RealmLink,
    onHandshake: () => {},
    onForgotten: (sids) => forgotten.push(sids),
  })
  const payload = encodeHandshake({
    mode: SessionMode.signed,
    maxFrames: 1,
    lifetimeMs: 60_000,
  })
  const epoch = new World()
    .epochs(1)
    .map(({ epoch: made }) => ({ ...made, notAfter: Number.MAX_SAFE_INTEGER }))[0]
  const pub = { allow: ['>'], deny: [] }
  let counter = 0
  let secrets: SessionSecrets | undefined
  const last = (): SessionSecrets => {
    if (secrets === undefined) throw new Error('there was no handshake')
    return secrets
  }
  const accept = (
    sender: string,
    changes: {
      readonly identity?: string
      readonly sid?: Uint8Array
      readonly payload?: Uint8Array
      readonly recipients?: number
      readonly sentAtMs?: number
      readonly wire?: Uint8Array
    } = {},
  ) => {
    const sid = new Uint8Array(16)
    new DataView(sid.buffer).setUint32(0, ++counter)
    secrets = { sid: changes.sid ?? sid, key: new Uint8Array(32).fill(7), binding: new Uint8Array(80) }
    const message = {
      session: secrets,
      content: { payload: changes.payload ?? payload },
      sentAtMs: changes.sentAtMs ?? clock.now(),
      recipients: changes.recipients ?? 1,
    } as unknown as Unsealed
    const announcement = {
      hash: new TextEncoder().encode(sender),
      announcement: { messageKey: new Uint8Array(32) },
      claims: { identity: changes.identity ?? sender, permissions: { pub } },
    } as unknown as VerifiedAnnouncement
    const wire = changes.wire ?? concat(Uint8Array.of(0xc1, 1, WireType.handshake), secrets.sid)
    return sessions.accept(message, { sender: announcement, epoch: epoch as never, wire })
  }
  return { sessions, accept, last, forgotten }
}
