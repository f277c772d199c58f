import { describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../../src/base/bytes.ts'
import { SubrosaError } from '../../../src/base/errors.ts'
import {
  MAX_MCP_WAITING_BYTES,
  MAX_MCP_WAITING_MESSAGES,
  MCP_CHUNK_BYTES,
  MCP_DRAIN_MS,
  MCP_HEARTBEATS_MISSED,
  MCP_WINDOW_BYTES,
  MIN_MCP_CHUNK_BYTES,
} from '../../../src/base/limits.ts'
import {
  MCP_FRAME_HEADER_BYTES,
  McpEnd,
  type McpFrame,
  readMcpFrame,
} from '../../../src/mcp/session/frames.ts'
import { engine } from '../../support/identities.ts'
import { failure } from '../../support/until.ts'
import { ChannelPair, type Line, type Side, turn } from '../channel-pair.ts'

const SECOND = 1000
const HEARTBEAT = 10 * SECOND
const WHOLE = MCP_WINDOW_BYTES - MCP_FRAME_HEADER_BYTES

/** A message of this length that tells itself from every other. */
function message(length: number, seed = length): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + seed * 7 + (i >> 8)
  return bytes
}

const digest = (bytes: Uint8Array): string => hex(engine.sha256(bytes))

const texts = (side: Side): string[] => side.got.map((bytes) => Buffer.from(bytes).toString())
const framesOf = (line: Line) => line.frames.map((bytes) => readMcpFrame(bytes).frame)
const kindsOf = (line: Line) => framesOf(line).map((frame) => frame?.kind)
const send = (side: Side, text: string): Promise<void> => side.channel.send(utf8(text))

/** How a session has ended on a side: once, with this error. */
function endOf(side: Side): string {
  expect(side.closed).toHaveLength(1)
  expect(side.ends).toBe(1)
  const { error } = side
  if (error === undefined) return 'closed'
  expect(error).toMatchObject({ code: 'ERR_MCP_ENDED' })
  return error.message.replace('the MCP session has ended: ', '')
}

const LOST = 'a frame was lost, repeated or out of order'
const LIMIT = 'more was sent than was allowed'
const MALFORMED = 'a frame made no sense'

