import { describe, expect, it, vi } from 'vitest'
import { keep } from '../../../src/bus/in/kept-message.ts'
import type { NatsMessage } from '../../../src/bus/nats-like.ts'
import { engine } from '../../support/identities.ts'

/** What a client read from the connection at once. */
const CHUNK_BYTES = 65_536

/** A message as clients deliver it: a view into all that was read, of which the headers are parsed when asked for. */
function delivered(
  dataBytes: number,
  headerBytes = 0,
  readHeaders: () => NatsMessage['headers'] = () => undefined,
): NatsMessage {
  const chunk = engine.randomBytes(CHUNK_BYTES)
  const message = {
    subject: 'orders.new',
    sid: 7,
    reply: 'orders.reply',
    data: chunk.subarray(CHUNK_BYTES - dataBytes),
    size: () => dataBytes + headerBytes,
  }
  return Object.defineProperty(message, 'headers', { enumerable: true, get: readHeaders })
}

describe('a message that waits', () => {
  it('is in memory of its own, and holds nothing else that came with it', () => {
    const message = delivered(100)
    const { message: kept, bytes } = keep(message)
    expect(kept.data).toEqual(message.data)
    expect([kept.data.buffer.byteLength, bytes]).toEqual([100, 100])
    expect([kept.subject, kept.sid, kept.reply, kept.size?.()]).toEqual([
      'orders.new',
      7,
      'orders.reply',
      100,
    ])
  })

  it('is without its data where that is at hand already', () => {
    const { message: kept } = keep(delivered(100), 'without')
    expect([kept.data.length, kept.size?.()]).toEqual([0, 0])
  })

  it('is kept as it is with long headers, which are not parsed, and counts as all that it holds', () => {
    const parse = vi.fn(() => undefined)
    const message = delivered(100, 2000, parse)
    const { message: kept, bytes } = keep(message)
    expect(kept === message).toBe(true)
    expect(bytes).toBe(CHUNK_BYTES)
    expect(parse).not.toHaveBeenCalled()
  })

  it('throws when it is asked for headers that do not parse, and not before', () => {
    const parse = (): never => {
      throw new Error('they do not parse')
    }
    const { message: kept } = keep(delivered(10, 20, parse))
    expect(kept.data.length).toBe(10)
    expect(() => kept.headers).toThrow('they do not parse')
  })
})
