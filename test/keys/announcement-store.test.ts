import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { MAX_ANNOUNCEMENTS_PER_INSTANCE, MAX_DIRECTORY_CACHE_BYTES } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { VerifiedClaims } from '../../src/identity/trust.ts'
import { AnnouncementStore } from '../../src/keys/announcement-store.ts'
import {
  type ParsedAnnouncement,
  signRetirement,
  type VerifiedAnnouncement,
} from '../../src/keys/announcements.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { engine, may, newIdentity } from '../support/identities.ts'
import { HOUR, MINUTE, T0, World } from '../support/statements.ts'

let world: World
/** The wall clock. */
let now: number
let epoch: Epoch
let alice: Identity

beforeEach(() => {
  world = new World()
  now = T0
  world.epochs.current(now)
  epoch = world.epoch()
  alice = world.identity('alice')
})

function join(
  identity: Identity,
  changes: Parameters<World['announcement']>[2] = {},
  at: Epoch = epoch,
): ParsedAnnouncement {
  const parsed = world.announcement(identity, at, changes)
  expect(world.directory.add(parsed.bytes, now)).toBeDefined()
  return parsed
}

function names(subject = 'orders.new', nowMs = now): string[] | undefined {
  return world.directory.audience(subject, nowMs)?.members.map(({ name }) => name)
}

function instances(nowMs = now): string[] | undefined {
  return world.directory.audience('orders.new', nowMs)?.members.map(({ instance }) => instance)
}

/** The second epoch has just begun, and the first one has not ended. @returns the second one */
function inOverlap(): Epoch {
  now = epoch.notAfter - 5 * MINUTE
  world.epochs.current(now)
  return world.epoch(2)
}

function retire(
  identity: Identity,
  of: { readonly instance: Uint8Array; readonly notBefore: number },
  seq = T0,
): ParsedAnnouncement | undefined {
  const { notAfter } = epoch
  return world.directory.add(signRetirement(identity, epoch, { ...of, seq, notAfter }), now)
}

/** An instance that announces itself, is looked at, and retires. */
function comeAndGo(identity: Identity, afterMs: number): ParsedAnnouncement {
  const parsed = join(identity, { notBefore: epoch.notBefore + afterMs })
  instances()
  retire(identity, parsed.announcement)
  return parsed
}

/** Two tokens of one identity: the second one is a renewal. */
function renewed(
  first: Partial<Parameters<typeof newIdentity>[2]>,
  second: typeof first,
): [Identity, Identity] {
  const former = newIdentity(world.authority, 'alice', { issuedAtMs: T0 - 2 * HOUR, ...first })
  const options = { issuedAtMs: T0 - HOUR, seed: former.seed, ...second }
  return [former.identity, newIdentity(world.authority, 'alice', options).identity]
}

describe('what an instance that goes on for long loses to others of its agent', () => {
  const standing = ({ hash }: ParsedAnnouncement): string => world.directory.sender(hash, T0).standing

  it.each([1, 16])('is nothing where they come and go, with max_instances %i', (maxInstances) => {
    const identity = world.identity('daemon', { maxInstances })
    const daemon = join(identity)
    let last = daemon
    for (let i = 1; i <= 10 * maxInstances; i++) {
      last = join(identity, { notBefore: T0 + i })
      expect(standing(last)).toBe('known')
      retire(identity, last.announcement)
      expect(names()).toEqual(['daemon'])
    }
    expect([standing(daemon), standing(last)]).toEqual(['known', 'known'])
    expect(world.directory.size).toBeLessThanOrEqual(MAX_ANNOUNCEMENTS_PER_INSTANCE * maxInstances)
  })

  it('is nothing where one of them announces itself again and again', () => {
    const identity = world.identity('daemon', { maxInstances: 2 })
    const daemon = join(identity)
    const { instance } = join(identity, { notBefore: T0 + 1 }).announcement
    for (let seq = 2; seq < 30; seq++) {
      join(identity, { instance, seq, notBefore: T0 + seq })
      expect(names()).toEqual(['daemon', 'daemon'])
    }
    expect(standing(daemon)).toBe('known')
    expect(world.directory.size).toBeLessThanOrEqual(1 + MAX_ANNOUNCEMENTS_PER_INSTANCE)
  })

  it('is nothing where others were killed, and rotation services have not heard of them', () => {
    const identity = world.identity('daemon', { maxInstances: 1 })
    const daemon = join(identity)
    world.directory.adopt(world.held)
    const killed = Array.from({ length: MAX_ANNOUNCEMENTS_PER_INSTANCE - 1 }, (_, i) =>
      join(identity, { notBefore: T0 + i + 1 }),
    )
    world.monotonicMs += 300_000
    for (let bucket = 0; bucket < 256; bucket++)
      world.directory.noteListing(0, bucket, daemon.hash[0] === bucket ? [daemon.hash] : [])
    join(identity, { notBefore: T0 + 100 })
    expect(standing(daemon)).toBe('known')
    expect(killed.map(standing)).toEqual(['unknown', 'known', 'known'])
  })
})

