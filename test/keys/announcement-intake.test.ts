import { base64url } from '@scure/base'
import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { MAX_UNVERIFIED_BYTES_PER_AGENT, MAX_UNVERIFIED_PER_AGENT } from '../../src/base/limits.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import { Directory, type DirectoryOptions } from '../../src/keys/directory.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { decodeSignedAnnouncement, encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { houseClock, ManualClock } from '../support/clock.ts'
import { engine, may, newAuthority, newIdentity } from '../support/identities.ts'
import { announceSubject, HOUR, junkAnnouncement, MINUTE, T0, World } from '../support/statements.ts'

/** What half of a quarter of a core, and of three quarters, has at once. */
const HALF_MS = 125
const JOINING_HALF_MS = 375

let world: World
let epoch: Epoch
let alice: Identity
let mallory: Identity
let checks: number

/** Counts the signatures that are looked at. */
const counting: CryptoEngine = {
  ...engine,
  verify: (key, message, signature) => {
    checks++
    return engine.verify(key, message, signature)
  },
}

beforeEach(() => {
  world = new World({ engine: counting })
  epoch = world.epoch()
  alice = world.identity('alice')
  mallory = world.identity('mallory')
  checks = 0
})

function subjectOf(bytes: Uint8Array): string {
  return `subrosa.v1.${world.realm}.${announceSubject(bytes)}`
}

/** Nobody has asked for it: it comes on the subject of its instance. */
function hear(bytes: Uint8Array, nowMs = T0): ParsedAnnouncement | undefined {
  return world.directory.add(bytes, nowMs, { subject: subjectOf(bytes) })
}

/** So much junk in a name that what is verified unasked waits for a while. */
function flood(count: number, identity = mallory): void {
  for (let i = 0; i < count; i++) hear(junkAnnouncement(identity, epoch))
}

function standing({ hash }: ParsedAnnouncement, nowMs = T0): string {
  return world.directory.sender(hash, nowMs).standing
}

/** A token of this identity that nobody signed, another one each time. */
function forged({ claims, token }: Identity): { claims: Identity['claims']; token: string } {
  const [head, body] = token.split('.')
  const signature = base64url.encode(engine.randomBytes(64)).replaceAll('=', '')
  return { claims, token: `${head}.${body}.${signature}` }
}

describe('at the door', () => {
  it('an announcement on the subject of another instance, or of another agent, costs no signature', () => {
    const { bytes } = world.announcement(alice, epoch)
    const other = world.announcement(alice, epoch)
    for (const subject of [subjectOf(other.bytes), subjectOf(world.announcement(mallory, epoch).bytes)])
      expect(world.directory.add(bytes, T0, { subject })).toBeUndefined()
    expect([checks, world.directory.size]).toEqual([0, 0])
    expect(hear(bytes)).toBeDefined()
  })

  it('one for an epoch that the plan does not have now costs no signature, and leaves nothing behind', () => {
    for (let i = 0; i < 100; i++) hear(junkAnnouncement(alice, { ...epoch, hash: engine.randomBytes(32) }))
    const later = world.announcement(alice, world.epoch(9))
    expect(hear(later.bytes)).toBeUndefined()
    expect([checks, world.directory.size, world.directory.has(hex(later.hash))]).toEqual([0, 0, false])
  })

  it('one for the epoch that is about to begin is taken in, since everybody derives it', () => {
    const next = world.epoch(2)
    world.epochs.current(next.notBefore - 5 * MINUTE)
    const parsed = world.announcement(alice, world.epoch(2))
    expect(hear(parsed.bytes, next.notBefore - 5 * MINUTE)).toBeDefined()
    expect(standing(parsed, next.notBefore)).toBe('known')
  })

  it('made-up agents cost no signature and leave nothing behind', () => {
    const stranger = newAuthority()
    const options = { issuedAtMs: T0 - HOUR, realm: world.realm, permissions: may([], []) }
    world.workMs = 1000
    flood(3)
    checks = 0
    for (let i = 0; i < 200; i++)
      hear(junkAnnouncement(newIdentity(stranger, `made-up-${i}`, options).identity, epoch))
    expect([checks, world.directory.size]).toEqual([0, 0])
    expect(world.directory.absences('x', T0).map(({ name }) => name)).toEqual(['mallory'])
  })

  it('forged tokens, and announcements in another name than their token has, are not held', () => {
    for (let i = 0; i < 10; i++) hear(junkAnnouncement(forged(alice), epoch))
    world.directory.add(world.announcement(alice, epoch, { agent: 'bob' }).bytes, T0)
    expect(world.directory.size).toBe(0)
    expect(world.directory.absences('x', T0)).toEqual([])
  })

  it('what is verified costs nothing when it comes again, with whatever signature', () => {
    const parsed = world.announcement(alice, epoch)
    hear(parsed.bytes)
    checks = 0
    const signed = decodeSignedAnnouncement(parsed.bytes)
    const copy = encodeSignedAnnouncement({ ...signed, signature: engine.randomBytes(64) })
    for (const bytes of [parsed.bytes, copy]) expect(hear(bytes)).toBeUndefined()
    expect(checks).toBe(0)
    expect(standing(parsed)).toBe('known')
  })

  it('what is announced under a revoked token costs no signature once it is known, and says why', () => {
    hear(world.announcement(alice, epoch).bytes)
    world.revocations.add(world.revocation(alice), T0)
    world.directory.invalidate()
    checks = 0
    const later = world.announcement(alice, epoch)
    flood(100, alice)
    expect(hear(later.bytes)).toBeUndefined()
    expect(checks).toBe(0)
    expect(standing(later)).toBe('refused')
    expect(world.directory.absences('x', T0)).toEqual([{ name: 'alice', why: 'its identity is revoked' }])
  })
})

describe('a retirement', () => {
  const retirement = (instance: Uint8Array): Uint8Array =>
    signRetirement(alice, epoch, { instance, seq: T0, notBefore: T0, notAfter: epoch.notAfter })

  it('of an instance that never was costs no signature and is not held, since one member makes any number of them', () => {
    hear(world.announcement(alice, epoch).bytes)
    checks = 0
    for (let i = 0; i < 100; i++) expect(hear(retirement(engine.randomBytes(8)))).toBeUndefined()
    expect([checks, world.directory.size]).toEqual([0, 1])
  })

  it('is taken in where its instance waits to be verified', () => {
    world.workMs = JOINING_HALF_MS
    flood(8)
    const { bytes, announcement, hash } = world.announcement(alice, epoch)
    expect(hear(bytes)).toBeDefined()
    expect(world.directory.size).toBe(0)
    expect(hear(retirement(announcement.instance))).toBeDefined()
    world.workMs = 0
    world.monotonicMs += 10_000
    world.directory.audience('x', T0)
    expect(world.directory.has(hex(hash))).toBe(true)
    expect(world.directory.absences('x', T0)).toContainEqual({ name: 'alice', why: 'it has retired' })
  })

  it('of an instance that is not held is taken in from a rotation service, which has held it', () => {
    const { bytes, announcement } = world.announcement(alice, epoch)
    expect(world.directory.add(retirement(announcement.instance), T0)).toBeDefined()
    world.directory.add(bytes, T0)
    expect(world.directory.audience('x', T0)?.members).toEqual([])
  })
})

describe('what comes unasked', () => {
  it('is verified at once where there is budget: nobody has to ask for it', () => {
    hear(world.announcement(alice, epoch).bytes)
    expect(checks).toBe(3)
    expect(world.directory.buckets().root()).not.toEqual(new World().directory.buckets().root())
    world.directory.audience('x', T0)
    world.directory.audience('y', T0)
    expect(checks).toBe(3)
  })

  it('waits where there is no budget, and its agent is named among those that are absent', () => {
    world.workMs = 1000
    flood(3)
    hear(world.announcement(alice, epoch).bytes)
    expect(world.directory.audience('x', T0)?.members).toEqual([])
    expect(world.directory.absences('x', T0)).toContainEqual({
      name: 'alice',
      why: 'its announcement waits to be verified, as many others do',
    })
    world.workMs = 0
    world.monotonicMs += 10_000
    expect(world.directory.audience('x', T0 + 1000)?.members).toHaveLength(1)
    expect(world.directory.absences('x', T0 + 1000)).toEqual([])
  })

  it('has 64 places for each name, of which junk in other names takes none', () => {
    world.directory.joined()
    world.workMs = 1000
    flood(1)
    flood(1)
    const held = Array.from({ length: MAX_UNVERIFIED_PER_AGENT + 1 }, () =>
      hear(world.announcement(mallory, epoch).bytes),
    )
    expect(held.filter((parsed) => parsed !== undefined)).toHaveLength(MAX_UNVERIFIED_PER_AGENT)
    expect(hear(world.announcement(alice, epoch).bytes)).toBeDefined()
  })

  it('has so many bytes for each name, since an announcement may be large', () => {
    world.workMs = 1000
    flood(2)
    const keys = [
      { suite: 1, use: 0, publicKey: engine.x25519KeyPair().publicKey },
      ...Array.from({ length: 6 }, () => ({ suite: 1, use: 1, publicKey: engine.randomBytes(1000) })),
    ]
    const large = (): Uint8Array => world.announcement(mallory, epoch, { keys }).bytes
    const { length } = large()
    let count = 0
    while (count < MAX_UNVERIFIED_PER_AGENT && hear(large()) !== undefined) count++
    expect(count).toBeLessThanOrEqual(Math.floor(MAX_UNVERIFIED_BYTES_PER_AGENT / length))
    expect(count).toBeGreaterThan(MAX_UNVERIFIED_BYTES_PER_AGENT / length - 4)
  })

  it('is replaced by what its instance announces later for the same epoch', () => {
    world.workMs = 1000
    flood(2)
    const instance = engine.randomBytes(8)
    const all = Array.from({ length: 200 }, (_, i) =>
      world.announcement(alice, epoch, { instance, seq: i + 1 }),
    )
    for (const { bytes } of all) expect(hear(bytes)).toBeDefined()
    const held = all.filter(({ hash }) => world.directory.has(hex(hash)))
    expect(held.map(({ announcement }) => announcement.seq)).toEqual([200])
  })
})

describe('what somebody waits for', () => {
  beforeEach(() => {
    world.directory.joined()
    world.workMs = 1
    // As much as there is, and enough that waits.
    for (let i = 0; i < 8; i++)
      flood(MAX_UNVERIFIED_PER_AGENT, world.identity(`junk-${i}`, { permissions: may([], []) }))
  })

  it('is verified at once in a flood: one half of the budget is for it', () => {
    const answer = world.announcement(alice, epoch)
    world.directory.add(answer.bytes, T0)
    expect([world.directory.size, world.directory.unverified]).toEqual([1, 0])
    expect(standing(answer)).toBe('known')
  })

  it('is the sender of a message, which goes before others of its name', () => {
    world.trust.verify(alice.token, T0)
    flood(MAX_UNVERIFIED_PER_AGENT - 1, alice)
    const sender = world.announcement(alice, epoch)
    hear(sender.bytes)
    world.workMs = 1000
    // From now on somebody waits for all of them.
    world.directory.audience('x', T0)
    world.workMs = 1
    world.monotonicMs += 10_000
    checks = 0
    expect(standing(sender)).toBe('known')
    expect(checks).toBeLessThan(30)
  })

  it('is whoever may read the subject of a message', () => {
    const reader = world.identity('reader', { permissions: may([], ['orders.>']) })
    world.trust.verify(reader.token, T0)
    hear(world.announcement(reader, epoch).bytes)
    expect(world.directory.audience('orders.new', T0)?.members.map(({ name }) => name)).toEqual(['reader'])
  })

  it('is nobody of whom only a token says so that nobody has verified: names can be made up', () => {
    const options = { issuedAtMs: T0 - HOUR, permissions: may([], ['>']) }
    for (let i = 0; i < 200; i++) {
      const { identity } = newIdentity(world.authority, `made-up-${i}`, options)
      hear(junkAnnouncement(forged(identity), epoch))
    }
    world.directory.audience('x', T0)
    const answer = world.announcement(alice, epoch)
    world.directory.add(answer.bytes, T0)
    expect([world.directory.size, world.directory.unverified]).toEqual([1, 0])
  })

  it('is not displaced by what comes unasked, nor by a copy of it with a bad signature', () => {
    world.workMs = 1000
    // The reserved half is spent too.
    for (let i = 0; i < 2; i++) world.directory.add(junkAnnouncement(mallory, epoch), T0)
    const instance = engine.randomBytes(8)
    const answer = world.announcement(alice, epoch, { instance })
    expect(world.directory.add(answer.bytes, T0)).toBeDefined()
    const signed = decodeSignedAnnouncement(answer.bytes)
    expect(hear(encodeSignedAnnouncement({ ...signed, signature: engine.randomBytes(64) }))).toBeUndefined()
    for (let seq = 2; seq < 100; seq++) hear(world.announcement(alice, epoch, { instance, seq }).bytes)
    flood(200, alice)
    world.workMs = 0
    world.monotonicMs += 10_000
    expect(standing(answer)).toBe('known')
  })

  it('takes turns too: junk in the pages of one name delays no other', () => {
    for (let i = 0; i < 500; i++) world.directory.add(junkAnnouncement(mallory, epoch), T0)
    const answer = world.announcement(alice, epoch)
    world.directory.add(answer.bytes, T0)
    expect(standing(answer)).toBe('unknown')
    world.monotonicMs += 100
    expect(standing(answer)).toBe('known')
  })
})

describe('the budget', () => {
  /** How many pieces of work of a millisecond are done at once, unasked and asked for. */
  function done(add: (bytes: Uint8Array) => void): number {
    world.workMs = 1
    const before = checks
    for (let i = 0; i < 40; i++) {
      const identity = world.identity(`agent-${i}`)
      for (let n = 0; n < 50; n++) add(junkAnnouncement(identity, epoch))
    }
    return checks - before
  }

  it('is three times as much until this agent has joined', () => {
    const joining = done((bytes) => world.directory.add(bytes, T0))
    world.directory.joined()
    const joined = done((bytes) => world.directory.add(bytes, T0))
    expect(joining).toBeGreaterThan(2 * JOINING_HALF_MS - 10)
    expect(joining / joined).toBeGreaterThan(2.5)
    expect(joined).toBeLessThan(3 * HALF_MS)
  })

  it('is not filled by a wall clock that is set', () => {
    world.directory.joined()
    done(hear)
    done((bytes) => world.directory.add(bytes, T0))
    world.directory.audience('x', T0)
    checks = 0
    for (const nowMs of [T0 + 1000, T0 + 30 * MINUTE, T0]) {
      world.nowMs = nowMs
      world.directory.audience('y', nowMs)
    }
    expect(checks).toBe(0)
    world.monotonicMs += 1000
    world.directory.audience('z', T0)
    expect(checks).toBeGreaterThan(HALF_MS)
  })
})

describe('an agent with timers', () => {
  let clock: ManualClock
  let directory: Directory
  let caughtUp: number
  let verified: string[]

  beforeEach(() => {
    clock = new ManualClock(T0)
    caughtUp = 0
    verified = []
    const options: DirectoryOptions = {
      engine: counting,
      trust: world.trust,
      epochs: world.epochs,
      revocations: world.revocations,
      clock: houseClock(clock),
      timers: clock,
      onClone: () => {},
      onLeftOut: () => {},
      onVerified: ({ claims }) => verified.push(claims.name),
      onCaughtUp: () => {
        caughtUp++
        // Whoever is told may look, and what waits is not verified in the midst of it.
        directory.audience('x', clock.now())
      },
    }
    directory = new Directory(options)
    directory.joined()
  })

  it('verifies what waits on its own, a name after the other, and tells that it may be looked for again', () => {
    clock.workMs = 1
    for (let i = 0; i < 8; i++) {
      const junk = world.identity(`junk-${i}`, { permissions: may([], []) })
      for (let n = 0; n < MAX_UNVERIFIED_PER_AGENT; n++) {
        const bytes = junkAnnouncement(junk, epoch)
        directory.add(bytes, T0, { subject: subjectOf(bytes) })
      }
    }
    const reader = world.identity('reader', { permissions: may([], ['orders.>']) })
    const { bytes } = world.announcement(reader, epoch)
    directory.add(bytes, T0, { subject: subjectOf(bytes) })
    expect([verified, caughtUp]).toEqual([[], 0])
    clock.advance(500)
    expect(verified).toEqual(['reader'])
    expect(caughtUp).toBeGreaterThan(0)
    const before = checks
    clock.advance(10_000)
    expect(checks - before).toBeLessThan(8 * MAX_UNVERIFIED_PER_AGENT)
    caughtUp = 0
    clock.advance(10_000)
    expect(caughtUp).toBe(0)
  })

  it('spends a quarter of a core on a flood that does not end', () => {
    clock.workMs = 1
    const names = Array.from({ length: 20 }, (_, i) => world.identity(`junk-${i}`))
    checks = 0
    for (let round = 0; round < 100; round++) {
      for (const identity of names) {
        for (let n = 0; n < 10; n++) {
          const bytes = junkAnnouncement(identity, epoch)
          directory.add(bytes, T0, { subject: subjectOf(bytes) })
        }
      }
      clock.advance(100)
    }
    // Each costs one signature: the first one already does not hold.
    expect(checks).toBeLessThan(10 * 2 * HALF_MS + 3 * HALF_MS)
    expect(checks).toBeGreaterThan(10 * HALF_MS)
  })

  it('tells of each announcement once it is verified, of one that was not late with the call alone', () => {
    directory.add(world.announcement(alice, epoch).bytes, T0)
    clock.advance(1000)
    expect([verified, caughtUp]).toEqual([['alice'], 0])
  })
})
