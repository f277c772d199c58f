import { systemClock } from '../../base/clock.ts'
import { engineFor } from '../../crypto/engine.ts'
import { pinTools } from '../../mcp/pins/pinned-pipe.ts'
import type { ToolPinStore } from '../../mcp/pins/tool-pins.ts'
import type { MessagePipe } from '../../mcp/pipes/pipe.ts'
import { type ReopeningEvent, ReopeningPipe } from '../../mcp/pipes/reopening-pipe.ts'
import { openChannel } from '../../mcp/session/client.ts'
import { reportFailure } from '../terminal/failure.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { filePinStore } from './pins/pin-store.ts'
import type { RealmKeeper } from './realm-keeper.ts'
import { reportTools } from './report-tools.ts'

/** Which server is used, and how. */
export interface ServerAccess {
  readonly realm: RealmKeeper
  /** Its name. */
  readonly server: string
  /** Whether its tools are pinned. */
  readonly pinTools: boolean
  /** The folder under which the pins are kept, where it is not the usual one. */
  readonly pinRoot?: string | undefined
}

/** A pipe to a server for one client, over as many sessions as it takes. */
export function serverPipe(terminal: Terminal, access: ServerAccess): MessagePipe {
  const { realm, server } = access
  let identity = ''
  const pipe = new ReopeningPipe({
    clock: systemClock,
    dial: async () => {
      const channel = await openChannel(await realm.bus(), { server })
      identity = channel.peer.identity
      return channel
    },
    onEvent: (event) => {
      if (event.type === 'lost') pinned?.sessionLost()
      reportEvent(terminal, server, event)
    },
  })
  const pinned = access.pinTools
    ? pinTools(pipe, {
        server,
        identity: () => identity,
        store: storeOf(access),
        report: (report) => reportTools(terminal, server, report),
      })
    : undefined
  return pinned ?? pipe
}

/** The pins are those of the agent that this is: who that is, is known when the realm is joined. */
function storeOf({ realm, server, pinRoot: root }: ServerAccess): ToolPinStore {
  const store = async (): Promise<ToolPinStore> => {
    const bus = await realm.bus()
    return filePinStore({ engine: engineFor(), realm: bus.realm, agent: bus.name, server, root })
  }
  return {
    read: async () => (await store()).read(),
    create: async (pins) => (await store()).create(pins),
    replace: async (pins) => (await store()).replace(pins),
  }
}

function reportEvent(terminal: Terminal, server: string, event: ReopeningEvent): void {
  switch (event.type) {
    case 'opened':
      note(terminal, `${event.again ? 'again ' : ''}in session with ${server}`)
      break
    case 'lost':
      note(terminal, `the session with ${server} has ended${event.error ? `: ${event.error.message}` : ''}`)
      break
    case 'failed':
      reportFailure(terminal, event.error)
  }
}
