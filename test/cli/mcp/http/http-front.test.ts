import { connect } from 'node:net'
import {
  Client as NewClient,
  StreamableHTTPClientTransport as NewTransport,
} from '@modelcontextprotocol/client'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { afterEach, describe, expect, test } from 'vitest'
import { SubrosaError } from '../../../../src/base/errors.ts'
import { MAX_MCP_HTTP_SESSIONS } from '../../../../src/base/limits.ts'
import { type HttpFront, startHttpFront } from '../../../../src/cli/mcp/http/http-front.ts'
import { parseLoopback } from '../../../../src/cli/mcp/loopback.ts'
import type { MessagePipe } from '../../../../src/mcp/pipes/pipe.ts'
import {
  type Answer,
  errorIn,
  HandClient,
  INITIALIZE,
  retry,
  send,
  sendAs,
} from '../../../mcp/http-client.ts'
import { field, HandPipe, latch, pipeTo } from '../../../mcp/pipes.ts'
import { toolServer } from '../../../mcp/tool-server.ts'
import { ManualClock } from '../../../support/clock.ts'
import { failure, until } from '../../../support/until.ts'

const ADDRESS = parseLoopback('127.0.0.1:0')
const IDLE_MS = 60_000
const CAPABILITIES = { sampling: {}, elicitation: {}, roots: {} }
const SAMPLED = { role: 'assistant' as const, model: 'none', content: { type: 'text' as const, text: 'Hi!' } }
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' }

const ends: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

interface Hand {
  readonly front: HttpFront
  readonly pipes: HandPipe[]
  readonly errors: Error[]
  readonly clock: ManualClock
}

/** A front whose pipes the test plays. */
async function handFront(openPipe: () => HandPipe = () => new HandPipe()): Promise<Hand> {
  const pipes: HandPipe[] = []
  const errors: Error[] = []
  const clock = new ManualClock()
  const front = await startHttpFront({
    address: ADDRESS,
    openPipe: () => {
      const pipe = openPipe()
      pipes.push(pipe)
      return pipe
    },
    onError: (error) => errors.push(error),
    clock,
    idleMs: IDLE_MS,
  })
  ends.push(() => front.close())
  return { front, pipes, errors, clock }
}

/** A client in a session, and its pipe. */
async function handClient({ front, pipes }: Hand): Promise<{ client: HandClient; pipe: HandPipe }> {
  const at = pipes.length
  const client = await HandClient.begin(front.url, async (id) => {
    await pipes[at]?.deliver({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25' } })
  })
  const pipe = pipes[at]
  if (pipe === undefined) throw new Error('there is no pipe')
  return { client, pipe }
}

/** A front of real servers. */
async function toolFront(): Promise<{ url: string; servers: ReturnType<typeof toolServer>[] }> {
  const servers: ReturnType<typeof toolServer>[] = []
  const front = await startHttpFront({
    address: ADDRESS,
    openPipe: (): MessagePipe => {
      const made = toolServer()
      servers.push(made)
      return pipeTo(made.server)
    },
    onError: (error) => {
      throw error
    },
  })
  ends.push(() => front.close())
  return { url: front.url, servers }
}

/** A client of the 1.x line that answers what servers ask. */
async function oldClient(url: string, log: unknown[] = []): Promise<Client> {
  const client = new Client({ name: 'old', version: '1' }, { capabilities: CAPABILITIES })
  client.setRequestHandler(CreateMessageRequestSchema, () => SAMPLED)
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name: 'Ada' } }))
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///tmp' }] }))
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
    log.push(params.data)
  })
  await client.connect(new StreamableHTTPClientTransport(new URL(url)))
  ends.push(() => client.close())
  return client
}

/** The same of the 2.x line. */
async function newClient(url: string, log: unknown[] = [], mode?: 'auto'): Promise<NewClient> {
  const client = new NewClient(
    { name: 'new', version: '1' },
    { capabilities: CAPABILITIES, ...(mode !== undefined && { versionNegotiation: { mode } }) },
  )
  client.setRequestHandler('sampling/createMessage', () => SAMPLED)
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }))
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///tmp' }] }))
  client.setNotificationHandler('notifications/message', ({ params }) => {
    log.push(params.data)
  })
  await client.connect(new NewTransport(new URL(url)))
  ends.push(() => client.close())
  return client
}

