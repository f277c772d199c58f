import { describe, expect, it } from 'vitest'
import { concat, hex, utf8 } from '../../../src/base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  FAILED_LOOKUP_TTL_MS,
  MAX_REFUSALS_PER_SECOND,
  SILENT_SESSION_MS,
  STALE_AFTER_MS,
} from '../../../src/base/limits.ts'
import { SESSION_BYTES } from '../../../src/bus/in/held-session.ts'
import { IncomingSessions } from '../../../src/bus/in/incoming-sessions.ts'
import type { NatsLike } from '../../../src/bus/nats-like.ts'
import type { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import type { StatusEvent } from '../../../src/bus/status.ts'
import type { SessionSecrets } from '../../../src/envelope/keys.ts'
import type { Unsealed } from '../../../src/envelope/open.ts'
import type { VerifiedAnnouncement } from '../../../src/keys/announcements.ts'
import type { Epoch } from '../../../src/keys/epochs.ts'
import { refusalTag } from '../../../src/session/refusal.ts'
import { encodeHandshake, SessionMode } from '../../../src/wire/handshake.ts'
import { decodeRefusal, RefusalReason } from '../../../src/wire/refusal.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { T0 } from '../../support/statements.ts'

const LIFE_MS = 60_000
const ZEROS = new Uint8Array(32)
const EPOCH = {
  number: 7,
  hash: new Uint8Array(32).fill(7),
  notBefore: T0 - 3_600_000,
  notAfter: T0 + 3_600_000,
  graceMs: 300_000,
} as unknown as Epoch
const OWN_HASH = new Uint8Array(32).fill(9)
const OWN_KID = new Uint8Array(16).fill(8)
/** So many bytes hold some hundred sessions. */
const SMALL = 1024 * 1024

const frameOf = (sid: Uint8Array): Uint8Array => concat(Uint8Array.of(0xc1, 1, 2), sid.subarray(0, 16))

interface Opening {
  readonly identity?: string
  readonly sid?: Uint8Array
  readonly payload?: Uint8Array
  readonly recipients?: number
  readonly kid?: Uint8Array
  readonly sentAtMs?: number
  readonly epoch?: Epoch
}

/** Incoming sessions without a server, and handshakes whose senders are proved. A tick has just counted. */
function incoming(maxBytes = 64 * SMALL) {
  const machine = new ManualClock(T0)
  const forgotten: string[] = []
  const published: { readonly subject: string; readonly data: Uint8Array }[] = []
  const events: StatusEvent[] = []
  const context = testContext({ clock: machine })
  const { clock } = context
  clock.counted(clock.late())
  const nc = {
    isClosed: () => false,
    publish: (subject: string, data: Uint8Array) => published.push({ subject, data }),
  } as unknown as NatsLike
  /** Hashes of own announcements, by the kids of their keys. */
  const own = new Map<Uint8Array, Uint8Array>([[OWN_KID, OWN_HASH]])
  const keyring = {
    announcementOf: (kid: Uint8Array) => own.get(kid),
    ownKeys: () => [...own.keys()].map((kid) => ({ kid })),
  }
  const sessions = new IncomingSessions(nc, {
    ...context,
    feed: { emit: (event: StatusEvent) => events.push(event) } as never,
    link: { keyring } as unknown as RealmLink,
    line: { admit: ({ open }) => open(), spend: () => {} },
    onHandshake: () => {},
    onForgotten: (sids) => forgotten.push(...sids),
    maxBytes,
  })
  const payload = encodeHandshake({ mode: SessionMode.signed, maxFrames: 1, lifetimeMs: LIFE_MS })
  const pub = { allow: ['>'], deny: [] }
  let counter = 0
  let secrets: SessionSecrets | undefined
  const last = (): SessionSecrets => {
    if (secrets === undefined) throw new Error('there was no handshake')
    return secrets
  }
  const accept = (sender: string, changes: Opening = {}) => {
    const sid = engine.sha256(utf8(String(++counter))).slice(0, 16)
    const key = new Uint8Array(32).fill(7)
    secrets = { sid: changes.sid ?? sid, key, binding: new Uint8Array(80) }
    const message = {
      session: secrets,
      content: { payload: changes.payload ?? payload },
      sentAtMs: changes.sentAtMs ?? clock.now(),
      recipients: changes.recipients ?? 1,
      kid: changes.kid ?? OWN_KID,
    } as unknown as Unsealed
    const identity = changes.identity ?? sender
    const announcement = {
      hash: utf8(sender),
      announcement: { messageKey: new Uint8Array(32) },
      claims: { identity, name: identity, permissions: { pub } },
    } as unknown as VerifiedAnnouncement
    return sessions.accept(message, { sender: announcement, epoch: changes.epoch ?? EPOCH })
  }
  /** Opens sessions until one is refused, or so many. @returns the sids of those that are held */
  const fill = (sender: string, most = 10_000): Uint8Array[] => {
    const sids: Uint8Array[] = []
    while (sids.length < most && accept(sender) === undefined) sids.push(last().sid)
    return sids
  }
  /** Time passes, and ticks count. */
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= STALE_AFTER_MS) {
      machine.advance(Math.min(left, STALE_AFTER_MS))
      clock.counted(clock.late())
    }
  }
  const held = (sids: readonly Uint8Array[]): number =>
    sids.filter((sid) => sessions.find(frameOf(sid)) !== undefined).length
  /** Frames of this session are heard. */
  const hear = (sid: Uint8Array): void => {
    const session = sessions.find(frameOf(sid))
    if (session !== undefined) sessions.heard(session)
  }
  return { own, machine, clock, sessions, accept, last, fill, pass, held, hear, forgotten, published, events }
}

