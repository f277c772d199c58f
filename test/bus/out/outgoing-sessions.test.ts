import { describe, expect, it, vi } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import {
  HANDSHAKE_REPEAT_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_HANDSHAKE_INBOXES,
  MAX_HANDSHAKE_SUBJECTS,
  REFUSED_SESSION_MS,
} from '../../../src/base/limits.ts'
import type { ConnectionParts } from '../../../src/bus/connection.ts'
import type { NatsLike, NatsMessage } from '../../../src/bus/nats-like.ts'
import { OutgoingSessions } from '../../../src/bus/out/outgoing-sessions.ts'
import type { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import type { StatusEvent } from '../../../src/bus/status.ts'
import type { OwnKey, SessionSecrets } from '../../../src/envelope/keys.ts'
import { unseal } from '../../../src/envelope/open.ts'
import type { AudienceMember } from '../../../src/keys/directory.ts'
import { protocolSubjects } from '../../../src/keys/subjects.ts'
import { refusalTag } from '../../../src/session/refusal.ts'
import { encodeSessionRequest, SessionMode } from '../../../src/wire/handshake.ts'
import { encodeRefusal, type Refusal, RefusalReason } from '../../../src/wire/refusal.ts'
import { keyring, newRecipient } from '../../envelope/forge.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { World } from '../../support/statements.ts'

const MAX_OPEN = 4096

const SUBJECTS = protocolSubjects(engine, 'A'.repeat(56))
const inboxOf = ({ name, instanceBytes }: AudienceMember): string => SUBJECTS.inbox(name, instanceBytes)

interface Member extends AudienceMember {
  readonly key: OwnKey
}

/** Outgoing sessions without a server: what is subscribed to and published is counted. */
function outgoing() {
  const world = new World()
  const epoch = world.epoch(1)
  const clock = new ManualClock(epoch.notBefore)
  const subscribed = new Map<string, (message: NatsMessage) => void>()
  const published: { readonly subject: string; readonly bytes: Uint8Array }[] = []
  const nc = {
    info: { max_payload: 1024 * 1024 },
    isClosed: () => false,
    publish: (subject: string, bytes: Uint8Array) => published.push({ subject, bytes }),
    subscribe: (subject: string, options: { callback: (error: null, message: NatsMessage) => void }) => {
      subscribed.set(subject, (message) => options.callback(null, message))
      return { unsubscribe: () => subscribed.delete(subject) }
    },
  } as unknown as NatsLike
  const { secretKey: messageKey } = engine.ed25519KeyPair()
  const keys = { messageKey, announcementHash: engine.randomBytes(32), seq: 1 }
  const own = { sending: () => keys, renewals: 0 }
  const link = { keyring: own } as unknown as RealmLink
  const context = testContext({ clock, subjects: SUBJECTS })
  const events: StatusEvent[] = []
  vi.spyOn(context.feed, 'emit').mockImplementation((event) => events.push(event))
  const sessions = new OutgoingSessions(nc, {
    ...context,
    link,
    padding: 'padme' satisfies ConnectionParts['padding'],
    flush: () => {},
  })
  const member = (): Member => {
    const instanceBytes = engine.randomBytes(8)
    const announcementHash = engine.randomBytes(32)
    const key = newRecipient(engine, { announcementHash, epochHash: epoch.hash })
    const instance = hex(instanceBytes)
    return { name: 'x', instance, instanceBytes, key, announcementHash, maxInstances: 16 }
  }
  /** Whatever is published on the subject of a session comes here. */
  const say = (sid: Uint8Array, data: Uint8Array): void => {
    const subject = SUBJECTS.session(sid)
    subscribed.get(subject)?.({ subject, sid: 1, data })
  }
  /** What this recipient learns from the handshake that was published last. */
  const secretsOf = ({ key }: Member): SessionSecrets => {
    const result = unseal(
      engine,
      published.at(-1)?.bytes ?? new Uint8Array(0),
      keyring({ ...key, epoch: epoch.number }),
    )
    if (result.outcome !== 'opened' || result.message.session === undefined)
      throw new Error('it opens no session')
    return result.message.session
  }
  const refusal = (by: Member, changes: Partial<Refusal> = {}, as: Member = by): Uint8Array => {
    const { sid, key } = secretsOf(by)
    const reason = changes.reason ?? RefusalReason.noRoom
    const tag = refusalTag(engine, { sid, key }, { reason, announcementHash: as.announcementHash })
    return encodeRefusal({ sid, kid: as.key.kid, reason, tag, ...changes })
  }
  const get = (members: readonly AudienceMember[], subject = 'orders.new') =>
    sessions.get({ epoch, members }, SessionMode.signed, { subject, nowMs: clock.now() })?.session
  const renew = (): void => {
    own.renewals++
  }
  const parts = { renew, sessions, clock, context, subscribed, published, events, member, get, epoch }
  return { ...parts, say, secretsOf, refusal }
}

describe('the sessions that an instance has opened', () => {
  it('are the same for the same recipients, in whatever list they come', () => {
    const { member, get, published } = outgoing()
    const [a, b] = [member(), member()]
    expect(get([a, b])).toBe(get([b, a]))
    expect(get([a])).not.toBe(get([a, b]))
    const [toA, toB, toAlone] = published
    expect([toA, toB, toAlone].map((sent) => sent?.subject)).toEqual([a, b, a].map(inboxOf))
    expect(toB?.bytes).toEqual(toA?.bytes)
    expect(toAlone?.bytes).not.toEqual(toA?.bytes)
    expect(published).toHaveLength(3)
  })

  it('are told to 32 recipients in their inboxes and to more on subjects, each once, and on 64 at most', () => {
    const { member, get, published } = outgoing()
    const few = Array.from({ length: MAX_HANDSHAKE_INBOXES }, member)
    const many = [...few, member()]
    for (const subject of ['a', 'b', 'a']) get(few, subject)
    expect(published.splice(0).map(({ subject }) => subject)).toEqual(few.map(inboxOf))
    const subjects = Array.from({ length: MAX_HANDSHAKE_SUBJECTS + 5 }, (_, i) => `subject.${i}`)
    const sessions = [...subjects, ...subjects].map((subject) => get(many, subject))
    expect(new Set(sessions).size).toBe(1)
    expect(published.map(({ subject }) => subject)).toEqual(subjects.slice(0, MAX_HANDSHAKE_SUBJECTS))
    expect(new Set(published.map(({ bytes }) => hex(bytes))).size).toBe(1)
  })

  it('are not begun where the epoch is over, and end with it', () => {
    const { member, get, epoch, clock } = outgoing()
    const [a, b] = [member(), member()]
    clock.jump(epoch.notAfter - clock.now() - 1)
    const last = get([a])
    expect([last?.expiresAtMs, last?.isOpen(epoch.notAfter)]).toEqual([epoch.notAfter, false])
    clock.jump(1)
    expect([get([a]), get([b])]).toEqual([undefined, undefined])
  })

  it('are 4096 at most: one more ends the oldest, and its requests are soon not answered any more', () => {
    const { member, get, subscribed, clock } = outgoing()
    const audiences = Array.from({ length: MAX_OPEN + 3 }, () => [member()])
    const opened = audiences.map((members) => get(members))
    expect(subscribed.size).toBe(MAX_OPEN + 3)
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect(subscribed.size).toBe(MAX_OPEN)
    const isOpen = (i: number): boolean => opened.at(i)?.isOpen(0) === true
    expect([0, 2, 3, -1].map(isOpen)).toEqual([false, false, true, true])
    // Its audience gets another one when it is written to again.
    const again = get(audiences[0] ?? [])
    expect(again).toBeDefined()
    expect(again).not.toBe(opened[0])
  })

  it('end when they are over, whether or not somebody writes to their audience again', () => {
    const { member, get, subscribed, clock, sessions } = outgoing()
    const opened = [get([member()]), get([member()])]
    clock.advance(15 * 60_000)
    sessions.prune()
    expect(opened.map((session) => session?.isOpen(0))).toEqual([false, false])
    get([member()])
    // Whoever has their last frames, and missed the handshake, may ask a little longer.
    clock.advance(LOOKUP_TIMEOUT_MS - 1)
    expect(subscribed.size).toBe(3)
    clock.advance(1)
    expect(subscribed.size).toBe(1)
    sessions.close()
    expect(subscribed.size).toBe(0)
  })

  it('end when their life has passed, also where the wall clock was set back meanwhile', () => {
    const { member, get, clock, sessions } = outgoing()
    const opened = get([member()])
    clock.jump(-3_600_000)
    clock.advance(15 * 60_000 - 1)
    sessions.prune()
    expect(opened?.isOpen(0)).toBe(true)
    clock.advance(1)
    sessions.prune()
    expect(opened?.isOpen(0)).toBe(false)
  })

  it('end when fresh keys take the place of those that sign them', () => {
    const { member, get, sessions, renew } = outgoing()
    const [a, b] = [member(), member()]
    const [toA, toB] = [get([a]), get([b])]
    expect(get([a])).toBe(toA)
    renew()
    // Also the one to which nobody writes.
    sessions.prune()
    expect([toA, toB].map((session) => session?.isOpen(0))).toEqual([false, false])
    const fresh = get([a])
    expect(fresh).not.toBe(toA)
    expect(get([a])).toBe(fresh)
    renew()
    expect(get([a])).not.toBe(fresh)
  })

  it('stay over, and are not begun in an epoch that is over, by the latest time where the clock is behind it', () => {
    const { member, get, clock, epoch, context } = outgoing()
    const [a, b] = [member(), member()]
    const open = get([a])
    context.clock.counted(context.clock.late())
    clock.advance(60_000)
    expect(get([a])).toBe(open)
    clock.jump(epoch.notAfter - clock.now())
    context.clock.counted(context.clock.late())
    clock.jump(-60_000)
    expect([get([a]), get([b])]).toEqual([undefined, undefined])
  })

  it('answer nobody any more when all are closed, those that had just ended among them', () => {
    const { member, get, subscribed, clock, sessions } = outgoing()
    get([member()])
    clock.advance(15 * 60_000)
    get([member()])
    sessions.prune()
    expect(subscribed.size).toBe(2)
    sessions.close()
    expect(subscribed.size).toBe(0)
    // Nothing is left that would happen later.
    clock.advance(LOOKUP_TIMEOUT_MS)
    expect(subscribed.size).toBe(0)
  })
})

describe('the sessions of an instance that is closing', () => {
  const crowd = ({ member }: Pick<ReturnType<typeof outgoing>, 'member'>): Member[] =>
    Array.from({ length: MAX_HANDSHAKE_INBOXES + 1 }, member)

  it('have their keys wiped, and are answered for where the handshake was on subjects: two seconds from the last frame', async () => {
    const all = outgoing()
    const { get, sessions, subscribed, clock, published } = all
    const many = crowd(all)
    const session = get(many, 'jobs.new')
    const { sid } = all.secretsOf(many[0] as Member)
    get([all.member()], 'jobs.new')
    clock.advance(5000)
    get(many, 'jobs.new')
    clock.advance(500)
    sessions.close()
    expect(session?.isOpen(0)).toBe(false)
    expect([...subscribed.keys()]).toEqual([SUBJECTS.session(sid)])
    all.say(sid, encodeSessionRequest(sid))
    expect(published.at(-1)).toMatchObject({ subject: SUBJECTS.handshake(sid) })
    let isOver = false
    const answered = sessions.answered().then(() => {
      isOver = true
    })
    clock.advance(LOOKUP_TIMEOUT_MS - 501)
    await Promise.resolve()
    expect([subscribed.size, isOver]).toEqual([1, false])
    clock.advance(1)
    await answered
    expect(subscribed.size).toBe(0)
  })

  it('are answered for no longer where nobody waits for them any more, or the connection is closed', async () => {
    const all = outgoing()
    const { get, sessions, subscribed, clock } = all
    get(crowd(all))
    clock.advance(LOOKUP_TIMEOUT_MS)
    sessions.close()
    expect(subscribed.size).toBe(0)
    await sessions.answered()
    const other = outgoing()
    other.get(crowd(other))
    other.sessions.close()
    expect(other.subscribed.size).toBe(1)
    other.sessions.stopAnswering()
    await other.sessions.answered()
    expect(other.subscribed.size).toBe(0)
  })
})

describe('a recipient that refuses a session', () => {
  it('has what follows for that audience sealed in messages for a minute, and then a session again', () => {
    const { clock, member, get, say, secretsOf, refusal, events } = outgoing()
    const [alice, bob] = [member(), member()]
    const session = get([alice, bob])
    say(secretsOf(bob).sid, refusal(bob))
    expect(session?.isOpen(clock.now())).toBe(false)
    expect(get([alice, bob])).toBe(undefined)
    // Others have nothing to do with it.
    expect(get([alice])).toBeDefined()
    clock.advance(REFUSED_SESSION_MS - 1)
    expect(get([alice, bob])).toBe(undefined)
    clock.advance(1)
    expect(get([alice, bob])).toBeDefined()
    expect(events).toEqual([{ type: 'sessionRefused', by: 'x', instance: bob.instance, reason: 'no room' }])
  })

  it('must have opened its handshake: junk of anybody else changes nothing', () => {
    const { clock, member, get, say, secretsOf, refusal, events } = outgoing()
    const [alice, bob, mary] = [member(), member(), member()]
    const session = get([alice, bob])
    const { sid } = secretsOf(bob)
    const good = refusal(bob)
    const other = outgoing()
    other.get([bob])
    const ofAnother = refusalTag(engine, other.secretsOf(bob), {
      reason: RefusalReason.noRoom,
      announcementHash: bob.announcementHash,
    })
    const junk = [
      good.subarray(0, good.length - 1),
      good.with(good.length - 1, (good.at(-1) ?? 0) ^ 1),
      refusal(bob, { tag: new Uint8Array(16) }),
      refusal(bob, { tag: ofAnother }),
      refusal(bob, { sid: sid.with(0, (sid[0] ?? 0) ^ 1) }),
      // Another reason than the one that was proved.
      refusal(bob, {
        tag: refusalTag(engine, secretsOf(bob), { reason: 1, announcementHash: bob.announcementHash }),
      }),
      refusal(bob, {}, mary),
    ]
    for (const bytes of junk) say(sid, bytes)
    expect([get([alice, bob]) === session, events]).toEqual([true, []])
    say(sid, good)
    expect([get([alice, bob]), events.length]).toEqual([undefined, 1])
    expect(session?.isOpen(clock.now())).toBe(false)
  })

  it('has no messages sealed to more than 32 others for its sake: its sender goes on, and hears of it once', () => {
    const { member, get, say, secretsOf, refusal, events } = outgoing()
    const bob = member()
    const crowd = [bob, ...Array.from({ length: MAX_HANDSHAKE_INBOXES }, member)]
    const session = get(crowd)
    const bytes = refusal(bob, { reason: RefusalReason.ended })
    for (let i = 0; i < 5; i++) say(secretsOf(bob).sid, bytes)
    expect(get(crowd)).toBe(session)
    expect(events).toEqual([{ type: 'sessionRefused', by: 'x', instance: bob.instance, reason: 'ended' }])
  })
})

describe('requests for handshakes', () => {
  const answersTo = (
    { published }: Pick<ReturnType<typeof outgoing>, 'published'>,
    sid: Uint8Array,
  ): number => published.filter(({ subject }) => subject === SUBJECTS.handshake(sid)).length

  it('are answered at once, and for one session again after half a second, also where nobody asks any more', () => {
    const all = outgoing()
    const bob = all.member()
    all.get([bob])
    const { sid } = all.secretsOf(bob)
    for (let i = 0; i < 50; i++) all.say(sid, encodeSessionRequest(sid))
    expect(answersTo(all, sid)).toBe(1)
    all.clock.advance(HANDSHAKE_REPEAT_MS - 1)
    expect(answersTo(all, sid)).toBe(1)
    all.clock.advance(100)
    expect(answersTo(all, sid)).toBe(2)
    all.clock.advance(10_000)
    expect(answersTo(all, sid)).toBe(2)
  })
})
