import { fromUtf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { type ExactJson, readExactJson } from '../../json/exact.ts'
import { hasLookAlike } from '../../json/look-alikes.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import { type JsonRpcResponse, METHOD_NOT_FOUND } from '../policy/json-rpc.ts'
import { type ListedTool, listedTool } from './tool-pins.ts'

/** More than this is no list that anybody has read. */
export const MAX_LISTED_TOOLS = 10_000
const MAX_PAGES = 1000
const MAX_LIST_BYTES = 16 * 1024 * 1024

/** Asks for a page of tools with these parameters, and resolves to the server's answer. */
export type AskForTools = (params: JsonObject) => Promise<JsonRpcResponse>

interface ToolPage {
  readonly tools: readonly ListedTool[]
  /** What asks for the next page; none where this is the last one. */
  readonly cursor: string | undefined
}

/**
 * Every tool that a server lists, page after page. A server that does not know the question has none.
 *
 * @throws SubrosaError ERR_MALFORMED when the answer is no list, has no end, is too long, or has two tools of one name
 */
export async function listTools(engine: CryptoEngine, ask: AskForTools): Promise<readonly ListedTool[]> {
  const byName = new Map<string, ListedTool>()
  const cursors = new Set<string>()
  let bytes = 0
  for (let cursor: string | undefined, pages = 1; ; pages++) {
    const response = await ask(cursor === undefined ? {} : { cursor })
    if (pages === 1 && isUnknownMethod(response)) return []
    const page = readToolPage(engine, response)
    for (const tool of page.tools) {
      // The same tool once more is what a change of the list between two pages looks like.
      const other = byName.get(tool.name)
      if (other !== undefined && other.sha256 !== tool.sha256)
        throw notListed('it lists two different tools by one name')
      byName.set(tool.name, tool)
    }
    bytes += response.raw.length
    cursor = page.cursor
    if (byName.size > MAX_LISTED_TOOLS || bytes > MAX_LIST_BYTES || pages > MAX_PAGES)
      throw notListed('its list of tools is too long')
    if (cursor === undefined) return [...byName.values()]
    if (cursors.has(cursor)) throw notListed('its list of tools leads back to where it was')
    cursors.add(cursor)
  }
}

/**
 * The tools in an answer to `tools/list`.
 *
 * @throws SubrosaError ERR_MALFORMED when there is no list of tools in it. It quotes nothing of the answer.
 */
export function readToolPage(engine: CryptoEngine, { raw, result, error }: JsonRpcResponse): ToolPage {
  if (error !== undefined) throw notListed('it answered the question for its tools with an error')
  if (!isObject(result) || hasLookAlike(result, ['tools', 'nextCursor', 'resultType']))
    throw notListed('its answer is no list of tools')
  const exact = member(readExactJson(fromUtf8(raw) ?? 'null'), 'result')
  const listed = member(exact, 'tools')
  // Since revision 2026-07-28 a result says whether it is whole.
  if (!Array.isArray(listed) || (member(exact, 'resultType') ?? 'complete') !== 'complete')
    throw notListed('its answer is no list of tools')
  const tools = listed.map((value: ExactJson) => {
    const tool = listedTool(engine, value)
    if (tool === undefined) throw notListed('it lists a tool without a name')
    return tool
  })
  const cursor = member(exact, 'nextCursor') ?? ''
  if (typeof cursor !== 'string') throw notListed('its list of tools goes on in a way that makes no sense')
  return { tools, cursor: cursor || undefined }
}

function member(value: ExactJson | undefined, key: string): ExactJson | undefined {
  return value instanceof Map ? value.get(key) : undefined
}

function isUnknownMethod({ error }: JsonRpcResponse): boolean {
  return isObject(error) && error['code'] === METHOD_NOT_FOUND
}

function notListed(why: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `the server's tools cannot be told: ${why}`)
}
