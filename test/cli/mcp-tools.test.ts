import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reportTools } from '../../src/cli/mcp/report-tools.ts'
import type { ToolSession } from '../../src/cli/mcp/server-tools.ts'
import { showTools } from '../../src/cli/mcp/tools.ts'
import { readExactJson } from '../../src/json/exact.ts'
import { compareTools, listedTool, pinsOf } from '../../src/mcp/pins/tool-pins.ts'
import type { JsonRpcRequest } from '../../src/mcp/policy/json-rpc.ts'
import { HandPinStore, HandToolServer, OTHER_SERVER, SERVER, tool } from '../mcp/hand-tools.ts'
import { engine } from '../support/identities.ts'
import { failure } from '../support/until.ts'
import { terminalThat } from './run.ts'
import { UNPRINTABLE } from './unprintable.ts'

let data: string[]
let said: string[]
let store: HandPinStore
/** One for each session. */
let servers: HandToolServer[]
beforeEach(() => {
  data = []
  said = []
  store = new HandPinStore()
  servers = []
})
afterEach(() => {
  // Every session that was opened is closed again.
  for (const server of servers) expect(server.isClosed).toBe(true)
})

const terminal = terminalThat({ data: (line) => void data.push(line), say: (line) => void said.push(line) })

interface Shown {
  readonly tools?: readonly object[]
  readonly identity?: string
  readonly accept?: true
  readonly json?: true
  /** What a server answers in the place of its usual answers. */
  readonly answer?: (request: JsonRpcRequest) => string | undefined
  readonly capabilities?: object
}

/** Shows the tools of a server that has these. */
async function show({
  tools = [],
  identity = SERVER,
  answer,
  capabilities,
  ...options
}: Shown): Promise<void> {
  const openSession = async (): Promise<ToolSession> => {
    const server = new HandToolServer()
    server.tools = tools
    server.pageSize = 2
    if (answer) server.answer = answer
    if (capabilities) server.capabilities = capabilities
    servers.push(server)
    return Object.assign(server, { peer: { identity } })
  }
  await showTools(terminal, { name: 'fs', store, openSession, ...options })
}

function pin(...tools: readonly object[]): void {
  const listed = tools.map((each) => listedTool(engine, readExactJson(JSON.stringify(each))))
  store.pins = pinsOf({ identity: SERVER, tools: listed.filter((found) => found !== undefined) })
}

const refused = { code: 'ERR_PIN_MISMATCH', message: 'the tools of fs are not those that were accepted' }

