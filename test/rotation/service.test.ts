import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { signRetirement } from '../../src/keys/announcements.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { fileRotationStore } from '../../src/rotation/file-store.ts'
import { type RotationEvent, type RotationOptions, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  decodeEpoch,
  decodePage,
  decodeStatement,
  decodeTick,
  type Epoch,
  encodeQuery,
  type Page,
  type Query,
  QueryKind,
  type Tick,
} from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, NOTHING } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { TestRealm } from '../support/realm.ts'
import { announceSubject, HOUR, junkAnnouncement, MINUTE, World } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

let clock: ManualClock
let realm: TestRealm
let broker: NatsConnection
let ticks: Tick[]
let epochs: (Epoch & { hash: Uint8Array; bytes: Uint8Array })[]
let folders: string[]

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
  broker = await realm.connection()
  ticks = []
  epochs = []
  folders = []
  const follow = (kind: string, take: (bytes: Uint8Array) => void): void => {
    broker.subscribe(`${realm.root}.${kind}`, { callback: (_error, { data }) => take(new Uint8Array(data)) })
  }
  follow('tick', (bytes) => ticks.push(decodeTick(decodeStatement(WireType.tick, bytes).structure)))
  follow('epoch', (bytes) => {
    const { structure } = decodeStatement(WireType.epoch, bytes)
    epochs.push({ ...decodeEpoch(structure), hash: engine.sha256(structure), bytes })
  })
  await broker.flush()
})
afterEach(async () => {
  await realm.stop()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const start = (options: Partial<RotationOptions> = {}) => realm.startService(options)

function stop(): void {
  void realm.service?.close()
  realm.service = undefined
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'subrosa-service-'))
  folders.push(folder)
  return folder
}

/** Everything that was published has arrived here. */
async function settled(): Promise<void> {
  await broker.flush()
  await until('an epoch and a tick have come', () => epochs.length > 0 && ticks.length > 0)
}

function publishQuery(query: Partial<Query> & { readonly kind: Query['kind'] }, reply?: string): void {
  const bytes = encodeQuery({ nonce: engine.randomBytes(16), cursor: undefined, ...query })
  broker.publish(`${realm.root}.query`, bytes, reply === undefined ? {} : { reply })
}

function newInbox(): string {
  return `${realm.root}.inbox.${hex(engine.randomBytes(8))}`
}

/** The pages with which the service answers a question, one after the other. */
async function ask(kind: Query['kind'], cursor?: Uint8Array): Promise<Page[]> {
  const inbox = newInbox()
  const pages: Page[] = []
  const subscription = broker.subscribe(inbox, {
    callback: (_error, { data }) => {
      const page = decodePage(new Uint8Array(data))
      pages.push(page)
      if (page.next !== undefined) publishQuery({ kind, cursor: page.next }, inbox)
    },
  })
  publishQuery({ kind, cursor }, inbox)
  await until('the last page has come', () => pages.length > 0 && pages.at(-1)?.next === undefined)
  subscription.unsubscribe()
  return pages
}

/** What a hand-made agent needs to announce itself in the running epoch. */
async function newestEpoch(): Promise<{ world: World; epoch: AcceptedEpoch }> {
  const world = new World({ like: realm })
  const bytes = (await ask(QueryKind.epochs)).at(-1)?.statements.at(-1) ?? new Uint8Array(0)
  return { world, epoch: world.chain.accept([bytes], world.chain.peek(bytes), clock.now()) }
}

