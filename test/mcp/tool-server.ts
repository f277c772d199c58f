import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import {
  CallToolRequestSchema,
  ElicitResultSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'

const TOOLS = ['echo', 'progress', 'log', 'sample', 'elicit', 'roots', 'wait']

/** What the tests see of a server. */
export interface ToolServer {
  readonly server: Server
  /** Calls of `wait` that have begun. */
  readonly begun: unknown[]
  /** Calls of `wait` that were cancelled. */
  readonly cancelled: unknown[]
}

/** A server of MCP with a tool for each thing that a server may send while it answers. */
export function toolServer(): ToolServer {
  const begun: unknown[] = []
  const cancelled: unknown[] = []
  const server = new Server(
    { name: 'tools', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true }, logging: {} } },
  )
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: TOOLS.map((name) => ({ name, inputSchema: { type: 'object' as const } })),
  }))
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { sendRequest, _meta, signal }) => {
    const text = (value: unknown) => ({
      content: [{ type: 'text' as const, text: typeof value === 'string' ? value : JSON.stringify(value) }],
    })
    switch (params.name) {
      case 'echo':
        return text(params.arguments?.['text'])
      case 'progress':
        for (const progress of [1, 2, 3])
          await server.notification({
            method: 'notifications/progress',
            params: { progressToken: _meta?.progressToken ?? '', progress, total: 3 },
          })
        return text('done')
      case 'log':
        await server.sendLoggingMessage({ level: 'info', data: params.arguments?.['text'] })
        return text('logged')
      case 'sample': {
        const { content } = await server.createMessage({
          messages: [{ role: 'user', content: { type: 'text', text: 'Hello?' } }],
          maxTokens: 10,
        })
        return text(content)
      }
      case 'elicit': {
        const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } } as const
        return text(
          await sendRequest(
            { method: 'elicitation/create', params: { message: 'Who?', requestedSchema } },
            ElicitResultSchema,
          ),
        )
      }
      case 'roots':
        return text(await sendRequest({ method: 'roots/list' }, ListRootsResultSchema))
      default:
        begun.push(params.arguments?.['text'])
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        cancelled.push(params.arguments?.['text'])
        return text('never read')
    }
  })
  return { server, begun, cancelled }
}
