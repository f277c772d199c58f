import { SubrosaError } from '../../base/errors.ts'
import { errorResponse, type JsonRpcId } from '../policy/json-rpc.ts'
import { type ChangedTool, isRefused, type PinnedTools, type ToolChanges } from './tool-pins.ts'

/** What a check of the tools has come to: for the person who runs it, and not for a model. */
export type ToolReport =
  /** Nothing was pinned yet: these tools are, from now on. */
  | { readonly kind: 'pinned'; readonly pins: PinnedTools }
  /** Something differs from what is pinned. It is refused where {@link isRefused} says so. */
  | { readonly kind: 'changed'; readonly changes: ToolChanges }
  /** Everything is as it is pinned again. */
  | { readonly kind: 'restored' }
  /** It could not be told, and what waited for it was refused; or a message of the server's went no further. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** Among the codes that JSON-RPC leaves to implementations. */
const TOOLS_REFUSED = -32_010
const MAX_NAMED = 5
const KNOWN_FIELDS = new Set([
  'title',
  'description',
  'inputSchema',
  'outputSchema',
  'annotations',
  'execution',
  'icons',
  '_meta',
])

/**
 * What is said when tools are refused. A model may read what the host is told: so no word of it is the server's, but
 * names of tools that were accepted. A person is told everything, each thing once in a row.
 */
export class ToolRefusals {
  readonly #server: string
  readonly #report: (report: ToolReport) => void
  #lastSaid: string | undefined

  constructor({
    server,
    report,
  }: { readonly server: string; readonly report: (report: ToolReport) => void }) {
    this.#server = server
    this.#report = report
  }

  /** Takes what a check has found. @returns why the tools are refused, `undefined` where they are not */
  changed(changes: ToolChanges): string | undefined {
    const { pinnedIdentity, added, changed, removed } = changes
    const marks = [added.map(markOf), changed.map(({ after }) => markOf(after)), removed]
    if (isRefused(changes) || removed.length > 0)
      this.#say(JSON.stringify([pinnedIdentity, ...marks]), { kind: 'changed', changes })
    else if (this.#lastSaid !== undefined) this.#say(undefined, { kind: 'restored' })
    if (!isRefused(changes)) return undefined
    const command = `subrosa mcp tools ${this.#server}`
    const what = summaryOf(changes).join(', and ')
    return `the tools of ${this.#server} are not those that were accepted: ${what}; see them with: ${command}; accept them with: ${command} --accept`
  }

  /** Takes what has kept a check from its end. @returns why the tools are refused */
  failed(error: unknown): string {
    const why = error instanceof SubrosaError ? error.message : 'something else went wrong'
    this.#say(why, { kind: 'failed', error })
    return `the tools of ${this.#server} could not be checked: ${why}`
  }

  /** The answer to a request that is refused. */
  answer(id: JsonRpcId, refusal: string): Uint8Array {
    return errorResponse(id, TOOLS_REFUSED, `refused by subrosa: ${refusal}`)
  }

  #say(said: string | undefined, report: ToolReport): void {
    if (said === this.#lastSaid) return
    this.#lastSaid = said
    this.#report(report)
  }
}

function markOf({ name, sha256 }: { readonly name: string; readonly sha256: string }): readonly string[] {
  return [name, sha256]
}

function summaryOf({ pinnedIdentity, added, changed }: ToolChanges): readonly string[] {
  const parts: string[] = []
  if (pinnedIdentity !== undefined) parts.push('another identity serves under this name')
  for (const tool of changed.slice(0, MAX_NAMED)) parts.push(describe(tool))
  if (changed.length > MAX_NAMED) parts.push(`${changed.length - MAX_NAMED} more have changed`)
  if (added.length > 0) parts.push(added.length === 1 ? 'one tool is new' : `${added.length} tools are new`)
  return parts
}

function describe({ before, fields }: ChangedTool): string {
  const known = fields.filter((field) => KNOWN_FIELDS.has(field))
  const named = known.length === fields.length ? known : [...known, 'other fields']
  return `${before.name} has changed (${named.join(', ')})`
}
