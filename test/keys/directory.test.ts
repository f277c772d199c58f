import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import { labels } from '../../src/crypto/labels.ts'
import { KeyUse, keyId } from '../../src/envelope/keys.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { decodeSignedAnnouncement, encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { engine, may } from '../support/identities.ts'
import { HOUR, MINUTE, T0, World } from '../support/statements.ts'

let world: World
/** The wall clock. */
let now: number
let epoch: Epoch
let alice: Identity
let bob: Identity

beforeEach(() => {
  world = new World()
  now = T0
  epoch = world.epoch()
  alice = world.identity('alice')
  bob = world.identity('bob')
})

/** Takes in what a fresh instance of this identity announces. */
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

/** The same announcement with a signature that nobody made. */
function withBadSignature({ signed }: ParsedAnnouncement): Uint8Array {
  return encodeSignedAnnouncement({ ...signed, signature: engine.randomBytes(64) })
}

/** The second epoch has just begun, and the first one has not ended. @returns the second one */
function inOverlap(): Epoch {
  now = world.epoch(2).notBefore
  world.epochs.current(now)
  return world.epoch(2)
}

/** Some hours later, when the first epochs are held no more. */
function later(): number {
  const nowMs = T0 + 4 * HOUR
  world.epochs.current(nowMs)
  world.directory.prune()
  return nowMs
}

function retire(identity: Identity, instance: Uint8Array, at: Epoch = epoch, seq = T0): Uint8Array {
  const { notBefore, notAfter } = at
  return signRetirement(identity, at, { instance, seq, notBefore, notAfter })
}

describe('an audience', () => {
  it('is every live instance whose token allows it to read the subject', () => {
    join(alice)
    join(alice)
    join(world.identity('audit', { permissions: may([], ['orders.*']) }))
    join(world.identity('tools', { permissions: may([], ['tools.>']) }))
    expect(names()?.sort()).toEqual(['alice', 'alice', 'audit'])
    expect(names('tools.search')?.sort()).toEqual(['alice', 'alice', 'tools'])
  })

  it('is undefined before the first epoch, but for the 120 s that clocks may differ', () => {
    join(alice)
    expect(world.directory.audience('x', epoch.notBefore - 120_000)?.members).toHaveLength(1)
    expect(world.directory.audience('x', epoch.notBefore - 120_001)).toBeUndefined()
  })

  it('loses who is revoked, and whose token expires, at once', () => {
    const short = world.identity('short', { expiresAtMs: T0 + MINUTE })
    for (const identity of [alice, bob, short]) join(identity)
    expect(names()?.sort()).toEqual(['alice', 'bob', 'short'])
    world.revocations.add(world.revocation(bob), T0)
    world.directory.invalidate()
    expect(names()?.sort()).toEqual(['alice', 'short'])
    expect(names('orders.new', T0 + MINUTE)).toEqual(['alice'])
  })

  it('does not hold what announces for another epoch hash, or no epoch of this plan', () => {
    const parsed = world.announcement(alice, { ...epoch, hash: engine.randomBytes(32) })
    expect(world.directory.add(parsed.bytes, T0)).toBeUndefined()
    expect(names()).toEqual([])
    expect(world.directory.sender(parsed.hash, T0).standing).toBe('unknown')
  })

  it('takes the newest announcement of an instance in an epoch', () => {
    const instance = engine.randomBytes(8)
    join(alice, { instance, seq: 1 })
    const second = join(alice, { instance, seq: 2 })
    const members = world.directory.audience('x', T0)?.members
    expect(members?.map(({ key }) => key.publicKey)).toEqual([second.announcement.keys[0]?.publicKey])
  })

  it('says why an agent that is known is not in it', () => {
    join(world.identity('allowed', { permissions: may([], ['other']) }))
    join(bob)
    world.revocations.add(world.revocation(bob), T0)
    join(world.identity('short', { expiresAtMs: T0 + 1000 }))
    const gone = join(alice)
    world.directory.add(retire(alice, gone.announcement.instance), T0)
    const broken = world.announcement(world.identity('broken'), epoch)
    world.directory.add(withBadSignature(broken), T0)
    names()
    const nowMs = T0 + 2000
    const why = Object.fromEntries(world.directory.absences('x', nowMs).map((a) => [a.name, a.why]))
    expect(why).toEqual({
      alice: 'it has retired',
      allowed: 'its token does not allow it to read this subject',
      bob: 'its identity is revoked',
      short: 'its identity token has expired',
    })
  })

  it('says that an agent has not announced for the current epoch', () => {
    join(alice)
    const next = inOverlap()
    join(bob, {}, next)
    const nowMs = epoch.notAfter
    expect(names('x', nowMs)).toEqual(['bob'])
    expect(world.directory.absences('x', nowMs)).toEqual([
      { name: 'alice', why: 'it has not announced keys for the current epoch' },
    ])
  })
})

