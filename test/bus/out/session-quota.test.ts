import { describe, expect, it } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_HANDSHAKE_INBOXES,
  MAX_HANDSHAKE_SUBJECTS,
  MAX_SESSIONS_PER_SENDER,
  SESSION_TOMBSTONE_MS,
} from '../../../src/base/limits.ts'
import type { ConnectionParts } from '../../../src/bus/connection.ts'
import type { NatsLike } from '../../../src/bus/nats-like.ts'
import { OutgoingSessions } from '../../../src/bus/out/outgoing-sessions.ts'
import { SessionQuota } from '../../../src/bus/out/session-quota.ts'
import type { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import type { AudienceMember } from '../../../src/keys/directory.ts'
import { protocolSubjects } from '../../../src/keys/subjects.ts'
import { SessionMode } from '../../../src/wire/handshake.ts'
import { newRecipient } from '../../envelope/forge.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { World } from '../../support/statements.ts'

const KEPT_MS = SESSION_TOMBSTONE_MS + CLOCK_WINDOW_MS
const MAX_OPEN = 4096

describe('how many sessions a recipient remembers', () => {
  const fill = (quota: SessionQuota, kids: readonly string[], endsAtMs = 1000): void => {
    for (let i = 0; i < MAX_SESSIONS_PER_SENDER; i++) quota.add(kids, endsAtMs)
  }

  it('is counted for each of them', () => {
    const quota = new SessionQuota()
    for (let i = 0; i < MAX_SESSIONS_PER_SENDER - 1; i++) quota.add(['bob', 'carol'], 1000)
    expect(quota.hasRoom(['bob', 'carol'], 0)).toBe(true)
    quota.add(['bob'], 1000)
    expect(quota.hasRoom(['bob'], 0)).toBe(false)
    expect(quota.hasRoom(['carol'], 0)).toBe(true)
    expect(quota.hasRoom(['dave', 'carol', 'bob'], 0)).toBe(false)
    expect(quota.hasRoom(['dave'], 0)).toBe(true)
  })

  it('ends when its clock, too, must have forgotten them', () => {
    const quota = new SessionQuota()
    fill(quota, ['bob'])
    expect([1000 + KEPT_MS - 1, 1000 + KEPT_MS].map((now) => quota.hasRoom(['bob'], now))).toEqual([
      false,
      true,
    ])
    fill(quota, ['bob'], 2000 + KEPT_MS)
    expect(quota.hasRoom(['bob'], 1000 + KEPT_MS)).toBe(false)
  })

  it('is remembered for a shorter one behind a longer one as long as for the longer one', () => {
    const quota = new SessionQuota()
    quota.add(['carol'], 5000)
    fill(quota, ['bob'], 1000)
    expect(quota.hasRoom(['bob'], 1000 + KEPT_MS)).toBe(false)
    expect(quota.hasRoom(['bob'], 5000 + KEPT_MS)).toBe(true)
  })
})

const SUBJECTS = protocolSubjects('A'.repeat(56))
const inboxOf = ({ instanceBytes }: AudienceMember): string => SUBJECTS.inbox(instanceBytes)

/** Outgoing sessions without a server: what is subscribed to and published is counted. */
function outgoing() {
  const world = new World()
  const [made] = world.epochs(1)
  if (made === undefined) throw new Error('no epoch')
  const epoch = world.accept(made)
  const clock = new ManualClock(epoch.notBefore)
  const subscribed = new Set<string>()
  const published: { readonly subject: string; readonly bytes: Uint8Array }[] = []
  const nc = {
    info: { max_payload: 1024 * 1024 },
    isClosed: () => false,
    publish: (subject: string, bytes: Uint8Array) => published.push({ subject, bytes }),
    subscribe: (subject: string) => {
      subscribed.add(subject)
      return { unsubscribe: () => subscribed.delete(subject) }
    },
  } as unknown as NatsLike
  const { secretKey: messageKey } = engine.ed25519KeyPair()
  const keys = { messageKey, announcementHash: engine.randomBytes(32), seq: 1 }
  const link = { keyring: { sending: () => keys } } as unknown as RealmLink
  const context = testContext({ clock, subjects: SUBJECTS })
  const sessions = new OutgoingSessions(nc, {
    ...context,
    link,
    padding: 'padme' satisfies ConnectionParts['padding'],
    flush: () => {},
  })
  const member = (): AudienceMember => {
    const instanceBytes = engine.randomBytes(8)
    return { name: 'x', instance: 'x', instanceBytes, key: newRecipient(engine) }
  }
  const get = (members: readonly AudienceMember[], subject = 'orders.new') =>
    sessions.get({ epoch, members }, SessionMode.signed, { subject, nowMs: clock.now() })
  return { sessions, clock, context, subscribed, published, member, get, epoch }
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

  it('are not opened where a recipient remembers 256', () => {
    const { member, get } = outgoing()
    const bob = member()
    const others = Array.from({ length: MAX_SESSIONS_PER_SENDER }, member)
    const first = get([bob, others[0] ?? bob])
    for (const other of others) expect(get([bob, other])).toBeDefined()
    expect(get([bob])).toBe(undefined)
    expect(get([bob, member()])).toBe(undefined)
    // One that is open serves on.
    expect(get([bob, others[0] ?? bob])).toBe(first)
    expect(get([member()])).toBeDefined()
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

  it('stay over, and are not begun in an epoch that is over, by the latest time where the clock is behind it', () => {
    const { member, get, clock, epoch, context } = outgoing()
    const [a, b] = [member(), member()]
    const open = get([a])
    context.clock.counted()
    clock.advance(60_000)
    expect(get([a])).toBe(open)
    clock.jump(epoch.notAfter - clock.now())
    context.clock.counted()
    clock.jump(-60_000)
    expect([get([a]), get([b])]).toEqual([undefined, undefined])
  })

  it('make no room at their recipients while the wall clock is ahead for a moment', () => {
    const { member, get, clock, context } = outgoing()
    const bob = member()
    context.clock.counted()
    for (let i = 0; i < MAX_SESSIONS_PER_SENDER; i++) expect(get([bob, member()])).toBeDefined()
    const ahead = 30 * 60_000
    clock.jump(ahead)
    expect(get([bob])).toBeUndefined()
    clock.jump(-ahead)
    expect(get([bob])).toBeUndefined()
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