describe('an instance', () => {
  it('keeps its announcements with the highest numbers: keys are made anew a few times in an epoch', () => {
    const instance = engine.randomBytes(8)
    const all = [3, 1, 5, 2, 4].map((seq) => join(alice, { instance, seq }))
    const late = world.announcement(alice, epoch, { instance, seq: 1 })
    expect(world.directory.add(late.bytes, T0)).toBeUndefined()
    const held = all.filter(({ hash }) => world.directory.has(hex(hash)))
    expect(held.map(({ announcement }) => announcement.seq)).toEqual([3, 5, 2, 4])
  })

  it('is retired so many times in an epoch, and no more', () => {
    const { announcement } = join(alice)
    const taken = Array.from({ length: 20 }, (_, i) => retire(alice, announcement, T0 + i))
    expect(taken.filter((one) => one !== undefined)).toHaveLength(MAX_ANNOUNCEMENTS_PER_INSTANCE)
    expect(names()).toEqual([])
  })
})

describe('instances of one identity with two tokens', () => {
  it('end each with its own token', () => {
    const [former, latter] = renewed({ expiresAtMs: T0 + MINUTE }, {})
    join(former)
    const second = join(latter)
    expect(names()).toHaveLength(2)
    const members = world.directory.audience('orders.new', T0 + MINUTE)?.members
    expect(members?.map(({ instance }) => instance)).toEqual([hex(second.announcement.instance)])
  })

  it('read each what its own token allows', () => {
    const [former, latter] = renewed({ permissions: may([], ['>']) }, { permissions: may([], ['tools.>']) })
    const first = join(former)
    join(latter)
    expect(names('tools.x')).toHaveLength(2)
    const members = world.directory.audience('orders.new', T0)?.members
    expect(members?.map(({ instance }) => instance)).toEqual([hex(first.announcement.instance)])
  })

  it('are as many as the token of the newest allows', () => {
    const [former, latter] = renewed({ maxInstances: 8 }, { maxInstances: 2 })
    for (let i = 0; i < 3; i++) join(former, { notBefore: T0 + i })
    expect(names()).toHaveLength(3)
    join(latter, { notBefore: T0 + 10 })
    expect(names()).toHaveLength(2)
  })

  it('read nothing by a token of which nothing is held any more', () => {
    const [former, latter] = renewed(
      { permissions: may([], ['secret']), maxInstances: 1 },
      { permissions: may([], ['tools.>']), maxInstances: 1 },
    )
    join(former)
    expect(world.directory.absences('other', T0)).toHaveLength(1)
    for (let i = 1; i <= MAX_ANNOUNCEMENTS_PER_INSTANCE; i++) join(latter, { notBefore: T0 + i })
    expect(world.directory.absences('secret', T0)).toEqual([
      { name: 'alice', why: 'its token does not allow it to read this subject' },
    ])
  })
})

describe('an audience over time', () => {
  it('is of the oldest epoch where no epoch has everybody', () => {
    const next = inOverlap()
    join(world.identity('bob'))
    join(alice, {}, next)
    const audience = world.directory.audience('x', next.notBefore)
    expect(audience?.epoch.number).toBe(1)
    expect(audience?.members.map(({ name }) => name)).toEqual(['bob'])
  })

  it('moves over to the next epoch as soon as that has begun by the clock of others', () => {
    const begins = epoch.notAfter - 7 * MINUTE
    now = begins - 1
    world.epochs.current(now)
    const next = world.epoch(2)
    const instance = engine.randomBytes(8)
    join(alice, { instance })
    join(alice, { instance }, next)
    expect(world.directory.audience('x', begins - 1)?.epoch.number).toBe(1)
    expect(world.directory.audience('x', begins)?.epoch.number).toBe(2)
  })

  it('finds the very instance that asked in another epoch, and none of its siblings', () => {
    const next = inOverlap()
    const asked = join(alice)
    join(alice, {}, next)
    const known = world.directory.sender(asked.hash, next.notBefore)
    if (known.standing !== 'known') throw new Error('unknown')
    expect(world.directory.memberOf(known.announcement, next, next.notBefore)).toBeUndefined()
  })

  it('stays without an instance that has retired, also when old epochs are forgotten', () => {
    comeAndGo(alice, 0)
    expect(names()).toEqual([])
    world.directory.prune()
    expect(names()).toEqual([])
  })

  it('stays without instances that have retired when their announcements were pushed out and are played again', () => {
    const daemon = join(alice)
    const gone = Array.from({ length: 45 }, (_, i) => comeAndGo(alice, i + 1))
    expect(gone.filter(({ hash }) => !world.directory.has(hex(hash))).length).toBeGreaterThan(20)
    world.directory.prune()
    for (const { bytes } of gone) {
      world.directory.add(bytes, T0)
      expect(instances()).toEqual([hex(daemon.announcement.instance)])
    }
  })

  it('stays without an instance that has retired for as long as anything of it is held', () => {
    const next = inOverlap()
    const instance = engine.randomBytes(8)
    const later = join(alice, { instance }, next)
    join(alice, { instance })
    retire(alice, { instance, notBefore: epoch.notBefore })
    expect(names()).toEqual([])
    now = epoch.notAfter + epoch.graceMs + 3 * MINUTE
    world.epochs.hold(now)
    world.directory.prune()
    expect(world.epochs.all()).not.toContain(epoch)
    expect(world.directory.has(hex(later.hash))).toBe(true)
    expect(names()).toEqual([])
  })

  it('counts retirements among what an identity may have in an epoch, and forgets them with it', () => {
    const most = MAX_ANNOUNCEMENTS_PER_INSTANCE * 16
    for (let i = 0; i < 2 * most; i++) comeAndGo(alice, i)
    expect(world.directory.size).toBe(most)
    now = T0 + 4 * HOUR
    world.epochs.hold(now)
    world.directory.prune()
    expect(world.directory.size).toBe(0)
    expect(world.directory.absences('x', now)).toEqual([])
  })
})