describe('an announcement that nothing can be sealed to', () => {
  const unusable = (publicKey = new Uint8Array(32)) => ({ keys: [{ suite: 1, use: 0, publicKey }] })

  it('leaves the audience as it is, and is reported with its name and instance', () => {
    join(alice)
    const { bytes, announcement } = world.announcement(world.identity('mallory'), epoch, unusable())
    const { instance } = announcement
    for (let i = 0; i < 2; i++) world.directory.add(bytes, T0)
    expect(names()).toEqual(['alice'])
    names('another')
    const leftOut = { name: 'mallory', instance: hex(instance), why: 'unusable key' }
    expect(world.refused).toEqual([leftOut, leftOut])
    expect(world.directory.size).toBe(1)
  })

  it('is not reported where somebody else has signed it', () => {
    const mallory = world.identity('mallory')
    const forged = world.announcement(bob, epoch, unusable(), { signer: mallory })
    world.directory.add(forged.bytes, T0)
    expect(names()).toEqual([])
    expect(world.refused).toEqual([])
  })

  it('is why its agent is in no audience, until its epoch is forgotten or it announces a better one', () => {
    world.directory.add(world.announcement(bob, epoch, unusable()).bytes, T0)
    expect(names()).toEqual([])
    const absences = () => world.directory.absences('orders.new', T0)
    expect(absences()).toEqual([{ name: 'bob', why: 'nothing can be sealed to the key that it announced' }])
    later()
    expect(absences()).toEqual([])
  })
})

describe('two live keys under one kid', () => {
  /** Hashes that name keys are cut to four bits here: then two of one kid are found in no time. */
  const colliding: CryptoEngine = {
    ...engine,
    sha256(...parts) {
      const hash = engine.sha256(...parts)
      return parts[0] === labels.kid ? hash.fill(0, 1).fill((hash[0] ?? 0) & 0x0f, 0, 1) : hash
    },
  }
  const kidOf = ({ hash }: ParsedAnnouncement): string =>
    hex(keyId(colliding, { suite: 1, use: KeyUse.live, announcementHash: hash }))

  /** Announcements of instances of this identity, the second of which has the kid of the first. */
  function pairOf(identity: Identity): {
    readonly first: ParsedAnnouncement
    readonly second: ParsedAnnouncement
  } {
    const first = world.announcement(identity, epoch)
    for (;;) {
      const second = world.announcement(identity, epoch)
      if (kidOf(second) === kidOf(first)) return { first, second }
    }
  }

  beforeEach(() => {
    world = new World({ engine: colliding })
    epoch = world.epoch()
    alice = world.identity('alice')
  })

  it('are never held: the one that is verified first stays, and the other is reported', () => {
    const { first, second } = pairOf(world.identity('mallory'))
    for (const { bytes } of [first, second]) world.directory.add(bytes, T0)
    const instances = () => world.directory.audience('x', T0)?.members.map(({ instance }) => instance)
    expect(instances()).toEqual([hex(first.announcement.instance)])
    const instance = hex(second.announcement.instance)
    expect(world.refused).toEqual([{ name: 'mallory', instance, why: 'kid in use' }])
    // It is refused again when it comes again.
    world.directory.add(second.bytes, T0)
    expect(instances()).toEqual([hex(first.announcement.instance)])
    expect(world.directory.sender(second.hash, T0).standing).toBe('unknown')
  })

  it('of two agents are one of the agent that was verified first', () => {
    const { first } = pairOf(world.identity('mallory'))
    let other = world.announcement(alice, epoch)
    while (kidOf(other) !== kidOf(first)) other = world.announcement(alice, epoch)
    world.directory.add(first.bytes, T0)
    expect(names()).toEqual(['mallory'])
    world.directory.add(other.bytes, T0)
    expect(names()).toEqual(['mallory'])
    expect(world.refused).toMatchObject([{ name: 'alice', why: 'kid in use' }])
    expect(world.directory.absences('x', T0)).toEqual([
      { name: 'alice', why: 'it announced a key under the kid of another one' },
    ])
  })

  it('are one after the other where the first is forgotten with its epoch', () => {
    const { first, second } = pairOf(alice)
    world.directory.add(first.bytes, T0)
    expect(names()).toEqual(['alice'])
    const nowMs = later()
    expect(world.directory.size).toBe(0)
    const at = world.epochs.at(nowMs)
    if (at === undefined) throw new Error('no epoch')
    let next = world.announcement(alice, at)
    while (kidOf(next) !== kidOf(second)) next = world.announcement(alice, at)
    world.directory.add(next.bytes, nowMs)
    expect(names('x', nowMs)).toEqual(['alice'])
    expect(world.refused).toEqual([])
  })
})

