import { Client as NewClient } from '@modelcontextprotocol/client'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  type JSONRPCMessage,
  JSONRPCMessageSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { afterEach, describe, expect, test } from 'vitest'
import { fromUtf8, utf8 } from '../../../../src/base/bytes.ts'
import { EventMeter } from '../../../../src/cli/mcp/event-meter.ts'
import { httpBack } from '../../../../src/cli/mcp/http/http-back.ts'
import { collectHeaders, headersFrom } from '../../../../src/cli/mcp/http/http-headers.ts'
import { assertSecure, parseServerUrl } from '../../../../src/cli/mcp/server-url.ts'
import type { MessagePipe } from '../../../../src/mcp/pipes/pipe.ts'
import { errorIn, INITIALIZE, retry } from '../../../mcp/http-client.ts'
import {
  type Received,
  type StatelessServer,
  serve,
  serveStateful,
  serveStateless,
  type TestServer,
} from '../../../mcp/http-servers.ts'
import { field, HandSink, latch } from '../../../mcp/pipes.ts'
import { ManualClock } from '../../../support/clock.ts'
import { failure, until } from '../../../support/until.ts'

const SECRET = 'Bearer correct-horse'
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' }
const RESULT = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'x', version: '1' } }

const ends: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

function started<Server extends TestServer>(server: Server): Server {
  ends.push(() => server.close())
  return server
}

/** A pipe whose near end the test holds. */
class Hand {
  readonly sink = new HandSink()
  readonly errors: Error[] = []
  readonly clock = new ManualClock()
  readonly pipe: MessagePipe

  constructor(url: URL) {
    this.pipe = httpBack({
      url,
      headers: { authorization: SECRET },
      onError: (error) => this.errors.push(error),
      clock: this.clock,
    })
    ends.push(() => {
      const closed = this.pipe.close()
      this.clock.advance(60_000)
      return closed
    })
  }

  static async open(url: URL): Promise<Hand> {
    const hand = new Hand(url)
    await hand.pipe.open(hand.sink)
    return hand
  }

  send(message: unknown): Promise<void> {
    return this.pipe.send(utf8(typeof message === 'string' ? message : JSON.stringify(message)))
  }

  call(id: number | string): Promise<void> {
    return this.send({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } })
  }

  /** The next message that comes, after so many. */
  async next(after = 0): Promise<unknown> {
    await until('a message comes', () => this.sink.messages.length > after)
    return this.sink.messages[after]
  }

  /** Everything that anybody could read of it. */
  get words(): string {
    const errors = [...this.errors, ...this.sink.ends].map((error) =>
      error === undefined ? '' : `${error.message} ${String(field(error, 'hint'))} ${String(error.cause)}`,
    )
    return JSON.stringify([this.sink.messages, errors])
  }
}

/** A transport of either line over a pipe. */
function transportOver(pipe: MessagePipe): Transport {
  const transport: Transport = {
    start: () =>
      pipe.open({
        message: (bytes) =>
          transport.onmessage?.(JSONRPCMessageSchema.parse(JSON.parse(fromUtf8(bytes) ?? ''))),
        closed: () => transport.onclose?.(),
      }),
    send: (message: JSONRPCMessage) => pipe.send(utf8(JSON.stringify(message))),
    close: () => pipe.close(),
  }
  return transport
}

async function client(url: URL): Promise<Client> {
  const made = new Client({ name: 'x', version: '1' }, { capabilities: { sampling: {}, elicitation: {} } })
  made.setRequestHandler(CreateMessageRequestSchema, () => ({
    role: 'assistant',
    model: 'none',
    content: { type: 'text', text: 'Hi!' },
  }))
  made.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' }))
  await made.connect(transportOver(httpBack({ url, headers: {}, onError: () => {} })))
  ends.push(() => made.close())
  return made
}

