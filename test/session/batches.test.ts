import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { type CryptoEngine, chooseEngine } from '../../src/crypto/engine.ts'
import { Pair } from './pair.ts'

/** An engine that counts signatures that it verifies. */
function counting(): { engine: CryptoEngine; verified: () => number } {
  const engine = chooseEngine('libsodium')
  let count = 0
  const verify: CryptoEngine['verify'] = (...args) => {
    count++
    return engine.verify(...args)
  }
  return { engine: { ...engine, verify }, verified: () => count }
}

const payloads = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => utf8(String(i)))

describe('the frames of one batch', () => {
  it('cost one signature together, on either side', () => {
    const { engine, verified } = counting()
    const pair = new Pair(chooseEngine('libsodium'), { receivingEngine: engine })
    const frames = pair.seal(payloads(64))
    for (const frame of frames) expect(pair.fateOf(frame)).toBe('opened')
    expect(verified()).toBe(1)
    for (const frame of pair.seal(payloads(3)).toReversed()) expect(pair.fateOf(frame)).toBe('opened')
    expect(verified()).toBe(2)
  })

  it('are proved by what was proved of the last four batches, in any order, and of no more', () => {
    const { engine, verified } = counting()
    const pair = new Pair(chooseEngine('libsodium'), { receivingEngine: engine })
    const batches = Array.from({ length: 5 }, () => pair.seal(payloads(2)))
    const open = (batch: number, i: number) => pair.fateOf(batches[batch]?.[i] ?? new Uint8Array(0))
    for (const batch of [0, 1, 2, 3, 4]) expect(open(batch, 0)).toBe('opened')
    expect(verified()).toBe(5)
    for (const batch of [4, 2, 3, 1]) expect(open(batch, 1)).toBe('opened')
    expect(verified()).toBe(5)
    // The first one was forgotten, and is proved anew.
    expect(open(0, 1)).toBe('opened')
    expect(verified()).toBe(6)
  })

  it('that is not of them costs one signature each time, and leaves nothing behind', () => {
    const { engine, verified } = counting()
    const pair = new Pair(chooseEngine('libsodium'), { receivingEngine: engine })
    const other = new Pair(chooseEngine('libsodium'), { sender: pair.sender })
    const frames = pair.seal(payloads(4))
    for (const frame of other.seal(payloads(4))) expect(pair.fateOf(frame)).toBe('ciphertext')
    expect(verified()).toBe(0)
    for (const frame of frames) expect(pair.fateOf(frame)).toBe('opened')
    expect(verified()).toBe(1)
  })

  it('take memory for what was proved of them, and no more: one frame of a large batch little, all of them more', () => {
    const engine = chooseEngine('libsodium')
    const pair = new Pair(engine)
    const batches = Array.from({ length: 8 }, () => pair.seal(payloads(64)))
    for (const batch of batches.slice(0, 4)) expect(pair.fateOf(batch[0] ?? ZERO)).toBe('opened')
    const ofOneFrameEach = pair.incoming.bytes
    for (const batch of batches.slice(0, 4))
      for (const frame of batch) expect(pair.fateOf(frame)).toBe('opened')
    const ofAllFrames = pair.incoming.bytes
    // Seven nodes on the way to the root and six beside them, of 127.
    expect(ofOneFrameEach).toBeLessThan(4 * 16 * 32 + FIXED_BYTES)
    expect(ofAllFrames).toBeGreaterThan(4 * 127 * 32)
    for (const batch of batches) for (const frame of batch) expect(pair.fateOf(frame)).toBe('opened')
    // What follows takes the memory of what is forgotten.
    expect(pair.incoming.bytes).toBeLessThan(1.3 * ofAllFrames)
    pair.incoming.end()
    expect(pair.incoming.bytes).toBe(0)
  })
})

const ZERO = new Uint8Array(0)
/** Of a session, its batches and what it remembers of the last frame. */
const FIXED_BYTES = 8000
