import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { DEFAULT_MCP_SESSIONS, MAX_MCP_SESSIONS_PER_AGENT } from '../../base/limits.ts'
import { filteredPipe } from '../../mcp/pipes/filtered-pipe.ts'
import type { MessagePipe } from '../../mcp/pipes/pipe.ts'
import { readPolicy, type ServerPolicy } from '../../mcp/policy/policy.ts'
import type { Channel } from '../../mcp/session/channel.ts'
import { joinPipes } from '../../mcp/session/join.ts'
import { Listener } from '../../mcp/session/listener.ts'
import { addressOf } from '../../mcp/session/peer.ts'
import { addAgentOptions, type BrokerOptions } from '../realm/broker-options.ts'
import { inRealm, type Session } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP, reportFailure } from '../terminal/failure.ts'
import { addExamples, parseCount, parseDuration, parseName } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { durationShown } from '../terminal/times.ts'
import { childEnvironment, collectVariables } from './child/child-environment.ts'
import { ChildPipe } from './child/child-pipe.ts'
import { Guardian } from './child/guardian.ts'
import { collectHeaders, type HeaderSource, headersFrom } from './http/http-headers.ts'
import { mcpOptions } from './mcp-options.ts'
import { assertSecure, parseServerUrl } from './server-url.ts'

interface ServeOptions extends BrokerOptions {
  readonly policy?: string
  readonly env?: readonly string[]
  readonly url?: URL
  readonly header?: readonly HeaderSource[]
  readonly sessions: number
  readonly heartbeat?: number
  readonly lease?: number
}

/** Leads to the MCP server, for one client alone. */
type OpenServer = () => MessagePipe

const WHERE = 'say where the MCP server is: what starts it, after --, or its address with --url'

/** Registers `subrosa mcp serve`. */
export function registerServe(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('serve')
    .description('serve an MCP server, sealed, until interrupted; each client gets one of its own')
    .argument('<name>', 'the name that clients know it by: that of the agent that serves', parseName)
    .argument('[command...]', 'after --: what starts the MCP server, on its standard input and output')
    .addOption(
      new Option('--url <url>', 'serve what is there over Streamable HTTP instead').argParser(parseServerUrl),
    )
    .addOption(
      new Option(
        '--header <header=variable...>',
        'send this header there, with the value of this variable of the environment',
      ).argParser(collectHeaders),
    )
    .option(
      '--policy <file>',
      'who may use what of it (JSON); without it all who may open a session may use all',
    )
    .addOption(
      new Option('--env <key...>', 'hand on this variable of the environment to the server').argParser(
        collectVariables,
      ),
    )
    .option('--sessions <number>', 'how many at once', parseCount, DEFAULT_MCP_SESSIONS)
    .addOption(
      new Option(
        '--heartbeat <duration>',
        'how often either side gives a sign of life; a session ends when three are missing (default: 10s)',
      ).argParser(parseDuration),
    )
    .addOption(
      new Option('--lease <duration>', 'after how long a session ends in any case (default: 24h)').argParser(
        parseDuration,
      ),
    )
  addAgentOptions(command, 'info').action(
    async (name: string, words: readonly string[], options: ServeOptions) =>
      serve(terminal, { name, words, options }),
  )
  addExamples(
    command,
    'subrosa mcp serve files -- npx -y @modelcontextprotocol/server-filesystem ~/Documents',
    'subrosa mcp serve tickets --url http://127.0.0.1:3000/mcp --header Authorization=TICKETS_TOKEN',
    'subrosa mcp serve files --policy policy.json --env API_KEY -- ./server --verbose',
  ).addHelpText('after', EXIT_CODES_HELP)
}

interface Serving {
  readonly name: string
  readonly words: readonly string[]
  readonly options: ServeOptions
}

async function serve(terminal: Terminal, { name, words, options }: Serving): Promise<void> {
  const policy = options.policy === undefined ? undefined : await loadPolicy(options.policy)
  const openServer = await serverOpener(terminal, { name, words, options })
  const agent = await mcpOptions(terminal, options, { as: name })
  await inRealm(terminal, agent, {
    purpose: 'subrosa mcp serve',
    task: async (session) => {
      if (session.bus.name !== name) throw wrongAgent(name, session.bus.name)
      await serveSessions(terminal, session, { options, policy, openServer })
    },
  })
}

