import { afterEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { CLOCK_WINDOW_MS, MAX_SESSION_MS } from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { decodeHandshake } from '../../src/wire/handshake.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { decodeSealed, recipientCount, splitWraps } from '../../src/wire/sealed.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRealm } from '../support/hand-agents.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { DAY, MINUTE } from '../support/statements.ts'
import { failure, until as holds } from '../support/until.ts'

const PATIENT = { timeout: 120_000 }

let realm: TestRealm
afterEach(() => realm.stop())

/** Until something holds, and the taps have seen what led to it. */
async function until(what: string, condition: () => boolean): Promise<void> {
  await holds(what, condition)
  await realm.settled()
}

/** What an agent reads on a subject, in order. */
async function inboxOf(bus: SecureConnection, subject: string): Promise<SecureMessage[]> {
  const got: SecureMessage[] = []
  bus.subscribe(subject, { callback: (_error, m) => got.push(m) })
  await bus.flush()
  return got
}

const texts = (got: readonly SecureMessage[]): string[] => got.map((m) => m.string())
const typesOf = (seen: readonly Tapped[]): (number | undefined)[] => seen.map(({ data }) => wireType(data))
const ofType = (seen: readonly Tapped[], type: number): readonly Tapped[] =>
  seen.filter(({ data }) => wireType(data) === type)
