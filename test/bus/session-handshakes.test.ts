import { afterEach, describe, expect, it } from 'vitest'
import { MAX_HANDSHAKE_SUBJECTS } from '../../src/base/limits.ts'
import { encodeSessionRequest } from '../../src/wire/handshake.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { announceCrowd, CROWD } from '../support/crowd.ts'
import { may } from '../support/identities.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

describe('a handshake', () => {
  it.each([
    ['a few', 0],
    ['many', CROWD],
  ])(
    'for %s recipients is there before a turn full of frames that begins on another subject',
    async (_, crowd) => {
      realm = await TestRealm.start()
      const [alice, bob, carol] = [
        await realm.agent('alice'),
        await realm.agent('bob'),
        await realm.agent('carol'),
      ]
      if (crowd > 0) await announceCrowd(realm, crowd)
      await alice.waitForAudience('talk.second', { atLeast: 2 + crowd })
      const got: string[] = []
      bob.subscribe('talk.second', { callback: (_error, m) => got.push(m.string()) })
      await bob.flush()
      const asked = await realm.tap(`${realm.root}.session.*`)
      alice.publish('talk.first', 'which neither of them reads')
      for (const text of numbers(2000)) alice.publish('talk.second', text)
      await until('all have come', () => got.length + (bob.rejections()['unknown session'] ?? 0) >= 2000)
      expect(got).toEqual(numbers(2000))
      await realm.settled()
      expect([asked, bob.rejections(), carol.rejections()]).toEqual([[], {}, {}])
    },
  )

  it('of a publisher that is gone at once is with every worker of a queue group, and no job is lost', async () => {
    realm = await TestRealm.start()
    const workers = await Promise.all(['w1', 'w2', 'w3', 'w4'].map((name) => realm.agent(name)))
    const done: string[] = []
    for (const worker of workers)
      worker.subscribe('jobs.new', { queue: 'q', callback: (_error, m) => done.push(m.string()) })
    await Promise.all(workers.map((worker) => worker.flush()))
    const answered = await realm.tap(`${realm.root}.handshake.*`)
    const permissions = may(['>'], [])
    for (let who = 0; who < 6; who++) {
      const publisher = await realm.agent(`p${who}`, { permissions })
      await publisher.waitForAudience('jobs.new', { atLeast: workers.length })
      for (let i = 0; i < 12; i++) publisher.publish('jobs.new', String(12 * who + i))
      await publisher.close()
    }
    const lost = () => workers.reduce((sum, worker) => sum + worker.stats().rejected, 0)
    await until('all are done', () => done.length + lost() >= 72)
    expect(workers.map((worker) => worker.rejections())).toEqual([{}, {}, {}, {}])
    expect(done.map(Number).sort((a, b) => a - b)).toEqual(numbers(72).map(Number))
    await realm.settled()
    expect(answered).toEqual([])
  })

  it.each(['drain', 'close'] as const)(
    'is given to whoever has a frame and not the handshake by an agent that ends at once, by %s()',
    async (end) => {
      const clock = new ManualClock()
      realm = await TestRealm.start({ clock })
      const alice = await passing(clock, realm.agent('alice', {}, { capturedSubjects: [] }))
      const bob = await passing(clock, realm.agent('bob'))
      await announceCrowd(realm)
      await passing(clock, alice.waitForAudience('jobs.last', { atLeast: CROWD + 1 }))
      const got: string[] = []
      bob.subscribe('jobs.last', { callback: (_error, m) => got.push(m.string()) })
      await bob.flush()
      const firsts = numbers(MAX_HANDSHAKE_SUBJECTS)
      for (const first of firsts) alice.publish(`talk.${first}`, 'which has the handshake before it')
      alice.publish('jobs.last', 'which has not')
      await passing(clock, alice[end]())
      expect(alice.epoch).toBe(0)
      await passingUntil(clock, 'it is judged', () => got.length + bob.stats().rejected > 0)
      expect([got, bob.rejections()]).toEqual([['which has not'], {}])
    },
  )

  it.each(['drain', 'close'] as const)(
    'is given by an agent whose keys are wiped already, by %s()',
    async (end) => {
      const clock = new ManualClock()
      realm = await TestRealm.start({ clock })
      const broker = await realm.connection()
      const alice = await passing(clock, realm.agent('alice', {}, { capturedSubjects: [] }))
      await announceCrowd(realm)
      await passing(clock, alice.waitForAudience('jobs.last', { atLeast: CROWD }))
      const seen = await realm.tap('jobs.last')
      const answered = await realm.tap(`${realm.root}.handshake.*`)
      alice.publish('jobs.last', 'x')
      const ended = alice[end]()
      await alice.closed()
      // The clock stands still: nothing but the answers is waited for.
      const frames = (): readonly Uint8Array[] =>
        seen.map(({ data }) => data).filter((data) => wireType(data) === WireType.frame)
      await until('the frame is seen', () => frames().length > 0)
      const sid = frames()[0]?.slice(3, 19) ?? new Uint8Array(16)
      broker.publish(`${realm.root}.session.${Buffer.from(sid).toString('hex')}`, encodeSessionRequest(sid))
      await broker.flush()
      await realm.settled()
      await realm.settled()
      expect(answered.length).toBe(1)
      await passing(clock, ended)
    },
  )

  it('is given to nobody by an agent that is closed', async () => {
    realm = await TestRealm.start()
    const broker = await realm.connection()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience('talk.x')
    const seen = await realm.tap('talk.x')
    const answered = await realm.tap(`${realm.root}.handshake.*`)
    alice.publish('talk.x', 'x')
    await alice.flush()
    await until('it was seen', () => seen.some(({ data }) => wireType(data) === WireType.frame))
    await alice.close()
    const sid = seen[0]?.data.slice(3, 19) ?? new Uint8Array(16)
    broker.publish(`${realm.root}.session.${Buffer.from(sid).toString('hex')}`, encodeSessionRequest(sid))
    await broker.flush()
    // Her NATS connection is open, and has seen what came.
    await realm.settled()
    await realm.settled()
    expect([answered, bob.isClosed()]).toEqual([[], false])
  })
})
