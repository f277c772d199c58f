import { childEnvironment } from '../../dist/cli/mcp/child/child-environment.js'
import { ChildPipe } from '../../dist/cli/mcp/child/child-pipe.js'
import { Guardian } from '../../dist/cli/mcp/child/guardian.js'
import { openBroker } from '../../dist/cli/realm/broker.js'
import { joinPipes } from '../../dist/mcp/session/join.js'
import { Listener } from '../../dist/mcp/session/listener.js'
import { plainBus } from '../lib/mcp/plain-bus.mjs'
import { ownTerminal } from '../lib/mcp/terminal.mjs'

/** `subrosa mcp serve` with nothing sealed: mcp-plain-serve.mjs REALM AGENT COMMAND… */

const [realm = '', agent = '', command = '', ...args] = process.argv.slice(2)
const terminal = ownTerminal()
const env = childEnvironment(terminal.env)
const guardian = new Guardian(terminal)
const nc = await openBroker(terminal, { realm, as: agent }, 'plain serve')
/** @type {Set<Promise<unknown>>} */
const running = new Set()
const listener = await Listener.start(plainBus(nc, agent), async (client) => {
  const server = new ChildPipe(terminal, { name: agent, command, args, env, guardian })
  const { ended } = await joinPipes({ client, server })
  running.add(ended)
})
terminal.say('serving')
await terminal.interrupted()
listener.close()
await Promise.all(running)
await nc.close()