/** Handshakes in order, each once: every recipient gets it in its inbox. */
function handshakesOf(seen: readonly Tapped[]): readonly Tapped[] {
  const all = ofType(seen, WireType.handshake)
  return all.filter(({ data }, i) => all.findIndex((other) => hex(other.data) === hex(data)) === i)
}
const sidOf = ({ data }: Tapped): string => hex(data.subarray(3, 19))
const recipientsOf = ({ data }: Tapped): number => recipientCount(decodeSealed(data).header)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('what is published in sessions', () => {
  async function three() {
    realm = await TestRealm.start()
    const [alice, bob, carol] = [
      await realm.agent('alice'),
      await realm.agent('bob'),
      await realm.agent('carol'),
    ]
    await alice.waitForAudience('orders.new', { atLeast: 2 })
    const seen = await realm.tap('orders.>')
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    return { alice, bob, carol, seen, inboxes }
  }

  it('costs one handshake for many frames, in the inbox of each recipient', async () => {
    const { alice, bob, carol, seen, inboxes } = await three()
    const got = await Promise.all([inboxOf(bob, 'orders.new'), inboxOf(carol, 'orders.new')])
    for (let i = 0; i < 40; i++) {
      alice.publish('orders.new', String(i))
      if (i % 7 === 0) await turn()
    }
    await until('all have come', () => got.every(({ length }) => length === 40))
    const expected = Array.from({ length: 40 }, (_, i) => String(i))
    expect(got.map(texts)).toEqual([expected, expected])
    expect(typesOf(seen)).toEqual(expected.map(() => WireType.frame))
    expect(new Set(ofType(seen, WireType.frame).map(sidOf)).size).toBe(1)
    const handshakes = ofType(inboxes, WireType.handshake)
    expect(handshakes.map(({ subject }) => subject).sort()).toEqual(
      [alice, bob, carol].map((bus) => realm.inboxOf(bus)).sort(),
    )
    expect(handshakesOf(inboxes).map(recipientsOf)).toEqual([3])
    expect([bob.rejections(), carol.rejections()]).toEqual([{}, {}])
  })

  it('goes with its handshake to the inbox of one instance that is the only recipient', async () => {
    const { alice, bob, seen, inboxes } = await three()
    const got = await inboxOf(bob, 'orders.new')
    for (const to of [['bob'], [`bob/${bob.instance}`], ['bob']]) {
      alice.publish('orders.new', 'x', { to })
      await turn()
    }
    await until('all have come', () => got.length === 3)
    expect(typesOf(seen)).toEqual([WireType.frame, WireType.frame, WireType.frame])
    const handshakes = ofType(inboxes, WireType.handshake)
    expect(handshakes.map(({ subject }) => subject)).toEqual([realm.inboxOf(bob)])
    expect(handshakes.map(recipientsOf)).toEqual([1])
  })

  it('has one session for each audience and mode, whatever the subjects', async () => {
    const { alice, bob, seen } = await three()
    const got = await inboxOf(bob, 'orders.*')
    const ways = [{}, { to: ['bob'] }, { to: ['bob'], mode: 'channel' as const }, { to: ['bob', 'carol'] }]
    for (let i = 0; i < 3; i++) for (const way of ways) alice.publish(`orders.${i}`, 'x', way)
    alice.publish('orders.3', 'x', { to: ['carol', 'bob'] })
    await until('all have come', () => got.length === 13)
    const sids = ofType(seen, WireType.frame).map(sidOf)
    expect(sids).toHaveLength(13)
    expect(new Set(sids).size).toBe(4)
    expect(new Set(sids.slice(0, 12).filter((_, i) => i % 4 === 0)).size).toBe(1)
    expect(sids[12]).toBe(sids[3])
  })

  it('is a message that stands for itself where that is asked for', async () => {
    const { alice, bob, seen } = await three()
    const got = await inboxOf(bob, 'orders.new')
    for (const mode of ['message', 'session', 'message'] as const)
      alice.publish('orders.new', mode, { mode, to: ['bob'] })
    await until('all have come', () => got.length === 3)
    expect(typesOf(seen)).toEqual([WireType.sealed, WireType.frame, WireType.sealed])
  })

  it('says to whoever reads it in which mode it came', async () => {
    const { alice, bob } = await three()
    const got = await inboxOf(bob, 'orders.new')
    for (const mode of ['message', 'session', 'channel'] as const)
      alice.publish('orders.new', mode, { mode, to: ['bob'] })
    alice.publishMany('orders.new', ['channel', 'channel'], { mode: 'channel', to: ['bob'] })
    alice.publish('orders.new', 'session')
    await until('all have come', () => got.length === 6)
    expect(got.map(({ mode }) => mode)).toEqual(texts(got))
  })

  it('is refused in mode channel for more than one recipient, and in a mode that is none', async () => {
    const { alice, seen } = await three()
    for (const to of [undefined, ['bob', 'carol']]) {
      const options = { mode: 'channel' as const, ...(to === undefined ? {} : { to }) }
      const error = await failure(() => alice.publish('orders.new', 'x', options))
      expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
      expect(error.hint).toContain('name one instance')
    }
    expect(await failure(() => alice.publish('orders.new', 'x', { mode: 'plain' as never }))).toBeInstanceOf(
      TypeError,
    )
    await alice.flush()
    expect(seen).toEqual([])
  })

  it('is many payloads in one frame where that is asked for, delivered one by one', async () => {
    const { alice, bob, carol, seen, inboxes } = await three()
    const got = await Promise.all([inboxOf(bob, 'orders.many'), inboxOf(carol, 'orders.many')])
    const payloads = Array.from({ length: 200 }, (_, i) => (i % 9 === 0 ? '' : `payload ${i}`))
    const headers = new Map([
      ['X-Trace', ['1']],
      ['Nats-Msg-Id', ['one']],
    ])
    const before = alice.stats().sealed
    alice.publishMany('orders.many', payloads, { headers })
    await until('all have come', () => got.every(({ length }) => length === 200))
    expect(got.map(texts)).toEqual([payloads, payloads])
    expect(
      got[0]?.every((m) => m.headers?.get('X-Trace') === '1' && m.headers?.get('Nats-Msg-Id') === 'one'),
    ).toBe(true)
    expect(typesOf(seen)).toEqual([WireType.frame])
    expect(handshakesOf(inboxes)).toHaveLength(1)
    expect([alice.stats().sealed - before, bob.stats().opened]).toEqual([200, 200])
    alice.publishMany('orders.many', ['a', 'b'], { to: ['bob'], mode: 'channel' })
    alice.publishMany('orders.many', ['c', 'd'], { mode: 'message' })
    alice.publishMany('orders.many', [])
    await until('they have come', () => got[0]?.length === 204)
    expect(texts(got[0] ?? []).slice(200)).toEqual(['a', 'b', 'c', 'd'])
    expect(typesOf(seen).slice(1)).toEqual([WireType.frame, WireType.sealed, WireType.sealed])
  })

  it('reaches its own sender too, where it may read the subject', async () => {
    const { alice } = await three()
    const got = await inboxOf(alice, 'orders.new')
    alice.publish('orders.new', 'to all')
    alice.publish('orders.new', 'to me', { to: ['alice'] })
    alice.publish('orders.new', 'to me alone', { to: ['alice'], mode: 'channel' })
    await until('all have come', () => got.length === 3)
    expect(texts(got)).toEqual(['to all', 'to me', 'to me alone'])
  })

  it('says no more in a handshake than that there is a session, of which mode, and how long', async () => {
    const { alice, bob, inboxes } = await three()
    const got = await inboxOf(bob, 'orders.new')
    alice.publish('orders.new', 'x', { to: ['bob'], mode: 'channel' })
    await until('it has come', () => got.length === 1)
    const [handshake] = ofType(inboxes, WireType.handshake)
    for (const word of ['orders', 'alice', 'bob'])
      expect(Buffer.from(handshake?.data ?? []).includes(word)).toBe(false)
    expect(() => decodeHandshake(handshake?.data ?? new Uint8Array(0))).toThrow()
  })
})