const CLIENTS = { '1.32': oldClient, '2.4': newClient }

describe.each(['1.32', '2.4'] as const)('a client of %s', (line) => {
  const begin = CLIENTS[line]

  test('lists and calls tools', async () => {
    const { url } = await toolFront()
    const client = await begin(url)
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo')
    const { content } = await client.callTool({ name: 'echo', arguments: { text: 'grüße 👋' } })
    expect(content).toEqual([{ type: 'text', text: 'grüße 👋' }])
  })

  test('hears of progress, in order', async () => {
    const { url } = await toolFront()
    const client = await begin(url)
    const heard: number[] = []
    const onprogress = ({ progress }: { progress: number }) => heard.push(progress)
    if (client instanceof Client)
      await client.callTool({ name: 'progress', arguments: {} }, undefined, { onprogress })
    else await client.callTool({ name: 'progress', arguments: {} }, { onprogress })
    expect(heard).toEqual([1, 2, 3])
  })

  test('is asked for samples, elicitation and roots during a call, and logged to', async () => {
    const { url } = await toolFront()
    const log: unknown[] = []
    const client = await begin(url, log)
    const text = async (name: string) =>
      String(field((await client.callTool({ name, arguments: { text: name } })).content, 0, 'text'))
    expect(JSON.parse(await text('sample'))).toEqual({ type: 'text', text: 'Hi!' })
    expect(JSON.parse(await text('elicit'))).toEqual({ action: 'accept', content: { name: 'Ada' } })
    expect(JSON.parse(await text('roots'))).toEqual({ roots: [{ uri: 'file:///tmp' }] })
    expect(await text('log')).toBe('logged')
    expect(log).toEqual(['log'])
  })

  test('cancels a call, and goes on', async () => {
    const { url, servers } = await toolFront()
    const client = await begin(url)
    const abort = new AbortController()
    const params = { name: 'wait', arguments: { text: 'a' } }
    const called =
      client instanceof Client
        ? client.callTool(params, undefined, { signal: abort.signal })
        : client.callTool(params, { signal: abort.signal })
    const failed = failure(() => called)
    await until('the server is at it', () => servers[0]?.begun.length === 1)
    abort.abort()
    await failed
    await until('the server heard of it', () => servers[0]?.cancelled.length === 1)
    expect((await client.callTool({ name: 'echo', arguments: { text: 'b' } })).content).toEqual([
      { type: 'text', text: 'b' },
    ])
  })

  test('shares nothing with another one whose ids are the same', async () => {
    const { url, servers } = await toolFront()
    const clients = await Promise.all([begin(url), begin(url), begin(url)])
    const answers = await Promise.all(
      clients.flatMap((client, who) =>
        Array.from({ length: 20 }, (_, i) =>
          client.callTool({ name: 'echo', arguments: { text: `${who} ${i}` } }),
        ),
      ),
    )
    expect(answers.map(({ content }) => field(content, 0, 'text'))).toEqual(
      [0, 1, 2].flatMap((who) => Array.from({ length: 20 }, (_, i) => `${who} ${i}`)),
    )
    expect(servers).toHaveLength(3)
  })
})

test('a client of 2.4 that looks for revision 2026-07-28 falls back to the one before', async () => {
  const { url } = await toolFront()
  const client = await newClient(url, [], 'auto')
  expect(client.getNegotiatedProtocolVersion()).toBe('2025-11-25')
  expect((await client.listTools()).tools).not.toHaveLength(0)
})

