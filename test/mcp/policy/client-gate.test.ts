import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import { clientGate, type ServerRequestKind } from '../../../src/mcp/policy/client-gate.ts'

const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const ALL = ['sampling/createMessage', 'elicitation/create', 'roots/list']

function read(bytes: Uint8Array | undefined): unknown {
  return bytes && JSON.parse(fromUtf8(bytes) ?? '')
}

/** What goes on and what goes back: `'as it is'` for the very bytes. */
function through(
  direction: 'toServer' | 'toClient',
  refused: readonly ServerRequestKind[],
  message: object | string,
) {
  const bytes = utf8(typeof message === 'string' ? message : JSON.stringify(message))
  const { forward, answer } = clientGate(refused)[direction](bytes)
  return { forward: forward === bytes ? 'as it is' : read(forward), answer: read(answer) }
}

const PASSES = { forward: 'as it is', answer: undefined }
const DROPPED = { forward: undefined, answer: undefined }

function refusedRequest(id: unknown) {
  const error = { code: -32601, message: 'the client refuses such requests' }
  return { forward: undefined, answer: { jsonrpc: '2.0', id, error } }
}

function refusedInput(id: unknown) {
  const error = { code: -32021, message: 'the server asks for input that is refused here' }
  return { forward: { jsonrpc: '2.0', id, error }, answer: undefined }
}

function request(method: string, params?: object, id: unknown = 1) {
  return { jsonrpc: '2.0', id, method, params }
}

function notification(method: string, params?: object) {
  return { jsonrpc: '2.0', method, params }
}

function result(of: object, id: unknown = 1) {
  return { jsonrpc: '2.0', id, result: of }
}

function initialize(capabilities: unknown) {
  return request('initialize', {
    protocolVersion: '2025-11-25',
    capabilities,
    clientInfo: { name: 'x', version: '1' },
  })
}

describe('what a client says that it can', () => {
  const tasks = { list: {}, requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } }
  const declared = {
    sampling: { tools: {} },
    elicitation: {},
    roots: { listChanged: true },
    tasks,
    experimental: { x: {} },
    extensions: {},
  }
  const { sampling, elicitation, roots, experimental, extensions } = declared

  it.each<{ refused: readonly ServerRequestKind[]; left: object }>([
    {
      refused: ['sampling'],
      left: {
        elicitation,
        roots,
        tasks: { list: {}, requests: { elicitation: { create: {} } } },
        experimental,
        extensions,
      },
    },
    {
      refused: ['elicitation'],
      left: {
        sampling,
        roots,
        tasks: { list: {}, requests: { sampling: { createMessage: {} } } },
        experimental,
        extensions,
      },
    },
    { refused: ['roots'], left: { sampling, elicitation, tasks, experimental, extensions } },
    {
      refused: ['sampling', 'elicitation', 'roots'],
      left: { tasks: { list: {}, requests: {} }, experimental, extensions },
    },
    { refused: ['all'], left: { experimental, extensions } },
    { refused: ['all', 'roots'], left: { experimental, extensions } },
  ])('is without $refused', ({ refused, left }) => {
    expect(through('toServer', refused, initialize(declared))).toEqual({
      forward: initialize(left),
      answer: undefined,
    })
    const stateless = (capabilities: object) =>
      request('tools/call', { name: 'x', _meta: { progressToken: 1, [CAPABILITIES]: capabilities } })
    expect(through('toServer', refused, stateless(declared))).toEqual({
      forward: stateless(left),
      answer: undefined,
    })
  })

  it('has all else as it was written', () => {
    const text = (capabilities: string) =>
      `{"jsonrpc":"2.0", "id":1, "method":"tools/call","params":{"arguments":{"n":18446744073709551615},` +
      `"_meta":{"${CAPABILITIES}":${capabilities}, "x":1.50}}}`
    const { forward } = clientGate(['roots']).toServer(utf8(text('{ "roots":{}, "sampling":{} }')))
    expect(fromUtf8(forward ?? utf8(''))).toBe(text('{"sampling":{}}'))
  })

  it.each([
    initialize({}),
    initialize({ sampling: {}, experimental: { roots: {} } }),
    initialize(undefined),
    initialize(['roots']),
    request('initialize'),
    request('tools/call', { name: 'roots', arguments: { capabilities: { roots: {} } } }),
    request('tools/call', { capabilities: { roots: {} }, _meta: { capabilities: { roots: {} } } }),
    request('tools/list', { _meta: { [CAPABILITIES]: 'roots' } }),
    request('tools/list', { _meta: [] }),
    request('tools/list', []),
    notification('notifications/initialized'),
    result({ capabilities: { roots: {} } }),
    { jsonrpc: '2.0', id: 1, error: { code: -1, message: 'x' } },
  ])('passes as it is where nothing of it is refused: %j', (message) => {
    expect(through('toServer', ['roots'], message)).toEqual(PASSES)
  })

  it.each<{ refused: readonly ServerRequestKind[]; expected: object }>([
    { refused: ['sampling', 'elicitation'], expected: PASSES },
    { refused: ['roots'], expected: DROPPED },
    { refused: ['all'], expected: DROPPED },
  ])('holds for changes of its roots: $refused', ({ refused, expected }) => {
    expect(through('toServer', refused, notification('notifications/roots/list_changed'))).toEqual(expected)
  })

  it.each([
    '',
    'x',
    '[]',
    `[${JSON.stringify(initialize({ roots: {} }))}]`,
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}',
  ])('is not known of what cannot be read: %j', (text) => {
    expect(through('toServer', ['roots'], text)).toEqual({
      forward: undefined,
      answer: {
        jsonrpc: '2.0',
        id: null,
        error: { code: -32600, message: 'not one message that every reader reads alike' },
      },
    })
  })
})