describe('requests and their responses', () => {
  it.each(['session', 'channel'] as const)('of mode %s reuse a pair of sessions', async (mode) => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('tools.echo')
    bob.subscribe('tools.echo', { callback: (_error, m) => m.respond(`${m.string()}!`) })
    await bob.flush()
    const seen = await realm.tap('>')
    for (let i = 0; i < 10; i++) {
      const reply = await alice.request('tools.echo', String(i), { to: ['bob'], mode, timeout: 5000 })
      expect([reply.string(), reply.sender.name]).toEqual([`${i}!`, 'bob'])
    }
    const many = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        alice.request('tools.echo', String(i), { to: ['bob'], mode, timeout: 5000 }),
      ),
    )
    expect(texts(many)).toEqual(Array.from({ length: 30 }, (_, i) => `${i}!`))
    await realm.settled()
    expect(
      ofType(seen, WireType.handshake)
        .map(({ subject }) => subject)
        .sort(),
    ).toEqual([alice, bob].map((bus) => realm.inboxOf(bus)).sort())
    expect(ofType(seen, WireType.frame)).toHaveLength(80)
    expect([alice.rejections(), bob.rejections()]).toEqual([{}, {}])
  })

  it('are many for one request too', async () => {
    realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const workers = [await realm.agent('one'), await realm.agent('two'), await realm.agent('three')]
    await alice.waitForAudience('tools.all', { atLeast: 3 })
    for (const worker of workers) {
      worker.subscribe('tools.all', { callback: (_error, m) => m.respond(worker.name) })
      await worker.flush()
    }
    const options = { strategy: 'count' as const, maxMessages: 3, maxWait: 5000 }
    const names: string[] = []
    for await (const m of await alice.requestMany('tools.all', 'q', options)) names.push(m.string())
    expect(names.sort()).toEqual(['one', 'three', 'two'])
  })

  it('are sealed in the way of the request', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('tools.echo')
    bob.subscribe('tools.echo', { callback: (_error, m) => m.respond('x') })
    await bob.flush()
    const seen = await realm.tap('_INBOX.>')
    for (const mode of ['message', 'session', 'channel'] as const)
      await alice.request('tools.echo', 'q', { to: ['bob'], mode, timeout: 5000 })
    await realm.settled()
    expect(typesOf(seen)).toEqual([WireType.sealed, WireType.frame, WireType.frame])
    expect(new Set(seen.slice(1).map(sidOf)).size).toBe(2)
  })
})