describe('where it is served', () => {
  test.each([
    '0.0.0.0:80',
    '[::]:80',
    '192.168.1.2:80',
    'example.com:80',
    'localhost.evil.example:80',
    '*:80',
  ])('refuses to be reached from elsewhere by %s', (text) => {
    expect(() => parseLoopback(text)).toThrow('not encrypted')
  })

  test.each(['127.0.0.1', '127.0.0.1:', ':80', '127.0.0.1:65536', '127.0.0.1:-1', '127.0.0.1:8o', ''])(
    'takes %s for no address',
    (text) => {
      expect(() => parseLoopback(text)).toThrow('Use an address and a port')
    },
  )

  test('takes each name of this machine', () => {
    expect(parseLoopback('localhost:8808')).toEqual({ host: '127.0.0.1', port: 8808 })
    expect(parseLoopback('[::1]:0')).toEqual({ host: '::1', port: 0 })
  })

  test('is bound to that address alone', async () => {
    const { front } = await handFront()
    const port = Number(new URL(front.url).port)
    const socket = connect({ host: '127.0.0.2', port })
    const { code } = await failure(
      () => new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject)),
    )
    expect(code).toBe('ECONNREFUSED')
  })

  test('says so when the port is taken', async () => {
    const { front } = await handFront()
    const port = Number(new URL(front.url).port)
    const { code, hint } = await failure(() =>
      startHttpFront({
        address: { host: '127.0.0.1', port },
        openPipe: () => new HandPipe(),
        onError: () => {},
      }),
    )
    expect({ code, hint }).toEqual({ code: 'ERR_CONNECTION', hint: 'another program may use this port' })
  })
})

describe('a page of the web that lets its name point here', () => {
  test.each(['evil.example', 'evil.example:PORT', '127.0.0.1', '127.0.0.1:1', 'localhost.evil.example:PORT'])(
    'is refused for the host %s',
    async (host) => {
      const { front, pipes } = await handFront()
      const named = host.replace('PORT', new URL(front.url).port)
      expect(await sendAs(front.url, { host: named })).toBe(403)
      expect(pipes).toHaveLength(0)
    },
  )

  test.each([
    'http://evil.example',
    'null',
    'https://127.0.0.1:PORT',
    'http://127.0.0.1',
    'http://localhost:1',
  ])('is refused for the origin %s', async (origin) => {
    const { front, pipes } = await handFront()
    const named = origin.replace('PORT', new URL(front.url).port)
    expect(await sendAs(front.url, { origin: named })).toBe(403)
    expect(pipes).toHaveLength(0)
  })

  test.each(['127.0.0.1', 'localhost', '[::1]', 'LOCALHOST'])('is not what %s is', async (name) => {
    const { front } = await handFront()
    const host = `${name}:${new URL(front.url).port}`
    expect(await sendAs(front.url, { host, origin: `http://${host}` })).toBe(200)
  })
})