/** Answers `initialize` and takes notifications; everything else is the test's. */
function scripted(
  handle: (request: Received, out: Parameters<Parameters<typeof serve>[0]>[1]) => void,
): Promise<TestServer> {
  return serve((request, out) => {
    const method = field(request.body, 'method')
    if (method === 'initialize')
      out
        .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: 0, result: RESULT }))
    else if (method === 'notifications/initialized') out.writeHead(202).end()
    else if (request.method === 'GET') out.writeHead(405).end()
    else if (request.method === 'DELETE') out.writeHead(200).end()
    else handle(request, out)
  })
}

/** A pipe with a session at a server that does what the test says. */
async function scriptedHand(handle: Parameters<typeof scripted>[0]): Promise<Hand> {
  const { url } = started(await scripted(handle))
  const hand = await Hand.open(url)
  await hand.send(INITIALIZE)
  await hand.next()
  await hand.send(INITIALIZED)
  return hand
}

describe.each([
  ['event streams', false],
  ['JSON', true],
])('a server that answers with %s', (_, json) => {
  test('is used as any other', async () => {
    const server = started(await serveStateful(json))
    const mcp = await client(server.url)
    expect((await mcp.listTools()).tools.map(({ name }) => name)).toContain('echo')
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => mcp.callTool({ name: 'echo', arguments: { text: `ü${i}` } })),
    )
    expect(answers.map(({ content }) => field(content, 0, 'text'))).toEqual(
      Array.from({ length: 30 }, (_, i) => `ü${i}`),
    )
  })

  test('sends what belongs to no request too', async () => {
    const server = started(await serveStateful(json))
    const mcp = await client(server.url)
    let changes = 0
    mcp.setNotificationHandler(ToolListChangedNotificationSchema, () => {
      changes++
    })
    const [session] = server.sessions.values()
    await until('it came', () => {
      void session?.server.sendToolListChanged()
      return changes > 0
    })
  })

  test('hears of a cancelled call, and other calls do not wait for that one', async () => {
    const server = started(await serveStateful(json))
    const mcp = await client(server.url)
    const [session] = server.sessions.values()
    const abort = new AbortController()
    const waiting = failure(() =>
      mcp.callTool({ name: 'wait', arguments: { text: 'a' } }, undefined, { signal: abort.signal }),
    )
    await until('the server is at it', () => session?.begun.length === 1)
    expect((await mcp.callTool({ name: 'echo', arguments: { text: 'b' } })).content).toEqual([
      { type: 'text', text: 'b' },
    ])
    abort.abort()
    await waiting
    await until('the server heard of it', () => session?.cancelled.length === 1)
  })

  test('loses the session with the pipe', async () => {
    const server = started(await serveStateful(json))
    const mcp = await client(server.url)
    await client(server.url)
    expect(server.sessions.size).toBe(2)
    await mcp.close()
    expect(server.sessions.size).toBe(1)
  })
})

test('progress, samples and elicitation come during a call, in order', async () => {
  const server = started(await serveStateful())
  const mcp = await client(server.url)
  const heard: number[] = []
  await mcp.callTool({ name: 'progress', arguments: {} }, undefined, {
    onprogress: ({ progress }) => heard.push(progress),
  })
  expect(heard).toEqual([1, 2, 3])
  const sampled = await mcp.callTool({ name: 'sample', arguments: {} })
  expect(field(sampled.content, 0, 'text')).toContain('Hi!')
  const elicited = await mcp.callTool({ name: 'elicit', arguments: {} })
  expect(field(elicited.content, 0, 'text')).toContain('decline')
})

describe('a server of revision 2026-07-28', () => {
  async function begin(): Promise<{ mcp: NewClient; server: StatelessServer }> {
    const server = started(await serveStateless())
    const mcp = new NewClient({ name: 'x', version: '1' }, { versionNegotiation: { mode: 'auto' } })
    const onError = (error: Error) => {
      throw error
    }
    await mcp.connect(transportOver(httpBack({ url: server.url, headers: {}, onError })))
    ends.push(() => mcp.close())
    return { mcp, server }
  }

  test('is used without a session', async () => {
    const { mcp } = await begin()
    expect(mcp.getNegotiatedProtocolVersion()).toBe('2026-07-28')
    expect((await mcp.listTools()).tools).toHaveLength(1)
    const { content } = await mcp.callTool({ name: 'echo', arguments: { text: 'a' } })
    expect(content).toEqual([{ type: 'text', text: 'a' }])
  })

  test('hears of a cancelled call by the end of its stream', async () => {
    const { mcp, server } = await begin()
    const abort = new AbortController()
    const called = failure(() => mcp.callTool({ name: 'wait', arguments: {} }, { signal: abort.signal }))
    await until('the server is at it', () => server.waits.length === 1)
    abort.abort()
    await called
    await until('the server heard of it', () => server.waits.length === 2)
    expect(server.methods).not.toContain('notifications/cancelled')
    const { content } = await mcp.callTool({ name: 'echo', arguments: { text: 'a' } })
    expect(content).toEqual([{ type: 'text', text: 'a' }])
  })
})

