import { describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { type CryptoEngine, chooseEngine } from '../../src/crypto/engine.ts'
import { FrameSealer } from '../../src/session/frame-cipher.ts'
import type { OutgoingSession } from '../../src/session/outgoing.ts'
import { FRAME_HEADER_BYTES, FRAME_NONCE_START } from '../../src/wire/frame.ts'
import { SENT_AT_MS } from '../envelope/forge.ts'
import { Child } from '../support/child.ts'
import { contentOf, Pair } from './pair.ts'

const sodium = chooseEngine('libsodium')
const CONTENT = [contentOf({}, utf8('x'))]
const PROCESSES = 4
const THREADS = 25
const FRAMES = 200

/** The nonces of frames that a session takes at one time, each sealed by itself. */
function nonces(session: OutgoingSession, sealer: FrameSealer, count: number, nowMs = SENT_AT_MS): string[] {
  return Array.from({ length: count }, () => {
    const [frame] = session.seal(sealer, [{ ...session.takeNumber(nowMs), content: CONTENT }])
    return hex(frame?.subarray(FRAME_NONCE_START, FRAME_HEADER_BYTES) ?? Uint8Array.of())
  })
}

const counterOf = (nonce: string): string => nonce.slice(32)
const saltOf = (nonce: string): string => nonce.slice(0, 32)

describe('a frame', () => {
  it('has a salt of its own, which begins with the time', () => {
    const pair = new Pair(sodium)
    const salts = nonces(pair.outgoing, pair.sealer, 300).map(saltOf)
    expect(new Set(salts).size).toBe(300)
    expect(new Set(salts.map((salt) => salt.slice(0, 12)))).toEqual(
      new Set([SENT_AT_MS.toString(16).padStart(12, '0')]),
    )
    // None of the random bytes is the same in all of them.
    for (let i = 12; i < 32; i += 2)
      expect(new Set(salts.map((salt) => salt.slice(i, i + 2))).size).toBeGreaterThan(50)
  })
})

describe('two processes that go on from one state', () => {
  it('repeat counters, and no nonce', () => {
    const pair = new Pair(sodium)
    const mine = nonces(pair.outgoing, new FrameSealer(sodium, 'padme'), 500)
    const theirs = nonces(pair.twin(), new FrameSealer(sodium, 'padme'), 500)
    expect(mine.map(counterOf)).toEqual(theirs.map(counterOf))
    expect(new Set([...mine, ...theirs]).size).toBe(1000)
  })

  it('repeat none where they were copied with randomness that was drawn before', () => {
    // Up to the copy both draw the same; from then on each draws its own.
    const drawn = sodium.randomBytes(4096)
    const copied = (): CryptoEngine => {
      let draws = 0
      return {
        ...sodium,
        // The first frame of a millisecond draws for itself, and the second one for many.
        randomBytes: (length) => (draws++ < 2 ? drawn.slice(0, length) : sodium.randomBytes(length)),
      }
    }
    const pair = new Pair(sodium)
    const [mine, theirs] = [pair.outgoing, pair.twin()]
    const [one, two] = [new FrameSealer(copied(), 'padme'), new FrameSealer(copied(), 'padme')]
    // Before: one process, here played twice.
    expect(nonces(mine, one, 3)).toEqual(nonces(theirs, two, 3))
    // After: the same counters in the same milliseconds.
    const after = [1, 2].flatMap((ms) => [
      ...nonces(mine, one, 70, SENT_AT_MS + ms),
      ...nonces(theirs, two, 70, SENT_AT_MS + ms),
    ])
    expect(new Set(after).size).toBe(280)
  })

  it('repeat none in another millisecond, even with the same randomness', () => {
    const constant: CryptoEngine = { ...sodium, randomBytes: (length) => new Uint8Array(length) }
    const pair = new Pair(sodium)
    const mine = nonces(pair.outgoing, new FrameSealer(constant, 'padme'), 10, SENT_AT_MS)
    const theirs = nonces(pair.twin(), new FrameSealer(constant, 'padme'), 10, SENT_AT_MS + 1)
    expect(new Set([...mine, ...theirs]).size).toBe(20)
  })
})

describe('a process that is forked in the middle of a session, and 100 publishers at once', () => {
  it('repeat no nonce', async () => {
    const pair = new Pair(sodium)
    const before = nonces(pair.outgoing, pair.sealer, 10)
    const { sid, key, binding } = pair.secrets()
    const children = Array.from({ length: PROCESSES }, () => Child.start('../session/cloned-publisher.mjs'))
    try {
      const state = {
        sid: hex(sid),
        key: hex(key),
        binding: hex(binding),
        messageKey: hex(pair.sender.secretKey),
        frames: FRAMES,
        threads: THREADS,
      }
      for (const child of children) child.send({ state })
      await Promise.all(
        children.map((child) => child.message('its threads are there', ({ ready }) => ready === true)),
      )
      for (const child of children) child.send({ go: true })
      const here = nonces(pair.outgoing, pair.sealer, FRAMES, Date.now())
      const reports = await Promise.all(
        children.map((child) => child.message('it has published', (message) => 'nonces' in message)),
      )
      const there = reports.flatMap(({ nonces: list }) => list as string[])
      expect(there).toHaveLength(PROCESSES * THREADS * FRAMES)
      const all = [...before, ...here, ...there]
      expect(new Set(all).size).toBe(all.length)
      // They did repeat counters, each of them.
      expect(new Set(there.map(counterOf)).size).toBe(FRAMES)
    } finally {
      await Promise.all(children.map((child) => child.kill()))
    }
  }, 120_000)
})
