import { describe, expect, it } from 'vitest'
import { LeftOutReports } from '../../../src/bus/left-out.ts'
import type { NatsLike } from '../../../src/bus/nats-like.ts'
import { FramePublisher } from '../../../src/bus/out/frame-publisher.ts'
import { OutgoingSessions } from '../../../src/bus/out/outgoing-sessions.ts'
import { sealTo } from '../../../src/bus/out/seal-to.ts'
import { Wire } from '../../../src/bus/out/wire-out.ts'
import type { RealmLink } from '../../../src/bus/realm/realm-link.ts'
import { type StatusEvent, StatusFeed } from '../../../src/bus/status.ts'
import { unseal } from '../../../src/envelope/open.ts'
import type { AudienceMember } from '../../../src/keys/directory.ts'
import { SessionMode } from '../../../src/wire/handshake.ts'
import { keyring, makeContent, newRecipient } from '../../envelope/forge.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { World } from '../../support/statements.ts'
import { failure } from '../../support/until.ts'

const { secretKey: messageKey } = engine.ed25519KeyPair()

function member(name: string, key = newRecipient(engine)) {
  const instanceBytes = engine.randomBytes(8)
  const instance = Buffer.from(instanceBytes).toString('hex')
  const announcementHash = engine.randomBytes(32)
  return { name, instance, instanceBytes, key, announcementHash, maxInstances: 16 }
}

/** A member that no directory would take: nothing can be sealed to it. */
function hostile(name: string) {
  return member(name, { ...newRecipient(engine), publicKey: new Uint8Array(32) })
}

/** A feed that keeps its events, and reports to it. */
function reporting(clock = new ManualClock()) {
  const events: StatusEvent[] = []
  const feed = new StatusFeed()
  feed.emit = (event) => events.push(event)
  const context = testContext({ clock, feed })
  return { clock, context, events, reports: new LeftOutReports(context) }
}

function sealed(members: readonly AudienceMember[], reports: LeftOutReports) {
  return sealTo(members, makeContent(), {
    engine,
    reports,
    type: 0,
    epoch: 7,
    messageKey,
    sentAtMs: 1_800_000_000_000,
    padding: 'padme',
  })
}

describe('sealing to an audience', () => {
  it('leaves out a member to whom nothing can be sealed, names it, and reaches the others', () => {
    const { events, reports } = reporting()
    const [bob, mallory, carol] = [member('bob'), hostile('mallory'), member('carol')]
    const { bytes, members } = sealed([bob, mallory, carol], reports)
    expect(members).toEqual([bob, carol])
    for (const { key } of [bob, carol])
      expect(unseal(engine, bytes, keyring(key))).toMatchObject({ outcome: 'opened' })
    const { name, instance } = mallory
    expect(events).toEqual([{ type: 'leftOut', name, instance, why: 'unusable key' }])
  })

  it('does not fail for one member of it', () => {
    expect(() => sealed([hostile('mallory'), member('bob')], reporting().reports)).not.toThrow()
  })

  it('leaves out the second of two members with one kid, and names it', () => {
    const { events, reports } = reporting()
    const bob = member('bob')
    const mallory = member('mallory', { ...newRecipient(engine), kid: bob.key.kid })
    const { bytes, members } = sealed([bob, mallory], reports)
    expect(members).toEqual([bob])
    expect(unseal(engine, bytes, keyring(bob.key))).toMatchObject({ outcome: 'opened' })
    expect(events).toMatchObject([{ type: 'leftOut', name: 'mallory', why: 'kid in use' }])
  })

  it('fails where nobody is left, and the hint names them', async () => {
    const { reports } = reporting()
    const mallory = hostile('mallory')
    const { code, hint } = await failure(() => sealed([mallory], reports))
    expect(code).toBe('ERR_EMPTY_AUDIENCE')
    expect(hint).toBe(`nothing can be sealed to the key that was announced by mallory/${mallory.instance}`)
    const nobody = await failure(() => sealed([], reports))
    expect(nobody).toMatchObject({ code: 'ERR_EMPTY_AUDIENCE', hint: undefined })
  })
})

