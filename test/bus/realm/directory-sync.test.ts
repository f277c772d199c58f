import { beforeEach, describe, expect, it } from 'vitest'
import { concat, hex } from '../../../src/base/bytes.ts'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { DirectorySync } from '../../../src/bus/realm/directory-sync.ts'
import { HashLookups } from '../../../src/bus/realm/hash-lookups.ts'
import { PageFetches } from '../../../src/bus/realm/page-fetches.ts'
import { announcementHash, type ParsedAnnouncement } from '../../../src/keys/announcements.ts'
import { Buckets } from '../../../src/keys/buckets.ts'
import { readTick } from '../../../src/keys/ticks.ts'
import { encodePage, type Query, QueryKind, readBuckets, readHashes } from '../../../src/wire/queries.ts'
import type { Tick } from '../../../src/wire/ticks.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { codeOf, T0, World } from '../../support/statements.ts'

const SECOND = 1000

/** The directory of a rotation service. */
class Service {
  readonly held = new Map<string, Uint8Array>()
  readonly buckets = new Buckets(engine)
  process = engine.randomBytes(8)
  isAnswering = true
  /** What it does not answer. */
  ignores: QueryKind | undefined
  /** How many announcements it gives at once, and how long that takes. */
  gives = Number.POSITIVE_INFINITY
  delayMs = 5

  add({ hash, bytes }: ParsedAnnouncement): void {
    this.held.set(hex(hash), bytes)
    this.buckets.add(hash)
  }

  remove({ hash }: ParsedAnnouncement): void {
    this.held.delete(hex(hash))
    this.buckets.remove(hash)
  }

  answer({ kind, cursor }: Query): readonly Uint8Array[] {
    if (kind === QueryKind.byHash)
      return readHashes(cursor)
        .flatMap((hash) => this.held.get(hex(hash)) ?? [])
        .slice(0, this.gives)
    const asked = readBuckets(cursor)
    if (asked === undefined) return [this.buckets.hashesOfAll()]
    return asked.map((bucket) => concat(...this.buckets.hashes(bucket)))
  }
}

let world: World
let machine: ManualClock
let clock: HouseClock
let services: Map<string, Service>
let asked: { readonly rotator: string; readonly query: Query }[]
let restarted: string[]
let checked: string[]
let own: Uint8Array[]
let ticksAsked: number
let sync: DirectorySync