describe('the sessions that others have opened', () => {
  it('have their keys wiped when they end, one by one or all together', () => {
    const { sessions, accept, last } = incoming()
    const [first, second] = ['one', 'two'].map((sender) => {
      accept(sender)
      return last()
    })
    if (first === undefined || second === undefined) throw new Error('there is none')
    expect([first.key, second.key]).not.toContainEqual(ZEROS)
    const held = sessions.find(frameOf(first.sid))
    if (held === undefined) throw new Error('the session is not held')
    sessions.end(held)
    expect([first.key, held.isEnded, sessions.find(frameOf(first.sid))]).toEqual([ZEROS, true, undefined])
    expect(second.key).not.toEqual(ZEROS)
    sessions.close()
    expect(second.key).toEqual(ZEROS)
    expect(sessions.find(frameOf(second.sid))).toBe(undefined)
  })

  it('are forgotten, and their keys wiped, when the rule of time refuses their handshakes', () => {
    const { sessions, accept, last, pass, forgotten, clock } = incoming()
    accept('one')
    const { sid, key } = last()
    const sentAtMs = clock.now()
    pass(LIFE_MS + CLOCK_WINDOW_MS - 1)
    sessions.prune()
    expect([key, forgotten]).toEqual([new Uint8Array(32).fill(7), []])
    pass(1)
    sessions.prune()
    expect([key, forgotten]).toEqual([ZEROS, [hex(sid)]])
    expect([sessions.isSettled(sid), sessions.bytes]).toEqual([false, 0])
    expect(accept('one', { sid, sentAtMs })).toBe('time')
    sessions.prune()
    expect(forgotten).toHaveLength(1)
  })

  it('end with the grace of their epoch', () => {
    const { sessions, accept, last, pass } = incoming()
    const epoch = { ...EPOCH, notAfter: T0 + 1000, graceMs: 1000 }
    accept('one', { epoch })
    const { sid, key } = last()
    pass(1999)
    sessions.prune()
    expect(key).not.toEqual(ZEROS)
    pass(1)
    sessions.prune()
    expect([key, accept('one', { sid, epoch, sentAtMs: T0 })]).toEqual([ZEROS, 'time'])
  })

  it('that are refused, or known already, leave no key behind', () => {
    const { accept, last } = incoming()
    accept('one')
    const { sid, key } = last()
    expect(accept('one', { sid })).toBe(undefined)
    expect(last().key).toEqual(ZEROS)
    expect(key).not.toEqual(ZEROS)
    expect(accept('two', { payload: ZEROS })).toBe('content')
    expect(last().key).toEqual(ZEROS)
    const channel = encodeHandshake({ mode: SessionMode.channel, maxFrames: 1, lifetimeMs: 1 })
    expect(accept('two', { payload: channel, recipients: 2 })).toBe('content')
    expect(last().key).toEqual(ZEROS)
    const small = incoming(SMALL)
    small.fill('one')
    expect(small.last().key).toEqual(ZEROS)
  })

  it('are refused when they are over or lie ahead, and take no place', () => {
    const { sessions, clock, accept, last } = incoming()
    const ago = (ms: number) => accept('one', { sentAtMs: clock.now() - ms })
    expect(ago(LIFE_MS + CLOCK_WINDOW_MS)).toBe('time')
    expect([last().key, sessions.bytes]).toEqual([ZEROS, 0])
    expect(ago(-CLOCK_WINDOW_MS - 1)).toBe('time')
    expect([ago(LIFE_MS + CLOCK_WINDOW_MS - 1), ago(-CLOCK_WINDOW_MS)]).toEqual([undefined, undefined])
  })
})