describe('an HTTP request', () => {
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/list' }

  async function answerTo(
    method: string,
    options: { body?: unknown; headers?: Record<string, string>; path?: string; withSession?: boolean },
  ): Promise<Answer> {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const { body, headers, path = '/mcp', withSession = false } = options
    const answer = await send(method, new URL(path, hand.front.url).href, {
      ...(body !== undefined && { body }),
      headers: { ...(withSession && { 'mcp-session-id': client.session }), ...headers },
    })
    await answer.ended
    expect(pipe.sent).toHaveLength(1)
    return answer
  }

  test.each([
    ['of another path', 'POST', { body: call, path: '/' }, 404, -32000],
    ['of a path below', 'POST', { body: call, path: '/mcp/x' }, 404, -32000],
    ['of another method', 'PUT', { body: call, withSession: true }, 405, -32000],
    ['that is no JSON', 'POST', { body: '{"jsonrpc"', withSession: true }, 400, -32700],
    ['that is no JSON-RPC', 'POST', { body: { id: 1 }, withSession: true }, 400, -32700],
    ['without a session', 'POST', { body: call }, 400, -32000],
    ['for a stream without a session', 'GET', {}, 400, -32000],
    ['to end no session', 'DELETE', {}, 400, -32000],
    ['of an unknown session', 'POST', { body: call, headers: { 'mcp-session-id': 'x' } }, 404, -32001],
    ['for a stream of an unknown one', 'GET', { headers: { 'mcp-session-id': 'constructor' } }, 404, -32001],
    ['to end an unknown one', 'DELETE', { headers: { 'mcp-session-id': 'x' } }, 404, -32001],
    [
      'that takes no event stream',
      'POST',
      { body: call, withSession: true, headers: { accept: 'text/html' } },
      406,
      -32000,
    ],
    [
      'that a form could send',
      'POST',
      { body: call, withSession: true, headers: { 'content-type': 'text/plain' } },
      415,
      -32000,
    ],
    [
      'of an unknown revision',
      'POST',
      { body: call, withSession: true, headers: { 'mcp-protocol-version': '1999-01-01' } },
      400,
      -32000,
    ],
    ['to begin a second session in the first', 'POST', { body: INITIALIZE, withSession: true }, 400, -32600],
    ['to begin a session in a batch', 'POST', { body: [INITIALIZE, call] }, 400, -32000],
  ])('%s is refused', async (_, method, options, status, code) => {
    const answer = await answerTo(method, options)
    expect(answer.status).toBe(status)
    expect(errorIn(answer.messages[0]).code).toBe(code)
  })

  test('that is too long is refused, and nothing of it goes on', async () => {
    const answer = await answerTo('POST', { body: `"${'x'.repeat(10 * 1024 * 1024)}"`, withSession: true })
    expect(answer.status).toBe(413)
    expect(errorIn(answer.messages[0]).message).toContain('at most')
  })

  test('as long as a message may be goes on', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const text = 'x'.repeat(10 * 1024 * 1024 - 100)
    const posted = await client.post({ jsonrpc: '2.0', method: 'notifications/x', params: { text } })
    expect(posted.status).toBe(202)
    await until('it went on', () => pipe.sent.length === 2)
    expect(field(pipe.sent[1], 'params', 'text')).toBe(text)
  })

  test('with an id that is in flight is refused, and the first one is answered', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const first = await client.call(7)
    const second = await client.call(7)
    expect(second.status).toBe(400)
    await second.ended
    expect(errorIn(second.messages[0]).message).toContain('in flight')
    // Another type of id is another id.
    expect((await client.call('7')).status).toBe(200)
    await pipe.deliver({ jsonrpc: '2.0', id: 7, result: {} })
    await first.ended
    expect(first.messages).toEqual([{ jsonrpc: '2.0', id: 7, result: {} }])
  })

  test('that is a batch goes on message by message, and is answered in one stream', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const answer = await client.post([{ ...call, id: 1 }, INITIALIZED, { ...call, id: 2 }])
    await until('it went on', () => pipe.sent.length === 4)
    expect(pipe.sent.slice(1)).toEqual([{ ...call, id: 1 }, INITIALIZED, { ...call, id: 2 }])
    // A server of that revision may answer with a batch too.
    await pipe.deliver([2, 1].map((id) => ({ jsonrpc: '2.0', id, result: { of: id } })))
    await answer.ended
    expect(answer.messages.map((message) => field(message, 'result', 'of'))).toEqual([2, 1])
  })
})

test('what a client sends waits with the client when the pipe takes nothing', async () => {
  const hand = await handFront()
  const { client, pipe } = await handClient(hand)
  const { promise: taking, open } = latch()
  pipe.taking = taking
  const long = { jsonrpc: '2.0', method: 'notifications/x', params: { text: 'x'.repeat(9 * 1024 * 1024) } }
  const answers: number[] = []
  for (let i = 0; i < 2; i++) answers.push((await client.post(long)).status)
  let hasLast = false
  const last = client.post(long).then(({ status }) => {
    hasLast = true
    return status
  })
  // What is refused at once is answered after it came.
  await client.post('x'.repeat(9 * 1024 * 1024))
  expect(answers).toEqual([202, 202])
  expect(hasLast).toBe(false)
  open()
  expect(await last).toBe(202)
  await until('everything went on', () => pipe.sent.length === 4)
})