beforeEach(() => {
  world = new World({ rotators: 2 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  world.epochs.current(T0)
  services = new Map(world.rotators.map(({ publicKey }) => [publicKey, new Service()]))
  asked = []
  restarted = []
  checked = []
  own = []
  ticksAsked = 0
  // Answers come later, as from a network.
  const fetches: PageFetches = new PageFetches({
    engine,
    clock,
    timers: clock,
    ask: (rotator, query) => {
      asked.push({ rotator, query })
      const service = services.get(rotator)
      if (service?.isAnswering !== true || service.ignores === query.kind) return
      const page = { ...query, statements: service.answer(query), next: undefined }
      clock.after(service.delayMs, () => fetches.take(encodePage(page)))
    },
  })
  const lookups = new HashLookups({
    fetches,
    rotators: () => [...services.keys()],
    hashOf: (bytes) => announcementHash(engine, bytes),
    isHeld: (hash) => world.directory.has(hash),
    onStatement: () => {},
  })
  sync = new DirectorySync({
    engine,
    clock,
    timers: clock,
    fetches,
    lookups,
    handOver: { restarted: (rotator) => restarted.push(rotator), check: (rotator) => checked.push(rotator) },
    directory: world.directory,
    rotators: () => world.held.rotators,
    own: () => own,
    askForTick: () => ticksAsked++,
    onChanged: () => {},
  })
  world.directory.adopt(world.held)
  sync.joined()
})

const keyOf = (which: number): string => world.rotators[which]?.publicKey ?? ''
const serviceOf = (which: number): Service => services.get(keyOf(which)) ?? new Service()

/** A tick of a service, as it is now. */
function tickOf(which: number): Tick {
  const by = world.rotators[which]
  const { buckets, process } = serviceOf(which)
  const bytes = world.tick({ directoryRoot: buckets.root(), process }, by === undefined ? {} : { by })
  return readTick(engine, bytes).tick
}

/** A tick of a service counts, and all that follows from it is done. */
function count(...which: readonly number[]): void {
  for (const one of which) sync.counted(tickOf(one))
  pass(20)
}

/** Lets so many seconds pass. */
function pass(seconds: number): void {
  world.monotonicMs += seconds * SECOND
  machine.advance(seconds * SECOND)
}

function agents(count: number): readonly ParsedAnnouncement[] {
  return Array.from({ length: count }, (_, i) =>
    world.announcement(world.identity(`agent-${i}`), world.epoch()),
  )
}

const kinds = (): readonly number[] => asked.map(({ query }) => query.kind)
const isHeld = ({ hash }: ParsedAnnouncement): boolean => world.directory.has(hex(hash))

describe('comparing directories', () => {
  it('asks for what is missing, and for nothing else', () => {
    const all = agents(100)
    for (const one of all) serviceOf(0).add(one)
    for (const one of all.slice(3)) world.directory.add(one.bytes, T0)
    count(0)
    expect(all.every(isHeld)).toBe(true)
    const byHash = asked.filter(({ query }) => query.kind === QueryKind.byHash)
    expect(byHash.flatMap(({ query }) => readHashes(query.cursor))).toHaveLength(3)
    expect(kinds().filter((kind) => kind === QueryKind.buckets).length).toBeLessThanOrEqual(2)
  })

  it('asks nothing where roots are equal, or one was looked at already', () => {
    const [one, two] = agents(2)
    if (one === undefined || two === undefined) throw new Error('no agents')
    serviceOf(0).add(one)
    world.directory.add(one.bytes, T0)
    count(0)
    expect(asked).toEqual([])
    // What is held here and not there matters once: when it should be there.
    world.directory.add(two.bytes, T0)
    count(0)
    expect(asked).toEqual([])
    pass(240)
    count(0)
    const { length } = asked
    expect(length).toBeGreaterThan(0)
    pass(240)
    count(0)
    expect(asked).toHaveLength(length)
  })

  it('asks after 15 s at most, and each service every 30 s at most', () => {
    const times: number[] = []
    for (const one of agents(20)) {
      serviceOf(0).add(one)
      const before = asked.length
      sync.counted(tickOf(0))
      for (let second = 0; second < 10; second++) {
        pass(1)
        const first = asked[before]
        if (asked.length > before && first !== undefined && times.at(-1) !== clock.monotonic())
          times.push(clock.monotonic())
      }
    }
    const begun = asked.filter(({ query }) => query.kind === QueryKind.buckets && query.cursor === undefined)
    expect(begun.length).toBeGreaterThanOrEqual(4)
    expect(begun.length).toBeLessThanOrEqual(7)
    expect(times[0]).toBeLessThanOrEqual(15 * SECOND)
  })

  it('is with one service after the other', () => {
    for (const [i, one] of agents(60).entries()) serviceOf(i % 2).add(one)
    sync.counted(tickOf(0))
    sync.counted(tickOf(1))
    pass(20)
    const order = asked.map(({ rotator }) => rotator)
    expect(new Set(order).size).toBe(2)
    expect(order).toEqual([...order].sort((a, b) => order.indexOf(a) - order.indexOf(b)))
  })

  it('goes on with the others where one does not answer', () => {
    const all = agents(4)
    for (const one of all) for (const service of services.values()) service.add(one)
    serviceOf(0).isAnswering = false
    sync.counted(tickOf(0))
    sync.counted(tickOf(1))
    pass(40)
    expect(all.every(isHeld)).toBe(true)
  })

  it('asks again for what did not come, when the service names its root the next time', () => {
    const all = agents(4)
    for (const one of all) serviceOf(0).add(one)
    const service = serviceOf(0)
    service.ignores = QueryKind.byHash
    count(0)
    pass(30)
    expect(all.some(isHeld)).toBe(false)
    service.ignores = undefined
    count(0)
    pass(40)
    expect(all.every(isHeld)).toBe(true)
  })

  it('takes no more than there is room for from a service that lists what nobody has', () => {
    for (let i = 0; i < 20_000; i++) serviceOf(0).buckets.add(engine.randomBytes(32))
    count(0)
    pass(30)
    const byHash = asked.filter(({ query }) => query.kind === QueryKind.byHash)
    // It has nothing of the first ones, and is asked for no more of each bucket.
    expect(byHash.length).toBeLessThanOrEqual(16)
  })

  it('makes nothing of a listing that is none', () => {
    const [one] = agents(1)
    if (one !== undefined) serviceOf(0).add(one)
    serviceOf(0).answer = () => [new Uint8Array(3)]
    sync.counted(tickOf(0))
    expect(codeOf(() => pass(20))).toBe('ERR_MALFORMED')
    expect(kinds()).toEqual([QueryKind.buckets])
  })

  it('does not begin before the agent has joined, nor with a service that is not in the plan', () => {
    const [one] = agents(1)
    if (one !== undefined) for (const service of services.values()) service.add(one)
    world.adopt(world.plan({ version: 2, rotators: [keyOf(1)], threshold: 1 }))
    sync.adopt()
    sync.named(keyOf(0), serviceOf(0).buckets.root())
    pass(20)
    expect(asked).toEqual([])
    expect(sync.isKnownRoot(keyOf(0), serviceOf(0).buckets.root())).toBe(true)
    expect(sync.isKnownRoot(keyOf(1), serviceOf(1).buckets.root())).toBe(false)
  })

  it('begins at once where this agent may have missed something', () => {
    const [one] = agents(1)
    if (one === undefined) return
    serviceOf(0).add(one)
    sync.refresh(keyOf(0))
    pass(1)
    // Before the service has signed a root to which its list belongs, that is nobody's word.
    expect(isHeld(one)).toBe(false)
    expect(ticksAsked).toBe(1)
    sync.counted(tickOf(0))
    pass(1)
    expect(isHeld(one)).toBe(true)
  })
})

describe('a list that somebody else has sent', () => {
  /** Two agents that every service lists, and are old enough to be missed. */
  function bothListed(): readonly [ParsedAnnouncement, ParsedAnnouncement] {
    const [alive, victim] = agents(2)
    if (alive === undefined || victim === undefined) throw new Error('no agents')
    for (const one of [alive, victim]) {
      world.directory.add(one.bytes, T0)
      for (const service of services.values()) service.add(one)
    }
    count(0, 1)
    pass(240)
    return [alive, victim]
  }

  const names = (): number => world.directory.audience('orders.new', T0)?.members.length ?? 0

  it('takes nobody out of an audience: it belongs to no root that its service has signed', () => {
    const [alive] = bothListed()
    const forged = new Service()
    forged.add(alive)
    for (const [i, service] of [...services.values()].entries()) {
      // Each has something new to say, so that it is asked, and somebody answers in its place.
      for (const one of agents(i + 4).slice(3)) service.add(one)
      service.answer = (query) => forged.answer(query)
    }
    count(0, 1)
    count(0, 1)
    expect(kinds().filter((kind) => kind === QueryKind.buckets).length).toBeGreaterThanOrEqual(2)
    expect(names()).toBe(2)
  })

  it('calls for one more tick, and not for one after the other', () => {
    bothListed()
    const forged = new Service()
    for (const one of agents(4)) serviceOf(0).add(one)
    serviceOf(0).answer = (query) => forged.answer(query)
    count(0)
    expect(ticksAsked).toBe(1)
    sync.counted(tickOf(0))
    pass(20)
    expect(ticksAsked).toBe(1)
  })

  it('takes nobody out by one bucket that is not the one under the root', () => {
    const [, victim] = bothListed()
    for (const [i, service] of [...services.values()].entries()) {
      const answer = service.answer.bind(service)
      // A root over another bucket that differs, so that the bucket of the victim is asked for.
      service.buckets.add(Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? (victim.hash[0] ?? 0) : i)))
      service.answer = (query) => answer(query).map((one) => (one.length === 4096 ? one : new Uint8Array(0)))
    }
    count(0, 1)
    count(0, 1)
    expect(names()).toBe(2)
  })
})