describe('a change of the audience', () => {
  it('that adds an agent makes a new session, in which it reads at once and nobody loses anything', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('orders.new')
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    const byBob = await inboxOf(bob, 'orders.new')
    let sent = 0
    const say = (): void => alice.publish('orders.new', String(sent++))
    say()
    const carol = await realm.agent('carol')
    const byCarol = await inboxOf(carol, 'orders.new')
    while (!alice.audience('orders.new').some(({ name }) => name === 'carol')) {
      say()
      await turn()
    }
    const firstForCarol = sent
    say()
    say()
    await until(
      'both have the last one',
      () => byBob.length === sent && byCarol.at(-1)?.string() === String(sent - 1),
    )
    expect(texts(byBob)).toEqual(Array.from({ length: sent }, (_, i) => String(i)))
    expect(texts(byCarol).map(Number)).toContain(firstForCarol)
    expect(handshakesOf(inboxes).map(recipientsOf)).toEqual([2, 3])
  })

  it('that removes one makes a new session, of which it has no key', async () => {
    realm = await TestRealm.start()
    const [alice, bob, carol] = [
      await realm.agent('alice'),
      await realm.agent('bob'),
      await realm.agent('carol'),
    ]
    await alice.waitForAudience('orders.new', { atLeast: 2 })
    const seen = await realm.tap('orders.new')
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    const byBob = await inboxOf(bob, 'orders.new')
    alice.publish('orders.new', 'with carol')
    await turn()
    await carol.close()
    await until('she is gone', () => alice.audience('orders.new').length === 2)
    alice.publish('orders.new', 'without carol')
    await until('bob has both', () => byBob.length === 2)
    const [before, after] = handshakesOf(inboxes).map(({ data }) =>
      splitWraps(decodeSealed(data).header.packedWraps).map(({ kid }) => hex(kid)),
    )
    expect([before?.length, after?.length]).toEqual([3, 2])
    expect(before).toEqual(expect.arrayContaining(after ?? []))
    const [first, second] = ofType(seen, WireType.frame).map(sidOf)
    expect(first).not.toBe(second)
  })

  it('by a revocation makes a new session at once, and what follows is for the others', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    const identity = realm.identity('mallory')
    const mallory = await realm.agent(identity)
    await alice.waitForAudience('orders.new', { atLeast: 2 })
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    const got = await Promise.all([inboxOf(bob, 'orders.new'), inboxOf(mallory, 'orders.new')])
    alice.publish('orders.new', 'before')
    await until('both have it', () => got.every(({ length }) => length === 1))
    const revocation = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: identity.publicKey,
      since: Date.now(),
      until: Date.now() + DAY,
      reason: 'stolen',
      past: 0,
    })
    const broker = await realm.connection()
    broker.publish(`${realm.root}.revoke`, revocation)
    await until('alice has heard of it', () => alice.audience('orders.new').length === 2)
    alice.publish('orders.new', 'after')
    await until('bob has it', () => got[0]?.length === 2)
    expect(handshakesOf(inboxes).map(recipientsOf)).toEqual([3, 2])
    expect(got[1]?.length).toBe(1)
  })

  it('and back again goes on with the session that was there before', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('orders.new')
    const seen = await realm.tap('orders.new')
    const got = await inboxOf(bob, 'orders.new')
    alice.publish('orders.new', 'two')
    const carol = await realm.agent('carol')
    await until('she is there', () => alice.audience('orders.new').length === 3)
    alice.publish('orders.new', 'three')
    await carol.close()
    await until('she is gone', () => alice.audience('orders.new').length === 2)
    alice.publish('orders.new', 'two')
    await until('all have come', () => got.length === 3)
    const [first, second, third] = ofType(seen, WireType.frame).map(sidOf)
    expect(first).not.toBe(second)
    expect(third).toBe(first)
  })

  it('of hundreds of kinds opens a session for each: no recipient loses anything', async () => {
    const all = await HandRealm.start()
    realm = all.realm
    const alice = await passing(all.clock, realm.agent('alice', {}, PATIENT))
    const names = Array.from({ length: 9 }, (_, i) => `c${i}`)
    for (const name of names) await all.join(name)
    await passing(all.clock, alice.waitForAudience('orders.new', { atLeast: 10, timeout: 60_000 }))
    const seen = await realm.tap('orders.new')
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    const count = 300
    for (let i = 1; i <= count; i++) {
      const to = ['bob', ...names.filter((_, bit) => (i >> bit) % 2 === 1)]
      alice.publish('orders.new', String(i), { to })
    }
    // Where a session is there already it is still used.
    alice.publish('orders.new', 'known', { to: ['bob', 'c0'] })
    await until('all have come', () => all.got.length + all.rejected >= count + 1)
    expect(texts(all.got)).toEqual([...Array.from({ length: count }, (_, i) => String(i + 1)), 'known'])
    expect(all.bob.rejections()).toEqual({})
    await realm.settled()
    const handshakes = ofType(inboxes, WireType.handshake).map(({ data }) => hex(data.subarray(0, 100)))
    expect([new Set(handshakes).size, ofType(seen, WireType.sealed)]).toEqual([count, []])
  })
})