describe('messages', () => {
  const lengths = [
    0,
    1,
    MCP_CHUNK_BYTES - 1,
    MCP_CHUNK_BYTES,
    MCP_CHUNK_BYTES + 1,
    WHOLE,
    WHOLE + 1,
    MCP_WINDOW_BYTES,
    MCP_WINDOW_BYTES + 1,
    5_000_000,
  ]

  it('of any length arrive whole and in order, both ways', async () => {
    const pair = new ChannelPair()
    const all = lengths.map((length) => message(length))
    const sends = all.flatMap((bytes) => [pair.client.channel.send(bytes), pair.server.channel.send(bytes)])
    await pair.flow()
    await Promise.all(sends)
    for (const side of [pair.client, pair.server]) expect(side.got.map(digest)).toEqual(all.map(digest))
    expect([pair.client.closed, pair.server.closed]).toEqual([[], []])
  })

  it('that fit a frame go in one, and longer ones in as few as they need', async () => {
    const { client, toServer } = new ChannelPair()
    await client.channel.send(message(MCP_CHUNK_BYTES))
    await client.channel.send(message(MCP_CHUNK_BYTES + 1))
    await client.channel.send(message(0))
    expect(framesOf(toServer)).toMatchObject([
      { kind: 'message' },
      { kind: 'first', total: MCP_CHUNK_BYTES + 1 },
      { kind: 'more' },
      { kind: 'message' },
    ])
    expect(toServer.frames.map((bytes) => readMcpFrame(bytes).number)).toEqual([0, 1, 2, 3])
  })

  it('wait for somebody who reads them later', async () => {
    const pair = new ChannelPair({ isOpen: false })
    for (const text of ['a', 'b', 'c']) await send(pair.client, text)
    await pair.flow()
    expect(pair.server.got).toEqual([])
    await pair.server.open()
    await turn()
    expect(texts(pair.server)).toEqual(['a', 'b', 'c'])
  })

  it('are handed on one after the other, to a reader that takes its time', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    for (const text of ['a', 'b', 'c']) await send(pair.client, text)
    await pair.flow()
    expect(texts(pair.server)).toEqual(['a'])
    pair.server.goOn()
    await turn()
    expect(texts(pair.server)).toEqual(['a', 'b', 'c'])
  })

  it.each([70_000, 5000, 1000, MIN_MCP_CHUNK_BYTES + 50])(
    'are cut as small as a server wants them that takes %i bytes',
    async (maxPayload) => {
      const pair = new ChannelPair()
      pair.toServer.maxPayload = maxPayload
      const all = [message(10), message(100_000), message(0), message(300)]
      const sends = all.map((bytes) => pair.client.channel.send(bytes))
      await pair.flow()
      await Promise.all(sends)
      expect(pair.server.got.map(digest)).toEqual(all.map(digest))
      expect(pair.toServer.largest).toBeLessThanOrEqual(maxPayload)
      expect(pair.toServer.largest).toBeGreaterThan(Math.min(maxPayload, MCP_CHUNK_BYTES) / 2)
    },
  )

  it('go on where the server takes less from now on, in the middle of one', async () => {
    const pair = new ChannelPair()
    const long = message(3 * MCP_WINDOW_BYTES)
    const sent = pair.client.channel.send(long)
    pair.toServer.maxPayload = 2000
    await pair.flow()
    await sent
    expect(pair.server.got.map(digest)).toEqual([digest(long)])
  })

  it('for a server that takes next to nothing end the session, and it says why', async () => {
    const pair = new ChannelPair()
    pair.toServer.maxPayload = MIN_MCP_CHUNK_BYTES
    const [first, second] = [
      failure(() => pair.client.channel.send(message(1000))),
      failure(() => send(pair.client, 'x')),
    ]
    expect((await first).message).toContain('nothing can be sent')
    expect((await second).message).toContain('nothing can be sent')
    expect(endOf(pair.client)).toBe('nothing can be sent to the other side')
    expect(pair.client.error).toMatchObject({ hint: 'too large', cause: { code: 'ERR_MESSAGE_TOO_LARGE' } })
  })

  it('that are too long for the other side are refused, and the session goes on', async () => {
    const pair = new ChannelPair({ maxMessage: 1000 })
    const error = await failure(() => pair.client.channel.send(message(1001)))
    expect(error).toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE', hint: 'the other side takes 1000 at most' })
    expect(pair.toServer.frames).toEqual([])
    await pair.client.channel.send(message(1000))
    await pair.flow()
    expect(pair.server.got.map(({ length }) => length)).toEqual([1000])
  })
})