describe('every HTTP request', () => {
  test('has the headers, and after initialize the session and the revision', async () => {
    const received: Received[] = []
    const server = started(
      await serve((request, out) => {
        received.push(request)
        if (field(request.body, 'method') === 'initialize')
          out
            .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
            .end(JSON.stringify({ jsonrpc: '2.0', id: 0, result: RESULT }))
        else out.writeHead(request.method === 'POST' ? 202 : 405).end()
      }),
    )
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.send(INITIALIZED)
    await until('the stream was asked for', () => received.length === 3)
    await hand.pipe.close()
    const seen = received.map(({ method, headers }) => [
      method,
      headers.authorization,
      headers['mcp-session-id'],
      headers['mcp-protocol-version'],
    ])
    expect(seen).toEqual([
      ['POST', SECRET, undefined, undefined],
      ['POST', SECRET, 'one', '2025-06-18'],
      ['GET', SECRET, 'one', '2025-06-18'],
      ['DELETE', SECRET, 'one', '2025-06-18'],
    ])
  })

  test('that is no request of MCP is answered before anything else goes', async () => {
    const methods: unknown[] = []
    const held: (() => void)[] = []
    const server = started(
      await serve((request, out) => {
        methods.push(field(request.body, 'method'))
        held.push(() => out.writeHead(202).end())
      }),
    )
    const progress = { jsonrpc: '2.0', method: 'notifications/progress' }
    const [hand, other] = [await Hand.open(server.url), await Hand.open(server.url)]
    const sent = hand.send(progress)
    void hand.call(1)
    await until('it came', () => methods.length === 1)
    // What had not come when another pipe's request came was held back.
    await other.send({ jsonrpc: '2.0', id: 1, method: 'ping' })
    await until('that one came', () => methods.length === 2)
    expect(methods).toEqual(['notifications/progress', 'ping'])
    held[0]?.()
    await sent
    await until('the next one came', () => methods.length === 3)
    expect(methods[2]).toBe('tools/call')
  })

  test('is not made to another origin, where a redirect points', async () => {
    const elsewhere: Received[] = []
    const other = started(await serve((request) => void elsewhere.push(request)))
    const hand = await scriptedHand((_, out) => {
      out.writeHead(307, { location: other.url.href }).end()
    })
    await hand.call(1)
    expect(errorIn(await hand.next(1)).message).toContain('redirect')
    expect(elsewhere).toEqual([])
    expect(hand.words).not.toContain('correct-horse')
  })

  test('of a batch goes by itself: later revisions have no batches', async () => {
    const bodies: unknown[] = []
    const hand = await scriptedHand(({ body }, out) => {
      bodies.push(body)
      out
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: field(body, 'id'), result: {} }))
    })
    const batch = [1, 2].map((id) => ({ jsonrpc: '2.0', id, method: 'tools/list' }))
    await hand.send(batch)
    await hand.next(2)
    expect(bodies).toHaveLength(2)
    expect(bodies).toEqual(expect.arrayContaining(batch))
  })
})