describe('a session that grows old', () => {
  async function start(skew: number) {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, schedule: { periodMs: 115 * MINUTE } })
    const skewed: Clock = {
      now: () => clock.now() + skew,
      monotonic: () => clock.monotonic(),
      after: (ms, task) => clock.after(ms, task),
    }
    const alice = await passing(clock, realm.agent('alice', {}, PATIENT))
    const bob = await passing(clock, realm.agent('bob', {}, { ...PATIENT, clock: skewed }))
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const seen = await realm.tap('orders.new')
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    return { clock, alice, bob, seen, inboxes, got: await inboxOf(bob, 'orders.new') }
  }

  it.each([0, 100_000, -100_000])(
    'is followed by another one after 15 minutes, and no frame is lost where clocks differ by %i ms',
    async (skew) => {
      const { clock, alice, bob, inboxes, got } = await start(skew)
      let sent = 0
      const rounds = (2 * MAX_SESSION_MS + 2 * CLOCK_WINDOW_MS) / 10_000
      for (let i = 0; i < rounds; i++) {
        alice.publish('orders.new', String(sent++))
        await until('it has come', () => got.length + (bob.rejections().session ?? 0) >= sent)
        await pass(clock, 10_000, 10_000)
      }
      expect(bob.rejections()).toEqual({})
      expect(texts(got)).toEqual(Array.from({ length: sent }, (_, i) => String(i)))
      expect(handshakesOf(inboxes)).toHaveLength(3)
    },
  )

  it('is wiped at the receiver when nothing of it can come any more', async () => {
    const { clock, alice, bob, seen, got } = await start(0)
    alice.publish('orders.new', 'first')
    await until('it has come', () => got.length === 1)
    const broker = await realm.connection()
    const [frame] = seen
    await pass(clock, MAX_SESSION_MS + CLOCK_WINDOW_MS, 20_000)
    // A later handshake reminds of it.
    alice.publish('orders.new', 'second')
    await until('it has come', () => got.length === 2)
    broker.publish('orders.new', frame?.data)
    await until('it is rejected', () => bob.rejections().time === 1)
  })
})

describe('an epoch that ends in the middle of a session', () => {
  it('ends the session: the next one is of the next epoch, and nothing is lost', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({
      clock,
      schedule: { periodMs: 8 * MINUTE, leadMs: 2 * MINUTE, graceMs: MINUTE },
    })
    const alice = await passing(clock, realm.agent('alice', {}, PATIENT))
    const bob = await passing(clock, realm.agent('bob', {}, PATIENT))
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const inboxes = await realm.tap(`${realm.root}.inbox.*`)
    const got = await inboxOf(bob, 'orders.new')
    let sent = 0
    await passingUntil(
      clock,
      'three epochs have passed',
      () => {
        for (let i = 0; i < 3; i++) alice.publish('orders.new', String(sent++))
        return bob.epoch >= 3 && alice.epoch >= 3
      },
      5000,
    )
    await until('the last one has come', () => got.length >= sent)
    expect(texts(got)).toEqual(Array.from({ length: sent }, (_, i) => String(i)))
    const epochs = handshakesOf(inboxes).map(({ data }) => decodeSealed(data).header.epoch)
    expect([...new Set(epochs)]).toEqual(epochs)
    expect(epochs.slice(0, 2)).toEqual([1, 2])
    expect(bob.rejections()).toEqual({})
  })
})

describe('what is published and changed in the same turn', () => {
  it('is sealed as it was when it was published', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('orders.new')
    const got = await inboxOf(bob, 'orders.new')
    const buffer = utf8('true')
    const sendings: (() => void)[] = [
      () => alice.publish('orders.new', buffer),
      () => alice.publish('orders.new', buffer, { to: ['bob'], mode: 'channel' }),
      () => alice.publish('orders.new', buffer, { mode: 'message' }),
      () => alice.publishMany('orders.new', [buffer, buffer]),
    ]
    for (const send of sendings) {
      buffer.set(utf8('true'))
      send()
      buffer.fill(0x20)
    }
    await until('all have come', () => got.length === 5)
    expect(texts(got)).toEqual(['true', 'true', 'true', 'true', 'true'])
  })
})
