import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import type { Filtered } from '../../../src/mcp/pipes/filter.ts'
import { encodeMessage } from '../../../src/mcp/policy/json-rpc.ts'
import { readPolicy } from '../../../src/mcp/policy/policy.ts'

const filter = readPolicy(`{
  "agents": {
    "laptop": {
      "tools": { "allow": ["read_*", "list", "*_public"], "deny": ["read_secret"] },
      "prompts": ["greet*"],
      "resources": { "allow": ["file:///srv/*", "note://{id}"], "deny": ["file:///srv/secret/*"] }
    }
  }
}`).filterFor('laptop')

function toServer(text: string): Filtered {
  return filter?.toServer(utf8(text)) ?? {}
}

function request(method: string, params?: object, id: string | number = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

function notification(method: string, params?: object): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params })
}

/** What is answered to a message that goes no further; `undefined` where it does. */
function refusal(text: string): unknown {
  const { forward, answer } = toServer(text)
  return forward === undefined && answer !== undefined ? JSON.parse(fromUtf8(answer) ?? '') : undefined
}

function error(id: unknown, code: number, message: string) {
  return { jsonrpc: '2.0', id, error: { code, message } }
}

const NO_TOOL = error(1, -32602, 'the tool is not available to this agent')
const NO_PROMPT = error(1, -32602, 'the prompt is not available to this agent')
const NO_RESOURCE = error(1, -32602, 'the resource is not available to this agent')
const NO_METHOD = error(1, -32601, 'the method is not available to this agent')
const AMBIGUOUS = error(1, -32602, 'the params can be read in more than one way')
const UNREADABLE = error(null, -32600, 'not one message that every reader reads alike')