describe('the schedule', () => {
  it('publishes the first epoch at once, and the next one when the overlap begins', async () => {
    const events: RotationEvent[] = []
    const service = await start({ onEvent: (event) => events.push(event) })
    await settled()
    const [first] = epochs
    expect(first).toMatchObject({ number: 1, notBefore: clock.now(), notAfter: clock.now() + HOUR })
    expect(first?.prevHash).toEqual(new Uint8Array(32))
    await pass(clock, 55 * MINUTE - 1, MINUTE)
    expect(service.epoch).toBe(1)
    clock.advance(1)
    expect(service.epoch).toBe(2)
    await until('the second has come', () => epochs.length === 2)
    expect(epochs[1]?.prevHash).toEqual(first?.hash)
    expect(epochs[1]?.notBefore).toBe((first?.notAfter ?? 0) - 5 * MINUTE)
    expect(events.map(({ type }) => type)).toEqual(['epoch', 'epoch'])
  })

  it('publishes one when asked to, and goes on from there', async () => {
    const service = await start({ epochMs: 10_000, leadMs: 2000, graceMs: 1000, tickMs: 1000 })
    clock.advance(3000)
    expect(await service.rotate()).toBe(2)
    clock.advance(7999)
    expect(service.epoch).toBe(2)
    clock.advance(1)
    expect(service.epoch).toBe(3)
    await until('all have come', () => epochs.length === 3)
    expect(epochs[1]?.notBefore).toBe((epochs[0]?.notBefore ?? 0) + 3000)
  })

  it('does not stop when the wall clock is set, or the machine was suspended', async () => {
    const service = await start()
    await settled()
    // Timers run on the monotonic clock: by that, the next epoch would come in 55 minutes.
    clock.jump(2 * HOUR)
    clock.advance(15_000)
    expect(service.epoch).toBe(2)
    await until('the next epoch has come', () => epochs.length === 2)
    expect(epochs[1]?.notBefore).toBe(clock.now())
  })

  it('refuses times that agents would refuse', async () => {
    const wrong: Partial<RotationOptions>[] = [
      { epochMs: 24 * HOUR + 1 },
      { epochMs: 0 },
      { epochMs: Number.NaN },
      { leadMs: HOUR },
      { leadMs: 0 },
      { graceMs: 15 * MINUTE + 1 },
      { graceMs: -1 },
      { tickMs: 90_000 },
      { tickMs: 0 },
    ]
    for (const options of wrong) expect(await failure(() => start(options))).toBeInstanceOf(RangeError)
  })

  it('does not start with an identity that is no rotator', async () => {
    for (const roles of [[], ['revoker']] as const) {
      const identity = realm.identity('other', { roles })
      expect((await failure(() => start({ identity }))).code).toBe('ERR_TOKEN_INVALID')
    }
  })

  it('says nothing any more once it is closed', async () => {
    const service = await start()
    await settled()
    await service.close()
    const before = ticks.length
    await pass(clock, HOUR, 5 * MINUTE)
    publishQuery({ kind: QueryKind.epochs }, newInbox())
    await broker.flush()
    expect([epochs.length, ticks.length]).toEqual([1, before])
    expect((await failure(() => service.rotate())).code).toBe('ERR_CLOSED')
  })
})

describe('ticks', () => {
  it('come every 15 s, name the newest epoch and the revocations in force, and grow', async () => {
    await start()
    await settled()
    const before = ticks.length
    await pass(clock, MINUTE, 15_000)
    await until('four have come', () => ticks.length === before + 4)
    expect(isGrowing(ticks)).toBe(true)
    expect(ticks.at(-1)?.now).toBe(clock.now())
    expect(ticks.at(-1)?.epochHash).toEqual(epochs[0]?.hash)
    expect(ticks.at(-1)?.revocationsHash).toEqual(engine.sha256(new Uint8Array(0)))
  })

  it('carry the nonces of those who asked: at most 64 each, and at most ten ticks a second', async () => {
    await start()
    await settled()
    await pass(clock, 1000)
    const before = ticks.length
    const nonces = Array.from({ length: 500 }, () => engine.randomBytes(16))
    for (const nonce of nonces) publishQuery({ kind: QueryKind.tick, nonce }, newInbox())
    await broker.flush()
    const answered = () => ticks.slice(before).flatMap((tick) => tick.nonces.map(hex))
    await passingUntil(clock, 'all are answered', () => answered().length === 500, 10)
    expect(new Set(answered())).toEqual(new Set(nonces.map(hex)))
    const counts = ticks.slice(before).map((tick) => tick.nonces.length)
    expect(Math.max(...counts)).toBeLessThanOrEqual(64)
    // A second has eleven moments that are 100 ms apart.
    const times = ticks.map(({ now }) => now)
    for (const time of times) {
      expect(times.filter((other) => other >= time && other < time + 1000).length).toBeLessThanOrEqual(10)
    }
  })

  it('grow across a restart from disk, also where the clock went back', async () => {
    const folder = newFolder()
    const start1 = clock.now()
    await start({ store: fileRotationStore(folder) })
    await settled()
    await pass(clock, MINUTE, 1000)
    await broker.flush()
    stop()
    const before = ticks.length
    clock.jump(-150_000)
    await start({ store: fileRotationStore(folder) })
    await pass(clock, MINUTE, 1000)
    await until('more have come', () => ticks.length >= before + 4)
    expect(clock.now()).toBeLessThan(start1)
    expect(isGrowing(ticks)).toBe(true)
    expect(ticks.slice(before).every(({ now }) => now > start1 + MINUTE)).toBe(true)
  })

  it('grow across a crash: nothing was written since the last reserve', async () => {
    const store = memoryRotationStore()
    let record = store.load()
    const crashing: RotationStore = {
      ...store,
      load: () => record,
      save: (next) => {
        record = next
      },
      close: () => {},
    }
    await start({ store: crashing, tickMs: 1000 })
    await pass(clock, 30_000, 1000)
    await broker.flush()
    const before = ticks.length
    stop()
    clock.jump(-20_000)
    await start({ store: crashing, tickMs: 1000 })
    await until('more have come', () => ticks.length > before)
    expect(isGrowing(ticks)).toBe(true)
  })

  function isGrowing(all: readonly Tick[]): boolean {
    return all.every(({ now }, i) => i === 0 || now > (all[i - 1]?.now ?? 0))
  }
})