describe('a wall clock that is set', () => {
  const hours = 3_600_000

  it('ahead for a moment makes no session forgotten: its handshake is known when the clock is right again', () => {
    for (const ahead of [LIFE_MS + CLOCK_WINDOW_MS, 10 * 60_000, 20 * 60_000, 48 * hours]) {
      const { machine, clock, sessions, accept, last, forgotten } = incoming()
      accept('one')
      const { sid, key } = last()
      machine.jump(ahead)
      // Some handshake is occasion enough to look at all of them.
      accept('two', { sentAtMs: clock.now(), epoch: { ...EPOCH, notAfter: T0 + 100 * hours } })
      sessions.prune()
      machine.jump(-ahead)
      sessions.prune()
      expect([forgotten, sessions.isSettled(sid)]).toEqual([[], true])
      expect(accept('one', { sid, sentAtMs: T0 })).toBe(undefined)
      expect([last().key, key]).toEqual([ZEROS, new Uint8Array(32).fill(7)])
    }
  })

  it('back after a session was forgotten does not let its handshake in a second time', () => {
    for (const back of [CLOCK_WINDOW_MS + 1, LIFE_MS + CLOCK_WINDOW_MS, 2 * hours]) {
      const { machine, sessions, accept, last, pass, forgotten } = incoming()
      accept('one')
      const { sid } = last()
      pass(LIFE_MS + CLOCK_WINDOW_MS)
      sessions.prune()
      expect(forgotten).toEqual([hex(sid)])
      machine.jump(-back)
      expect([accept('one', { sid, sentAtMs: T0 }), sessions.find(frameOf(sid))]).toEqual(['time', undefined])
    }
  })

  it('back while a session is held keeps its key no longer than its time, and its handshake stays known', () => {
    const { machine, sessions, accept, last, pass } = incoming()
    accept('one')
    const { sid, key } = last()
    machine.jump(-100_000)
    pass(LIFE_MS + CLOCK_WINDOW_MS)
    sessions.prune()
    // The rule of time would still take it: it has a tombstone.
    expect([key, sessions.find(frameOf(sid)), sessions.isSettled(sid)]).toEqual([ZEROS, undefined, true])
    expect(accept('one', { sid, sentAtMs: T0 })).toBe(undefined)
    expect([last().key, sessions.find(frameOf(sid))]).toEqual([ZEROS, undefined])
    pass(100_000)
    sessions.prune()
    expect([sessions.isSettled(sid), sessions.bytes]).toEqual([false, 0])
  })
})