describe('a copy of an announcement with a bad signature', () => {
  it('shadows nothing, whichever comes first: both have one hash', () => {
    const genuine = world.announcement(alice, epoch)
    const copy = new Uint8Array(genuine.bytes)
    const { signature } = genuine.signed
    const at = Buffer.from(copy).indexOf(signature)
    copy.fill(1, at, at + signature.length)
    world.directory.add(copy, T0)
    expect(world.directory.size).toBe(0)
    expect(world.directory.add(genuine.bytes, T0)).toBeDefined()
    world.directory.add(copy, T0)
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
  })
})

describe('a name that was started thousands of times', () => {
  /** How often anything of an announcement is looked at while this many of one name are taken in. */
  function looks(count: number, maxInstances: number): number {
    let reads = 0
    const store = new AnnouncementStore({
      engine,
      monotonic: () => 0,
      isSilent: () => false,
      onClone: () => {},
      onListed: () => {},
      onUnlisted: () => {},
    })
    const claims = { name: 'alice', identity: 'U', maxInstances } as VerifiedClaims
    for (let i = 0; i < count; i++) {
      const announcement = { instance: engine.randomBytes(8), notBefore: T0 + i, seq: 1 }
      const verified = {
        hash: engine.randomBytes(32),
        claims,
        recipient: {},
        get announcement() {
          reads++
          return announcement
        },
      } as unknown as VerifiedAnnouncement
      store.hold({ verified, epoch, bytes: new Uint8Array(0) })
    }
    return reads
  }

  it('costs the same for each start', () => {
    expect(looks(4000, 1024) / looks(400, 1024)).toBeLessThan(11)
  })

  it('costs as much for each start beyond its places as these are many, and no more', () => {
    const most = MAX_ANNOUNCEMENTS_PER_INSTANCE * 16
    expect(looks(4000, 16) / 4000).toBeLessThan(5 * most)
  })
})

describe('wire bytes that are passed on', () => {
  it('have a bound: the name that has most of them loses its oldest, and is listed with the rest', () => {
    const unlisted: string[] = []
    const store = new AnnouncementStore({
      engine,
      passesOn: true,
      monotonic: () => 0,
      isSilent: () => false,
      onClone: () => {},
      onListed: () => {},
      onUnlisted: ({ hash }) => unlisted.push(hash),
    })
    const hold = (name: string, length: number): string => {
      const verified = {
        hash: engine.randomBytes(32),
        claims: { name, identity: name, maxInstances: 1024 } as VerifiedClaims,
        recipient: {},
        announcement: { instance: engine.randomBytes(8), notBefore: T0, seq: 1 },
      } as unknown as VerifiedAnnouncement
      store.hold({ verified, epoch, bytes: new Uint8Array(length) })
      return hex(verified.hash)
    }
    const small = hold('alice', 1200)
    const large = Array.from({ length: 70 }, () => hold('mallory', 1024 * 1024))
    const held = [...store.from(0)].map(({ bytes }) => bytes?.length ?? 0)
    expect(held.reduce((sum, length) => sum + length, 0)).toBeLessThanOrEqual(MAX_DIRECTORY_CACHE_BYTES)
    expect(store.size).toBe(71)
    expect(unlisted).toEqual(large.slice(0, 7))
    const listed = [...store.from(0)].filter((entry) => store.isListed(entry)).map(({ hash }) => hash)
    expect(listed).toEqual([small, ...large.slice(7)])
  })
})