describe('an instance that rotation services do not list any more', () => {
  it('is no recipient once enough of them do not, and is one again when they do', () => {
    const [alive, killed] = agents(2)
    if (alive === undefined || killed === undefined) throw new Error('no agents')
    for (const one of [alive, killed]) {
      world.directory.add(one.bytes, T0)
      for (const service of services.values()) service.add(one)
    }
    count(0, 1)
    const names = (): number => world.directory.audience('orders.new', T0)?.members.length ?? 0
    expect(names()).toBe(2)
    pass(240)
    serviceOf(0).remove(killed)
    count(0, 1)
    // One of two, where it takes two.
    expect(names()).toBe(2)
    pass(60)
    serviceOf(1).remove(killed)
    count(0, 1)
    expect(names()).toBe(1)
    pass(60)
    serviceOf(1).add(killed)
    count(0, 1)
    expect(names()).toBe(2)
  })
})

describe('a rotation service that gives one announcement at a time, and late', () => {
  it('keeps nobody else from his turn for more than 30 s, and what it gave stays', () => {
    const all = agents(400)
    for (const one of all) serviceOf(0).add(one)
    const [only] = agents(401).slice(400)
    if (only === undefined) throw new Error('no agent')
    serviceOf(1).add(only)
    Object.assign(serviceOf(0), { gives: 1, delayMs: 1900 })
    sync.counted(tickOf(0))
    pass(16)
    sync.counted(tickOf(1))
    pass(46)
    expect(isHeld(only)).toBe(true)
    expect(all.filter(isHeld).length).toBeGreaterThan(0)
    expect(all.filter(isHeld).length).toBeLessThan(40)
    // It is asked for no more of what it was asked for then.
    const { length } = asked
    pass(60)
    expect(asked.slice(length).filter(({ rotator }) => rotator === keyOf(0))).toEqual([])
  })
})

describe('an own announcement', () => {
  it('is handed over where a service does not list it that should', () => {
    const [mine, other] = agents(2)
    if (mine === undefined || other === undefined) throw new Error('no agents')
    world.directory.add(mine.bytes, T0)
    // In the same bucket, so that it is looked at.
    const bucket = mine.hash[0] ?? 0
    serviceOf(0).buckets.add(new Uint8Array(32).fill(bucket))
    count(0)
    expect(checked).toEqual([])
    own = [mine.hash]
    pass(30)
    serviceOf(0).buckets.add(Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? bucket : 7)))
    count(0)
    expect(checked).toEqual([keyOf(0)])
  })
})

describe('a rotation service that has started again', () => {
  it('is noticed by its process, once, as one that is new to the plan', () => {
    for (let i = 0; i < 3; i++) count(0, 1)
    expect(restarted.splice(0)).toEqual([keyOf(0), keyOf(1)])
    serviceOf(0).process = engine.randomBytes(8)
    for (let i = 0; i < 3; i++) count(0, 1)
    expect(restarted).toEqual([keyOf(0)])
  })
})
