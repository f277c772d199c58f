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
const COMMAND_TIMEOUT_MS = 60_000
/** The agent as which every client of the run connects. */
const HOST = 'host'
/** All that a host passes on to the servers that it starts, besides HOME. */
const PASSED_ON = new Set(['LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'])

/**
 * A realm that is set up by the commands that its user would give, on a real nats-server with TLS and logins, in a
 * folder of its own. Its commands see nothing of this user's: neither variables nor configuration.
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
   * Makes the realm, and starts its broker and its rotation service.
   *
   * @param {readonly string[]} servers the names of the MCP servers that clients will use
   */
  async start(servers) {
    await this.#run('init', '--port', String(await freePort()))
    const broker = await startNatsServer({
      program: await findNatsServer({ onProgress: (message) => console.log(message) }),
      configPath: realmLayout(this.#realm).serverConfig,
      folder: this.folder,
    })
    if (broker.pid !== undefined) this.processes.guard(broker.pid)
    this.#stopBroker = () => broker.stop()
    const rotator = this.#start({ name: 'rotator', command: ['rotator'] })
    await becomes(rotator, () => rotator.said().includes('the rotation service of'))
    await this.#run('agent', 'add', HOST, ...servers.flatMap((name) => ['--mcp-use', name]))
  }

  /**
   * Puts an MCP server behind `subrosa mcp serve`.
   *
   * @param {McpServer} server
   */
  async serve({ name, command, env = {} }) {
    await this.#run('agent', 'add', name, '--mcp-serve')
    const passedOn = Object.keys(env).flatMap((variable) => ['--env', variable])
    const serving = this.#start({
      name: `serve-${name}`,
      command: ['mcp', 'serve', name, '--as', name, ...passedOn, '--', ...command],
      env,
    })
    await becomes(serving, () => serving.said().includes('serving'))
  }

  /**
   * Puts `subrosa mcp connect --http` in front of an MCP server that is served.
   *
   * @param {string} name
   */
  connectHttp(name) {
    return this.listen(`connect-${name}`, (port) =>
      this.connectCommand(name, '--http', `${LOOPBACK}:${port}`),
    )
  }

  /**
   * The command that a host starts to reach an MCP server.
   *
   * @param {string} name
   * @param {readonly string[]} options
   */
  connectCommand(name, ...options) {
    return this.#subrosa('mcp', 'connect', name, '--as', HOST, ...options)
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

  get #realm() {
    return join(this.folder, 'realm')
  }

  /** @param {McpServer} start the arguments of a command of subrosa */
  #start({ name, command, env = {} }) {
    return this.processes.start({
      name,
      command: this.#subrosa(...command),
      env: { ...this.env, ...env },
    })
  }

  /** @param {readonly string[]} args */
  async #run(...args) {
    const { code, said } = await this.processes.run({
      name: args.slice(0, 3).join('-'),
      command: this.#subrosa(...args),
      env: this.env,
      timeoutMs: COMMAND_TIMEOUT_MS,
    })
    if (code !== 0) throw new Error(`subrosa ${args.join(' ')} ended with ${code}\n${said()}`)
  }

  /** @param {readonly string[]} args */
  #subrosa(...args) {
    const at = args.indexOf('--')
    const [own, rest] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at)]
    return [process.execPath, MAIN, ...own, '--realm', this.#realm, ...rest]
  }
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
