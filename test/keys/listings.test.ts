import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { SILENT_INSTANCE_MS } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import { Buckets, bucketOf } from '../../src/keys/buckets.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { decodeSignedAnnouncement, encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { engine } from '../support/identities.ts'
import { MINUTE, T0, World } from '../support/statements.ts'

const SUBJECT = 'orders.new'

let world: World
let epoch: Epoch
let alice: Identity
let bob: Identity

beforeEach(() => {
  world = new World({ rotators: 3 })
  world.directory.adopt(world.held)
  epoch = world.epoch()
  alice = world.identity('alice')
  bob = world.identity('bob')
})

function join(identity: Identity, changes: Parameters<World['announcement']>[2] = {}): ParsedAnnouncement {
  const parsed = world.announcement(identity, epoch, changes)
  expect(world.directory.add(parsed.bytes, T0)).toBeDefined()
  return parsed
}

function bucketsOf(parsed: readonly Pick<ParsedAnnouncement, 'hash'>[]): Buckets {
  const buckets = new Buckets(engine)
  for (const { hash } of parsed) buckets.add(hash)
  return buckets
}

/** An agent compares its directory with what this service lists. @returns the buckets that it has asked for */
function reconcile(rotator: number, listed: readonly ParsedAnnouncement[]): readonly number[] {
  const { directory } = world
  const theirs = bucketsOf(listed)
  if (directory.isKnownRoot(rotator, theirs.root())) {
    directory.noteRoot(rotator, theirs.root())
    return []
  }
  const asked = directory.noteBuckets(rotator, theirs.hashesOfAll())
  for (const bucket of asked) directory.noteListing(rotator, bucket, theirs.hashes(bucket))
  return asked
}

function names(): string[] | undefined {
  return world.directory.audience(SUBJECT, T0)?.members.map(({ name }) => name)
}

const longAfter = (): void => {
  world.monotonicMs += SILENT_INSTANCE_MS + 3000
}

describe('an instance that rotation services list no more', () => {
  let killed: ParsedAnnouncement
  let other: ParsedAnnouncement

  beforeEach(() => {
    killed = join(alice)
    other = join(bob)
    for (const rotator of [0, 1, 2]) reconcile(rotator, [killed, other])
    longAfter()
  })

  it('stays in audiences by the word of one of three, however often it says so', () => {
    for (let i = 0; i < 5; i++) reconcile(1, [other])
    expect(names()).toEqual(['alice', 'bob'])
    expect(world.refused).toEqual([])
  })

  it('is left out where two of three do not list it, and is reported and named among those that are absent', () => {
    reconcile(0, [other])
    reconcile(2, [other])
    expect(names()).toEqual(['bob'])
    expect(world.directory.live(T0).map(({ claims }) => claims.name)).toEqual(['bob'])
    const instance = hex(killed.announcement.instance)
    expect(world.refused).toEqual([{ name: 'alice', instance, why: 'silent' }])
    expect(world.directory.absences(SUBJECT, T0)).toEqual([
      { name: 'alice', why: 'no rotation service has heard of it for minutes' },
    ])
  })

  it('is not dropped: what it sends is opened, and it is answered', () => {
    for (const rotator of [0, 1, 2]) reconcile(rotator, [other])
    const sender = world.directory.sender(killed.hash, T0)
    if (sender.standing !== 'known') throw new Error('unknown')
    expect(world.directory.memberOf(sender.announcement, epoch, T0)?.name).toBe('alice')
    expect(names()).toEqual(['bob'])
  })

  it('is in again where one of those that did not list it does', () => {
    for (const rotator of [0, 1]) reconcile(rotator, [other])
    expect(names()).toEqual(['bob'])
    reconcile(1, [killed, other])
    expect(names()).toEqual(['alice', 'bob'])
  })

  it('is in again at once where it announces itself anew', () => {
    for (const rotator of [0, 1]) reconcile(rotator, [other])
    join(alice, { instance: killed.announcement.instance, seq: T0 })
    expect(names()).toEqual(['alice', 'bob'])
  })

  it('is in again under another plan, whose services have other places', () => {
    for (const rotator of [0, 1]) reconcile(rotator, [other])
    expect(names()).toEqual(['bob'])
    world.directory.adopt(world.held)
    expect(names()).toEqual(['alice', 'bob'])
    reconcile(2, [other])
    expect(names()).toEqual(['alice', 'bob'])
  })

  it('does not keep the others of its agent out, where they may only be so many', () => {
    const few = world.identity('few', { maxInstances: 1 })
    const [older, newer] = [join(few, { notBefore: T0 }), join(few, { notBefore: T0 + MINUTE })]
    const instances = (): string[] | undefined =>
      world.directory
        .audience(SUBJECT, T0)
        ?.members.filter(({ name }) => name === 'few')
        .map(({ instance }) => instance)
    expect(instances()).toEqual([hex(newer.announcement.instance)])
    longAfter()
    for (const rotator of [0, 1]) reconcile(rotator, [other, older])
    expect(instances()).toEqual([hex(older.announcement.instance)])
  })
})