describe('a request without a response gets an error, and the pipe goes on', () => {
  test.each([
    ['when the server wants a login', 401, 'text/plain', 'who are you', 'answered with HTTP 401: --header'],
    ['when the server fails', 500, 'text/html', '<p>stack trace</p>', 'answered with HTTP 500'],
    ['when there is no such place', 405, 'text/plain', '', 'answered with HTTP 405'],
    ['when the answer is a page', 200, 'text/html', '<p>hi</p>', 'neither JSON nor an event stream'],
    ['when the answer is no JSON', 200, 'application/json', '{"jsonrpc":', 'no message of JSON-RPC'],
    ['when the answer is no message', 200, 'application/json', '{"id":1}', 'no message of JSON-RPC'],
    ['when a stream ends', 200, 'text/event-stream', ': nothing\n\n', 'ended its answer before'],
    ['when a stream holds junk', 200, 'text/event-stream', 'data: {"id":1}\n\n', 'ended its answer before'],
  ])('%s', async (_, status, type, body, message) => {
    const hand = await scriptedHand((_request, out) => {
      out.writeHead(status, { 'content-type': type }).end(body)
    })
    await hand.call('a')
    const answer = await hand.next(1)
    expect(field(answer, 'id')).toBe('a')
    expect(errorIn(answer).code).toBe(-32000)
    expect(errorIn(answer).message).toContain(message)
    expect(hand.words).not.toMatch(/stack trace|who are you|correct-horse/)
    expect(hand.sink.ends).toEqual([])
    await hand.call(2)
    expect(field(await hand.next(2), 'id')).toBe(2)
  })

  test('when the server says why', async () => {
    const error = { code: -32602, message: 'unknown tool', data: { name: 'x' } }
    const hand = await scriptedHand((_, out) => {
      out
        .writeHead(400, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: null, error }))
    })
    await hand.call(1)
    expect(await hand.next(1)).toEqual({ jsonrpc: '2.0', id: 1, error })
  })

  test('when nothing listens there', async () => {
    const server = await serve(() => {})
    await server.close()
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    expect(errorIn(await hand.next()).message).toContain('ECONNREFUSED')
    expect(hand.sink.ends).toEqual([])
    expect(hand.words).not.toContain('correct-horse')
  })

  test('when the server dies while it is at it', async () => {
    const server = started(await serveStateful())
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.send(INITIALIZED)
    await hand.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'wait', arguments: {} } })
    const [session] = server.sessions.values()
    await until('the server is at it', () => session?.begun.length === 1)
    await server.close()
    expect(errorIn(await hand.next(1)).message).toContain('ended its answer before')
  })

  test('when one with its id is in flight', async () => {
    const hand = await scriptedHand(() => {})
    await hand.call(1)
    await hand.call(1)
    expect(errorIn(await hand.next(1)).message).toContain('in flight')
  })

  test('when more are in flight than may be', async () => {
    const hand = await scriptedHand(() => {})
    for (let id = 0; id <= 256; id++) await hand.call(id)
    const answer = await hand.next(1)
    expect(field(answer, 'id')).toBe(256)
    expect(errorIn(answer).message).toContain('too many')
  })

  test.each([
    ['JSON', 'application/json', '{"jsonrpc":"2.0","id":1,"result":{"text":"', 'is too long'],
    [
      'an event',
      'text/event-stream',
      'data: {"jsonrpc":"2.0","id":1,"result":{"text":"',
      'before the response',
    ],
    ['an event of many lines', 'text/event-stream', 'data: {"text":"\ndata: ', 'before the response'],
  ])('when the answer is too long as %s', async (_, type, begin, message) => {
    let isCut = false
    const hand = await scriptedHand((_request, out) => {
      out.once('close', () => {
        isCut = true
      })
      out.writeHead(200, { 'content-type': type })
      out.write(begin)
      const more = () => {
        if (!isCut) out.write('x'.repeat(1024 * 1024), () => setImmediate(more))
      }
      more()
    })
    await hand.call(1)
    expect(errorIn(await hand.next(1)).message).toContain(message)
    expect(hand.errors.map((error) => field(error, 'code'))).toEqual(['ERR_MESSAGE_TOO_LARGE'])
    await until('it is cut', () => isCut)
  })

  test('when what was sent is no message', async () => {
    const hand = await scriptedHand(() => {})
    await hand.send('{"jsonrpc"')
    expect(errorIn(await hand.next(1)).code).toBe(-32700)
    await hand.send({ jsonrpc: '2.0', id: { no: 'id' }, method: 'x' })
    expect(errorIn(await hand.next(2)).code).toBe(-32600)
  })
})

