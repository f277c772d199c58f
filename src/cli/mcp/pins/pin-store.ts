import { randomBytes } from 'node:crypto'
import { link, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SubrosaError } from '../../../base/errors.ts'
import type { CryptoEngine } from '../../../crypto/engine.ts'
import { decodeNkey } from '../../../identity/nkey.ts'
import { isAgentName } from '../../../identity/token.ts'
import { type ExactJson, readExactJson } from '../../../json/exact.ts'
import { isObject } from '../../../json/objects.ts'
import { parseStrictJson } from '../../../json/strict.ts'
import { defaultRoot } from '../../../keys/state-folder.ts'
import {
  type ListedTool,
  listedTool,
  type PinnedTools,
  type ToolPinStore,
} from '../../../mcp/pins/tool-pins.ts'
import { createFile, replaceFile } from '../../../setup/files.ts'

const FORMAT = 1
const ACCESS_BY_OTHERS = 0o077
const MAX_FILE_BYTES = 64 * 1024 * 1024

/** Whose pins they are, and of which server. */
export interface PinStoreOptions {
  readonly engine: CryptoEngine
  readonly realm: string
  /** The agent that uses the server: a policy may show another agent other tools. */
  readonly agent: string
  /** The server's name. */
  readonly server: string
  /** The folder that holds every realm's state; default `$XDG_STATE_HOME/subrosa` or `~/.local/state/subrosa`. */
  readonly root?: string | undefined
}

/**
 * The pins of one server in a file of their own, `mcp/SERVER/tools.json` in the agent's folder, for its owner alone. A
 * crash leaves it as it was or as it is to be; and of several processes that pin at once one does, and the others get
 * what it has pinned. What is damaged is never taken for nothing: that would pin anew whatever comes next.
 *
 * Reading throws SubrosaError ERR_STATE and ERR_KEY_FILE_PERMISSIONS, writing ERR_SETUP.
 *
 * @throws TypeError when a name is none
 *
 * @example
 * ```ts
 * const store = filePinStore({ engine, realm: bus.realm, agent: bus.name, server: 'fs' })
 * ```
 */
export function filePinStore({ engine, realm, agent, server, root }: PinStoreOptions): ToolPinStore {
  if (![agent, server].every(isAgentName)) throw new TypeError('agent and server must be names of agents')
  const path = join(root ?? defaultRoot(), realm, agent, 'mcp', server, 'tools.json')
  const place = { path, realm, server }
  const read = async (): Promise<PinnedTools | undefined> => {
    const text = await readPins(path)
    return text === undefined ? undefined : parsePins(engine, text, place)
  }
  return {
    read,
    async create(pins) {
      const isFirst = await writeFirst(path, formatPins(pins, place))
      return isFirst ? pins : ((await read()) ?? this.create(pins))
    },
    replace: (pins) => replaceFile(path, formatPins(pins, place), { secret: true }),
  }
}

/** Writes it whole where there is none yet. @returns whether there was none */
async function writeFirst(path: string, text: string): Promise<boolean> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.new`
  await createFile(temporary, text, { secret: true })
  try {
    // Unlike a rename, it replaces nothing.
    await link(temporary, path)
    return true
  } catch (cause) {
    if (hasCode(cause, 'EEXIST')) return false
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, { cause })
  } finally {
    await rm(temporary, { force: true })
  }
}

async function readPins(path: string): Promise<string | undefined> {
  try {
    const file = await open(path)
    try {
      const { mode, size } = await file.stat()
      // Windows has no such bits: there the folder's access list decides.
      if (process.platform !== 'win32' && (mode & ACCESS_BY_OTHERS) !== 0) throw othersCan(path)
      if (size > MAX_FILE_BYTES) throw damaged(path)
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof SubrosaError) throw cause
    if (hasCode(cause, 'ENOENT')) return undefined
    throw new SubrosaError('ERR_STATE', `cannot read the pinned tools ${path}`, { cause })
  }
}

interface Place {
  readonly path: string
  readonly realm: string
  readonly server: string
}

/** Written by hand: a tool's canonical text is kept as it is. */
function formatPins({ identity, tools }: PinnedTools, { realm, server }: Place): string {
  const lines = [...tools.values()].flat().map(({ sha256, text }) => `{"sha256":"${sha256}","tool":${text}}`)
  const head = JSON.stringify({ format: FORMAT, realm, server, identity }).slice(0, -1)
  return `${head},"tools":[\n${lines.join(',\n')}\n]}\n`
}

/** @throws SubrosaError ERR_STATE */
function parsePins(engine: CryptoEngine, text: string, { path, realm, server }: Place): PinnedTools {
  const file = parseStrictJson(text)
  if (!isObject(file)) throw damaged(path)
  const { format, realm: ofRealm, server: ofServer, identity, tools, ...others } = file
  const isOurs = format === FORMAT && ofRealm === realm && ofServer === server
  if (!isOurs || !isPublicKey(identity) || !Array.isArray(tools) || Object.keys(others).length > 0)
    throw damaged(path)
  const byName = new Map<string, ListedTool[]>()
  for (const value of exactTools(text)) {
    const tool = value instanceof Map ? pinnedTool(engine, value) : undefined
    if (tool === undefined) throw damaged(path)
    byName.set(tool.name, [...(byName.get(tool.name) ?? []), tool])
  }
  return { identity, tools: byName }
}

/** With all digits of all numbers, which are part of what was pinned. */
function exactTools(text: string): readonly ExactJson[] {
  const file = readExactJson(text)
  const tools = file instanceof Map ? file.get('tools') : undefined
  return Array.isArray(tools) ? tools : []
}

function pinnedTool(engine: CryptoEngine, fields: ReadonlyMap<string, ExactJson>): ListedTool | undefined {
  const tool = listedTool(engine, fields.get('tool') ?? null)
  return tool !== undefined && fields.size === 2 && fields.get('sha256') === tool.sha256 ? tool : undefined
}

function isPublicKey(value: unknown): value is string {
  if (typeof value !== 'string') return false
  try {
    decodeNkey('U', value)
    return true
  } catch {
    return false
  }
}

function damaged(path: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `the pinned tools ${path} are damaged`, {
    hint: 'they guard against being shown other tools: find out why, and delete the file only then',
  })
}

function othersCan(path: string): SubrosaError {
  return new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `others have access to the pinned tools ${path}`, {
    hint: `chmod 600 ${path}, and look at the tools again with: subrosa mcp tools`,
  })
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