describe('what a client sends under a policy', () => {
  it.each([
    request('initialize', {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'x', version: '1' },
    }),
    request('ping'),
    request('server/discover', { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } }),
    request('logging/setLevel', { level: 'debug' }),
    request('tools/list'),
    request('tools/list', { cursor: 'x' }, 'a'),
    request('prompts/list'),
    request('resources/list'),
    request('resources/templates/list'),
    request('tasks/get', { taskId: 'x' }),
    request('tasks/result', { taskId: 'x' }),
    request('tasks/list'),
    request('tasks/cancel', { taskId: 'x' }),
    request('tools/call', { name: 'list' }),
    request('tools/call', {
      name: 'read_file',
      arguments: { name: 'read_secret', Name: 1, names: [] },
      task: {},
    }),
    request('prompts/get', { name: 'greeting', arguments: { uri: 'x' } }),
    request('resources/read', { uri: 'file:///srv/x', _meta: { progressToken: 1 } }),
    request('resources/subscribe', { uri: 'file:///srv/x' }),
    request('resources/unsubscribe', { uri: 'file:///srv/x' }),
    request('subscriptions/listen', { notifications: { toolsListChanged: true } }),
    request('subscriptions/listen', { notifications: { resourceSubscriptions: ['file:///srv/x'] } }),
    request('subscriptions/listen', {}),
    request('completion/complete', {
      ref: { type: 'ref/prompt', name: 'greet' },
      argument: { name: 'a', value: '' },
    }),
    request('completion/complete', { ref: { type: 'ref/resource', uri: 'note://{id}' } }),
    notification('notifications/initialized'),
    notification('notifications/cancelled', { requestId: 1 }),
    notification('notifications/progress', { progressToken: 1, progress: 1 }),
    notification('notifications/roots/list_changed'),
    notification('notifications/tasks/status', { taskId: 'x' }),
    notification('tools/call', { name: 'list' }),
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}]}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}',
    ' {"jsonrpc" : "2.0", "id":1,\t"method":"tools\\/call","params":{"name":"l\\u0069st","x":1.0}} ',
  ])('passes as it is: %s', (text) => {
    const message = utf8(text)
    expect(filter?.toServer(message)).toEqual({ forward: message })
    expect(filter?.toServer(message).forward).toBe(message)
  })

  it.each([
    ['a tool that is not allowed', request('tools/call', { name: 'write_file' }), NO_TOOL],
    ['a tool that is denied', request('tools/call', { name: 'read_secret' }), NO_TOOL],
    ['a tool in another case', request('tools/call', { name: 'LIST' }), NO_TOOL],
    ['a tool with a NUL in its name', request('tools/call', { name: 'hidden\0_public' }), NO_TOOL],
    ['a tool with half a character in its name', request('tools/call', { name: 'read_\ud800' }), NO_TOOL],
    ['a tool with wide letters in its name', request('tools/call', { name: '\uff4cist' }), NO_TOOL],
    ['a tool with a blank behind its name', request('tools/call', { name: 'list ' }), NO_TOOL],
    ['a tool without a name', request('tools/call', {}), NO_TOOL],
    ['a tool without params', request('tools/call'), NO_TOOL],
    ['a list as name', request('tools/call', { name: ['list'] }), NO_TOOL],
    ['an object as name', request('tools/call', { name: { name: 'list' } }), NO_TOOL],
    ['null as name', request('tools/call', { name: null }), NO_TOOL],
    ['a number as name', request('tools/call', { name: 1 }), NO_TOOL],
    ['a prompt that is not allowed', request('prompts/get', { name: 'list' }), NO_PROMPT],
    ['a resource that is not allowed', request('resources/read', { uri: 'file:///etc/passwd' }), NO_RESOURCE],
    ['a resource that is denied', request('resources/read', { uri: 'file:///srv/secret/x' }), NO_RESOURCE],
    ['a way out of a folder', request('resources/read', { uri: 'file:///srv/../etc/passwd' }), NO_RESOURCE],
    ['an encoded way out', request('resources/read', { uri: 'file:///srv/%2e%2e/etc/passwd' }), NO_RESOURCE],
    ['a URI that is no text', request('resources/read', { uri: ['file:///srv/x'] }), NO_RESOURCE],
    ['a subscription', request('resources/subscribe', { uri: 'file:///etc/passwd' }), NO_RESOURCE],
    [
      'the end of a subscription',
      request('resources/unsubscribe', { uri: 'file:///etc/passwd' }),
      NO_RESOURCE,
    ],
    [
      'one of several subscriptions',
      request('subscriptions/listen', {
        notifications: { resourceSubscriptions: ['file:///srv/x', 'file:///etc/passwd'] },
      }),
      NO_RESOURCE,
    ],
    [
      'subscriptions that are no list',
      request('subscriptions/listen', { notifications: { resourceSubscriptions: 'file:///srv/x' } }),
      NO_RESOURCE,
    ],
    ['subscriptions that are a list', request('subscriptions/listen', { notifications: [] }), AMBIGUOUS],
    [
      'subscriptions under a key in another case',
      request('subscriptions/listen', { notifications: { ResourceSubscriptions: ['file:///etc/passwd'] } }),
      AMBIGUOUS,
    ],
    [
      'subscriptions under an outer key in another case',
      request('subscriptions/listen', { Notifications: { resourceSubscriptions: ['file:///etc/passwd'] } }),
      AMBIGUOUS,
    ],
    [
      'completion for a prompt that is not allowed',
      request('completion/complete', { ref: { type: 'ref/prompt', name: 'hidden' } }),
      NO_PROMPT,
    ],
    [
      'completion for a template that is not allowed',
      request('completion/complete', { ref: { type: 'ref/resource', uri: 'db://{table}' } }),
      NO_RESOURCE,
    ],
    [
      'completion of another type',
      request('completion/complete', { ref: { type: 'ref/tool', name: 'greet' } }),
      AMBIGUOUS,
    ],
    ['completion without a type', request('completion/complete', { ref: { name: 'greet' } }), AMBIGUOUS],
    ['completion without a reference', request('completion/complete', { argument: {} }), AMBIGUOUS],
    [
      'completion for both a prompt and a template',
      request('completion/complete', { ref: { type: 'ref/prompt', name: 'greet', uri: 'db://{table}' } }),
      AMBIGUOUS,
    ],
    [
      'completion with two names but for case',
      request('completion/complete', { ref: { type: 'ref/prompt', name: 'greet', Name: 'hidden' } }),
      AMBIGUOUS,
    ],
    [
      'completion with two references but for case',
      request('completion/complete', {
        ref: { type: 'ref/prompt', name: 'greet' },
        REF: { type: 'ref/prompt', name: 'hidden' },
      }),
      AMBIGUOUS,
    ],
    ['a second name but for case', request('tools/call', { name: 'list', Name: 'hidden' }), AMBIGUOUS],
    ['a first name but for case', request('tools/call', { NAME: 'hidden', name: 'list' }), AMBIGUOUS],
    ['a second name but for NUL', request('tools/call', { name: 'list', 'name\0': 'hidden' }), AMBIGUOUS],
    ['a second name but for a blank', request('tools/call', { name: 'list', 'name ': 'hidden' }), AMBIGUOUS],
    ['a second name but for _', request('tools/call', { name: 'list', na_me: 'hidden' }), AMBIGUOUS],
    [
      'a second URI but for case',
      request('resources/read', { uri: 'file:///srv/x', URI: 'file:///etc/passwd' }),
      AMBIGUOUS,
    ],
    [
      'a name that is inherited',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"list"}}}',
      AMBIGUOUS,
    ],
    ['a method that nobody knows', request('tools/delete', { name: 'list' }), NO_METHOD],
    ['a method of an extension', request('skills/list'), NO_METHOD],
    ['a method with a blank', request('tools/call ', { name: 'hidden' }), NO_METHOD],
    ['a method with a NUL', request('tools/list\0', {}), NO_METHOD],
    ['a method in another case', request('Tools/Call', { name: 'list' }), NO_METHOD],
    ['an empty method', request(''), NO_METHOD],
    ['a method that is a key of objects', request('constructor'), NO_METHOD],
    ['a notification as a request', request('notifications/initialized'), NO_METHOD],
    ['a request of servers', request('sampling/createMessage', {}), NO_METHOD],
    ['params that are a list', request('tools/call', ['list']), error(1, -32602, 'the params are no object')],
    ['free params that are a list', request('tools/list', []), error(1, -32602, 'the params are no object')],
    [
      'params that are null',
      '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}',
      error(1, -32602, 'the params are no object'),
    ],
  ])('is answered with an error: %s', (_, text, answer) => {
    expect(refusal(text)).toEqual(answer)
  })

  const call = request('tools/call', { name: 'list' })
  const hidden = request('tools/call', { name: 'hidden' })

  it.each([
    ['nothing', ''],
    ['no JSON', `${call}}`],
    ['a batch', `[${call}]`],
    ['a batch with what is hidden', `[${call},${hidden}]`],
    ['an empty batch', '[]'],
    ['two messages', call + hidden],
    ['two lines', `${call}\n${hidden}`],
    ['a byte order mark', `\uFEFF${call}`],
    ['two names', call.replace('"name":"list"', '"name":"hidden","name":"list"')],
    ['two names, one with an escape', call.replace('"name":"list"', '"n\\u0061me":"hidden","name":"list"')],
    ['two params', call.replace('"params"', '"params":{"name":"hidden"},"params"')],
    ['two methods', call.replace('"method"', '"method":"ping","method"')],
    ['a second method but for case', call.replace('"method"', '"Method":"tools/call","method"')],
    ['only a method in another case', hidden.replace('"method"', '"METHOD"')],
    ['second params but for case', request('ping').replace('"id"', '"Params":{"name":"hidden"},"id"')],
    [
      'second params but for a letter of Go',
      request('ping').replace('"id"', '"param\u017f":{"name":"hidden"},"id"'),
    ],
    ['a response that is a request too', hidden.replace('"params"', '"result":{},"params"')],
    ['an id that is null', request('ping').replace('"id":1', '"id":null')],
    ['an id that is rounded', request('ping').replace('"id":1', '"id":9007199254740993')],
    ['an id that is a fraction', request('ping').replace('"id":1', '"id":1.0')],
    [
      'too deep a nest',
      request('ping', { x: 1 }).replace('{"x":1}', `${'{"x":'.repeat(1001)}1${'}'.repeat(1001)}`),
    ],
  ])('is refused without an id where it is %s', (_, text) => {
    expect(refusal(text)).toEqual(UNREADABLE)
  })

  it.each(['\n', '\r', '\r\n', '\r\r\n\n'])('is on one line behind it, whatever ends lines: %j', (end) => {
    const text = call.replace('{"name"', `{"x":${end}${hidden}${end},"name"`) + end
    const { forward } = toServer(text)
    expect(fromUtf8(forward ?? utf8(''))).toBe(text.replaceAll(/[\r\n]/g, ' '))
  })

  it('is refused where it is no UTF-8', () => {
    const bytes = utf8(request('tools/call', { name: 'read_X' })).map((byte) => (byte === 0x58 ? 0xff : byte))
    const { forward, answer } = filter?.toServer(bytes) ?? {}
    expect(forward).toBeUndefined()
    expect(JSON.parse(fromUtf8(answer ?? utf8('')) ?? '')).toEqual(UNREADABLE)
  })

  it.each([
    notification('tools/call', { name: 'hidden' }),
    notification('tools/call', { name: 'list', Name: 'hidden' }),
    notification('tools/call'),
    notification('tools/call', ['list']),
    notification('resources/read', { uri: 'file:///etc/passwd' }),
    notification('notifications/other'),
    notification('notifications/initialized '),
    notification('notifications/cancelled', [1]),
    notification('sampling/createMessage'),
    notification(''),
  ])('is dropped, without an id to answer: %s', (text) => {
    expect(toServer(text)).toEqual({})
  })

  it('is answered with the id that it has, a text and a number being two', () => {
    for (const id of [0, -1, 2 ** 53 - 1, '', '1', 'é\0\ud800"\\', 'x'.repeat(100_000)])
      expect(refusal(request('tools/call', { name: 'hidden' }, id))).toEqual({ ...NO_TOOL, id })
  })

  it('learns nothing of what there is: all that is not allowed is answered alike', () => {
    const answers = ['read_secret', 'write_file', 'no such tool', '', '\ud800'].map((name) =>
      refusal(request('tools/call', { name })),
    )
    for (const answer of answers) expect(answer).toEqual(NO_TOOL)
  })

  it('is judged at once, however large', () => {
    const start = performance.now()
    expect(
      toServer(request('tools/call', { name: 'list', arguments: { x: '"'.repeat(3_000_000) } })).forward,
    ).toBeDefined()
    const keys = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`key${i}`, 1]))
    expect(refusal(request('tools/call', { ...keys, name: 'hidden' }))).toEqual(NO_TOOL)
    expect(refusal(request('tools/call', { name: 'read_'.repeat(1_000_000) }))).toEqual(NO_TOOL)
    expect(performance.now() - start).toBeLessThan(10_000)
  })
})