describe('the pipe ends', () => {
  test('when the server knows the session no more, and who waits gets an error first', async () => {
    const server = started(await serveStateful())
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.send(INITIALIZED)
    const hanging = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'wait', arguments: {} } }
    await hand.send(hanging)
    const [session] = server.sessions.values()
    await until('the server is at it', () => session?.begun.length === 1)
    await server.forget()
    await until('the first one failed', () => hand.sink.messages.length === 2)
    const { promise, open } = latch()
    hand.sink.gate = () => promise
    await hand.call(2)
    await retry('it is over', () =>
      hand.send(INITIALIZED).then(
        () => false,
        () => true,
      ),
    )
    expect(hand.sink.ends).toEqual([])
    open()
    await until('it ends', () => hand.sink.ends.length === 1)
    expect(field(hand.sink.ends[0], 'code')).toBe('ERR_MCP_ENDED')
    expect(hand.sink.messages.slice(1).map((message) => field(message, 'id'))).toEqual([1, 2])
    expect(errorIn(hand.sink.messages[2]).message).toContain('knows it no more')
    const { code } = await failure(() => hand.call(3))
    expect(code).toBe('ERR_CLOSED')
    await hand.pipe.close()
    expect(hand.sink.ends).toHaveLength(1)
  })

  test('and not when a server without a stream of its own has nothing for GET', async () => {
    const server = started(
      await serve(({ method, body }, out) => {
        if (method !== 'POST') out.writeHead(404).end()
        else if (field(body, 'id') === undefined) out.writeHead(202).end()
        else
          out
            .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
            .end(JSON.stringify({ jsonrpc: '2.0', id: field(body, 'id'), result: RESULT }))
      }),
    )
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.send(INITIALIZED)
    await until('it is known', () => hand.errors.length === 1)
    expect(hand.errors[0]?.message).toContain('HTTP 404')
    await hand.call(1)
    await hand.next(1)
    expect(hand.sink.ends).toEqual([])
  })

  test('when the server is gone and does not come back', async () => {
    let opened = 0
    const server = started(
      await serve(({ method, body }, out) => {
        if (method === 'GET') {
          opened++
          out.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        } else if (field(body, 'id') === undefined) out.writeHead(202).end()
        else
          out
            .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
            .end(JSON.stringify({ jsonrpc: '2.0', id: field(body, 'id'), result: RESULT }))
      }),
    )
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.send(INITIALIZED)
    await until('the stream is open', () => opened === 1)
    await server.close()
    await until('it has given up', () => {
      hand.clock.advance(30_000)
      return hand.sink.ends.length === 1
    })
    expect(hand.sink.ends[0]?.message).toBe('the connection to the MCP server was lost')
  })

  test('when what it brings is not taken', async () => {
    const hand = await scriptedHand(({ body }, out) => {
      out
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: field(body, 'id'), result: {} }))
    })
    hand.sink.gate = async () => {
      throw new Error('the other side is gone')
    }
    await hand.call(1)
    await until('it ends', () => hand.sink.ends.length === 1)
    expect(hand.sink.ends[0]).toBeInstanceOf(Error)
  })

  test('on purpose, even where the server does not answer that', async () => {
    const server = started(
      await serve(({ method, body }, out) => {
        if (method === 'POST' && field(body, 'id') === 0)
          out
            .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' })
            .end(JSON.stringify({ jsonrpc: '2.0', id: 0, result: RESULT }))
      }),
    )
    const hand = await Hand.open(server.url)
    await hand.send(INITIALIZE)
    await hand.next()
    await hand.call(1)
    const closed = hand.pipe.close()
    await until('it is closed', () => {
      hand.clock.advance(2000)
      return hand.sink.ends.length === 1
    })
    await closed
    expect(hand.sink.ends).toEqual([undefined])
    expect(hand.sink.messages).toHaveLength(1)
  })
})