describe('what the server sends unasked', () => {
  const progress = (progressToken: number | string) => ({
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken, progress: 1 },
  })
  const log = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } }
  const ask = { jsonrpc: '2.0', id: 0, method: 'roots/list' }

  test('goes with the request whose progress it is, with a stream of its own and without', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const [first, second] = [await client.call(1, 'a'), await client.call(2, 2)]
    await pipe.deliver(progress(2))
    await pipe.deliver(progress('a'))
    const own = await client.get()
    await pipe.deliver(progress('a'))
    await until('it came', () => first.messages.length === 2 && second.messages.length === 1)
    expect(first.messages).toEqual([progress('a'), progress('a')])
    expect(second.messages).toEqual([progress(2)])
    expect(own.messages).toEqual([])
  })

  test('goes with the only request in flight, before its response', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const own = await client.get()
    const called = await client.call(1)
    for (const message of [log, ask, { jsonrpc: '2.0', id: 1, result: {} }]) await pipe.deliver(message)
    await called.ended
    expect(called.messages).toEqual([log, ask, { jsonrpc: '2.0', id: 1, result: {} }])
    expect(own.messages).toEqual([])
  })

  test('goes on the own stream of a client when nobody can say what it belongs to', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const own = await client.get()
    await pipe.deliver(log)
    const called = [await client.call(1), await client.call(2)]
    await pipe.deliver(ask)
    await until('it came', () => own.messages.length === 2)
    expect(own.messages).toEqual([log, ask])
    expect(called.map(({ messages }) => messages)).toEqual([[], []])
  })

  test('goes with the newest request of a client that has no such stream', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const called = [await client.call(1), await client.call(2)]
    await pipe.deliver(ask)
    await until('it came', () => called[1]?.messages.length === 1)
    called[1]?.leave()
    await retry('it comes with the first', async () => {
      await pipe.deliver(log)
      return called[0]?.messages.length !== 0
    })
    expect(called[0]?.messages[0]).toEqual(log)
  })

  test('waits for a stream, and holds up what comes after it', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    let taken = 0
    const deliver = async () => {
      for (const message of [ask, log]) {
        await pipe.deliver(message)
        taken++
      }
    }
    const delivered = deliver()
    // A notification of the client's brings no stream.
    await client.post(INITIALIZED)
    await until('it went on', () => pipe.sent.length === 2)
    expect(taken).toBe(0)
    const own = await client.get()
    await delivered
    await until('it came', () => own.messages.length === 2)
    expect(own.messages).toEqual([ask, log])
  })

  test('waits for the next request of a client that never has a stream', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const delivered = pipe.deliver(ask)
    const called = await client.call(1)
    await delivered
    await pipe.deliver({ jsonrpc: '2.0', id: 1, result: {} })
    await called.ended
    expect(called.messages.map((message) => field(message, 'id'))).toEqual([0, 1])
    const answered = await client.post({ jsonrpc: '2.0', id: 0, result: { roots: [] } })
    expect(answered.status).toBe(202)
    await until('the answer went on', () => pipe.sent.length === 3)
    expect(pipe.sent[2]).toEqual({ jsonrpc: '2.0', id: 0, result: { roots: [] } })
  })

  test('waits while the client does not read', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const { port } = new URL(hand.front.url)
    const socket = connect({ host: '127.0.0.1', port: Number(port) })
    ends.push(async () => socket.destroy())
    const lines = [
      'GET /mcp HTTP/1.1',
      `host: 127.0.0.1:${port}`,
      'accept: text/event-stream',
      `mcp-session-id: ${client.session}`,
    ]
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    await new Promise((resolve) => socket.once('readable', resolve))
    const long = { ...log, params: { level: 'info', data: 'x'.repeat(1024 * 1024) } }
    let taken = 0
    const deliver = async () => {
      for (let i = 0; i < 40; i++) {
        await pipe.deliver(long)
        taken++
      }
    }
    const delivered = deliver()
    let before = -1
    // It stands still: the system's buffers are full, and nothing else takes it.
    for (let still = 0; still < 20; ) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      still = taken === before ? still + 1 : 0
      before = taken
    }
    expect(taken).toBeLessThan(30)
    socket.resume()
    await delivered
    expect(taken).toBe(40)
  })

  test('is no message: who waits for it hears that, and nobody else is disturbed', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const called = await client.call(1)
    await pipe.deliver('{"jsonrpc')
    await pipe.deliver({ jsonrpc: '2.0', id: 1, result: 'no object' })
    await called.ended
    expect(errorIn(called.messages[0])).toEqual({
      code: -32603,
      message: 'the MCP server sent what is no message of JSON-RPC',
    })
    expect(hand.errors.map((error) => field(error, 'code'))).toEqual(['ERR_MALFORMED', 'ERR_MALFORMED'])
  })
})