function toClient(message: object | string): unknown {
  const bytes = typeof message === 'string' ? utf8(message) : encodeMessage(message)
  const { forward, answer } = filter?.toClient(bytes) ?? {}
  expect(answer).toBeUndefined()
  if (forward === undefined) return undefined
  return forward === bytes ? 'as it is' : JSON.parse(fromUtf8(forward) ?? '')
}

function result(of: object, id: unknown = 1) {
  return { jsonrpc: '2.0', id, result: of }
}

describe('what a server sends under a policy', () => {
  it.each([
    result({}),
    result({
      content: [{ type: 'text', text: '{"tools":[{"name":"hidden"}]}' }],
      structuredContent: { tools: [1] },
    }),
    result({ capabilities: { tools: {}, resources: {} }, instructions: 'x' }),
    result({ tools: [{ name: 'list' }, { name: 'read_file', title: 'hidden' }], nextCursor: 'x' }),
    result({ tools: [], cacheScope: 'public' }),
    result({ contents: [{ uri: 'file:///etc/passwd', text: 'x' }] }),
    { jsonrpc: '2.0', id: 1, result: 'tools' },
    { jsonrpc: '2.0', id: 1, error: { code: -1, message: 'x', data: { tools: [{ name: 'hidden' }] } } },
    { jsonrpc: '2.0', id: null, error: { code: -1, message: 'x' } },
    { jsonrpc: '2.0', id: 1, method: 'sampling/createMessage', params: { tools: [{ name: 'hidden' }] } },
    { jsonrpc: '2.0', id: 1, method: 'of/later', params: [] },
    { jsonrpc: '2.0', method: 'notifications/message', params: { data: 'x' } },
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed' },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///srv/x' } },
    ` {"jsonrpc":"2.0",\n"id":1, "result":{"tools":[ {"name":"list","max":18446744073709551615} ]} } `,
  ])('passes as it is: %j', (message) => {
    expect(toClient(message)).toBe('as it is')
  })

  it.each([
    [
      'tools',
      [{ name: 'list' }, { name: 'write' }, { name: 'read_secret' }, { name: 'read_x', title: 'write' }],
      [{ name: 'list' }, { name: 'read_x', title: 'write' }],
    ],
    ['prompts', [{ name: 'greet' }, { name: 'list' }, { name: 'Greet' }], [{ name: 'greet' }]],
    [
      'resources',
      [
        { uri: 'file:///srv/a', name: 'hidden' },
        { uri: 'file:///srv/secret/a', name: 'list' },
        { uri: 'file:///srv/../a' },
        { uri: 'db://x' },
      ],
      [{ uri: 'file:///srv/a', name: 'hidden' }],
    ],
    [
      'resourceTemplates',
      [
        { uriTemplate: 'note://{id}' },
        { uriTemplate: 'note://{id}/x' },
        { uriTemplate: 'file:///srv/{+path}' },
      ],
      [{ uriTemplate: 'note://{id}' }, { uriTemplate: 'file:///srv/{+path}' }],
    ],
    ['tools', [{ name: 'write' }], []],
    ['tools', [{ name: 'list' }, 'list', null, ['list'], {}, { name: ['list'] }], [{ name: 'list' }]],
    ['tools', { name: 'write' }, []],
    ['tools', 'write', []],
    ['prompts', null, []],
  ])('has no %s but those that the agent sees: %j', (list, all, seen) => {
    const rest = { _meta: { x: 1 }, resultType: 'complete', nextCursor: 'write' }
    expect(toClient(result({ ...rest, [list]: all }))).toEqual(result({ ...rest, [list]: seen }))
  })

  it('has only what the agent sees, whatever its id is and was', () => {
    const seen = [{ name: 'list' }]
    filter?.toServer(utf8(request('tools/list', {}, 5)))
    filter?.toServer(utf8(notification('notifications/cancelled', { requestId: 5 })))
    filter?.toServer(utf8(request('tools/call', { name: 'list' }, 5)))
    for (const id of [5, '5', 6, 'never asked'])
      expect(toClient(result({ tools: [...seen, { name: 'write' }] }, id))).toEqual(
        result({ tools: seen }, id),
      )
  })

  it('is said to be for this agent alone, where it was for everyone', () => {
    const list = { tools: [{ name: 'write' }], ttlMs: 9, cacheScope: 'public' }
    expect(toClient(result(list))).toEqual(result({ tools: [], ttlMs: 9, cacheScope: 'private' }))
  })

  it('keeps what is left as it was written', () => {
    const [before, write, list] = [
      '{"jsonrpc":"2.0", "id":"\\u0031", "result":{ "max":18446744073709551615, "tools":',
      '{"name":"write"}',
      '{ "name":"l\\u0069st", "inputSchema":{"type":"object","maximum":1e3} }',
    ]
    const { forward } = filter?.toClient(utf8(`${before}[ ${write} , ${list}, ${write}] } }`)) ?? {}
    expect(fromUtf8(forward ?? utf8(''))).toBe(`${before}[${list}] } }`)
  })

  it.each([
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///etc/passwd' } },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'file:///srv/secret/x' } },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: {} },
    { jsonrpc: '2.0', method: 'notifications/resources/updated' },
    [result({ tools: [{ name: 'write' }] })],
    'no JSON',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"write"}]}}',
    '{"jsonrpc":"2.0","id":1,"Result":{"tools":[{"name":"write"}]}}',
  ])('is dropped where it tells of what is hidden, or may do so: %j', (message) => {
    expect(toClient(message)).toBeUndefined()
  })
})