test('reads no further while nothing is taken', async () => {
  let written = 0
  const text = 'x'.repeat(256 * 1024)
  const event = `data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { text } })}\n\n`
  const hand = await scriptedHand((_, out) => {
    out.writeHead(200, { 'content-type': 'text/event-stream' })
    const more = () => {
      if (written < 120) out.write(event, () => setImmediate(more))
      written++
    }
    more()
  })
  const { promise, open } = latch()
  hand.sink.gate = () => promise
  await hand.call(1)
  let before = -1
  for (let still = 0; still < 20; ) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    still = written === before ? still + 1 : 0
    before = written
  }
  expect(written).toBeLessThan(100)
  open()
  await until('everything came', () => hand.sink.messages.length === 121)
})

describe('on the command line', () => {
  test.each(['', 'x', 'ftp://127.0.0.1/', 'file:///etc/passwd', '/mcp', '127.0.0.1:80'])(
    '%s is no server',
    (text) => {
      expect(() => parseServerUrl(text)).toThrow('Use the URL')
    },
  )

  test('a login or a fragment belongs in no URL', () => {
    expect(() => parseServerUrl('https://u:secret@example.com/mcp')).toThrow('Use --header')
    expect(() => parseServerUrl('https://example.com/mcp#x')).toThrow('fragment')
  })

  test.each([
    'http://example.com/mcp',
    'http://10.0.0.1/',
    'http://localhost.evil.example/',
    'http://0.0.0.0/',
  ])('%s could be read on its way', (text) => {
    expect(() => assertSecure(parseServerUrl(text))).toThrow('could be read on its way')
  })

  test.each(['https://example.com/mcp', 'http://localhost:1/', 'http://127.0.0.1/', 'http://[::1]:3000/mcp'])(
    '%s could not',
    (text) => {
      expect(() => assertSecure(parseServerUrl(text))).not.toThrow()
    },
  )

  test.each(['Authorization', 'Authorization=', '=X', 'Authorization=a b', 'Bad Name=X', 'A:=X', 'A\r\nB=X'])(
    '%s is no header with a variable',
    (text) => {
      expect(() => collectHeaders(text, undefined)).toThrow('HEADER=VARIABLE')
    },
  )

  test.each(['Host', 'content-length', 'Mcp-Session-Id', 'TRANSFER-ENCODING', 'accept'])(
    'the header %s is not the user’s',
    (name) => {
      expect(() => collectHeaders(`${name}=X`, undefined)).toThrow('sets this header itself')
    },
  )

  test('headers take their values from the environment, which errors do not quote', async () => {
    const sources = collectHeaders('X-Key=KEY', collectHeaders('Authorization=TOKEN', undefined))
    expect(headersFrom(sources, { TOKEN: SECRET, KEY: 'k' })).toEqual({ Authorization: SECRET, 'X-Key': 'k' })
    const missing = await failure(() => headersFrom(sources, { TOKEN: SECRET }))
    expect(missing.message).toBe('the environment has no KEY')
    const bad = await failure(() => headersFrom(sources, { TOKEN: 'hush\r\nHost: evil', KEY: 'k' }))
    expect(bad.message).toBe('the value of TOKEN is none for a header')
    expect(`${bad.stack} ${bad.hint} ${String(bad.cause)}`).not.toContain('hush')
  })
})

describe('the bytes of an event', () => {
  const count = (...chunks: readonly string[]) => {
    const meter = new EventMeter()
    return chunks.map((chunk) => meter.add(utf8(chunk)))
  }

  test('are counted until an empty line, wherever the chunks end', () => {
    expect(count('data: a\n', 'data: b\n', '\n', 'c')).toEqual([8, 16, 0, 1])
    expect(count('data: a\r\n', '\r', '\n', 'ab')).toEqual([9, 10, 0, 2])
    expect(count('a\n\nb\n\nccc')).toEqual([3])
    expect(count('', '\n\n\n', 'a', 'b', 'c')).toEqual([0, 0, 1, 2, 3])
  })

  test('are not few because a line looks empty', () => {
    expect(count('a\r', 'b\n', '\r\r\n', '\n')).toEqual([2, 4, 7, 0])
  })
})