describe('subrosa mcp tools', () => {
  it('lists the tools, and says that none is accepted yet', async () => {
    await show({
      tools: [tool('read'), tool('write', { description: 'Writes.\nMore of it.' }), { name: 'odd' }],
    })
    expect(data).toEqual([
      'NAME   STATE    DESCRIPTION',
      'read   unknown  Does read.',
      'write  unknown  Writes.',
      'odd    unknown',
    ])
    expect(said).toEqual([expect.stringContaining('nothing of fs is accepted yet')])
    expect(store.pins).toBeUndefined()
  })

  it('accepts what it shows, and has nothing to say about it then', async () => {
    await show({ tools: [tool('read')], accept: true })
    expect(store.names).toEqual(['read'])
    await show({ tools: [tool('read')] })
    expect(data.slice(-1)).toEqual(['read  accepted  Does read.'])
  })

  it('fails where something has changed, and shows it line by line', async () => {
    pin(
      tool('read', { description: 'One.\nTwo.\nThree.' }),
      tool('write', { inputSchema: { type: 'object', properties: { path: { type: 'string' } }, max: 1 } }),
    )
    const tools = [
      tool('read', { description: 'One.\nTwo!\nThree.', title: 'Read' }),
      tool('write', {
        inputSchema: { type: 'object', properties: { path: { type: 'string', const: 7 } }, max: 1 },
      }),
    ]
    expect(await failure(() => show({ tools }))).toMatchObject(refused)
    expect(data).toEqual([
      'NAME   STATE    DESCRIPTION',
      'read   changed  One.',
      'write  changed  Does write.',
      'read: description',
      '  - Two.',
      '  + Two!',
      'read: title',
      '  + Read',
      'write: inputSchema',
      '  +       "const": 7,',
    ])
  })

  it('shows every digit that has changed', async () => {
    store.pins = pinsOf({ identity: SERVER, tools: exact('{"name":"a","max":[18446744073709551615,{},[]]}') })
    const answer = ({ id, method }: JsonRpcRequest) =>
      method === 'tools/list'
        ? `{"jsonrpc":"2.0","id":"${id}","result":{"tools":[{"name":"a","max":[18446744073709551616,{},[]]}]}}`
        : undefined
    expect(await failure(() => show({ answer }))).toMatchObject(refused)
    expect(data.slice(-3)).toEqual(['a: max', '  -   18446744073709551615,', '  +   18446744073709551616,'])
  })

  it('shows all of a tool that is new', async () => {
    pin(tool('read'))
    expect(
      await failure(() => show({ tools: [tool('read'), tool('delete', { 'x-note': ['obey'] })] })),
    ).toMatchObject(refused)
    expect(data.slice(-8)).toEqual([
      '  + {',
      '  +   "properties": {},',
      '  +   "type": "object"',
      '  + }',
      'delete: x-note',
      '  + [',
      '  +   "obey"',
      '  + ]',
    ])
  })

  it('says what is gone, and does not fail for it', async () => {
    pin(tool('read'), tool('write'))
    await show({ tools: [tool('read')] })
    expect(data.slice(1)).toEqual(['read   accepted  Does read.', 'write  gone'])
  })

  it('fails where another identity serves, although the tools are the same', async () => {
    pin(tool('read'))
    expect(await failure(() => show({ tools: [tool('read')], identity: OTHER_SERVER }))).toMatchObject(
      refused,
    )
    expect(said.join('\n')).toContain('another identity serves under this name')
    await show({ tools: [tool('read')], identity: OTHER_SERVER, accept: true })
    expect(store.pins?.identity).toBe(OTHER_SERVER)
  })

  it('accepts what has changed, and shows once more what that is', async () => {
    pin(tool('read'), tool('gone'))
    await show({ tools: [tool('read', { title: 'Read' }), tool('new')], accept: true })
    expect(data).toContain('read: title')
    expect(store.names).toEqual(['read', 'new'])
  })

  it('lets no terminal obey what a stranger has written', async () => {
    const evil = 'x\u001b[2J\u202e\u200b\u2028y'
    pin(tool('a'))
    const tools = [tool('a', { description: evil, [evil]: { [evil]: evil } }), tool(evil, { title: evil })]
    expect(await failure(() => show({ tools }))).toMatchObject(refused)
    pin(tool(evil))
    await show({ tools: [] })
    for (const line of [...data, ...said]) expect(line).not.toMatch(UNPRINTABLE)
    expect(data.join('\n')).toContain('\\u001b[2J')
  })

  it('writes JSON that says the same', async () => {
    pin(tool('read'), tool('write'), tool('gone'))
    const tools = [tool('read'), tool('write', { title: 'W' }), tool('new')]
    expect(await failure(() => show({ tools, json: true }))).toMatchObject(refused)
    expect(JSON.parse(data.join('\n'))).toEqual({
      name: 'fs',
      identity: SERVER,
      acceptedIdentity: SERVER,
      tools: [
        { name: 'read', state: 'accepted', tool: tool('read') },
        {
          name: 'write',
          state: 'changed',
          changed: ['title'],
          tool: tool('write', { title: 'W' }),
          accepted: tool('write'),
        },
        { name: 'new', state: 'new', tool: tool('new') },
        { name: 'gone', state: 'gone' },
      ],
    })
  })

  it('does not accept anything in the place of pins that are damaged', async () => {
    store.failure = new Error('damaged')
    expect((await failure(() => show({ tools: [tool('read')], accept: true }))).message).toBe('damaged')
    expect(store.pins).toBeUndefined()
  })
})

const exact = (text: string) =>
  [listedTool(engine, readExactJson(text))].filter((found) => found !== undefined)