async function serveSessions(
  terminal: Terminal,
  { bus, interrupted }: Session,
  {
    options,
    policy,
    openServer,
  }: Omit<Serving, 'name' | 'words'> & {
    readonly options: ServeOptions
    readonly policy: ServerPolicy | undefined
    readonly openServer: OpenServer
  },
): Promise<void> {
  const { sessions: maxSessions, heartbeat, lease } = options
  /** The agent of each session, until its server is gone: that may take longer than the session. */
  const running = new Map<Promise<unknown>, string>()
  const accept = async (client: Channel): Promise<void> => {
    const { name } = client.peer
    const ofAgent = [...running.values()].filter((other) => other === name)
    // Else whoever opens sessions and ends them at once has any number of processes started.
    if (running.size >= maxSessions || ofAgent.length >= MAX_MCP_SESSIONS_PER_AGENT) throw stillThere()
    const filter = policy?.filterFor(name)
    // Nobody gets here whom the policy does not admit, and nobody gets further.
    if (policy !== undefined && filter === undefined) throw notAdmitted(name)
    const beganAt = systemClock.monotonic()
    const server = filter === undefined ? openServer() : filteredPipe(openServer(), filter)
    const joined = joinPipes({ client, server })
    const who = addressOf(client.peer)
    const ended = joined.then(async (pipes) => {
      const error = await pipes.ended
      const why = error === undefined ? '' : `: ${error.message}`
      note(
        terminal,
        `session of ${who} ended after ${durationShown(systemClock.monotonic() - beganAt)}${why}`,
      )
    })
    // What kept it from beginning is thrown below.
    const gone = ended.catch(() => {}).finally(() => running.delete(gone))
    running.set(gone, name)
    await joined
    note(terminal, `session of ${who}`)
  }
  const listener = await Listener.start(bus, accept, {
    maxSessions,
    onError: (error) => reportFailure(terminal, error),
    ...(policy && { admits: ({ name }) => policy.filterFor(name) !== undefined }),
    ...(heartbeat !== undefined && { heartbeat }),
    ...(lease !== undefined && { lease }),
  })
  note(terminal, `serving ${bus.name}, instance ${bus.instance}`)
  try {
    const error = await Promise.race([interrupted, bus.closed()])
    if (error instanceof Error) throw error
  } finally {
    listener.close()
    await Promise.all(running.keys())
  }
}

async function serverOpener(terminal: Terminal, { name, words, options }: Serving): Promise<OpenServer> {
  const { url, header = [] } = options
  const [command, ...args] = words
  if (url !== undefined && command === undefined) {
    assertSecure(url)
    const headers = headersFrom(header, terminal.env)
    // Most commands need nothing of it, and it takes its time to load.
    const { httpBack } = await import('./http/http-back.ts')
    return () => httpBack({ url, headers, onError: (error) => reportFailure(terminal, error) })
  }
  if (url !== undefined || command === undefined) throw new RangeError(WHERE)
  const env = childEnvironment(terminal.env, options.env)
  const guardian = new Guardian(terminal)
  return () => new ChildPipe(terminal, { name, command, args, env, guardian })
}

async function loadPolicy(path: string): Promise<ServerPolicy> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot read the policy ${path}`, { cause })
  }
  return readPolicy(text)
}

function stillThere(): SubrosaError {
  return new SubrosaError('ERR_MCP_REFUSED', 'the servers of sessions that have ended are not gone yet')
}

function notAdmitted(name: string): SubrosaError {
  return new SubrosaError('ERR_MCP_REFUSED', `its policy does not admit ${name}`)
}

function wrongAgent(name: string, agent: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `${name} cannot be served by the agent ${agent}`, {
    hint: 'a server has the name of the agent that serves it: leave --as out, or give the same name twice',
  })
}