describe('a reader that stops', () => {
  const MANY = 40
  const LENGTH = 100_000

  it('stops the sender after a window, and gets everything when it goes on', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    let done = 0
    const all = Array.from({ length: MANY }, (_, i) => message(LENGTH, i))
    for (const bytes of all) void pair.client.channel.send(bytes).then(() => done++)
    await pair.flow()
    expect(pair.toServer.bytes).toBeLessThanOrEqual(MCP_WINDOW_BYTES + 100)
    expect(pair.toServer.bytes).toBeGreaterThan(MCP_WINDOW_BYTES - MCP_CHUNK_BYTES)
    expect(done).toBe(Math.floor(MCP_WINDOW_BYTES / LENGTH))
    pair.server.goOn()
    await pair.flow()
    expect(done).toBe(MANY)
    expect(pair.server.got.map(digest)).toEqual(all.map(digest))
  })

  it('holds no more than a window and one message, however long the messages are', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    // Of each message all but the last byte could be credited at once: then nothing would ever stop the sender.
    const all = Array.from({ length: 8 }, (_, i) => message(4 * MCP_CHUNK_BYTES + 1, i))
    const longest = message(2 * MCP_WINDOW_BYTES)
    for (const bytes of [longest, ...all]) void pair.client.channel.send(bytes)
    await pair.flow()
    expect(pair.toServer.bytes).toBeLessThanOrEqual(longest.length + MCP_WINDOW_BYTES + MCP_CHUNK_BYTES)
    expect(pair.server.got).toHaveLength(1)
    pair.server.goOn()
    await pair.flow()
    expect(pair.server.got.map(digest)).toEqual([longest, ...all].map(digest))
  })

  it('keeps nobody from the other direction', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    for (let i = 0; i < 2 * MANY; i++) void pair.client.channel.send(message(LENGTH, i))
    await pair.flow()
    for (let i = 0; i < MANY; i++) void pair.server.channel.send(message(LENGTH, i))
    await pair.flow()
    expect(pair.client.got).toHaveLength(MANY)
    await pair.pass(10 * HEARTBEAT)
    expect([pair.client.closed, pair.server.closed]).toEqual([[], []])
  })

  it('for too long ends the session of a sender that does not wait, and both are told', async () => {
    const pair = new ChannelPair({ maxMessage: MAX_MCP_WAITING_BYTES })
    pair.server.stopReading()
    await send(pair.client, 'the reader stops here')
    const large = new Uint8Array(MAX_MCP_WAITING_BYTES / 4)
    const codes: Promise<string | undefined>[] = []
    for (let i = 0; i < 5; i++)
      codes.push(failure(() => pair.client.channel.send(large)).then(({ code }) => code))
    await pair.flow()
    expect(await Promise.all(codes)).toEqual(Array.from({ length: 5 }, () => 'ERR_MCP_ENDED'))
    expect(endOf(pair.client)).toBe('the other side does not read what is sent to it')
    pair.server.goOn()
    await turn()
    expect(endOf(pair.server)).toBe(LIMIT)
  })

  it('for too long ends the session too where many small messages wait', async () => {
    const pair = new ChannelPair({ credit: 0 })
    const sends: Promise<Error>[] = []
    for (let i = 0; i < MAX_MCP_WAITING_MESSAGES; i++) sends.push(failure(() => send(pair.client, 'x')))
    expect(pair.client.closed).toEqual([])
    sends.push(failure(() => send(pair.client, 'one more')))
    await Promise.all(sends)
    expect(endOf(pair.client)).toBe('the other side does not read what is sent to it')
  })

  it('may be sent one message that is longer than all that may wait', async () => {
    const pair = new ChannelPair({ maxMessage: 2 * MAX_MCP_WAITING_BYTES, credit: 0 })
    void failure(() => pair.client.channel.send(new Uint8Array(MAX_MCP_WAITING_BYTES + 1)))
    await turn()
    expect(pair.client.closed).toEqual([])
    await pair.client.channel.close()
  })

  it('gets what it was sent, and not what came into the same memory since', async () => {
    const { server } = new ChannelPair()
    const memory = new Uint8Array(16)
    const inMemory = (text: string): Uint8Array => {
      memory.set(utf8(text))
      return memory.subarray(0, text.length)
    }
    server.stopReading()
    server.channel.take(0, { kind: 'message', content: inMemory('first') })
    server.channel.take(1, { kind: 'message', content: inMemory('second') })
    server.channel.take(2, { kind: 'first', total: 8, content: inMemory('part') })
    server.channel.take(3, { kind: 'more', content: inMemory('rest') })
    memory.fill(0)
    server.goOn()
    await turn()
    expect(texts(server)).toEqual(['first', 'second', 'partrest'])
  })

  it('takes no memory for what was only said of a length', () => {
    const before = process.memoryUsage().arrayBuffers
    const pairs = Array.from({ length: 64 }, () => new ChannelPair())
    for (const { server } of pairs)
      server.channel.take(0, { kind: 'first', total: 10 * 1024 * 1024, content: utf8('x') })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 * 1024 * 1024)
    expect(pairs.map(({ server }) => server.closed.length)).toEqual(pairs.map(() => 0))
  })
})

