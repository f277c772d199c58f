import { engineFor } from '../../crypto/engine.ts'
import { SubrosaError } from '../../errors.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { type PinnedPipe, pinTools } from '../../mcp/pinned-pipe.ts'
import type { MessagePipe } from '../../mcp/pipe.ts'
import { isRefused, type ToolChanges } from '../../mcp/tool-pins.ts'
import type { ToolReport } from '../../mcp/tool-refusals.ts'
import { type BrokerOptions, givenOptions } from '../broker-options.ts'
import { reportFailure } from '../failure.ts'
import { note, reportError, reportHint, type Terminal } from '../terminal.ts'
import { filePinStore } from './pin-store.ts'
import { countOf } from './tools.ts'

/** Of which server tools are pinned, for whom. */
export interface PinningOptions {
  /** The server's name. */
  readonly server: string
  /** From {@link stateRoot}. */
  readonly root: string | undefined
  /** Who this agent is, and the public identity key of whoever serves: known when a session is open. */
  readonly session: () => { readonly realm: string; readonly agent: string; readonly identity: string }
}

/**
 * Pins the tools of a server in the agent's folder, and says on standard error what comes of it. `sessionLost()` has to
 * be called when a session is lost, before a host's message goes to the next one.
 *
 * @throws TypeError when the server's name is none
 */
export function pinnedSession(terminal: Terminal, pipe: MessagePipe, options: PinningOptions): PinnedPipe {
  const { server, root, session } = options
  const engine = engineFor()
  return pinTools(pipe, {
    server,
    engine,
    identity: () => session().identity,
    store: filePinStore(session, { engine, server, root }),
    report: (report) => say(terminal, server, report),
  })
}

/**
 * The folder under which pins are kept, `undefined` for the usual one.
 *
 * @throws SubrosaError ERR_SETUP when the agent is to keep nothing on disk: pins that nobody keeps are none
 */
export function stateRoot(terminal: Terminal, options: BrokerOptions): string | undefined {
  const { state } = givenOptions(terminal, options).all
  if (state !== 'memory') return state
  throw new SubrosaError('ERR_SETUP', 'accepted tools are kept in a folder, and there is none in memory', {
    hint: 'give another --state or SUBROSA_STATE, or go without --pin-tools',
  })
}

function say(terminal: Terminal, server: string, report: ToolReport): void {
  switch (report.kind) {
    case 'pinned':
      return note(
        terminal,
        `pinned ${countOf([...report.pins.tools.keys()])} of ${server}: others are refused from now on`,
      )
    case 'restored':
      return note(terminal, `the tools of ${server} are those that were accepted`)
    case 'changed':
      return sayChanges(terminal, server, report.changes)
    case 'failed':
      reportFailure(terminal, report.error)
  }
}

function sayChanges(terminal: Terminal, server: string, changes: ToolChanges): void {
  const { pinnedIdentity, added, changed, removed } = changes
  if (pinnedIdentity !== undefined)
    reportError(
      terminal,
      `another identity serves as ${server}: the accepted one is ${fingerprint(pinnedIdentity)}`,
    )
  for (const { after, fields } of changed)
    reportError(terminal, `the tool ${after.name} of ${server} has changed: ${fields.join(', ')}`)
  for (const { name } of added) reportError(terminal, `the tool ${name} of ${server} is new`)
  for (const name of removed) note(terminal, `the tool ${name} of ${server} is gone`)
  if (isRefused(changes))
    reportHint(
      terminal,
      `its tools are refused; see them with: subrosa mcp tools ${server}; accept them with: subrosa mcp tools ${server} --accept`,
    )
}