describe('an entry that came a moment ago', () => {
  it('is not silent where services do not list it yet', () => {
    const other = join(bob)
    longAfter()
    join(alice)
    for (const rotator of [0, 1, 2]) reconcile(rotator, [other])
    expect(names()).toEqual(['bob', 'alice'])
    world.monotonicMs += SILENT_INSTANCE_MS - 1000
    expect(names()).toEqual(['bob', 'alice'])
  })

  it('is looked for again once it was held for long, also where the services list nothing new', () => {
    const other = join(bob)
    const killed = join(alice)
    expect(reconcile(0, [other])).toEqual([bucketOf(killed.hash)])
    reconcile(1, [other])
    expect(reconcile(0, [other])).toEqual([])
    world.monotonicMs += SILENT_INSTANCE_MS - 1000
    expect(reconcile(0, [other])).toEqual([])
    expect(names()).toEqual(['bob', 'alice'])
    world.monotonicMs += 4000
    expect(reconcile(0, [other])).toEqual([bucketOf(killed.hash)])
    expect(reconcile(1, [other])).toEqual([bucketOf(killed.hash)])
    expect(names()).toEqual(['bob'])
    // Once: what has not changed since then costs nothing.
    longAfter()
    expect(reconcile(0, [other])).toEqual([])
  })
})

describe('what is asked for', () => {
  it('is nothing where directories are equal, and what a service has said before where they are not', () => {
    const held = [join(alice), join(bob)]
    expect(reconcile(0, held)).toEqual([])
    const unknown = world.announcement(world.identity('carol'), epoch)
    const bucket = bucketOf(unknown.hash)
    expect(reconcile(0, [...held, unknown])).toEqual([bucket])
    expect(reconcile(0, [...held, unknown])).toEqual([])
    // Another service may have another one there.
    expect(reconcile(1, [...held, unknown])).toEqual([bucket])
  })

  it('is nothing where the own directory has more, after it was compared once', () => {
    const [first] = [join(alice), join(bob)]
    reconcile(0, [first])
    expect(reconcile(0, [first])).toEqual([])
  })

  it('is what is lacking: neither held nor waiting to be verified', () => {
    const held = join(alice)
    const unknown = world.announcement(bob, epoch)
    world.workMs = 10_000
    for (let i = 0; i < 3; i++) join(bob)
    const waiting = world.announcement(bob, epoch)
    world.directory.add(waiting.bytes, T0)
    expect(world.directory.size).toBeLessThan(4)
    expect(world.directory.lacking([held.hash, unknown.hash, waiting.hash])).toEqual([unknown.hash])
  })
})

