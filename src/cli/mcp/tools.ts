import type { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { printable, printableJson } from '../../base/printable.ts'
import { engineFor } from '../../crypto/engine.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import {
  compareTools,
  fieldsOf,
  isRefused,
  type ListedTool,
  type OfferedTools,
  pinsOf,
  type ToolChanges,
  type ToolPinStore,
} from '../../mcp/pins/tool-pins.ts'
import { openChannel } from '../../mcp/session/client.ts'
import { addAgentOptions, type BrokerOptions } from '../realm/broker-options.ts'
import { inRealm, unlessInterrupted } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples, parseName } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, reportError, type Terminal } from '../terminal/terminal.ts'
import { mcpOptions } from './mcp-options.ts'
import { pinRoot } from './pins/pin-root.ts'
import { filePinStore } from './pins/pin-store.ts'
import { diffOfTool, newTool } from './pins/tool-diff.ts'
import { askForTools, type ToolSession } from './server-tools.ts'

const MAX_DESCRIPTION = 80

interface ToolsOptions extends BrokerOptions {
  readonly accept?: true
  readonly json?: true
}

/** Registers `subrosa mcp tools`. */
export function registerTools(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('tools')
    .description('show the tools of an MCP server, and how they differ from those that were accepted')
    .argument('<name>', 'the server', parseName)
    .option('--accept', 'accept them as they are now: mcp connect --pin-tools refuses others')
    .option('--json', 'as JSON')
  addAgentOptions(command).action(async (name: string, given: ToolsOptions) => {
    const options = await mcpOptions(terminal, given)
    const root = pinRoot(terminal, options)
    await inRealm(terminal, options, {
      purpose: 'subrosa mcp tools',
      task: ({ bus, interrupted }) => {
        const { realm, name: agent } = bus
        const store = filePinStore({ engine: engineFor(), realm, agent, server: name, root })
        const openSession = () => openChannel(bus, { server: name })
        return unlessInterrupted(interrupted, showTools(terminal, { ...options, name, store, openSession }))
      },
    })
  })
  addExamples(command, 'subrosa mcp tools files', 'subrosa mcp tools files --accept').addHelpText(
    'after',
    `${EXIT_CODES_HELP}\n\nWhat differs from what was accepted is a failure. That a tool is gone is none.`,
  )
}

/** What {@link showTools} shows. */
export interface ShownTools {
  /** The server. */
  readonly name: string
  readonly accept?: true
  readonly json?: true
  readonly store: ToolPinStore
  readonly openSession: () => Promise<ToolSession>
}

/**
 * Shows the tools of a server beside what was accepted of it, and accepts what it has shown where that is wished.
 *
 * @throws SubrosaError ERR_PIN_MISMATCH when something differs and is not accepted, and what asking for the tools and
 *   the store throw
 */
export async function showTools(
  terminal: Terminal,
  { name, accept, json, store, openSession }: ShownTools,
): Promise<void> {
  // Damaged pins stay in the way of whoever would accept others in their place.
  const pinned = await store.read()
  const offered = await askForTools({ engine: engineFor(), clock: systemClock, openSession })
  const changes = pinned && compareTools(pinned, offered)
  if (json) terminal.data(printableJson(viewOf(name, offered, changes)))
  else print(terminal, offered, changes)
  if (accept) {
    await store.replace(pinsOf(offered))
    note(terminal, `accepted the tools of ${name}, as shown`)
  } else if (changes === undefined) {
    note(
      terminal,
      `nothing of ${name} is accepted yet: --accept does that, or mcp connect --pin-tools at the first use`,
    )
  } else if (isRefused(changes)) {
    throw new SubrosaError('ERR_PIN_MISMATCH', `the tools of ${name} are not those that were accepted`, {
      hint: `read what has changed; to accept it: subrosa mcp tools ${name} --accept`,
    })
  }
}

type ToolState = 'unknown' | 'accepted' | 'changed' | 'new'

function stateOf(tool: ListedTool, changes: ToolChanges | undefined): ToolState {
  if (changes === undefined) return 'unknown'
  if (changes.added.includes(tool)) return 'new'
  return changes.changed.some(({ after }) => after === tool) ? 'changed' : 'accepted'
}

function print(
  terminal: Terminal,
  { identity, tools }: OfferedTools,
  changes: ToolChanges | undefined,
): void {
  const rows = tools.map((tool) => [printable(tool.name), stateOf(tool, changes), descriptionOf(tool)])
  for (const name of changes?.removed ?? []) rows.push([printable(name), 'gone', ''])
  if (rows.length > 0)
    for (const line of formatTable([['NAME', 'STATE', 'DESCRIPTION'], ...rows])) terminal.data(line)
  if (changes === undefined) return
  const { pinnedIdentity, changed, added } = changes
  for (const line of [...changed.flatMap(diffOfTool), ...added.flatMap(newTool)]) terminal.data(line)
  if (pinnedIdentity === undefined) return
  reportError(terminal, `another identity serves under this name: ${fingerprint(identity)}`)
  reportError(terminal, `the one that was accepted is ${fingerprint(pinnedIdentity)}`)
}

/** The first line of it. */
function descriptionOf(tool: ListedTool): string {
  const description: unknown = JSON.parse(fieldsOf(tool).get('description') ?? '""')
  const [line = ''] = typeof description === 'string' ? description.split('\n', 1) : []
  return printable(line.length > MAX_DESCRIPTION ? `${line.slice(0, MAX_DESCRIPTION)}…` : line)
}

function viewOf(name: string, { identity, tools }: OfferedTools, changes: ToolChanges | undefined) {
  return {
    name,
    identity,
    acceptedIdentity: changes?.pinnedIdentity ?? (changes && identity),
    tools: [
      ...tools.map((tool) => {
        const change = changes?.changed.find(({ after }) => after === tool)
        const state = stateOf(tool, changes)
        const now: unknown = JSON.parse(tool.text)
        const before: unknown = change && JSON.parse(change.before.text)
        return { name: tool.name, state, changed: change?.fields, tool: now, accepted: before }
      }),
      ...(changes?.removed ?? []).map((gone) => ({ name: gone, state: 'gone' })),
    ],
  }
}