describe('the epoch of an audience', () => {
  let next: Epoch
  let overlap: number
  beforeEach(() => {
    next = inOverlap()
    overlap = now
  })

  it('stays the old one until every live instance has announced the new one', () => {
    const [a, b] = [engine.randomBytes(8), engine.randomBytes(8)]
    join(alice, { instance: a })
    join(bob, { instance: b })
    expect(world.directory.audience('x', overlap)?.epoch.number).toBe(1)
    join(alice, { instance: a }, next)
    expect(world.directory.audience('x', overlap)?.epoch.number).toBe(1)
    expect(names('x', overlap)).toHaveLength(2)
    join(bob, { instance: b }, next)
    expect(world.directory.audience('x', overlap)?.epoch.number).toBe(2)
    expect(names('x', overlap)).toHaveLength(2)
  })

  it('is the new one when the old one ends, without those who have not announced', () => {
    const a = engine.randomBytes(8)
    join(alice, { instance: a })
    join(alice, { instance: a }, next)
    join(bob)
    expect(world.directory.audience('x', epoch.notAfter - 1)?.epoch.number).toBe(1)
    expect(world.directory.audience('x', epoch.notAfter)?.epoch.number).toBe(2)
    expect(names('x', epoch.notAfter)).toEqual(['alice'])
  })

  it('does not wait for an instance that has retired', () => {
    const [a, b] = [engine.randomBytes(8), engine.randomBytes(8)]
    for (const at of [epoch, next]) join(alice, { instance: a }, at)
    join(bob, { instance: b })
    expect(world.directory.audience('x', overlap)?.epoch.number).toBe(1)
    world.directory.add(retire(bob, b), overlap)
    expect(world.directory.audience('x', overlap)?.epoch.number).toBe(2)
  })

  it('finds one instance in another epoch only where it has announced itself for it', () => {
    const a = engine.randomBytes(8)
    const parsed = join(alice, { instance: a })
    const known = world.directory.sender(parsed.hash, overlap)
    if (known.standing !== 'known') throw new Error('unknown')
    expect(world.directory.memberOf(known.announcement, next, overlap)).toBeUndefined()
    join(alice, { instance: a }, next)
    expect(world.directory.memberOf(known.announcement, next, overlap)?.instance).toBe(hex(a))
  })
})

describe('a retirement', () => {
  it('takes one instance out of every epoch', () => {
    const next = inOverlap()
    const instance = engine.randomBytes(8)
    const other = join(alice)
    const bytes = retire(alice, instance, next)
    for (const at of [epoch, next]) join(alice, { instance }, at)
    world.directory.add(bytes, now)
    const members = world.directory.audience('x', now)?.members
    expect(members?.map((member) => member.instance)).toEqual([hex(other.announcement.instance)])
    expect(world.directory.audience('x', next.notBefore)?.epoch.number).toBe(1)
  })

  it('by a different identity changes nothing', () => {
    const { instance } = join(alice).announcement
    // One that says it is alice, one with mallory's own token, and one of a second identity of that name.
    const mallory = world.identity('mallory')
    const impostor = world.identity('alice', { issuedAtMs: T0 - MINUTE })
    const parts = decodeSignedAnnouncement(retire(alice, instance))
    const forged = { ...parts, signature: mallory.sign(parts.structure) }
    for (const bytes of [
      encodeSignedAnnouncement(forged),
      retire(mallory, instance),
      retire(impostor, instance),
    ]) {
      world.directory.add(bytes, T0)
    }
    expect(names()).toEqual(['alice'])
  })
})

