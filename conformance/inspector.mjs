import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installedPath, installedVersion } from './lib/install.mjs'
import { everything, filesystem, memory, sha256 } from './reference-servers.mjs'

/**
 * @typedef {import('./lib/world.mjs').World} World
 * @typedef {import('./reference-servers.mjs').ReferenceServer} ReferenceServer
 * @typedef {import('./reference-servers.mjs').Call} Call
 * @typedef {import('./reference-servers.mjs').Large} Large
 *
 * What the Inspector did: its exit code, its standard output, and the error that it tells on the other one.
 *
 * @typedef {{ readonly code: number | string, readonly output: string, readonly error: string }} Answer
 */

const PACKAGE = '@modelcontextprotocol/inspector'
const PROGRAM = installedPath(`${PACKAGE}/clients/launcher/build/index.js`)
const TIMEOUT_MS = 120_000
const SHOWN_BEFORE = 60
const SHOWN_AFTER = 140

/** The names of the servers that {@link runInspector} puts behind the bridge. */
export const REFERENCE_SERVERS = ['everything', 'filesystem', 'memory']

/**
 * The Inspector's command line against the reference servers: over stdio directly, and through `subrosa mcp connect`. It
 * must end alike and write the same bytes. Prints what came of it.
 *
 * @param {World} world
 * @param {string} node a Node that the Inspector runs on
 * @returns {Promise<readonly string[]>} what is wrong
 */
export async function runInspector(world, node) {
  console.log(`\nInspector ${installedVersion(PACKAGE)}, over stdio directly and bridged\n`)
  const files = filesystem(world.folder)
  const servers = [everything(), files, memory(world.folder)]
  for (const server of servers) await world.serve({ ...server, env: server.env('bridged') })
  const configs = {
    direct: writeDirectConfig(world.folder, servers),
    bridged: await world.hostConfig(REFERENCE_SERVERS),
  }

  const objections = []
  for (const server of servers) {
    const found = []
    for (const call of server.calls) found.push(...(await compare(server.name, call)).objections)
    console.log(`${server.name.padEnd(10)} ${server.calls.length} calls, ${found.length} that differ`)
    objections.push(...found)
  }
  const { name, large } = files
  const { answers, objections: found } = await compare(name, large.call)
  const others = answers.filter(({ output }) => !isFile(output, large))
  console.log(
    `${name.padEnd(10)} a file of ${large.bytes} bytes, ${answers.length - others.length} of ${answers.length} times with SHA-256 ${large.sha256}`,
  )
  if (others.length > 0) objections.push(`${name}: the file of ${large.bytes} bytes came as another one`)
  return [...objections, ...found]

  /**
   * @param {string} server
   * @param {Call} call
   */
  async function compare(server, call) {
    const [direct, bridged] = await Promise.all([
      inspect('direct', server, call),
      inspect('bridged', server, call),
    ])
    const what = `${server}: ${call.args.join(' ')}`
    return { answers: [direct, bridged], objections: judge(what, call, { direct, bridged }) }
  }

  /**
   * @param {'direct' | 'bridged'} run
   * @param {string} server
   * @param {Call} call
   * @returns {Promise<Answer>}
   */
  async function inspect(run, server, { args }) {
    const name = `inspector-${run}`
    const out = join(world.folder, `${name}.out`)
    const { code, said } = await world.processes.run({
      name,
      command: [node, PROGRAM, '--cli', '--config', configs[run], '--server', server, ...args],
      // It would look for a keychain of the desktop otherwise.
      env: { ...world.env, MCP_INSPECTOR_SECRET_STORE: 'memory' },
      out,
      timeoutMs: TIMEOUT_MS,
    })
    const error = said().match(/^\{"error":.*$/m)?.[0] ?? ''
    return { code, output: readFileSync(out, 'utf8'), error }
  }
}

/**
 * What differs, and what both did wrong.
 *
 * @param {string} what
 * @param {Call} call
 * @param {{ readonly direct: Answer, readonly bridged: Answer }} answers
 * @returns {readonly string[]}
 */
function judge(what, { code }, { direct, bridged }) {
  const objections = []
  if (direct.code !== code) objections.push(`${what}: directly it ended with ${direct.code}: ${direct.error}`)
  if (bridged.code !== code)
    objections.push(`${what}: bridged it ended with ${bridged.code}: ${bridged.error}`)
  if (direct.output !== bridged.output)
    objections.push(`${what}: another output:\n${firstDifference(direct.output, bridged.output)}`)
  if (direct.error !== bridged.error)
    objections.push(`${what}: another error:\n${firstDifference(direct.error, bridged.error)}`)
  if (code === 0 && direct.output === '') objections.push(`${what}: it wrote nothing`)
  return objections
}

/**
 * Where two texts begin to differ, and what stands there.
 *
 * @param {string} direct
 * @param {string} bridged
 */
function firstDifference(direct, bridged) {
  let at = 0
  while (at < direct.length && direct[at] === bridged[at]) at++
  const line = direct.slice(0, at).split('\n').length
  const show = (/** @type {string} */ text) =>
    JSON.stringify(text.slice(Math.max(0, at - SHOWN_BEFORE), at + SHOWN_AFTER))
  return `from character ${at} on, in line ${line}\n- ${show(direct)}\n+ ${show(bridged)}`
}

/**
 * Whether an answer is the whole file: the server sends it twice, as content and as structured content.
 *
 * @param {string} output
 * @param {Large} large
 */
function isFile(output, { sha256: wanted }) {
  try {
    const { content, structuredContent } = JSON.parse(output)
    return [content[0].text, structuredContent.content].every((text) => sha256(text) === wanted)
  } catch {
    return false
  }
}

/**
 * Writes the configuration of a host that starts the servers itself.
 *
 * @param {string} folder
 * @param {readonly ReferenceServer[]} servers
 * @returns {string} its path
 */
function writeDirectConfig(folder, servers) {
  const path = join(folder, 'direct.json')
  const entries = servers.map(({ name, command: [command, ...args], env }) => [
    name,
    { command, args, env: env('direct') },
  ])
  writeFileSync(path, JSON.stringify({ mcpServers: Object.fromEntries(entries) }))
  return path
}
