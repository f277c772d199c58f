import { fingerprint } from '../../identity/fingerprint.ts'
import { isRefused, type ToolChanges } from '../../mcp/pins/tool-pins.ts'
import type { ToolReport } from '../../mcp/pins/tool-refusals.ts'
import { reportFailure } from '../terminal/failure.ts'
import { note, reportError, reportHint, type Terminal } from '../terminal/terminal.ts'

/** Tells a person what has become of the tools that are pinned. */
export function reportTools(terminal: Terminal, server: string, report: ToolReport): void {
  switch (report.kind) {
    case 'pinned':
      note(terminal, `the ${report.pins.tools.size} tools of ${server} are pinned`)
      break
    case 'changed':
      reportChanges(terminal, server, report.changes)
      break
    case 'restored':
      note(terminal, `the tools of ${server} are those that are pinned again`)
      break
    case 'failed':
      reportFailure(terminal, report.error)
  }
}

function reportChanges(terminal: Terminal, server: string, changes: ToolChanges): void {
  const { pinnedIdentity, added, changed, removed } = changes
  for (const name of removed) note(terminal, `the tool ${name} of ${server} is gone`)
  if (!isRefused(changes)) return
  reportError(terminal, `the tools of ${server} are not those that are pinned, and are refused`)
  if (pinnedIdentity !== undefined)
    reportError(terminal, `another identity serves there: ${fingerprint(pinnedIdentity)} is pinned`)
  for (const { after, fields } of changed)
    reportError(terminal, `the tool ${after.name} has changed: ${fields.join(', ')}`)
  for (const { name } of added) reportError(terminal, `the tool ${name} is new`)
  reportHint(terminal, `subrosa mcp tools ${server} shows what has changed; with --accept it is pinned`)
}