describe('queries', () => {
  it('are answered on the inbox of an instance, and nowhere else', async () => {
    await start()
    await settled()
    const seen = await realm.tap('>')
    const elsewhere = [
      'orders.new',
      `${realm.root}.revoke`,
      `${realm.root}.announce.alice.0011223344556677`,
      `${realm.root}.inbox`,
      `${realm.root}.inbox.0011223344556677.x`,
      `${realm.root}.inbox.001122334455667`,
      `${realm.root}.inbox.00112233445566GG`,
      `${realm.root}.inbox.*`,
      'subrosa.v1.other.inbox.0011223344556677',
    ]
    for (const reply of elsewhere) publishQuery({ kind: QueryKind.epochs }, reply)
    publishQuery({ kind: QueryKind.epochs })
    const inbox = newInbox()
    publishQuery({ kind: QueryKind.epochs }, inbox)
    await until('the one is answered', () => seen.some(({ subject }) => subject === inbox))
    expect(seen.filter(({ data }) => data[2] === WireType.page)).toHaveLength(1)
  })

  it('are answered 50 times a second for one asker, and 1000 times for all together', async () => {
    let announced = 0
    await start({ onEvent: ({ type }) => (type === 'announced' ? announced++ : 0) })
    const { world, epoch } = await newestEpoch()
    clock.advance(1000)
    const seen = await realm.tap(`${realm.root}.inbox.>`)
    const inbox = newInbox()
    for (let i = 0; i < 200; i++) publishQuery({ kind: QueryKind.announcements }, inbox)
    const other = newInbox()
    publishQuery({ kind: QueryKind.announcements }, other)
    await until('another asker is answered', () => seen.some(({ subject }) => subject === other))
    expect(seen.filter(({ subject }) => subject === inbox)).toHaveLength(50)
    clock.advance(100)
    const third = newInbox()
    for (let i = 0; i < 200; i++) publishQuery({ kind: QueryKind.announcements }, inbox)
    publishQuery({ kind: QueryKind.announcements }, third)
    await until('another asker is answered', () => seen.some(({ subject }) => subject === third))
    expect(seen.filter(({ subject }) => subject === inbox)).toHaveLength(55)
    clock.advance(5000)
    // Eight of each second waited for their turn, and the others are dropped.
    await until('those that wait have their turn', () => seen.length >= 50 + 5 + 8 + 2)
    const before = seen.length
    expect(before).toBe(50 + 5 + 8 + 2)
    for (let i = 0; i < 2000; i++) publishQuery({ kind: QueryKind.announcements }, newInbox())
    // What the service takes in after them shows that it has seen them all.
    const marker = world.announcement(realm.identity('marker'), epoch)
    broker.publish(`${realm.root}.${announceSubject(marker.bytes)}`, marker.bytes)
    await until('the service has seen them', () => announced === 1)
    await until('all that are answered have come', () => seen.length >= before + 1000)
    expect(seen.length - before).toBe(1000)
    clock.advance(1100)
    const last = newInbox()
    publishQuery({ kind: QueryKind.announcements }, last)
    await until('it goes on', () => seen.at(-1)?.subject === last)
    expect(seen.length - before).toBe(2001)
  })

  it('for announcements get the retirement alone of an instance that has retired, and its keys where they are named', async () => {
    const events: RotationEvent[] = []
    await start({ onEvent: (event) => events.push(event) })
    const { epoch, world } = await newestEpoch()
    const cron = realm.identity('cron')
    const gone = world.announcement(cron, epoch)
    const { instance, notBefore, notAfter } = gone.announcement
    const retirement = signRetirement(cron, epoch, { instance, seq: clock.now(), notBefore, notAfter })
    const alive = world.announcement(cron, epoch)
    for (const bytes of [gone.bytes, retirement, alive.bytes])
      broker.publish(`${realm.root}.${announceSubject(bytes)}`, bytes)
    await until('the service has taken them in', () => events.filter(isOfCron).length === 3)
    const statements = async (kind: Query['kind'], cursor?: Uint8Array): Promise<Uint8Array[]> =>
      (await ask(kind, cursor)).flatMap((page) => page.statements.map((bytes) => new Uint8Array(bytes)))
    expect(await statements(QueryKind.announcements)).toEqual([retirement, alive.bytes])
    // Messages of it may be under way.
    expect(await statements(QueryKind.announcement, gone.hash)).toEqual([gone.bytes])
  })

  function isOfCron(event: RotationEvent): boolean {
    return 'name' in event && event.name === 'cron'
  }

  it('that are malformed do not hurt', async () => {
    const events: RotationEvent[] = []
    await start({ onEvent: (event) => events.push(event) })
    await settled()
    const valid = encodeQuery({ nonce: engine.randomBytes(16), kind: 1, cursor: undefined })
    const junk = [
      new Uint8Array(0),
      utf8('?'),
      Uint8Array.of(0xc1, 1, 7),
      Uint8Array.of(0xc1, 1, 7, 0x93, 0xc0, 0xcc, 99, 0xc0),
      valid.subarray(0, valid.length - 1),
      new Uint8Array([...valid, 0]),
      engine.randomBytes(5000),
      encodeQuery({ nonce: engine.randomBytes(16), kind: 4, cursor: engine.randomBytes(31) }),
      encodeQuery({ nonce: engine.randomBytes(16), kind: 1, cursor: new Uint8Array(8).fill(255) }),
      encodeQuery({ nonce: engine.randomBytes(16), kind: 2, cursor: engine.randomBytes(64) }),
    ]
    for (const bytes of junk) {
      for (const subject of ['query', 'revoke', 'announce.alice.0011223344556677']) {
        broker.publish(`${realm.root}.${subject}`, bytes, { reply: newInbox() })
      }
    }
    expect((await ask(QueryKind.epochs))[0]?.statements).toHaveLength(1)
    expect(broker.isClosed()).toBe(false)
  })

  it('for one announcement find it by its hash', async () => {
    await start()
    const { world, epoch } = await newestEpoch()
    const parsed = world.announcement(realm.identity('alice'), epoch)
    broker.publish(`${realm.root}.announce.alice.${hex(parsed.announcement.instance)}`, parsed.bytes)
    expect((await ask(QueryKind.announcement, parsed.hash))[0]?.statements).toEqual([parsed.bytes])
    expect((await ask(QueryKind.announcement, engine.randomBytes(32)))[0]?.statements).toEqual([])
  })

  it('for announcements find none that came on the subject of another instance', async () => {
    await start()
    const { world, epoch } = await newestEpoch()
    const [alice, other] = [realm.identity('alice'), realm.identity('other')].map(
      (identity) => world.announcement(identity, epoch).bytes,
    )
    if (alice === undefined || other === undefined) throw new Error('no announcement')
    broker.publish(`${realm.root}.${announceSubject(other)}`, alice)
    expect((await ask(QueryKind.announcements))[0]?.statements).toEqual([])
    broker.publish(`${realm.root}.${announceSubject(alice)}`, alice)
    expect((await ask(QueryKind.announcements))[0]?.statements).toEqual([alice])
  })

  it('are answered in pages of at most 100, with what is proved only: an agent that joins has them all', async () => {
    await start()
    const { world, epoch } = await newestEpoch()
    for (let i = 0; i < 150; i++) {
      const identity = realm.identity(`agent-${i}`)
      for (const bytes of [world.announcement(identity, epoch).bytes, junkAnnouncement(identity, epoch)])
        broker.publish(`${realm.root}.${announceSubject(bytes)}`, bytes)
    }
    await broker.flush()
    const pages = await ask(QueryKind.announcements)
    expect(pages.map(({ statements }) => statements.length)).toEqual([100, 50])
    const alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
    expect(new Set(alice.audience('orders.new').map(({ name }) => name)).size).toBe(151)
  })

  it('for epochs begin at the cursor', async () => {
    const service = await start()
    for (let i = 0; i < 120; i++) await service.rotate()
    await until('all have come', () => epochs.length === 121)
    const pages = await ask(QueryKind.epochs)
    expect(pages.map(({ statements }) => statements.length)).toEqual([100, 21])
    const cursor = new Uint8Array(8)
    cursor[7] = 119
    const rest = await ask(QueryKind.epochs, cursor)
    expect(rest[0]?.statements).toEqual(epochs.slice(118).map(({ bytes }) => bytes))
  })
})