describe('what comes in another order than it went', () => {
  const changes: readonly [string, (frames: Uint8Array[]) => void][] = [
    ['a frame that is lost', (frames) => void frames.splice(1, 1)],
    ['a first frame that is lost', (frames) => void frames.shift()],
    ['a frame that comes twice', (frames) => void frames.splice(2, 0, frames[1] ?? new Uint8Array(0))],
    ['a frame that comes again later', (frames) => void frames.push(frames[0] ?? new Uint8Array(0))],
    ['two frames that change places', (frames) => void frames.splice(1, 2, ...frames.slice(1, 3).reverse())],
    ['all in reverse', (frames) => void frames.reverse()],
  ]

  it.each(changes)('%s ends both sides, and nothing behind it is handed on', async (_what, change) => {
    for (const direction of ['toServer', 'toClient'] as const) {
      const pair = new ChannelPair()
      const [sender, receiver] =
        direction === 'toServer' ? [pair.client, pair.server] : [pair.server, pair.client]
      const sent = ['one', 'two', 'three', 'four']
      for (const text of sent) await send(sender, text)
      change(pair[direction].frames)
      await pair.flow()
      expect([endOf(sender), endOf(receiver)]).toEqual([LOST, LOST])
      expect(sent.slice(0, receiver.got.length)).toEqual(texts(receiver))
      expect((await failure(() => send(receiver, 'more'))).message).toContain(LOST)
    }
  })

  it('a part of a long message that is lost ends both sides, and nothing of it is handed on', async () => {
    const pair = new ChannelPair()
    await pair.client.channel.send(message(3 * MCP_CHUNK_BYTES))
    pair.toServer.frames.splice(1, 1)
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual([LOST, LOST])
    expect(pair.server.got).toEqual([])
  })

  it('the last frames that are lost are missed when a sign of life comes', async () => {
    const pair = new ChannelPair()
    await send(pair.client, 'lost')
    pair.toServer.frames.length = 0
    await pair.pass(HEARTBEAT)
    expect([endOf(pair.client), endOf(pair.server)]).toEqual([LOST, LOST])
  })

  it('the word of the end that is lost too leaves the other side to find out by silence', async () => {
    const pair = new ChannelPair()
    await send(pair.client, 'a')
    await send(pair.client, 'b')
    pair.toServer.frames.shift()
    pair.server.take(pair.toServer)
    pair.toClient.frames.length = 0
    expect(endOf(pair.server)).toBe(LOST)
    await pair.pass((MCP_HEARTBEATS_MISSED + 1) * HEARTBEAT)
    expect(endOf(pair.client)).toBe('nothing was heard from the other side')
  })
})

describe('what no honest side sends', () => {
  const content = utf8('content')
  const none = new Uint8Array(0)
  const first = { kind: 'first' as const, total: 20, content }
  const cases: readonly [string, readonly (McpFrame | undefined)[], string][] = [
    ['what cannot be read', [undefined], MALFORMED],
    ['a part of nothing', [{ kind: 'more', content }], MALFORMED],
    ['a message within a message', [first, { kind: 'message', content }], MALFORMED],
    ['a beginning within a message', [first, first], MALFORMED],
    ['an empty beginning', [{ ...first, content: none }], MALFORMED],
    ['an empty part', [first, { kind: 'more', content: none }], MALFORMED],
    [
      'more than was said',
      [
        { ...first, total: 8 },
        { kind: 'more', content },
      ],
      MALFORMED,
    ],
    ['a beginning that is more than was said', [{ ...first, total: 6 }], MALFORMED],
    ['a message that is too long', [{ kind: 'message', content: message(1001) }], LIMIT],
    ['a beginning of one that is too long', [{ ...first, total: 1001 }], LIMIT],
    ['credit that is taken back', [{ kind: 'credit', limit: MCP_WINDOW_BYTES - 1 }], MALFORMED],
  ]

  it.each(cases)('%s ends both sides', async (_what, frames, why) => {
    const pair = new ChannelPair({ maxMessage: 1000 })
    for (const [number, frame] of frames.entries()) pair.server.channel.take(number, frame)
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual([why, why])
    expect(pair.server.got).toEqual([])
  })

  it('more than the credit ends both sides, to the byte', async () => {
    for (const excess of [0, 1]) {
      const pair = new ChannelPair()
      pair.server.stopReading()
      pair.server.channel.take(0, {
        kind: 'message',
        content: message(WHOLE - 1000 - MCP_FRAME_HEADER_BYTES),
      })
      pair.server.channel.take(1, { kind: 'message', content: message(1000 + excess) })
      await pair.flow()
      expect(pair.server.closed).toHaveLength(excess)
      if (excess === 1) expect([endOf(pair.client), endOf(pair.server)]).toEqual([LIMIT, LIMIT])
    }
  })

  it('empty messages use up credit like all others', () => {
    const { server } = new ChannelPair()
    server.stopReading()
    const most = Math.floor(MCP_WINDOW_BYTES / MCP_FRAME_HEADER_BYTES)
    const empty = { kind: 'message' as const, content: none }
    for (let number = 0; number < most; number++) server.channel.take(number, empty)
    expect(server.closed).toEqual([])
    server.channel.take(most, empty)
    expect(endOf(server)).toBe(LIMIT)
  })

  it('credit without end is taken, and the same credit again', async () => {
    const pair = new ChannelPair({ credit: 0 })
    const sent = send(pair.client, 'waits')
    for (const [number, limit] of [0, 100, 100, 2 ** 48 - 1].entries())
      pair.client.channel.take(number, { kind: 'credit', limit })
    await sent
    await pair.flow()
    expect(texts(pair.server)).toEqual(['waits'])
  })
})

