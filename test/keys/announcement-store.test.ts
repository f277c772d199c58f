import { base64url } from '@scure/base'
import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import {
  MAX_ANNOUNCEMENTS_PER_INSTANCE,
  MAX_EARLY_ANNOUNCEMENTS,
  MAX_FAILED_VERIFICATIONS_PER_SECOND,
  MAX_RETIRED_PER_IDENTITY,
  MAX_UNVERIFIED_PER_AGENT,
} from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { Retired } from '../../src/keys/retired.ts'
import { decodeSignedAnnouncement, encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { engine, may, newIdentity } from '../support/identities.ts'
import { HOUR, junkAnnouncement, type MadeEpoch, MINUTE, T0, World } from '../support/statements.ts'

let world: World
let made: MadeEpoch
let epoch: AcceptedEpoch
let alice: Identity

beforeEach(() => {
  world = new World()
  made = world.epoch(undefined)
  epoch = world.accept(made)
  alice = world.identity('alice')
})

function join(
  identity: Identity,
  changes: Parameters<World['announcement']>[2] = {},
  at: AcceptedEpoch = epoch,
): ParsedAnnouncement {
  const parsed = world.announcement(identity, at, changes)
  expect(world.directory.add(parsed.bytes, T0)).toBeDefined()
  return parsed
}

function names(subject = 'orders.new', nowMs = T0): string[] | undefined {
  return world.directory.audience(subject, nowMs)?.members.map(({ name }) => name)
}

function instances(nowMs = T0): string[] | undefined {
  return world.directory.audience('orders.new', nowMs)?.members.map(({ instance }) => instance)
}

function retire(identity: Identity, of: { readonly instance: Uint8Array; readonly notBefore: number }): void {
  const { notAfter } = epoch
  world.directory.add(signRetirement(identity, epoch, { ...of, seq: T0, notAfter }), T0)
}

/** An instance that announces itself, is looked at, and retires. */
function comeAndGo(identity: Identity, afterMs: number): ParsedAnnouncement {
  const parsed = join(identity, { notBefore: epoch.notBefore + afterMs })
  instances()
  retire(identity, parsed.announcement)
  instances()
  world.monotonicMs += 1000
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

describe('at the door', () => {
  it('an announcement in another name than its token has is not held at all', () => {
    expect(world.directory.add(world.announcement(alice, epoch, { agent: 'bob' }).bytes, T0)).toBeUndefined()
    expect(world.directory.size).toBe(0)
  })

  it('a flood of forged tokens costs so many verifications a second: known tokens pass, new ones later', () => {
    join(alice)
    const [head, body] = alice.token.split('.')
    for (let i = 0; i < MAX_FAILED_VERIFICATIONS_PER_SECOND; i++) {
      const signature = base64url.encode(engine.randomBytes(64)).replaceAll('=', '')
      const token = { claims: alice.claims, token: `${head}.${body}.${signature}` }
      expect(world.directory.add(junkAnnouncement(token, epoch), T0)).toBeUndefined()
    }
    const late = world.announcement(world.identity('late'), epoch)
    expect(world.directory.add(late.bytes, T0)).toBeUndefined()
    expect(world.directory.add(world.announcement(alice, epoch).bytes, T0)).toBeDefined()
    world.monotonicMs += 1000
    expect(world.directory.add(late.bytes, T0 + 1000)).toBeDefined()
  })

  it('junk whose agent has no verifications left displaces nothing that may be real', () => {
    for (let i = 0; i < MAX_UNVERIFIED_PER_AGENT; i++) world.directory.add(junkAnnouncement(alice, epoch), T0)
    const real = join(alice)
    for (let i = 1; i < MAX_UNVERIFIED_PER_AGENT; i++) world.directory.add(junkAnnouncement(alice, epoch), T0)
    expect(world.directory.add(junkAnnouncement(alice, epoch), T0)).toBeUndefined()
    expect(world.directory.has(hex(real.hash))).toBe(true)
    world.monotonicMs += 1000
    expect(names('orders.new', T0 + 1000)).toEqual(['alice'])
  })
})

describe('the budget of verifications', () => {
  it('of an agent is 64 a second, whatever is asked for', () => {
    for (let i = 0; i < MAX_UNVERIFIED_PER_AGENT; i++) world.directory.add(junkAnnouncement(alice, epoch), T0)
    expect(names()).toEqual([])
    const real = join(alice)
    expect(names()).toEqual([])
    expect([...world.directory.proven(T0)]).toEqual([])
    expect(world.directory.sender(real.hash, T0).standing).toBe('unknown')
    world.monotonicMs += 1000
    expect(names('orders.new', T0 + 1000)).toEqual(['alice'])
  })

  it('that fail is one for all agents together, and is spent only on those that are asked for', () => {
    join(world.identity('quiet', { permissions: may([], ['tools.>']) }))
    const loud = Array.from(
      { length: MAX_FAILED_VERIFICATIONS_PER_SECOND / MAX_UNVERIFIED_PER_AGENT },
      (_, i) => world.identity(`loud-${i}`, { permissions: may([], ['orders.>']) }),
    )
    for (const identity of loud) {
      for (let i = 0; i < MAX_UNVERIFIED_PER_AGENT; i++)
        world.directory.add(junkAnnouncement(identity, epoch), T0)
    }
    expect(names('orders.new')).toEqual([])
    expect(world.directory.size).toBe(1)
    expect(names('tools.x')).toEqual([])
    world.monotonicMs += 1000
    expect(names('tools.x', T0 + 1000)).toEqual(['quiet'])
  })
})

describe('a wall clock that is set', () => {
  it('fills no budget of verifications, of one agent or of all', () => {
    for (let i = 0; i < MAX_UNVERIFIED_PER_AGENT; i++) world.directory.add(junkAnnouncement(alice, epoch), T0)
    expect(names()).toEqual([])
    join(alice)
    for (const nowMs of [T0 + 1000, T0 + MINUTE, T0, T0 + 2 * MINUTE]) expect(names('x', nowMs)).toEqual([])
    world.monotonicMs += 1000
    expect(names('x', T0 + 3 * MINUTE)).toEqual(['alice'])
  })
})

describe('what an instance that goes on for long loses to others of its agent', () => {
  const standing = ({ hash }: ParsedAnnouncement): string => world.directory.sender(hash, T0).standing

  it.each([1, 16])('is nothing where they come and go, with max_instances %i', (maxInstances) => {
    const identity = world.identity('daemon', { maxInstances })
    const daemon = join(identity)
    expect(standing(daemon)).toBe('known')
    let last = daemon
    for (let i = 1; i <= 10 * maxInstances; i++) {
      world.monotonicMs += 1000
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
    expect(world.directory.size).toBeLessThanOrEqual(2 * MAX_ANNOUNCEMENTS_PER_INSTANCE)
  })
})

describe('what comes ahead of its epoch', () => {
  /** An announcement for the next epoch, which nobody here has accepted yet. */
  function early(): { next: MadeEpoch; parsed: ParsedAnnouncement } {
    const next = world.epoch(made)
    return { next, parsed: world.announcement(alice, new World({ like: world }).accept(next)) }
  }
  function standing(next: MadeEpoch, { hash }: ParsedAnnouncement): string {
    world.accept(next)
    world.directory.invalidate(next.epoch.notBefore)
    return world.directory.sender(hash, next.epoch.notBefore).standing
  }
  function flood(number: number, count: number, by = alice): void {
    for (let i = 0; i < count; i++) {
      world.directory.add(junkAnnouncement(by, { ...epoch, number, hash: engine.randomBytes(32) }), T0)
    }
  }

  it('is not displaced by what claims an epoch further ahead', () => {
    const { next, parsed } = early()
    world.directory.add(parsed.bytes, T0)
    flood(3, 2 * MAX_EARLY_ANNOUNCEMENTS)
    expect(standing(next, parsed)).toBe('known')
  })

  it('is kept in a bounded number, the newest ones', () => {
    const { next, parsed } = early()
    world.directory.add(parsed.bytes, T0)
    flood(2, MAX_EARLY_ANNOUNCEMENTS)
    expect(standing(next, parsed)).toBe('unknown')
  })

  it('is not displaced by a flood in other names, which loses places of its own', () => {
    const { next, parsed } = early()
    world.directory.add(parsed.bytes, T0)
    for (const name of ['mallory', 'eve']) flood(2, MAX_EARLY_ANNOUNCEMENTS, world.identity(name))
    expect(standing(next, parsed)).toBe('known')
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
})

describe('an audience over time', () => {
  it('is of the oldest epoch where no epoch has everybody', () => {
    const next = world.accept(world.epoch(made))
    join(world.identity('bob'))
    join(alice, {}, next)
    const audience = world.directory.audience('x', next.notBefore)
    expect(audience?.epoch.number).toBe(1)
    expect(audience?.members.map(({ name }) => name)).toEqual(['bob'])
  })

  it('moves over to an epoch that was accepted before it began', () => {
    const next = world.accept(world.epoch(made), T0)
    const instance = engine.randomBytes(8)
    join(alice, { instance })
    join(alice, { instance }, next)
    const begins = next.notBefore - 120_000
    expect(world.directory.audience('x', begins - 1)?.epoch.number).toBe(1)
    expect(world.directory.audience('x', begins)?.epoch.number).toBe(2)
  })

  it('finds the very instance that asked in another epoch, and none of its siblings', () => {
    const next = world.accept(world.epoch(made))
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
    expect(names()).toEqual(['alice'])
    const gone = Array.from({ length: 50 }, (_, i) => comeAndGo(alice, i + 1))
    expect(world.directory.size).toBeLessThan(gone.length * 2)
    world.directory.prune()
    for (const { bytes } of gone) {
      world.directory.add(bytes, T0)
      instances()
      world.monotonicMs += 100
    }
    expect(instances()).toEqual([hex(daemon.announcement.instance)])
  })

  it('stays without an instance that has retired for as long as an epoch is held in which it was', () => {
    const second = world.epoch(made)
    const next = world.accept(second)
    const instance = engine.randomBytes(8)
    const later = join(alice, { instance }, next)
    world.directory.live(next.notBefore)
    join(alice, { instance })
    retire(alice, { instance, notBefore: epoch.notBefore })
    world.directory.live(T0)
    world.accept(world.epoch(second))
    expect(world.chain.prune(epoch.notAfter + epoch.graceMs + HOUR)).toBe(true)
    world.directory.prune()
    expect(world.directory.has(hex(later.hash))).toBe(true)
    expect(names('orders.new', next.notBefore)).toEqual([])
  })

  it('remembers so many retired instances of an identity, the newest ones, and for no longer than their epoch', () => {
    const retired = new Retired()
    const name = String
    for (let i = 0; i <= MAX_RETIRED_PER_IDENTITY; i++) retired.note('alice', name(i), epoch)
    retired.note('bob', name(0), epoch)
    expect([0, 1, MAX_RETIRED_PER_IDENTITY].map((i) => retired.has('alice', name(i)))).toEqual([
      false,
      true,
      true,
    ])
    expect(retired.has('bob', name(0))).toBe(true)
    retired.prune(new Set([epoch]))
    expect(retired.isEmpty).toBe(false)
    retired.prune(new Set())
    expect(retired.isEmpty).toBe(true)
  })
})

describe('a copy of an announcement with a bad signature', () => {
  it('shadows nothing, whichever comes first: both have one hash', () => {
    const genuine = world.announcement(alice, epoch)
    const signed = decodeSignedAnnouncement(genuine.bytes)
    const copy = encodeSignedAnnouncement({ ...signed, signature: new Uint8Array(64).fill(1) })
    world.directory.add(copy, T0)
    expect(world.directory.add(genuine.bytes, T0)).toBeDefined()
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
    world.directory.add(copy, T0)
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
  })
})