describe('who owns a name', () => {
  it('is the identity with the earlier token; the other is refused until that one is revoked', () => {
    const early = world.identity('twin', { issuedAtMs: T0 - 3 * HOUR })
    const late = world.identity('twin', { issuedAtMs: T0 - 2 * HOUR })
    const second = join(late)
    expect(world.directory.sender(second.hash, T0).standing).toBe('known')
    const first = join(early)
    expect(world.directory.sender(first.hash, T0).standing).toBe('known')
    expect(world.directory.sender(second.hash, T0).standing).toBe('refused')
    const instances = () => world.directory.audience('x', T0)?.members.map(({ instance }) => instance)
    expect(instances()).toEqual([hex(first.announcement.instance)])
    world.revocations.add(world.revocation(early), T0)
    world.directory.invalidate()
    expect(instances()).toEqual([hex(second.announcement.instance)])
    expect(world.directory.sender(first.hash, T0).standing).toBe('refused')
    expect(world.directory.sender(second.hash, T0).standing).toBe('known')
  })

  it('is the lower identity where both tokens are of the same second', () => {
    const both = [world.identity('twin'), world.identity('twin')]
    const parsed = both.map((identity) => join(identity))
    const lower = (both[0]?.publicKey ?? '') < (both[1]?.publicKey ?? '') ? 0 : 1
    const standings = parsed.map(({ hash }) => world.directory.sender(hash, T0).standing)
    expect(standings[lower]).toBe('known')
    expect(standings[1 - lower]).toBe('refused')
  })

  it('passes on when the earlier token expires', () => {
    const early = world.identity('twin', { issuedAtMs: T0 - 3 * HOUR, expiresAtMs: T0 + 1000 })
    const second = join(world.identity('twin'))
    join(early)
    expect(world.directory.sender(second.hash, T0).standing).toBe('refused')
    expect(world.directory.sender(second.hash, T0 + 1000).standing).toBe('known')
  })

  it('keeps its announcements however often another identity of that name announces', () => {
    const first = join(alice)
    names()
    const impostor = world.identity('alice', { issuedAtMs: T0 - MINUTE, maxInstances: 1 })
    for (let i = 1; i <= 20; i++) join(impostor, { notBefore: T0 + i })
    const members = world.directory.audience('x', T0)?.members
    expect(members?.map(({ instance }) => instance)).toEqual([hex(first.announcement.instance)])
  })
})

describe('a clone', () => {
  it('is two announcements of one instance, epoch and number: it raises an alarm once', () => {
    const instance = engine.randomBytes(8)
    join(alice, { instance })
    names()
    expect(world.clones).toEqual([])
    join(alice, { instance })
    names()
    names('another')
    expect(world.clones).toEqual([instance])
  })

  it('is not a later number, another epoch, another identity, the same statement again, or a forgery', () => {
    const next = inOverlap()
    const instance = engine.randomBytes(8)
    const parsed = join(alice, { instance })
    join(alice, { instance, seq: 2 })
    join(alice, { instance }, next)
    join(bob, { instance })
    expect(world.directory.add(parsed.bytes, T0)).toBeUndefined()
    world.directory.add(withBadSignature(world.announcement(alice, epoch, { instance })), T0)
    names()
    expect(world.clones).toEqual([])
  })
})

describe('the limit of instances', () => {
  it('keeps the newest by not_before, then by hash', () => {
    const agent = world.identity('fleet', { maxInstances: 3 })
    const all = [0, 5, 5, 1, 9, 5].map((after) => join(agent, { notBefore: T0 + after }))
    const byRank = [...all].sort(
      (a, b) => b.announcement.notBefore - a.announcement.notBefore || (hex(a.hash) < hex(b.hash) ? -1 : 1),
    )
    const expected = byRank.slice(0, 3).map(({ announcement }) => hex(announcement.instance))
    expect(world.directory.audience('x', T0)?.members.map(({ instance }) => instance)).toEqual(expected)
  })

  it('holds against ten thousand instances of a crash loop, in the audience and in memory', () => {
    const agent = world.identity('loop', { maxInstances: 4 })
    const { directory } = world
    let nowMs = T0
    let last = ''
    let largest = 0
    const keys = engine.ed25519KeyPair()
    for (let i = 0; i < 10_000; i++) {
      // As a supervisor starts it, 50 times a second; every process retires the one before.
      nowMs = T0 + i * 20
      world.monotonicMs = i * 20
      const instance = engine.randomBytes(8)
      const changes = { instance, notBefore: nowMs, messageKey: keys.publicKey }
      const own = { messageKey: keys.secretKey }
      directory.add(world.announcement(agent, epoch, changes, own).bytes, nowMs)
      if (i % 100 === 0) expect(directory.audience('x', nowMs)?.members.length).toBeLessThanOrEqual(4)
      if (i % 2 === 0) directory.add(retire(agent, instance, epoch, nowMs), nowMs)
      else last = hex(instance)
      largest = Math.max(largest, directory.size)
    }
    expect(largest).toBeLessThan(150)
    world.monotonicMs += 10_000
    const members = directory.audience('x', nowMs + 10_000)?.members.map(({ instance }) => instance)
    expect(members).toHaveLength(4)
    expect(members?.[0]).toBe(last)
  })
})