describe('time', () => {
  it('keeps a session that says nothing, by signs of life both ways', async () => {
    const pair = new ChannelPair()
    await pair.pass(3600 * SECOND)
    expect([pair.client.closed, pair.server.closed]).toEqual([[], []])
    for (const line of [pair.toServer, pair.toClient]) {
      const signs = line.bytes / MCP_FRAME_HEADER_BYTES
      expect(signs).toBeGreaterThanOrEqual(3600 / 10)
      expect(signs).toBeLessThanOrEqual(3600 / 5)
    }
  })

  it('needs no sign of life of who speaks anyhow', async () => {
    const pair = new ChannelPair()
    for (let i = 0; i < 100; i++) {
      await send(pair.client, String(i))
      expect(kindsOf(pair.toServer)).toEqual(['message'])
      await pair.pass(SECOND)
    }
    expect(pair.server.got).toHaveLength(100)
  })

  it.each(['toServer', 'toClient'] as const)('ends both sides when nothing comes %s', async (direction) => {
    const pair = new ChannelPair()
    const [heard, deaf] = direction === 'toServer' ? [pair.client, pair.server] : [pair.server, pair.client]
    let passed = 0
    for (; deaf.closed.length === 0; passed += SECOND) {
      pair.clock.advance(SECOND)
      pair[direction].frames.length = 0
      await pair.flow()
    }
    expect(passed).toBeGreaterThan(MCP_HEARTBEATS_MISSED * HEARTBEAT)
    expect(passed).toBeLessThanOrEqual((MCP_HEARTBEATS_MISSED + 1) * HEARTBEAT)
    expect(endOf(deaf)).toBe('nothing was heard from the other side')
    expect(endOf(heard)).toBe('nothing was heard from the other side')
  })

  it('ends a session in any case, however busy it is', async () => {
    const pair = new ChannelPair({ leaseMs: 60 * SECOND })
    for (let i = 0; i < 59; i++) {
      await send(pair.client, String(i))
      await pair.pass(SECOND)
    }
    expect([pair.client.closed, pair.server.closed]).toEqual([[], []])
    await pair.pass(SECOND)
    expect([endOf(pair.client), endOf(pair.server)]).toEqual(['its time is over', 'its time is over'])
    expect(pair.server.got).toHaveLength(59)
  })

  it('does not run against who has not been answered yet', () => {
    const { clock, toClient, server } = new ChannelPair({ hasBegun: false })
    clock.advance(100 * HEARTBEAT)
    expect([toClient.frames.length, server.closed.length]).toEqual([0, 0])
    server.channel.begin()
    clock.advance(HEARTBEAT / 2)
    expect([kindsOf(toClient), server.closed]).toEqual([['heartbeat'], []])
  })

  it('is asked of nobody after the end', async () => {
    const pair = new ChannelPair()
    await pair.client.channel.close()
    await pair.flow()
    const bytes = [pair.toServer.bytes, pair.toClient.bytes]
    pair.clock.advance(10 * 24 * 3600 * SECOND)
    expect([pair.toServer.bytes, pair.toClient.bytes]).toEqual(bytes)
    expect([pair.client.closed, pair.server.closed]).toEqual([[undefined], [undefined]])
  })
})