describe('what a server asks of a client', () => {
  it.each<{ refused: readonly ServerRequestKind[]; asks: readonly string[] }>([
    { refused: ['sampling'], asks: ['sampling/createMessage', 'sampling/of-later'] },
    { refused: ['elicitation'], asks: ['elicitation/create', 'elicitation/of-later'] },
    { refused: ['roots'], asks: ['roots/list', 'roots'] },
    { refused: ['sampling', 'roots'], asks: ['sampling/createMessage', 'roots/list'] },
    { refused: ['all'], asks: [...ALL, 'tasks/get', 'of/later', 'ping/x', 'Ping', 'notifications/progress'] },
  ])('is answered with an error where it is refused: $refused', ({ refused, asks }) => {
    for (const method of asks) {
      for (const id of [0, '0', 'x'])
        expect(through('toClient', refused, request(method, {}, id))).toEqual(refusedRequest(id))
      if (!method.startsWith('notifications/'))
        expect(through('toClient', refused, notification(method))).toEqual(DROPPED)
    }
  })

  it.each<{ refused: readonly ServerRequestKind[]; asks: readonly string[] }>([
    { refused: [], asks: [...ALL, 'of/later'] },
    {
      refused: ['sampling'],
      asks: ['elicitation/create', 'roots/list', 'ping', 'tasks/get', 'of/later', 'samplings/x'],
    },
    { refused: ['elicitation', 'roots'], asks: ['sampling/createMessage'] },
    { refused: ['all'], asks: ['ping'] },
  ])('passes as it is where it is not refused: $refused', ({ refused, asks }) => {
    for (const method of asks) expect(through('toClient', refused, request(method, {}))).toEqual(PASSES)
  })

  it.each([
    notification('notifications/progress', { progressToken: 1, progress: 1 }),
    notification('notifications/tools/list_changed'),
    notification('notifications/elicitation/complete', { elicitationId: 'x' }),
    result({}),
    result({ content: [{ type: 'text', text: 'inputRequests' }], resultType: 'complete' }),
    result({ resultType: 'input_required', requestState: 'x' }),
    result({ structuredContent: { inputRequests: { x: { method: 'roots/list' } } } }),
    { jsonrpc: '2.0', id: 1, result: 'x' },
    { jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'x' } },
    { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'x' } },
    { jsonrpc: '2.0', id: 1, error: 'x' },
  ])('is nothing in %j', (message) => {
    expect(through('toClient', ['all'], message)).toEqual(PASSES)
  })

  it.each<{ refused: readonly ServerRequestKind[]; methods: readonly string[] }>([
    { refused: ['sampling'], methods: ['sampling/createMessage'] },
    { refused: ['elicitation'], methods: ['sampling/createMessage', 'elicitation/create'] },
    { refused: ['roots'], methods: ['roots/list', 'elicitation/create'] },
    { refused: ['all'], methods: ['of/later'] },
  ])('is an error in place of a result that asks for input: $refused', ({ refused, methods }) => {
    const inputRequests = Object.fromEntries(
      methods.map((method, i) => [`input${i}`, { method, params: {} }]),
    )
    for (const resultType of ['input_required', 'complete', undefined])
      expect(through('toClient', refused, result({ resultType, inputRequests }, 'x'))).toEqual(
        refusedInput('x'),
      )
  })

  it('passes in a result that asks for input that is not refused', () => {
    const inputRequests = {
      a: { method: 'roots/list' },
      b: { method: 'elicitation/create', params: { x: 1 } },
    }
    expect(
      through('toClient', ['sampling'], result({ resultType: 'input_required', inputRequests })),
    ).toEqual(PASSES)
  })

  it.each([
    { inputRequests: ['roots/list'] },
    { inputRequests: 'roots/list' },
    { inputRequests: null },
    { inputRequests: { a: 'roots/list' } },
    { inputRequests: { a: {} } },
    { inputRequests: { a: { method: ['roots/list'] } } },
    { inputRequests: { a: { method: 'ping', Method: 'roots/list' } } },
    { inputRequests: { a: { Method: 'roots/list' } } },
    { InputRequests: { a: { method: 'roots/list' } } },
    { input_requests: { a: { method: 'roots/list' } } },
    { ResultType: 'input_required' },
    JSON.parse('{"__proto__":{"inputRequests":{"a":{"method":"roots/list"}}}}'),
  ])('is refused where it can be read in more than one way: %j', (of) => {
    expect(through('toClient', ['roots'], result(of))).toEqual(refusedInput(1))
  })

  it.each(['\n', '\r', '\r\n'])(
    'is not on a line of its own in another message, whatever ends lines: %j',
    (end) => {
      const asks = `${end}${JSON.stringify(request('roots/list'))}${end}`
      for (const text of [
        `{"jsonrpc":"2.0","id":1,"result":{"x":${asks}}}`,
        `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":${asks}}}`,
        `{"jsonrpc":"2.0","method":"notifications/message","params":{"x":${asks}}}`,
      ]) {
        const { forward } = clientGate(['roots']).toClient(utf8(text))
        expect(fromUtf8(forward ?? utf8(''))).toBe(text.replaceAll(/[\r\n]/g, ' '))
      }
    },
  )

  it('is a web page to go to, by an error', () => {
    const error = (code: unknown) => ({
      jsonrpc: '2.0',
      id: 1,
      error: { code, message: 'x', data: { elicitations: [] } },
    })
    expect(through('toClient', ['elicitation'], error(-32042))).toEqual(refusedInput(1))
    expect(through('toClient', ['all'], error(-32042))).toEqual(refusedInput(1))
    expect(through('toClient', ['sampling'], error(-32042))).toEqual(PASSES)
    const twice = { jsonrpc: '2.0', id: 1, error: { code: 1, Code: -32042, message: 'x' } }
    expect(through('toClient', ['elicitation'], twice)).toEqual(refusedInput(1))
  })

  it.each([
    '',
    `[${JSON.stringify(request('roots/list'))}]`,
    '{"jsonrpc":"2.0","id":1,"method":"ping","method":"roots/list"}',
    '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"roots/list"}',
    '{"jsonrpc":"2.0","id":1,"result":{},"method":"roots/list"}',
    '{"jsonrpc":"2.0","id":1.0,"method":"roots/list"}',
  ])('is dropped where it can be read in more than one way, or not at all: %j', (text) => {
    expect(through('toClient', ['roots'], text)).toEqual(DROPPED)
  })
})
