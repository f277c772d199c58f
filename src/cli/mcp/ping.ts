import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import { addressOf } from '../../mcp/session/peer.ts'
import { askPresence, instancesOf } from '../../mcp/session/presence.ts'
import { mcpSubjects } from '../../mcp/session/subjects.ts'
import { addAgentOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { inRealm, type Session, unlessInterrupted } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseCount, parseName } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { mcpOptions } from './mcp-options.ts'

const DEFAULT_COUNT = 4
const PAUSE_MS = 1000

interface PingOptions extends BrokerOptions {
  readonly count: number
}

/** Registers `subrosa mcp ping`. */
export function registerPing(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('ping')
    .description('ask every instance of an MCP server whether it is there, sealed, and how long that takes')
    .argument('<name>', 'the server', parseName)
    .option('--count <number>', 'how often', parseCount, DEFAULT_COUNT)
  addAgentOptions(command).action(async (name: string, options: PingOptions) =>
    inRealm(terminal, await mcpOptions(terminal, options), {
      purpose: 'subrosa mcp ping',
      task: (session) =>
        unlessInterrupted(session.interrupted, ping(terminal, session, { ...options, name })),
    }),
  )
  addExamples(command, 'subrosa mcp ping files').addHelpText('after', EXIT_CODES_HELP)
}

async function ping(
  terminal: Terminal,
  { bus }: Session,
  options: PingOptions & { readonly name: string },
): Promise<void> {
  const { name, count } = options
  const { timeoutMs } = givenOptions(terminal, options)
  await waitFor(bus, name, timeoutMs)
  let answers = 0
  for (let i = 1; i <= count; i++) {
    if (i > 1) await pause(PAUSE_MS)
    for (const instance of instancesOf(bus, name)) {
      const server = await askPresence(bus, instance, { timeoutMs, clock: systemClock })
      if (server.there) answers++
      const what = server.there ? `${server.rttMs.toFixed(2)} ms` : `no answer: ${server.error.message}`
      terminal.data(`${addressOf(instance)} ${i}: ${what}`)
    }
  }
  if (answers > 0) return
  throw new SubrosaError('ERR_TIMEOUT', `${name} does not answer`, {
    hint: 'it may be gone, or its policy may not admit this agent',
  })
}

async function waitFor(bus: SecureConnection, name: string, timeoutMs: number): Promise<void> {
  if (instancesOf(bus, name).length > 0) return
  await bus.waitForAudience(mcpSubjects(name).presence, { timeout: timeoutMs }).catch(() => {})
  if (instancesOf(bus, name).length > 0) return
  throw new SubrosaError('ERR_NO_RESPONDERS', `the MCP server ${name} is not there`, {
    hint: `start it with: subrosa mcp serve ${name}; it must be allowed to serve (subrosa agent add ${name} --mcp-serve), and this agent to use it (--mcp-use ${name})`,
  })
}