describe('an announcement of which a spoilt copy waits when a service is compared with that lists it', () => {
  it('is asked for again once the copy has come to nothing, and is taken in then', () => {
    const { directory } = world
    const genuine = world.announcement(alice, epoch)
    const { signature, ...rest } = decodeSignedAnnouncement(genuine.bytes)
    const copied = { ...rest, signature: signature.map((byte, i) => (i === 9 ? byte ^ 1 : byte)) }
    // Others have used up the working time.
    world.workMs = 2000
    for (let i = 0; i < 4; i++) directory.add(world.announcement(bob, epoch).bytes, T0)
    world.workMs = 0
    directory.add(encodeSignedAnnouncement(copied), T0)
    expect(directory.has(hex(genuine.hash))).toBe(true)
    expect(directory.lacking([genuine.hash])).toEqual([])
    reconcile(0, [genuine])
    expect(directory.isKnownRoot(0, bucketsOf([genuine]).root())).toBe(true)
    world.monotonicMs += MINUTE
    directory.audience(SUBJECT, T0)
    expect(directory.has(hex(genuine.hash))).toBe(false)
    expect(directory.isKnownRoot(0, bucketsOf([genuine]).root())).toBe(false)
    expect(directory.lacking([genuine.hash])).toEqual([genuine.hash])
    expect(reconcile(0, [genuine])).toContain(bucketOf(genuine.hash))
    expect(directory.add(genuine.bytes, T0)).toBeDefined()
  })
})

describe('an announcement of a revoked identity', () => {
  it('is not asked for again and again, though a service may list what it held before', () => {
    const parsed = world.announcement(alice, epoch)
    world.revocations.add(world.revocation(alice), T0)
    expect(world.directory.lacking([parsed.hash])).toEqual([parsed.hash])
    world.directory.add(parsed.bytes, T0)
    expect(world.directory.lacking([parsed.hash])).toEqual([])
    expect(world.directory.size).toBe(0)
  })
})

describe('the own buckets', () => {
  const rootOf = (parsed: readonly ParsedAnnouncement[]): Uint8Array => bucketsOf(parsed).root()

  it('are of current epochs: one that is over goes, and one that is about to begin comes', () => {
    const parsed = join(alice)
    expect(world.directory.buckets().root()).toEqual(rootOf([parsed]))
    world.nowMs = epoch.notAfter - MINUTE
    world.epochs.current(world.nowMs)
    const next = world.announcement(alice, world.epoch(2))
    world.directory.add(next.bytes, world.nowMs)
    expect(world.directory.buckets().root()).toEqual(rootOf([parsed, next]))
    world.nowMs = epoch.notAfter
    expect(world.directory.buckets().root()).toEqual(rootOf([next]))
  })

  it('have of an instance that has retired the retirement alone', () => {
    const parsed = join(alice)
    world.directory.buckets()
    const { instance } = parsed.announcement
    const bytes = signRetirement(alice, epoch, { instance, seq: T0, notBefore: T0, notAfter: epoch.notAfter })
    const retirement = world.directory.add(bytes, T0)
    if (retirement === undefined) throw new Error('not taken')
    expect(world.directory.buckets().root()).toEqual(rootOf([retirement]))
    const again = join(alice, { instance, seq: 2 })
    expect(world.directory.has(hex(again.hash))).toBe(true)
    expect(world.directory.buckets().root()).toEqual(rootOf([retirement]))
  })

  it('are listed by a service once it has held them for a while, without instances that it has not heard of', () => {
    const service = new World({ like: world, passesOn: true })
    const add = (parsed: ParsedAnnouncement): ParsedAnnouncement => {
      service.directory.add(parsed.bytes, T0)
      return parsed
    }
    const isSilent = (name: string): boolean => name === 'alice'
    const [first, gone] = [add(world.announcement(alice, epoch)), add(world.announcement(bob, epoch))]
    const { instance } = gone.announcement
    const retirement = service.directory.add(
      signRetirement(bob, epoch, { instance, seq: T0, notBefore: T0, notAfter: epoch.notAfter }),
      T0,
    )
    if (retirement === undefined) throw new Error('not taken')
    service.monotonicMs = 15_000
    const late = add(world.announcement(bob, epoch))
    const listed = (silent: (name: string) => boolean): Uint8Array =>
      service.directory.listed({ heldForMs: 15_000, isSilent: silent }).root()
    expect(listed(() => false)).toEqual(rootOf([first, retirement]))
    expect(listed(isSilent)).toEqual(rootOf([retirement]))
    // Nobody hears of an instance that has retired.
    expect(listed(() => true)).toEqual(rootOf([retirement]))
    service.monotonicMs += 15_000
    expect(listed(isSilent)).toEqual(rootOf([retirement, late]))
  })
})