describe('a restart', () => {
  it('from disk continues the chain, and still serves the directory', async () => {
    const folder = newFolder()
    await start({ store: fileRotationStore(folder) })
    const { world, epoch } = await newestEpoch()
    const parsed = world.announcement(realm.identity('alice'), epoch)
    broker.publish(`${realm.root}.${announceSubject(parsed.bytes)}`, parsed.bytes)
    await ask(QueryKind.announcements)
    stop()
    const second = await start({ store: fileRotationStore(folder) })
    expect(second.epoch).toBe(1)
    expect((await ask(QueryKind.announcements))[0]?.statements).toEqual([parsed.bytes])
    expect(await second.rotate()).toBe(2)
    await until('the next has come', () => epochs.length === 2)
    expect(epochs[1]?.prevHash).toEqual(epochs[0]?.hash)
    clock.advance(54 * MINUTE)
    stop()
    const third = await start({ store: fileRotationStore(folder) })
    expect(third.epoch).toBe(2)
    clock.advance(MINUTE)
    expect(third.epoch).toBe(3)
  })

  it('after its epoch is over begins the next one now, chained to it', async () => {
    const folder = newFolder()
    await start({ store: fileRotationStore(folder) })
    await settled()
    stop()
    clock.advance(5 * HOUR)
    const service = await start({ store: fileRotationStore(folder) })
    expect(service.epoch).toBe(2)
    await until('it has come', () => epochs.length === 2)
    expect(epochs[1]).toMatchObject({ notBefore: clock.now(), prevHash: epochs[0]?.hash })
  })

  it('in the overlap does not lose a revocation that was made in it, nor carry one that agents miss', async () => {
    const folder = newFolder()
    const store = () => fileRotationStore(folder)
    const service = await start({ store: store() })
    await settled()
    const ends = clock.now() + 57 * MINUTE
    const { world } = await newestEpoch()
    const [alice, bob] = [realm.identity('alice'), realm.identity('bob')]
    broker.publish(`${realm.root}.revoke`, world.revocation(alice, { since: clock.now(), until: ends }))
    await ask(QueryKind.revocations)
    await service.rotate()
    clock.advance(54 * MINUTE)
    stop()
    // Down when the next one was due; the first revocation ends meanwhile, and another one comes later still.
    clock.advance(4 * MINUTE)
    const late = await start({ store: store() })
    const since = clock.now()
    broker.publish(`${realm.root}.revoke`, world.revocation(bob, { since, until: since + HOUR }))
    await ask(QueryKind.revocations)
    expect(await late.rotate()).toBe(4)
    await until('all have come', () => epochs.length === 4)
    stop()
    await start({ store: store() })
    const follower = new World({ like: realm })
    for (const made of epochs) {
      follower.chain.accept([made.bytes], made, made.notBefore)
    }
    expect(follower.chain.head?.number).toBe(4)
    expect(follower.revocations.isRevoked(bob.claims)).toBe(true)
  })

  it('with a renewed token signs a new epoch: whoever joins later can verify it', async () => {
    const folder = newFolder()
    const short = realm.identity('rotator', {
      permissions: NOTHING,
      roles: ['rotator'],
      expiresAtMs: clock.now() + 10 * MINUTE,
    })
    await start({ store: fileRotationStore(folder), identity: short })
    stop()
    clock.advance(11 * MINUTE)
    const service = await start({ store: fileRotationStore(folder) })
    expect(service.epoch).toBe(2)
    const alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
    expect(alice.epoch).toBe(2)
  })

  it('continues after a rotator that the authority revoked, under a new identity', async () => {
    const folder = newFolder()
    await start({ store: fileRotationStore(folder) })
    await settled()
    const revocation = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: realm.rotator.publicKey,
      since: clock.now(),
      until: clock.now() + 24 * HOUR,
      reason: 'stolen',
    })
    broker.publish(`${realm.root}.revoke`, revocation)
    await ask(QueryKind.revocations)
    stop()
    clock.advance(MINUTE)
    const identity = realm.identity('rotator-2', { permissions: NOTHING, roles: ['rotator'] })
    const service = await start({ store: fileRotationStore(folder), identity })
    expect(service.epoch).toBe(2)
    await until('it has come', () => epochs.length === 2)
    expect(epochs[1]?.revocations).toEqual([revocation])
    const alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
    expect(alice.epoch).toBe(2)
  })

  it('is refused while another service runs on the same folder', async () => {
    const folder = newFolder()
    await start({ store: fileRotationStore(folder) })
    expect((await failure(() => fileRotationStore(folder))).code).toBe('ERR_STATE')
  })
})