describe('an end on purpose', () => {
  it.each(['client', 'server'] as const)('by the %s is one for both, without an error', async (who) => {
    const pair = new ChannelPair()
    await send(pair.client, 'a')
    await send(pair.server, 'b')
    await pair[who].channel.close()
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual(['closed', 'closed'])
    for (const side of [pair.client, pair.server]) {
      expect((await failure(() => send(side, 'late'))).code).toBe('ERR_CLOSED')
      await side.channel.close()
      side.channel.end(McpEnd.failed)
      side.channel.fail(new Error('late'))
    }
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual(['closed', 'closed'])
  })

  it('by both at once is one end for each', async () => {
    const pair = new ChannelPair()
    await Promise.all([pair.client.channel.close(), pair.server.channel.close()])
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual(['closed', 'closed'])
  })

  it('hands on what came before it, to a reader that takes its time', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    for (const text of ['a', 'b', 'c']) await send(pair.client, text)
    await pair.client.channel.close()
    await pair.flow()
    expect([texts(pair.server), pair.server.closed]).toEqual([['a'], []])
    pair.clock.advance(MCP_DRAIN_MS - 1)
    pair.server.goOn()
    await turn()
    expect([texts(pair.server), endOf(pair.server)]).toEqual([['a', 'b', 'c'], 'closed'])
  })

  it('is followed by nothing, not even by credit for what is handed on after it', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    for (let i = 0; i < 9; i++) await pair.client.channel.send(message(100_000, i))
    await pair.client.channel.close()
    await pair.flow()
    pair.server.goOn()
    await turn()
    expect([pair.server.got.length, endOf(pair.server)]).toEqual([9, 'closed'])
    expect(pair.toClient.frames).toEqual([])
  })

  it.each([McpEnd.closed, McpEnd.failed])(
    'by reason %i hands on what came before it, to who begins to read after it',
    async (reason) => {
      const pair = new ChannelPair({ isOpen: false })
      for (const text of ['a', 'b', 'c']) await send(pair.client, text)
      pair.client.channel.end(reason)
      await pair.flow()
      pair.server.stopReading()
      const opened = pair.server.open()
      pair.server.goOn()
      await opened
      await turn()
      expect(texts(pair.server)).toEqual(['a', 'b', 'c'])
      expect(pair.server.closed).toHaveLength(1)
    },
  )

  it('does not wait for a reader that is stuck', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    await send(pair.client, 'a')
    await send(pair.client, 'b')
    await pair.client.channel.close()
    await pair.flow()
    pair.clock.advance(MCP_DRAIN_MS)
    expect(endOf(pair.server)).toBe('closed')
    pair.server.goOn()
    await turn()
    expect([texts(pair.server), endOf(pair.server)]).toEqual([['a'], 'closed'])
  })

  it('of the reader itself stops what is being handed on', async () => {
    for (const isOpen of [true, false]) {
      const pair = new ChannelPair({ isOpen })
      pair.server.stopReading()
      for (const text of ['a', 'b', 'c']) await send(pair.client, text)
      await pair.client.channel.close()
      await pair.flow()
      await pair.server.channel.close()
      if (!isOpen) await pair.server.open()
      expect(endOf(pair.server)).toBe('closed')
      pair.server.goOn()
      await turn()
      expect(texts(pair.server)).toEqual(isOpen ? ['a'] : [])
    }
  })

  it('while something is being sent fails that, and nothing of half a message is handed on', async () => {
    const pair = new ChannelPair()
    const sends = [message(2 * MCP_WINDOW_BYTES), message(10)].map((bytes) =>
      failure(() => pair.client.channel.send(bytes)),
    )
    await pair.client.channel.close()
    expect((await Promise.all(sends)).map(({ code }) => code)).toEqual(['ERR_CLOSED', 'ERR_CLOSED'])
    await pair.flow()
    expect([pair.server.got, endOf(pair.server)]).toEqual([[], 'closed'])
  })

  it('within the reader is one end', async () => {
    const pair = new ChannelPair({ isOpen: false })
    void pair.client.open()
    const got: number[] = []
    let closed = 0
    await pair.server.channel.open({
      message: (bytes) => {
        got.push(bytes.length)
        void pair.server.channel.close()
      },
      closed: () => closed++,
    })
    for (const length of [1, 2, 3]) await pair.client.channel.send(message(length))
    await pair.flow()
    expect([got, closed, endOf(pair.client)]).toEqual([[1], 1, 'closed'])
  })
})