describe('a call that nobody waits for any more', () => {
  test('ends its stream when it is cancelled, and a late response goes nowhere', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const [kept, cancelled] = [await client.call(1), await client.call(2)]
    await client.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2 } })
    await cancelled.ended
    expect(cancelled.messages).toEqual([])
    await until('the server heard of it', () => pipe.sent.length === 4)
    await pipe.deliver({ jsonrpc: '2.0', id: 2, result: {} })
    await pipe.deliver({ jsonrpc: '2.0', id: 1, result: {} })
    await kept.ended
    expect(kept.messages).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }])
    // The id is free again.
    expect((await client.call(2)).status).toBe(200)
  })

  test('ends within a batch, whose other requests are answered', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const batch = await client.post([1, 2].map((id) => ({ jsonrpc: '2.0', id, method: 'tools/list' })))
    await client.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
    await pipe.deliver({ jsonrpc: '2.0', id: 2, result: {} })
    await batch.ended
    expect(batch.messages.map((message) => field(message, 'id'))).toEqual([1, 2])
  })

  test('disturbs nobody when its client has left', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const [left, kept] = [await client.call(1, 'a'), await client.call(2)]
    left.leave()
    await left.ended
    await pipe.deliver({ jsonrpc: '2.0', id: 1, result: {} })
    await pipe.deliver({ jsonrpc: '2.0', id: 2, result: {} })
    await kept.ended
    expect(kept.messages).toHaveLength(1)
    expect(hand.errors).toEqual([])
  })
})

