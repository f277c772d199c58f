import { mkdirSync, mkdtempSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { realmLayout } from '../../dist/setup/layout.js'
import { findNatsServer } from '../../dist/setup/nats-server.js'
import { startNatsServer } from '../../dist/setup/run-server.js'
import { becomes, Processes } from './processes.mjs'

/**
 * An MCP server: its command, and the variables that it needs.
 *
 * @typedef {{
 *   readonly name: string, readonly command: readonly string[], readonly env?: Readonly<Record<string, string>>,
 * }} McpServer
 */

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const LOOPBACK = '127.0.0.1'
const REALM = 'realm'
const COMMAND_TIMEOUT_MS = 60_000
/** The agent that is installed for the user whose hosts connect. */
const USER = 'laptop'
/** All that a host passes on to the servers that it starts, besides HOME. */
const PASSED_ON = new Set(['LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'])

/**
 * A realm that is set up by the commands that people would give, on a real nats-server with TLS and logins, in a folder
 * of its own. Hosts find the agent that was installed below HOME; nothing of the user who runs this reaches them, neither
 * variables nor configuration.
 */
export class World {
  /** @type {() => Promise<void>} */
  #stopBroker = async () => {}

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'subrosa-conformance-'))
    this.processes = new Processes(this.folder)
    const home = join(this.folder, 'home')
    mkdirSync(home)
    const passedOn = Object.entries(process.env).filter(([name]) => PASSED_ON.has(name))
    /** @type {NodeJS.ProcessEnv} */
    this.env = { ...Object.fromEntries(passedOn), HOME: home }
  }

  /**
   * Makes the realm, starts its broker and its rotation service, and installs an agent for the hosts.
   *
   * @param {readonly string[]} servers the names of the MCP servers that it uses
   */
  async start(servers) {
    await this.#run(['init', '--port', String(await freePort()), ...this.#inRealm])
    const broker = await startNatsServer({
      program: await findNatsServer({ onProgress: (message) => console.log(message) }),
      configPath: realmLayout(join(this.folder, REALM)).serverConfig,
      folder: this.folder,
    })
    if (broker.pid !== undefined) this.processes.guard(broker.pid)
    this.#stopBroker = () => broker.stop()
    await this.#run(['rotator', 'begin', ...this.#inRealm])
    const rotator = this.#start({ name: 'rotator', command: ['rotator', ...this.#inRealm] })
    await becomes(rotator, () => rotator.said().includes('the rotation service rotator of'))
    const bundle = join(this.folder, `${USER}.subrosa`)
    await this.#run(['agent', 'add', USER, '--mcp-use', ...servers, '--bundle', bundle, ...this.#inRealm])
    await this.#run(['use', bundle])
  }

  /**
   * Puts an MCP server behind `subrosa mcp serve`.
   *
   * @param {McpServer} server
   */
  async serve({ name, command, env = {} }) {
    await this.#run(['agent', 'add', name, '--mcp-serve', ...this.#inRealm])
    const handedOn = Object.keys(env).flatMap((variable) => ['--env', variable])
    const serving = this.#start({
      name: `serve-${name}`,
      command: ['mcp', 'serve', name, ...handedOn, ...this.#inRealm, '--', ...command],
      env,
    })
    await becomes(serving, () => serving.said().includes(`serving ${name}`))
  }

  /**
   * Puts `subrosa mcp connect --http` in front of an MCP server that is served.
   *
   * @param {string} name
   */
  connectHttp(name) {
    return this.listen(`connect-${name}`, (port) =>
      subrosa('mcp', 'connect', name, '--http', `${LOOPBACK}:${port}`),
    )
  }

  /**
   * What a user pastes into the configuration of a host.
   *
   * @param {readonly string[]} servers
   * @returns {Promise<string>} the path of a file with it
   */
  async hostConfig(servers) {
    const out = join(this.folder, 'bridged.json')
    await this.#run(['mcp', 'config', 'claude', ...servers, '--local'], { out })
    return out
  }

  /**
   * Starts what serves Streamable HTTP.
   *
   * @param {string} name
   * @param {(port: number) => readonly string[]} commandFor
   * @returns {Promise<string>} the URL at which it answers
   */
  async listen(name, commandFor) {
    const port = await freePort()
    const listening = this.processes.start({ name, command: commandFor(port), env: this.env })
    await becomes(listening, () => answers(port))
    return `http://${LOOPBACK}:${port}/mcp`
  }

  /** Whether everything is being ended. */
  get isStopping() {
    return this.processes.isStopping
  }

  /** Ends everything that was started, and removes the folder. */
  async stop() {
    await this.processes.stop()
    await this.#stopBroker()
    this.processes.release()
  }

  get #inRealm() {
    return ['--realm', join(this.folder, REALM)]
  }

  /** @param {McpServer} start the words of a command of subrosa */
  #start({ name, command, env = {} }) {
    return this.processes.start({ name, command: subrosa(...command), env: { ...this.env, ...env } })
  }

  /**
   * Runs a command of subrosa to its end.
   *
   * @param {readonly string[]} words
   * @param {{ readonly out?: string }} [options] `out` is a file for what it writes
   */
  async #run(words, options = {}) {
    const { code, said } = await this.processes.run({
      name: 'command',
      command: subrosa(...words),
      env: this.env,
      timeoutMs: COMMAND_TIMEOUT_MS,
      ...options,
    })
    if (code !== 0) throw new Error(`subrosa ${words.join(' ')} ended with ${code}\n${said()}`)
  }
}

/** @param {readonly string[]} words */
function subrosa(...words) {
  return [process.execPath, MAIN, ...words]
}

/** @returns {Promise<number>} a port that was free a moment ago */
async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, LOOPBACK, () => resolve(undefined)))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new TypeError('no free port')
  return address.port
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, LOOPBACK)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