describe('memory for sessions', () => {
  it('is bounded: whoever fills it is refused more, and what it has is kept', () => {
    const { sessions, fill, accept, held } = incoming(SMALL)
    const sids = fill('mary')
    expect(sids.length).toBeGreaterThan(200)
    expect([accept('mary'), accept('mary of another instance', { identity: 'mary' })]).toEqual([
      'flood',
      'flood',
    ])
    expect([held(sids), sessions.bytes <= SMALL]).toEqual([sids.length, true])
  })

  it('is not taken from others by four identities, or by any number, though none of their sessions is silent', () => {
    for (const count of [4, 40]) {
      const { fill, pass, hear, held, accept, last, sessions } = incoming(SMALL)
      const attackers = Array.from({ length: count }, (_, i) => `mary ${i}`)
      const sids = attackers.flatMap((name) => fill(name))
      pass(60_000)
      for (const sid of sids) hear(sid)
      const honest: Uint8Array[] = []
      const share = Math.floor(SMALL / (count + 1) / SESSION_BYTES) - 1
      for (let i = 0; i < Math.min(10, share); i++) {
        expect(accept('alice')).toBe(undefined)
        honest.push(last().sid)
        for (const name of attackers) accept(name)
      }
      pass(20_000)
      for (const name of attackers) fill(name, 50)
      expect(held(honest)).toBe(honest.length)
      expect(sessions.bytes).toBeLessThanOrEqual(SMALL)
    }
  })

  it('is made by silent sessions of the largest holder first: those in use stay', () => {
    const { fill, pass, hear, held, accept } = incoming(SMALL)
    const ofAlice = fill('alice', 20)
    const ofMary = fill('mary')
    pass(SILENT_SESSION_MS + 20_000)
    const inUse = ofMary.slice(0, 50)
    for (const sid of inUse) hear(sid)
    expect(accept('bob')).toBe(undefined)
    expect([held(inUse), held(ofAlice)]).toEqual([50, 20])
    expect(held(ofMary)).toBeLessThan(ofMary.length)
    // A holder of more than its share gets room from its own silent ones too.
    expect(accept('mary')).toBe(undefined)
  })

  it('is not made by sessions that were heard within 30 seconds for the sake of who holds most', () => {
    const { fill, pass, held, accept } = incoming(SMALL)
    const sids = fill('mary')
    pass(SILENT_SESSION_MS - 1)
    expect([accept('mary'), held(sids)]).toEqual(['flood', sids.length])
  })

  it('that a session takes in subscriptions is counted, and given back with it', () => {
    const { sessions, accept, last } = incoming()
    accept('alice')
    const { sid } = last()
    const before = sessions.bytes
    const held = sessions.find(frameOf(sid))
    if (held === undefined) throw new Error('it is not held')
    const windows = Array.from({ length: 100 }, () => new Map())
    for (const map of windows) held.mark(map, { seq: 5000, salt: 1 })
    sessions.heard(held)
    expect(sessions.bytes - before).toBeGreaterThan(100 * 512)
    sessions.countWindows(hex(sid), 1000)
    sessions.end(held)
    expect(sessions.bytes).toBeLessThan(200)
  })

  it('is made by what only saves work before sessions in use give way', () => {
    const { sessions, fill, hear, held } = incoming(SMALL)
    const sids = fill('mary', 250)
    for (const sid of sids) {
      // Its recent frames take half as much as the session itself.
      sessions.find(frameOf(sid))?.mark(new Map(), { seq: 1, salt: 1 })
      hear(sid)
    }
    expect([held(sids), sessions.bytes <= SMALL]).toEqual([250, true])
  })

  it('is kept in bounds by what grows too', () => {
    const { sessions, fill, hear, held } = incoming(SMALL)
    const sids = fill('mary')
    for (const sid of sids) {
      const session = sessions.find(frameOf(sid))
      for (let i = 0; i < 10; i++) session?.mark(new Map(), { seq: 5000, salt: 1 })
      hear(sid)
    }
    expect(sessions.bytes).toBeLessThanOrEqual(SMALL)
    expect(held(sids)).toBeGreaterThan(50)
  })
})

