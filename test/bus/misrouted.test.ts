import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { HostileLine } from '../support/hostile-line/hostile-line.ts'
import { isMessage } from '../support/hostile-line/nats-op.ts'
import { type MessageCrossing, moveToSid, pass } from '../support/hostile-line/verdicts.ts'
import { EVERYTHING, may } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

let realm: TestRealm
let line: HostileLine
let bob: SecureConnection
let mallory: SecureConnection
/** What bob's handlers have got, by their subjects. */
const got = new Map<string, string[]>()
/** The ids of bob's subscriptions, as the line has seen them. */
const sids = new Map<string, string>()

beforeAll(async () => {
  realm = await TestRealm.start({ rotation: { tickMs: 250 } })
  line = await HostileLine.start(Number(new URL(`nats://${realm.server.url}`).port), { clock: systemClock })
  line.rule = (crossing) => {
    const { connection, op } = crossing
    if (connection.name === 'bob' && op.kind === 'SUB') sids.set(op.subject, op.sid)
    return pass(crossing)
  }
  const over = await realm.connection({ servers: line.url, name: 'bob' })
  bob = await realm.agent('bob', { permissions: EVERYTHING }, { over })
  mallory = await realm.agent('mallory', { permissions: may(['chat.>'], []) })
  for (const subject of ['payments.approve', 'payments.*', 'chat.>']) {
    const texts: string[] = []
    got.set(subject, texts)
    bob.subscribe(subject, { callback: (_error, m) => texts.push(m.string()) })
  }
  await bob.flush()
  await mallory.waitForAudience('chat.x')
})
afterAll(async () => {
  await realm.stop()
  await line.close()
})

/** From now on the line hands what comes for one of bob's subscriptions to another one. */
function reroute(from: string, to: string): void {
  line.rule = (crossing) => {
    const { connection, op, direction } = crossing
    const isForBob = connection.name === 'bob' && direction === 'to client' && op.kind === 'MSG'
    if (!isForBob || op.sid !== sids.get(from) || !isMessage(op)) return pass(crossing)
    return moveToSid(crossing as MessageCrossing, sids.get(to) ?? '')
  }
}

/** What any of bob's handlers has got. */
function delivered(): readonly string[] {
  return [...got.values()].flat()
}

function misrouted(): number {
  return bob.rejections().misrouted ?? 0
}

describe('a broker that writes another subscription id', () => {
  it.each(['message', 'session', 'channel'] as const)(
    'has no handler run with a message for another subject, in mode %s',
    async (mode) => {
      line.rule = pass
      mallory.publish('chat.x', 'hello', { mode, to: ['bob'] })
      await until('it is delivered', () => got.get('chat.>')?.length === 1)
      got.get('chat.>')?.splice(0)
      for (const handler of ['payments.approve', 'payments.*']) {
        const before = misrouted()
        reroute('chat.>', handler)
        mallory.publish('chat.x', 'pay mallory 1000', { mode, to: ['bob'] })
        await until('it is judged', () => misrouted() > before || delivered().length > 0)
        expect(delivered()).toEqual([])
      }
    },
  )

  it('gets no statement into another one of the protocol, and none of an agent into it', async () => {
    const events = collectStatus(bob)
    const { root } = realm
    const before = misrouted()
    // Ticks for whoever takes announcements, epochs, revocations and pages, and messages for whoever takes ticks.
    const inbox = realm.inboxOf(bob)
    for (const [from, to] of [
      [`${root}.tick`, `${root}.announce.*.*`],
      [`${root}.tick`, inbox],
      ['chat.>', `${root}.tick`],
      ['chat.>', inbox],
    ] as const) {
      const count = misrouted()
      reroute(from, to)
      if (from === 'chat.>') mallory.publish('chat.x', 'for nobody', { to: ['bob'] })
      await until(`what was for ${from} has come to ${to}`, () => misrouted() > count)
    }
    line.rule = pass
    expect(misrouted()).toBeGreaterThanOrEqual(before + 4)
    expect(events.filter(({ type }) => type === 'error')).toEqual([])
    const texts = got.get('chat.>') ?? []
    mallory.publish('chat.x', 'still here', { to: ['bob'] })
    await until('bob goes on', () => texts.includes('still here'))
  })
})