describe('the tools of a server', () => {
  const MODERN = 'io.modelcontextprotocol/protocolVersion'
  const isModern = ({ params }: JsonRpcRequest): boolean =>
    Object.hasOwn(Object(Object(params)['_meta']), MODERN)

  /** Answers as a server that speaks revision 2026-07-28, with these tools. */
  const modern = (tools: readonly object[]) => (request: JsonRpcRequest) => {
    const { id, method } = request
    const result =
      method === 'server/discover' ? { supportedVersions: ['2026-07-28'], capabilities: {} } : { tools }
    return isModern(request) ? JSON.stringify({ jsonrpc: '2.0', id, result }) : undefined
  }
  const only = (request: JsonRpcRequest): string | undefined =>
    isModern(request)
      ? undefined
      : JSON.stringify({ jsonrpc: '2.0', id: request.id, error: { code: -32022 } })

  it('are asked for in both ways, and both forms of a tool are accepted', async () => {
    await show({ tools: [tool('read')], answer: modern([tool('read', { title: 'R' })]), accept: true })
    expect(store.pins?.tools.get('read')?.length).toBe(2)
    expect(servers.map(({ methods }) => methods)).toEqual([
      ['initialize', 'notifications/initialized', 'tools/list'],
      ['server/discover', 'tools/list'],
    ])
  })

  it('are those of a server that speaks the new way alone', async () => {
    const answer = modern([tool('new')])
    await show({ answer: (request) => only(request) ?? answer(request), accept: true })
    expect(store.names).toEqual(['new'])
  })

  it('are none where the server says that it has none', async () => {
    await show({ tools: [tool('read')], capabilities: {}, accept: true })
    expect(store.names).toEqual([])
    expect(servers[0]?.methods).not.toContain('tools/list')
  })

  it('cannot be told where the server speaks in no known way', async () => {
    const answer = ({ id }: JsonRpcRequest) => JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601 } })
    expect(await failure(() => show({ answer, accept: true }))).toMatchObject({ code: 'ERR_MALFORMED' })
    expect(store.pins).toBeUndefined()
  })

  it('cannot be told where the list is none', async () => {
    const answer = ({ id, method }: JsonRpcRequest) =>
      method === 'tools/list' ? JSON.stringify({ jsonrpc: '2.0', id, result: {} }) : undefined
    expect(await failure(() => show({ answer }))).toMatchObject({ code: 'ERR_MALFORMED' })
  })

  it('cannot be told where the session ends first', async () => {
    const answer = () => {
      servers.at(-1)?.end()
      return ''
    }
    expect(await failure(() => show({ answer }))).toMatchObject({ code: 'ERR_MCP_ENDED' })
  })

  it('are told by a server that asks something itself meanwhile', async () => {
    const answer = ({ id, method }: JsonRpcRequest) => {
      if (method !== 'tools/list') return undefined
      const server = servers.at(-1)
      server?.say('{"jsonrpc":"2.0","id":"p","method":"ping"}')
      server?.say('{"jsonrpc":"2.0","id":"r","method":"roots/list"}')
      server?.say('{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
      return JSON.stringify({ jsonrpc: '2.0', id, result: { tools: [tool('a')] } })
    }
    await show({ answer, accept: true })
    const answers = servers[0]?.heard
      .map((text) => JSON.parse(text))
      .filter(({ method }) => method === undefined)
    expect(answers).toMatchObject([
      { id: 'p', result: {} },
      { id: 'r', error: { code: -32601 } },
    ])
  })

  it('are not mixed when two identities answer', async () => {
    const identities = [SERVER, OTHER_SERVER]
    const openSession = async (): Promise<ToolSession> => {
      const server = new HandToolServer()
      servers.push(server)
      return Object.assign(server, { peer: { identity: identities.shift() ?? '' } })
    }
    const error = await failure(() => showTools(terminal, { name: 'fs', store, openSession, accept: true }))
    expect(error).toMatchObject({ code: 'ERR_PIN_MISMATCH' })
    expect(store.pins).toBeUndefined()
  })
})

describe('what mcp connect says about pinned tools', () => {
  function changesTo(identity: string, ...tools: readonly object[]) {
    pin(tool('read'), tool('write'))
    const offered = tools.flatMap((each) => exact(JSON.stringify(each)))
    return compareTools(store.pins ?? pinsOf({ identity, tools: [] }), { identity, tools: offered })
  }

  it('is what has changed, and what to do', () => {
    const changes = changesTo(OTHER_SERVER, tool('read', { title: 'x\u001b' }), tool('n\u001bew'))
    reportTools(terminal, 'fs', { kind: 'changed', changes })
    const text = said.join('\n')
    expect(text).toContain('another identity serves there')
    expect(text).toContain('the tool read has changed: title')
    expect(text).toContain('the tool n\\u001bew is new')
    expect(text).toContain('the tool write of fs is gone')
    expect(text).toContain('subrosa mcp tools fs')
    for (const line of said) expect(line).not.toMatch(UNPRINTABLE)
  })

  it('is no alarm where tools are gone', () => {
    reportTools(terminal, 'fs', { kind: 'changed', changes: changesTo(SERVER, tool('read')) })
    expect(said).toEqual(['subrosa: the tool write of fs is gone'])
  })
})
