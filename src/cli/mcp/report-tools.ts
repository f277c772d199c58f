import type { ToolReport } from '../../mcp/tool-refusals.ts'
import { reportFailure } from '../failure.ts'
import { note, reportError, reportHint, type Terminal } from '../terminal.ts'

/** Tells a person what has become of the tools that are pinned. */
export function reportTools(terminal: Terminal, server: string, report: ToolReport): void {
  switch (report.kind) {
    case 'pinned':
      note(terminal, `the ${report.pins.tools.size} tools of ${server} are pinned`)
      break
    case 'changed':
      reportError(terminal, `the tools of ${server} are not those that are pinned`)
      reportHint(terminal, `subrosa mcp tools ${server} shows what has changed; with --accept it is pinned`)
      break
    case 'restored':
      note(terminal, `the tools of ${server} are those that are pinned again`)
      break
    case 'failed':
      reportFailure(terminal, report.error)
  }
}
