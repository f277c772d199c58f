import { hex, utf8 } from '../../base/bytes.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { canonicalJson, type ExactJson, readExactJson } from '../../json/exact.ts'

/** A tool as a server lists it: all of it, fields too that nobody has heard of, for a host or its model may read them. */
export interface ListedTool {
  readonly name: string
  /** Its canonical text: order of keys and layout mean nothing, and everything else does. */
  readonly text: string
  /** SHA-256 of that text in UTF-8, in hexadecimal. */
  readonly sha256: string
}

/** The tools that somebody offers. */
export interface OfferedTools {
  /** The server's public identity key, `U…`. */
  readonly identity: string
  readonly tools: readonly ListedTool[]
}

/** What was accepted of a server. */
export interface PinnedTools {
  /** The server's public identity key, `U…`. */
  readonly identity: string
  /** By name, each tool in every form that was accepted: a server may list it in another way to hosts of another age. */
  readonly tools: ReadonlyMap<string, readonly ListedTool[]>
}

/** Where the pins of one server are kept. */
export interface ToolPinStore {
  /** What is pinned, `undefined` where nothing ever was. @throws SubrosaError when that cannot be told */
  read(): Promise<PinnedTools | undefined>
  /**
   * Pins these where nothing is pinned yet.
   *
   * @returns what is pinned then: another process may have been faster
   */
  create(pins: PinnedTools): Promise<PinnedTools>
  /** Pins these in the place of whatever was. */
  replace(pins: PinnedTools): Promise<void>
}

/** A tool that is not what was accepted by its name. */
export interface ChangedTool {
  readonly before: ListedTool
  readonly after: ListedTool
  /** Which of its fields are new, other or gone, sorted. */
  readonly fields: readonly string[]
}

/** How an offer differs from the pins. */
export interface ToolChanges {
  /** The identity that is pinned, where the offer is of another. */
  readonly pinnedIdentity: string | undefined
  readonly added: readonly ListedTool[]
  readonly changed: readonly ChangedTool[]
  /** Names of tools that are pinned and not offered. */
  readonly removed: readonly string[]
}

/** A tool of this value, `undefined` where it is none: it must be an object with a name. */
export function listedTool(engine: CryptoEngine, value: ExactJson): ListedTool | undefined {
  const name = value instanceof Map ? value.get('name') : undefined
  if (typeof name !== 'string') return undefined
  const text = canonicalJson(value)
  return { name, text, sha256: hex(engine.sha256(utf8(text))) }
}

/** The canonical text of each field of a tool. */
export function fieldsOf({ text }: ListedTool): ReadonlyMap<string, string> {
  const fields = readExactJson(text)
  return new Map(
    fields instanceof Map ? [...fields.entries()].map(([key, value]) => [key, canonicalJson(value)]) : [],
  )
}

/** These tools as pins. */
export function pinsOf({ identity, tools }: OfferedTools): PinnedTools {
  const byName = new Map<string, ListedTool[]>()
  for (const tool of tools) {
    const forms = byName.get(tool.name) ?? []
    if (!includes(forms, tool)) forms.push(tool)
    byName.set(tool.name, forms)
  }
  return { identity, tools: byName }
}

/** Whether just this tool was accepted. */
function isPinned({ tools }: PinnedTools, tool: ListedTool): boolean {
  return includes(tools.get(tool.name) ?? [], tool)
}

/**
 * How an offer differs from what was accepted.
 *
 * @example
 * ```ts
 * const changes = compareTools(pinned, { identity, tools })
 * if (isRefused(changes)) console.error(changes.changed.map(({ after, fields }) => [after.name, fields]))
 * ```
 */
export function compareTools(pinned: PinnedTools, { identity, tools }: OfferedTools): ToolChanges {
  const offered = new Set(tools.map(({ name }) => name))
  const others = pinsOf({ identity, tools: tools.filter((tool) => !isPinned(pinned, tool)) }).tools
  const added: ListedTool[] = []
  const changed: ChangedTool[] = []
  for (const tool of [...others.values()].flat()) {
    const forms = pinned.tools.get(tool.name)
    if (forms === undefined) added.push(tool)
    else changed.push(changeOf(forms, tool))
  }
  return {
    pinnedIdentity: identity === pinned.identity ? undefined : pinned.identity,
    added,
    changed,
    removed: [...pinned.tools.keys()].filter((name) => !offered.has(name)),
  }
}

/**
 * Whether an offer must not reach a host: anything in it that nobody has accepted. That a tool is gone is no such thing.
 * It tells a model nothing, servers hide tools from whom their policy does not show them, and its pin stays: should it
 * come back, it must be what it was.
 */
export function isRefused({ pinnedIdentity, added, changed }: ToolChanges): boolean {
  return pinnedIdentity !== undefined || added.length > 0 || changed.length > 0
}

function includes(forms: readonly ListedTool[], { sha256 }: ListedTool): boolean {
  return forms.some((form) => form.sha256 === sha256)
}

/** Against the form that is nearest to it. */
function changeOf(forms: readonly ListedTool[], after: ListedTool): ChangedTool {
  const changes = forms.map((before) => ({ before, after, fields: differingFields(before, after) }))
  return changes.reduce((nearest, change) =>
    change.fields.length < nearest.fields.length ? change : nearest,
  )
}

function differingFields(before: ListedTool, after: ListedTool): readonly string[] {
  const [old, now] = [fieldsOf(before), fieldsOf(after)]
  return [...new Set([...old.keys(), ...now.keys()])].filter((key) => old.get(key) !== now.get(key)).sort()
}