describe('reports of members that are left out', () => {
  it('come once a minute for each agent and reason, whatever instances it makes up', () => {
    const { clock, events, reports } = reporting()
    const say = (name: string, why: 'unusable key' | 'kid in use' = 'unusable key') =>
      reports.report({ name, instance: member(name).instance, why })
    for (let i = 0; i < 100; i++) say('mallory')
    say('mallory', 'kid in use')
    say('eve')
    expect(events).toHaveLength(3)
    clock.advance(59_999)
    say('mallory')
    expect(events).toHaveLength(3)
    clock.advance(1)
    say('mallory')
    expect(events).toHaveLength(4)
  })
})

describe('a session', () => {
  function outgoing() {
    const world = new World()
    const epoch = world.epoch(1)
    const { clock, context, events, reports } = reporting(new ManualClock(epoch.notBefore))
    const published: { readonly subject: string; readonly bytes: Uint8Array }[] = []
    const nc = {
      info: { max_payload: 1024 * 1024 },
      isClosed: () => false,
      publish: (subject: string, bytes: Uint8Array) => published.push({ subject, bytes }),
      subscribe: () => ({ unsubscribe: () => {} }),
    } as unknown as NatsLike
    const keys = { messageKey, announcementHash: engine.randomBytes(32), seq: 1 }
    const link = { keyring: { sending: () => keys }, leftOut: reports } as unknown as RealmLink
    const sessions = new OutgoingSessions(nc, { ...context, link, padding: 'padme', flush: () => {} })
    const get = (members: readonly AudienceMember[]) =>
      sessions.get({ epoch, members }, SessionMode.signed, { subject: 'orders.new', nowMs: clock.now() })
    const inboxes = published
    const frames = new FramePublisher(nc, { ...context, link, padding: 'padme', wire: new Wire(nc) })
    const request = (members: readonly AudienceMember[]) =>
      frames.publish(
        { subject: 'orders.new', payload: new Uint8Array(1), reply: 'answers.1' },
        { epoch, members },
        { mode: SessionMode.signed, nowMs: clock.now() },
      )
    return {
      request,
      get,
      events,
      inboxes,
      inboxOf: (of: AudienceMember) => context.subjects.inbox(of.name, of.instanceBytes),
    }
  }

  it('is with the members that its handshake was sealed to, and serves every message to that audience', () => {
    const { get, events, inboxes, inboxOf } = outgoing()
    const [bob, mallory] = [member('bob', { ...newRecipient(engine), epoch: 1 }), hostile('mallory')]
    const audience = [mallory, bob]
    const first = get(audience)
    expect(first?.members).toEqual([bob])
    expect(inboxes.map(({ subject }) => subject)).toEqual([inboxOf(bob)])
    expect(unseal(engine, inboxes[0]?.bytes ?? new Uint8Array(0), keyring(bob.key))).toMatchObject({
      outcome: 'opened',
      message: { recipients: 1 },
    })
    // The same list, and another one of the same members: no further handshake.
    for (const again of [get(audience), get([bob, mallory])]) expect(again?.session).toBe(first?.session)
    expect(inboxes).toHaveLength(1)
    expect(events).toMatchObject([{ type: 'leftOut', name: 'mallory' }])
  })

  it('says of a request whom it was sealed to, so that nobody else may respond', () => {
    const { request } = outgoing()
    const bob = member('bob')
    expect(request([bob, hostile('mallory')])?.members).toEqual([bob])
  })

  it('is not opened where nobody is left', async () => {
    const { get, inboxes } = outgoing()
    expect((await failure(() => get([hostile('mallory')]))).code).toBe('ERR_EMPTY_AUDIENCE')
    expect(inboxes).toEqual([])
  })
})
