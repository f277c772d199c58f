import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { HeldSession } from '../../../src/bus/in/held-session.ts'
import type { SubscriptionWindows } from '../../../src/bus/in/replay.ts'
import { SessionPool } from '../../../src/bus/in/session-pool.ts'
import { TOMBSTONE_BYTES } from '../../../src/bus/in/tombstones.ts'
import { FrameOpener } from '../../../src/session/frame-cipher.ts'
import { IncomingSession } from '../../../src/session/incoming.ts'
import type { FrameMeta } from '../../../src/wire/frame.ts'
import { SENT_AT_MS } from '../../envelope/forge.ts'
import { Pair } from '../../session/pair.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { engine } from '../../support/identities.ts'
import { memoryInUse } from '../../support/memory.ts'
import { reparse, verifyAnnouncement, World } from '../../support/statements.ts'

/** What is counted may be less than what is in use by this factor, and more by the other. */
const UNDERCOUNT = 0.8
const OVERCOUNT = 1.6

/**
 * Code that is compiled meanwhile, or thrown away, is in the same heap: the first round warms up, and the median of the
 * others is what counts.
 */
const ROUNDS = 5

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const BATCH = Array.from({ length: 64 }, (_, i) => utf8(`payload ${i}`))

interface Case {
  readonly what: string
  readonly sessions: number
  readonly batches: number
  readonly framesOfEach: number
  readonly subscriptions: number
  readonly meta?: Partial<FrameMeta>
  /** Frames of one batch. Default: 64. */
  readonly batchOf?: number
}

/** As many as a frame may have, and none of them has a text to count by. */
const EMPTY_HEADERS = Array.from({ length: 256 }, () => ({ name: '', value: '' }))

const cases: readonly Case[] = [
  { what: 'that nothing was said in', sessions: 600, batches: 0, framesOfEach: 0, subscriptions: 0 },
  { what: 'with one frame', sessions: 300, batches: 1, framesOfEach: 1, subscriptions: 1 },
  {
    what: 'with one frame of each of four batches, in ten subscriptions',
    sessions: 100,
    batches: 4,
    framesOfEach: 1,
    subscriptions: 10,
  },
  {
    what: 'whose frame has 256 empty headers',
    sessions: 300,
    batches: 1,
    framesOfEach: 1,
    subscriptions: 1,
    meta: { headers: EMPTY_HEADERS },
    batchOf: 1,
  },
  { what: 'with all frames of six batches', sessions: 40, batches: 6, framesOfEach: 64, subscriptions: 1 },
]

function setUp(maxBytes?: number) {
  const clock = new ManualClock(SENT_AT_MS)
  const context = testContext({ clock })
  context.clock.counted(context.clock.late())
  const random = engine.randomBytes(8)
  return new SessionPool({
    clock: context.clock,
    random,
    tagOf: () => new Uint8Array(16).fill(1),
    onGone: () => {},
    ...(maxBytes === undefined ? {} : { maxBytes }),
  })
}

describe('what a session pool counts', () => {
  it.each(cases)(
    'is what a session takes $what',
    ({ sessions, batches, framesOfEach, subscriptions, meta, batchOf = 64 }) => {
      const world = new World()
      const epoch = world.epoch(1)
      const identity = world.identity('alice')
      // What the network and the sender's end take is there before.
      const inputs = Array.from({ length: sessions }, () => {
        const pair = new Pair(engine)
        const frames = Array.from({ length: batches }, () =>
          pair.seal(BATCH.slice(0, batchOf), meta).slice(0, framesOfEach),
        ).flat()
        const { bytes } = world.announcement(identity, epoch)
        return {
          secrets: pair.secrets(),
          frames,
          bytes,
          handshake: pair.handshake,
          key: pair.sender.publicKey,
        }
      })
      const opener = new FrameOpener(engine)
      const open = (
        pool: SessionPool,
        windows: readonly SubscriptionWindows[],
        input: (typeof inputs)[number],
      ) => {
        const { secrets, frames, bytes, handshake, key } = input
        // Its announcement is held for this session alone, as where a sender makes one for each.
        const judged = { epoch, nowMs: epoch.notBefore }
        const sender = verifyAnnouncement(
          { engine, trust: world.trust, revocations: world.revocations },
          reparse(bytes),
          judged,
        )
        if (sender === undefined) throw new Error('the announcement does not hold')
        const own = {
          sid: secrets.sid.slice(),
          key: new Uint8Array(new ArrayBuffer(32)),
          binding: secrets.binding.slice(),
        }
        own.key.set(secrets.key)
        const parts = {
          secrets: own,
          handshake: { ...handshake },
          sentAtMs: SENT_AT_MS,
          messageKey: key.slice(),
        }
        const kid = new Uint8Array(16)
        const session = new IncomingSession(engine, parts)
        const held = new HeldSession(session, { sender, epoch, recipients: 1, kid })
        if (pool.admit(held) !== 'held') throw new Error('it is not held')
        for (const [seq, frame] of frames.entries()) {
          if (typeof held.session.open(opener, frame, (content) => content) === 'string')
            throw new Error('a frame does not open')
          for (const map of windows) held.mark(map, { seq: seq + 1, salt: seq })
          pool.heard(held)
        }
      }
      const counts = Array.from({ length: ROUNDS + 1 }, () => {
        const windows: SubscriptionWindows[] = Array.from({ length: subscriptions }, () => new Map())
        const pool = setUp()
        const before = memoryInUse()
        for (const input of inputs) open(pool, windows, input)
        const inUse = memoryInUse() - before
        // Both are in use until here.
        expect([windows.length, pool.bytes > 0]).toEqual([subscriptions, true])
        return pool.bytes / inUse
      })
      const share = median(counts.slice(1))
      expect(share).toBeGreaterThan(UNDERCOUNT)
      expect(share).toBeLessThan(OVERCOUNT)
    },
  )

  it('is what tombstones take', () => {
    const pool = setUp()
    const count = 100_000
    const before = memoryInUse()
    const sender = { claims: { identity: 'a', name: 'a', permissions: {} }, hash: new Uint8Array(32) }
    const epoch = { number: 1, notAfter: Number.MAX_SAFE_INTEGER, graceMs: 0 }
    for (let i = 0; i < count; i++) {
      const secrets = { sid: engine.randomBytes(16), key: new Uint8Array(32), binding: new Uint8Array(80) }
      const handshake = { mode: 0 as const, maxFrames: 1, lifetimeMs: 900_000 }
      const parts = { secrets, handshake, sentAtMs: SENT_AT_MS, messageKey: new Uint8Array(32) }
      const held = new HeldSession(new IncomingSession(engine, parts), {
        sender,
        epoch,
        recipients: 1,
        kid: new Uint8Array(16),
      } as never)
      pool.admit(held)
      pool.end(held)
    }
    const inUse = memoryInUse() - before
    expect(pool.bytes).toBe(count * TOMBSTONE_BYTES)
    expect(pool.bytes / inUse).toBeGreaterThan(UNDERCOUNT)
    expect(pool.bytes / inUse).toBeLessThan(OVERCOUNT)
  })
})