describe('revocations', () => {
  it('are in the very next tick and the next epoch, and are kept over a restart', async () => {
    const store = memoryRotationStore()
    const service = await start({ store })
    await settled()
    const world = new World({ like: realm })
    const bytes = world.revocation(realm.identity('alice'), { since: clock.now() })
    const before = ticks.length
    broker.publish(`${realm.root}.revoke`, bytes)
    await passingUntil(clock, 'a tick came at once', () => ticks.length > before, 10)
    const hash = engine.sha256(engine.sha256(decodeStatement(WireType.revocation, bytes).structure))
    expect(ticks.at(-1)?.revocationsHash).toEqual(hash)
    await service.rotate()
    await until('the epoch has come', () => epochs.length === 2)
    expect(epochs[1]?.revocations).toEqual([bytes])
    stop()
    await start({ store })
    expect((await ask(QueryKind.revocations))[0]?.statements).toEqual([bytes])
  })

  it('of a revoker whose token has ended since are kept over a restart', async () => {
    const store = memoryRotationStore()
    await start({ store })
    await settled()
    const world = new World({ like: realm })
    const guard = realm.identity('guard', { roles: ['revoker'], expiresAtMs: clock.now() + MINUTE })
    const by = { signer: guard, token: guard.token }
    const bytes = world.revocation(realm.identity('alice'), { since: clock.now() }, by)
    broker.publish(`${realm.root}.revoke`, bytes)
    await ask(QueryKind.revocations)
    stop()
    clock.advance(2 * MINUTE)
    const service = await start({ store })
    await service.rotate()
    await until('the epoch has come', () => epochs.length === 2)
    expect(epochs[1]?.revocations).toEqual([bytes])
  })

  it('of nobody with the role are not taken in', async () => {
    await start()
    const world = new World({ like: realm })
    const mallory = realm.identity('mallory')
    const by = { signer: mallory, token: mallory.token }
    broker.publish(`${realm.root}.revoke`, world.revocation(realm.identity('alice'), {}, by))
    expect((await ask(QueryKind.revocations))[0]?.statements).toEqual([])
  })
})

describe('two services', () => {
  it('without a shared record fork the realm: agents that saw one refuse the other', async () => {
    await start()
    await settled()
    const alice = await passing(clock, realm.agent('alice', {}, { timeout: 120_000 }))
    const events: string[] = []
    void (async () => {
      for await (const event of alice.status()) events.push(event.type)
    })()
    const second = await startRotationService(await realm.connection(), {
      identity: realm.rotator,
      trust: realm.trust,
      clock,
      graceMs: 1,
    })
    await passingUntil(clock, 'alice reports it', () => events.includes('rollback'), 500)
    await second.close()
  })
})