describe('a session', () => {
  test('ends with its pipe: calls in flight get an error, and later ones begin anew', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const own = await client.get()
    const called = await client.call(1)
    await pipe.end(
      new SubrosaError('ERR_MCP_ENDED', 'the MCP session has ended: a test', { hint: 'try again' }),
    )
    await Promise.all([called.ended, own.ended])
    expect(called.messages).toHaveLength(1)
    expect(errorIn(called.messages[0])).toEqual({
      code: -32000,
      message: 'the MCP session has ended: a test: try again',
    })
    expect((await client.call(2)).status).toBe(404)
    expect(hand.errors).toHaveLength(1)
    const again = await handClient(hand)
    expect(again.client.session).not.toBe(client.session)
  })

  test('ends by DELETE, and its pipe with it', async () => {
    const hand = await handFront()
    const [one, other] = [await handClient(hand), await handClient(hand)]
    expect((await one.client.delete()).status).toBe(200)
    await until('the pipe is closed', () => one.pipe.isClosed)
    expect((await one.client.delete()).status).toBe(404)
    expect((await one.client.get()).status).toBe(404)
    expect(other.pipe.isClosed).toBe(false)
    expect(hand.errors).toEqual([])
  })

  test('ends when its client is idle, and not while it waits for something', async () => {
    const hand = await handFront()
    const [idle, waiting] = [await handClient(hand), await handClient(hand)]
    const own = await waiting.client.get()
    hand.clock.advance(IDLE_MS - 1)
    expect(idle.pipe.isClosed).toBe(false)
    // Any request begins the time anew.
    await (await idle.client.post(INITIALIZED)).ended
    hand.clock.advance(IDLE_MS - 1)
    expect(idle.pipe.isClosed).toBe(false)
    await until('it is closed', () => {
      hand.clock.advance(1)
      return idle.pipe.isClosed
    })
    expect((await idle.client.post(INITIALIZED)).status).toBe(404)
    await (await waiting.client.post(INITIALIZED)).ended
    // That the answer has ended is known before another one has.
    await sendAs(hand.front.url, { host: 'evil.example' })
    hand.clock.advance(10 * IDLE_MS)
    expect((await waiting.client.post(INITIALIZED)).status).toBe(202)
    own.leave()
    await until('the other is closed', () => {
      hand.clock.advance(IDLE_MS)
      return waiting.pipe.isClosed
    })
  })

  test('ends with the front: calls in flight get an error first', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    const called = await client.call(1)
    await hand.front.close()
    await called.ended
    expect(errorIn(called.messages[0]).message).toContain('was closed')
    expect(pipe.isClosed).toBe(true)
    await failure(() => client.call(2))
  })

  test('does not begin while the front ends', async () => {
    const hand = await handFront()
    const { pipe } = await handClient(hand)
    const { promise: closing, open } = latch()
    pipe.closing = closing
    const body = JSON.stringify(INITIALIZE)
    const { port } = new URL(hand.front.url)
    const socket = connect({ host: '127.0.0.1', port: Number(port) })
    ends.push(async () => socket.destroy())
    const lines = [
      'POST /mcp HTTP/1.1',
      `host: 127.0.0.1:${port}`,
      'accept: application/json, text/event-stream',
      'content-type: application/json',
      `content-length: ${body.length}`,
      'expect: 100-continue',
    ]
    let heard = ''
    socket.setEncoding('latin1').on('data', (text) => {
      heard += text
    })
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    await until('the request is being read', () => heard.includes('100 Continue'))
    const closed = hand.front.close()
    socket.write(body)
    await until('it is answered', () => heard.includes('HTTP/1.1 503'))
    open()
    await closed
    expect(hand.pipes).toHaveLength(1)
  })

  test('has one stream of its own at a time', async () => {
    const hand = await handFront()
    const { client } = await handClient(hand)
    const own = await client.get()
    expect((await client.get()).status).toBe(409)
    own.leave()
    await retry('it is free', async () => (await client.get()).status === 200)
  })

  test(`makes room beyond ${MAX_MCP_HTTP_SESSIONS} of them when nobody waits for anything of it, the longest first`, async () => {
    const hand = await handFront()
    const first = await handClient(hand)
    const stream = await first.client.get()
    const second = await handClient(hand)
    for (let i = 2; i < MAX_MCP_HTTP_SESSIONS; i++) await handClient(hand)
    await handClient(hand)
    expect(hand.pipes.map(({ isClosed }) => isClosed).indexOf(true)).toBe(1)
    expect(hand.pipes.filter(({ isClosed }) => isClosed)).toHaveLength(1)
    expect((await second.client.call(1)).status).toBe(404)
    stream.leave()
  })

  test(`is refused beyond ${MAX_MCP_HTTP_SESSIONS} of them that are all in use`, async () => {
    const hand = await handFront()
    const clients = []
    for (let i = 0; i < MAX_MCP_HTTP_SESSIONS; i++) {
      const { client } = await handClient(hand)
      clients.push({ client, stream: await client.get() })
    }
    const refused = await send('POST', hand.front.url, { body: INITIALIZE })
    expect(refused.status).toBe(503)
    expect(hand.pipes).toHaveLength(MAX_MCP_HTTP_SESSIONS)
    await clients[0]?.client.delete()
    await handClient(hand)
    for (const { stream } of clients) stream.leave()
  })

  test('is none where its first request could not go on: the answer says why', async () => {
    const hint = 'is it running?'
    const hand = await handFront(() => {
      const pipe = new HandPipe()
      pipe.failure = new SubrosaError('ERR_NO_RESPONDERS', 'no MCP server answers', { hint })
      return pipe
    })
    const answer = await send('POST', hand.front.url, { body: INITIALIZE })
    await answer.ended
    expect(answer.status).toBe(200)
    expect(answer.headers.get('mcp-session-id')).toBe(null)
    expect(field(answer.messages[0], 'id')).toBe(0)
    expect(errorIn(answer.messages[0])).toEqual({
      code: -32000,
      message: 'no MCP server answers: is it running?',
    })
    expect(hand.errors).toHaveLength(1)
    const { message } = await failure(() => oldClient(hand.front.url))
    expect(message).toContain('no MCP server answers')
    const other = await failure(() => newClient(hand.front.url))
    expect(other.message).toContain('no MCP server answers')
  })

  test('is none where the server refuses its first request', async () => {
    const hand = await handFront()
    const begun = await send('POST', hand.front.url, { body: INITIALIZE })
    const refusal = { jsonrpc: '2.0', id: 0, error: { code: -32602, message: 'not like this' } }
    await hand.pipes[0]?.deliver(refusal)
    await begun.ended
    expect(begun.messages).toEqual([refusal])
    expect(hand.pipes[0]?.isClosed).toBe(true)
    const session = begun.headers.get('mcp-session-id') ?? ''
    const later = await send('POST', hand.front.url, {
      body: INITIALIZED,
      headers: { 'mcp-session-id': session },
    })
    expect(later.status).toBe(404)
    expect(hand.errors).toEqual([])
  })

  test('is closed when the front ends before it is open', async () => {
    const { promise: opening, open } = latch()
    const hand = await handFront(() => Object.assign(new HandPipe(), { opening }))
    const begun = send('POST', hand.front.url, { body: INITIALIZE })
    await until('the pipe opens', () => hand.pipes.length === 1)
    const closed = hand.front.close()
    open()
    expect((await begun).status).toBe(404)
    await closed
    await until('it is closed', () => hand.pipes[0]?.isClosed === true)
  })

  test('is closed when its client leaves before it is open', async () => {
    const { promise: opening, open } = latch()
    const hand = await handFront(() => Object.assign(new HandPipe(), { opening }))
    const abort = new AbortController()
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }
    const body = JSON.stringify(INITIALIZE)
    const begun = failure(() =>
      fetch(hand.front.url, { method: 'POST', headers, body, signal: abort.signal }),
    )
    await until('the pipe opens', () => hand.pipes.length === 1)
    abort.abort()
    await begun
    // Another answer of the same server comes after the first client's leaving.
    await sendAs(hand.front.url, { host: 'evil.example' })
    open()
    await until('it is closed', () => hand.pipes[0]?.isClosed === true)
  })

  test('tells nobody what an unknown failure says', async () => {
    const hand = await handFront(() => {
      const pipe = new HandPipe()
      pipe.failure = new Error('the secret is 1234')
      return pipe
    })
    const answer = await send('POST', hand.front.url, { body: INITIALIZE })
    await answer.ended
    expect(errorIn(answer.messages[0]).message).toBe('the connection to the MCP server failed')
  })

  test('is opened for nothing but a good first request', async () => {
    const hand = await handFront()
    const answer = await send('POST', hand.front.url, { body: INITIALIZE, headers: { accept: 'text/html' } })
    expect(answer.status).toBe(406)
    expect(hand.pipes).toEqual([])
    // It takes no place either.
    for (let i = 0; i < MAX_MCP_HTTP_SESSIONS; i++)
      await send('POST', hand.front.url, { body: INITIALIZE, headers: { accept: 'text/html' } })
    await handClient(hand)
  })

  test('answers a call that its pipe does not take', async () => {
    const hand = await handFront()
    const { client, pipe } = await handClient(hand)
    pipe.failure = new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'a message of 9 bytes is too long')
    const called = await client.call(1)
    await called.ended
    expect(errorIn(called.messages[0]).message).toBe('a message of 9 bytes is too long')
    pipe.failure = undefined
    const next = await client.call(2)
    await pipe.deliver({ jsonrpc: '2.0', id: 2, result: {} })
    await next.ended
    expect(next.messages).toHaveLength(1)
  })
})
