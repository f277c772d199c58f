import { systemClock } from '../../dist/base/clock.js'
import { StdioPipe } from '../../dist/cli/mcp/child/stdio-pipe.js'
import { openBroker } from '../../dist/cli/realm/broker.js'
import { ReopeningPipe } from '../../dist/mcp/pipes/reopening-pipe.js'
import { openChannel } from '../../dist/mcp/session/client.js'
import { joinPipes } from '../../dist/mcp/session/join.js'
import { plainBus } from '../lib/mcp/plain-bus.mjs'
import { ownTerminal } from '../lib/mcp/terminal.mjs'

/** `subrosa mcp connect` with nothing sealed: mcp-plain-connect.mjs REALM AGENT SERVER. */

const [realm = '', agent = '', server = ''] = process.argv.slice(2)
const terminal = ownTerminal()
const nc = await openBroker(terminal, { realm, as: agent }, 'plain connect')
const bus = plainBus(nc, agent)
const { ended } = await joinPipes({
  client: new StdioPipe(terminal),
  server: new ReopeningPipe({
    clock: systemClock,
    dial: () => openChannel(bus, { server }),
    onEvent: ({ type }) => terminal.say(type),
  }),
})
await ended
await nc.close()
process.stdin.destroy()
