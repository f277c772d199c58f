import { createCipheriv, createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installedPath } from './lib/install.mjs'

/**
 * What the Inspector is asked to do. It ends with `code`: 0 unless something else is said, 5 where a tool fails.
 *
 * @typedef {{ readonly args: readonly string[], readonly code: number }} Call
 *
 * A reference server. `env` says what it gets in the run of that name: one that writes has a file for each.
 *
 * @typedef {{
 *   readonly name: string, readonly command: readonly string[],
 *   readonly env: (run: string) => Readonly<Record<string, string>>,
 *   readonly calls: readonly Call[],
 * }} ReferenceServer
 */

const LARGE_BYTES = 5_000_000
const LARGE_SEED = 'subrosa conformance'
const TOOL_FAILED = 5
const FAILED = 1

const LISTS = ['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list'].map((method) =>
  ask(method),
)

/**
 * server-everything. Not among its calls is what is another thing each time: what its dynamic resources hold (the time),
 * the names of its tasks, its environment, and what it fetches from elsewhere.
 *
 * @returns {ReferenceServer}
 */
export function everything() {
  return {
    name: 'everything',
    command: [process.execPath, installedPath('@modelcontextprotocol/server-everything/dist/index.js')],
    env: () => ({}),
    calls: [
      ...LISTS,
      call('echo', { message: 'grüße, "welt" \\ 🔏' }),
      call('get-sum', { a: 2, b: 3 }),
      call('get-sum', { a: 'no number' }, TOOL_FAILED),
      call('nothing-of-this-name', {}, TOOL_FAILED),
      call('get-annotated-message', { messageType: 'error', includeImage: true }),
      call('get-structured-content', { location: 'New York' }),
      call('get-tiny-image'),
      call('get-resource-links', { count: 3 }),
      call('get-roots-list'),
      call('trigger-long-running-operation', { duration: 1, steps: 4 }),
      ask('resources/read', '--uri', 'demo://resource/static/document/features.md'),
      { ...ask('resources/read', '--uri', 'demo://nowhere'), code: FAILED },
      ask('prompts/get', '--prompt-name', 'simple-prompt'),
      ask('prompts/get', '--prompt-name', 'args-prompt', '--prompt-args', 'city=Berlin', 'state=Berlin'),
      ask('logging/setLevel', '--log-level', 'debug'),
    ],
  }
}

/**
 * server-filesystem on a folder that is made here, with a file of 5 MB. Not among its calls is `get_file_info`: it tells
 * when a file was read last.
 *
 * @param {string} folder
 * @returns {ReferenceServer & { readonly large: Large }}
 */
export function filesystem(folder) {
  const files = join(folder, 'files')
  const note = join(files, 'note.txt')
  mkdirSync(files)
  writeFileSync(note, 'first line\nsecond line\n')
  const large = writeLarge(join(files, 'large.txt'))
  return {
    name: 'filesystem',
    command: [
      process.execPath,
      installedPath('@modelcontextprotocol/server-filesystem/dist/index.js'),
      files,
    ],
    env: () => ({}),
    large,
    calls: [
      ...LISTS,
      call('read_text_file', { path: note }),
      call('read_text_file', { path: note, head: 1 }),
      call('read_text_file', { path: join(folder, 'elsewhere.txt') }, TOOL_FAILED),
      call('read_multiple_files', { paths: [note, join(files, 'nothing.txt')] }),
      call('read_media_file', { path: note }),
      call('list_directory', { path: files }),
      call('list_directory_with_sizes', { path: files }),
      call('directory_tree', { path: files }),
      call('search_files', { path: files, pattern: '*.txt' }),
      call('list_allowed_directories'),
    ],
  }
}

/**
 * server-memory, which keeps what it is told in a file.
 *
 * @param {string} folder
 * @returns {ReferenceServer}
 */
export function memory(folder) {
  const ada = { name: 'Ada', entityType: 'person', observations: ['counts', 'writes'] }
  const engine = { name: 'engine', entityType: 'machine', observations: ['has wheels'] }
  return {
    name: 'memory',
    command: [process.execPath, installedPath('@modelcontextprotocol/server-memory/dist/index.js')],
    env: (run) => ({ MEMORY_FILE_PATH: join(folder, `memory-${run}.jsonl`) }),
    calls: [
      ...LISTS,
      call('read_graph'),
      call('create_entities', { entities: [ada, engine] }),
      call('create_relations', {
        relations: [{ from: 'Ada', to: 'engine', relationType: 'writes programs for' }],
      }),
      call('search_nodes', { query: 'wheels' }),
      call('open_nodes', { names: ['Ada'] }),
      call('delete_entities', { entityNames: ['engine'] }),
      call('read_graph'),
      ask('resources/read', '--uri', 'memory://knowledge-graph'),
    ],
  }
}

/**
 * A large file, and the call that reads it.
 *
 * @typedef {{ readonly call: Call, readonly bytes: number, readonly sha256: string }} Large
 */

/**
 * Random text, the same in each run.
 *
 * @param {string} path
 * @returns {Large}
 */
function writeLarge(path) {
  const key = createHash('sha256').update(LARGE_SEED).digest()
  const random = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(LARGE_BYTES))
  const text = random.toString('base64').slice(0, LARGE_BYTES)
  writeFileSync(path, text)
  return { call: call('read_text_file', { path }), bytes: text.length, sha256: sha256(text) }
}

/**
 * @param {string} text
 * @returns {string} in hex
 */
export function sha256(text) {
  return createHash('sha256').update(text).digest('hex')
}

/**
 * @param {string} method
 * @param {readonly string[]} options
 * @returns {Call}
 */
function ask(method, ...options) {
  return { args: ['--method', method, ...options], code: 0 }
}

/**
 * @param {string} tool
 * @param {Readonly<Record<string, unknown>>} args
 * @returns {Call}
 */
function call(tool, args = {}, code = 0) {
  const pairs = Object.entries(args).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const given = pairs.length === 0 ? [] : ['--tool-arg', ...pairs]
  return { args: ['--method', 'tools/call', '--tool-name', tool, ...given], code }
}
