import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { keep } from '../../../src/bus/in/kept-message.ts'
import type { NatsMessage } from '../../../src/bus/nats-like.ts'
import { engine } from '../../support/identities.ts'

/** What a client read from the connection at once. */
const CHUNK_BYTES = 65_536

/** A message as clients deliver it: a view into all that was read, of which the headers are parsed when asked for. */
function delivered(dataBytes: number, headerBytes = 0): NatsMessage & { readonly asked: () => number } {
  const chunk = engine.randomBytes(CHUNK_BYTES)
  let asked = 0
  return {
    subject: 'orders.new',
    sid: 7,
    reply: 'orders.reply',
    data: chunk.subarray(CHUNK_BYTES - dataBytes),
    size: () => dataBytes + headerBytes,
    get headers(): undefined {
      asked++
      return undefined
    },
    asked: () => asked,
  }
}

describe('a message that waits', () => {
  it('is in memory of its own, and holds nothing else that came with it', () => {
    const message = delivered(100)
    const { message: kept, bytes } = keep(message)
    expect(kept.data).toEqual(message.data)
    expect([kept.data.buffer.byteLength, bytes]).toEqual([100, 100])
    expect([kept.subject, kept.sid, kept.reply, kept.size?.()]).toEqual(['orders.new', 7, 'orders.reply', 100])
  })

  it('is without its data where that is at hand already', () => {
    const { message: kept } = keep(delivered(100), 'without')
    expect([kept.data.length, kept.size?.()]).toEqual([0, 0])
  })

  it('is kept as it is with long headers, which are not parsed, and counts as all that it holds', () => {
    const message = delivered(100, 2000)
    const { message: kept, bytes } = keep(message)
    expect(kept).toBe(message)
    expect([message.asked(), bytes]).toEqual([0, CHUNK_BYTES])
  })

  it('throws when it is asked for headers that do not parse, and not before', () => {
    const broken = Object.defineProperty({ ...delivered(10), data: utf8('0123456789') }, 'headers', {
      get() {
        throw new Error('headers')
      },
    })
    const { message: kept } = keep(broken)
    expect(() => kept.headers).toThrow('headers')
  })
})