describe('an end that nobody wanted', () => {
  const FAILURES: readonly [string, () => void | Promise<void>][] = [
    [
      'throws',
      () => {
        throw new Error('secret text of a message')
      },
    ],
    ['fails', () => Promise.reject(new Error('secret text of a message'))],
  ]

  it.each(FAILURES)(
    'comes from a reader that %s: both sides know, and nothing more is handed on',
    async (_how, fail) => {
      const pair = new ChannelPair({ isOpen: false })
      void pair.client.open()
      let count = 0
      const closed: (Error | undefined)[] = []
      await pair.server.channel.open({
        message: () => {
          count++
          return fail()
        },
        closed: (error) => closed.push(error),
      })
      for (const text of ['a', 'b']) await send(pair.client, text)
      await pair.flow()
      expect([count, closed.length]).toEqual([1, 1])
      expect(closed[0]).toMatchObject({ code: 'ERR_MCP_ENDED', hint: undefined })
      expect(closed[0]?.message).toBe('the MCP session has ended: handing on a message has failed')
      expect(endOf(pair.client)).toBe('what stands behind the other side has failed')
    },
  )

  it('comes when nothing can be sent any more: what waits is told, and the cause is there', async () => {
    const pair = new ChannelPair({ credit: 0 })
    const waits = failure(() => send(pair.client, 'waits'))
    pair.toServer.failure = new SubrosaError('ERR_STALE', 'no fresh word')
    pair.client.channel.take(0, { kind: 'credit', limit: 1000 })
    const error = await waits
    expect(error).toMatchObject({
      code: 'ERR_MCP_ENDED',
      hint: 'no fresh word',
      cause: { code: 'ERR_STALE' },
    })
    expect(endOf(pair.client)).toBe('nothing can be sent to the other side')
  })

  it('comes to the sender itself when its own message cannot be sent', async () => {
    const pair = new ChannelPair()
    pair.toServer.failure = new SubrosaError('ERR_REVOKED', 'it is revoked')
    expect(await failure(() => send(pair.client, 'x'))).toMatchObject({
      code: 'ERR_MCP_ENDED',
      hint: 'it is revoked',
    })
    expect(endOf(pair.client)).toBe('nothing can be sent to the other side')
    expect((await failure(() => send(pair.client, 'y'))).code).toBe('ERR_MCP_ENDED')
  })

  it('comes with a sign of life that cannot be sent, at once', () => {
    const pair = new ChannelPair()
    pair.toServer.failure = new SubrosaError('ERR_STALE', 'no fresh word')
    pair.clock.advance(HEARTBEAT / 2)
    expect(endOf(pair.client)).toBe('nothing can be sent to the other side')
  })

  it('is an end also where the word of it cannot be sent', async () => {
    const pair = new ChannelPair()
    pair.toServer.failure = new Error('down')
    await pair.client.channel.close()
    expect(endOf(pair.client)).toBe('closed')
  })

  it('comes from another side that knows nothing of the session, whatever number it gives', async () => {
    const pair = new ChannelPair()
    for (let i = 0; i < 3; i++) await send(pair.server, String(i))
    await pair.flow()
    pair.client.channel.take(0, { kind: 'end', reason: McpEnd.unknown })
    expect(endOf(pair.client)).toBe('the other side knows no such session')
    expect(pair.toServer.frames).toEqual([])
  })

  it('is told by one side to the other with each of its reasons', async () => {
    const seen = new Map<McpEnd, string>()
    for (const reason of Object.values(McpEnd)) {
      const pair = new ChannelPair()
      pair.client.channel.end(reason)
      await pair.flow()
      seen.set(reason, endOf(pair.server))
    }
    expect(seen.get(McpEnd.closed)).toBe('closed')
    expect(new Set(seen.values()).size).toBe(Object.values(McpEnd).length)
  })

  it('is told as a failure by who closes with an error, which itself stays here', async () => {
    const pair = new ChannelPair()
    await pair.client.channel.close(new SubrosaError('ERR_SETUP', 'the program has ended'))
    await pair.flow()
    expect([endOf(pair.client), endOf(pair.server)]).toEqual([
      'the program has ended',
      'what stands behind the other side has failed',
    ])
  })

  it('hands on what came in order before another side failed', async () => {
    const pair = new ChannelPair()
    pair.server.stopReading()
    for (const text of ['a', 'b']) await send(pair.client, text)
    pair.client.channel.end(McpEnd.failed)
    await pair.flow()
    expect(pair.server.closed).toEqual([])
    pair.server.goOn()
    await turn()
    expect([texts(pair.server), endOf(pair.server)]).toEqual([
      ['a', 'b'],
      'what stands behind the other side has failed',
    ])
  })

  it('lets nothing in that comes after it', async () => {
    const pair = new ChannelPair()
    pair.server.channel.end(McpEnd.expired)
    await send(pair.client, 'late')
    await pair.flow()
    expect([pair.server.got, endOf(pair.server), endOf(pair.client)]).toEqual([
      [],
      'its time is over',
      'its time is over',
    ])
  })
})

describe('a sink that throws when it hears of the end', () => {
  it('ends neither the timer nor the process in which it hears of it', async () => {
    const { clock, client } = new ChannelPair({ isOpen: false, leaseMs: 5 * SECOND })
    let heard = 0
    await client.channel.open({
      message: () => {},
      closed: () => {
        heard++
        throw new Error('of the host')
      },
    })
    expect(() => clock.advance(5 * SECOND)).not.toThrow()
    expect(heard).toBe(1)
  })
})