describe('a session that gave way', () => {
  /** Mary fills the memory, is silent, and somebody else comes. */
  function shrunk() {
    const all = incoming(SMALL)
    const sids = all.fill('mary')
    all.pass(SILENT_SESSION_MS + 20_000)
    all.published.length = 0
    all.events.length = 0
    all.fill('bob', 5)
    const gone = sids.filter((sid) => all.sessions.find(frameOf(sid)) === undefined)
    if (gone[0] === undefined) throw new Error('none gave way')
    return { ...all, gone, sid: gone[0] }
  }

  it('is refused, with a proof that its opener alone can check, and its handshake opens nothing more', () => {
    const { sessions, sid, accept, last, published, forgotten, events } = shrunk()
    expect(forgotten).toContain(hex(sid))
    expect(sessions.turnAway(frameOf(sid))).toBe('session')
    expect(published).toHaveLength(1)
    const { subject, data } = published[0] ?? { subject: '', data: ZEROS }
    expect(subject.endsWith(`.session.${hex(sid)}`)).toBe(true)
    const tag = refusalTag(
      engine,
      { sid, key: new Uint8Array(32).fill(7) },
      { reason: RefusalReason.ended, announcementHash: OWN_HASH },
    )
    expect(decodeRefusal(data)).toEqual({ sid, kid: OWN_KID, reason: RefusalReason.ended, tag })
    expect([accept('mary', { sid, sentAtMs: T0 }), last().key]).toEqual([undefined, ZEROS])
    expect([sessions.find(frameOf(sid)), sessions.isSettled(sid)]).toEqual([undefined, true])
    expect(events).toEqual([{ type: 'refusedSession', sender: 'mary', reason: 'ended' }])
  })

  it('is refused once a second, and all of them so often a second as the budget says, in turns of their senders', () => {
    const { sessions, sid, gone, machine, published, fill, pass } = shrunk()
    for (let i = 0; i < 100; i++) sessions.turnAway(frameOf(sid))
    expect(published).toHaveLength(1)
    expect(gone.length).toBeGreaterThan(3)
    machine.advance(1000)
    for (let i = 0; i < 3; i++) for (const one of gone) sessions.turnAway(frameOf(one))
    expect(published.length).toBeLessThanOrEqual(1 + MAX_REFUSALS_PER_SECOND + 1)
    // Somebody else hears of it though mary has many.
    pass(SILENT_SESSION_MS + 20_000)
    fill('zoe')
    expect(published.length).toBeGreaterThan(1)
  })

  it('is known until the rule of time refuses its handshake, and forgotten then', () => {
    const { sessions, sid, pass, accept } = shrunk()
    pass(LIFE_MS + CLOCK_WINDOW_MS - SILENT_SESSION_MS - 20_000 - 1)
    sessions.prune()
    expect(sessions.turnAway(frameOf(sid))).toBe('session')
    pass(1)
    sessions.prune()
    expect(sessions.turnAway(frameOf(sid))).toBe(undefined)
    expect(accept('mary', { sid, sentAtMs: T0 })).toBe('time')
  })

  it('leaves a line of time where there is no memory even for that: nothing that was sent before opens again', () => {
    const { sessions, accept, last, pass, held, machine } = incoming(20_000)
    const sids: Uint8Array[] = []
    for (let i = 0; i < 1000; i++) {
      machine.advance(1)
      // Each gives way to the next one.
      const session = sessions.find(frameOf(last0()))
      if (session !== undefined) sessions.end(session)
      expect(accept('mary', { sid: engine.sha256(utf8(`of mary ${i}`)).slice(0, 16) })).toBe(undefined)
      sids.push(last().sid)
    }
    function last0(): Uint8Array {
      return sids.at(-1) ?? ZEROS
    }
    expect(sessions.bytes).toBeLessThanOrEqual(20_000)
    expect(held(sids)).toBe(1)
    const refusals = sids.slice(0, -1).map((sid, i) => accept('mary', { sid, sentAtMs: T0 + 1 + i }))
    // Those with a tombstone are known, and those before the line are refused.
    expect(new Set(refusals)).toEqual(new Set(['session', undefined]))
    expect(held(sids)).toBe(1)
    // Others are not refused by the line, and it ends when the rule of time refuses all that it stands for.
    expect(accept('alice', { sentAtMs: T0 })).toBe(undefined)
    pass(2 * (LIFE_MS + CLOCK_WINDOW_MS))
    sessions.prune()
    expect(sessions.bytes).toBe(0)
  })
})

describe('a session for which there was no room', () => {
  it('is refused in the name of the key that it was sealed to, when there are two of one epoch', () => {
    const { own, fill, accept, last, published } = incoming(SMALL)
    fill('mary')
    const [fresh, hash] = [new Uint8Array(16).fill(3), new Uint8Array(32).fill(4)]
    own.set(fresh, hash)
    for (const [kid, announcementHash] of [...own]) {
      published.length = 0
      accept('mary', { kid })
      const { sid } = last()
      const tag = refusalTag(
        engine,
        { sid, key: new Uint8Array(32).fill(7) },
        { reason: RefusalReason.noRoom, announcementHash },
      )
      expect(decodeRefusal(published[0]?.data ?? ZEROS)).toEqual({ sid, kid, reason: 0, tag })
    }
  })

  it('of a key that is wiped is not refused: nothing proves it any more', () => {
    const { own, fill, accept, published } = incoming(SMALL)
    fill('mary')
    published.length = 0
    own.clear()
    accept('bob')
    expect(published).toEqual([])
  })

  it('is refused, its frames are turned away for a while, and then it may come again', () => {
    const { sessions, fill, accept, last, published, machine, events } = incoming(SMALL)
    fill('mary')
    const { sid } = last()
    expect(published).toHaveLength(1)
    const tag = refusalTag(
      engine,
      { sid, key: new Uint8Array(32).fill(7) },
      { reason: RefusalReason.noRoom, announcementHash: OWN_HASH },
    )
    expect(decodeRefusal(published[0]?.data ?? ZEROS)).toEqual({ sid, kid: OWN_KID, reason: 0, tag })
    expect(events).toEqual([{ type: 'refusedSession', sender: 'mary', reason: 'no room' }])
    expect([sessions.turnAway(frameOf(sid)), sessions.isSettled(sid)]).toEqual(['flood', true])
    machine.advance(FAILED_LOOKUP_TTL_MS)
    expect([sessions.turnAway(frameOf(sid)), sessions.isSettled(sid)]).toEqual([undefined, false])
    machine.advance(SILENT_SESSION_MS)
    expect(accept('mary', { sid, sentAtMs: T0 })).toBe(undefined)
  })
})
