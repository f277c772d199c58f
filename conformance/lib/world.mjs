import { mkdirSync, mkdtempSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { realmLayout } from '../../dist/setup/layout.js'
import { findNatsServer } from '../../dist/setup/nats-server.js'
import { startNatsServer } from '../../dist/setup/run-server.js'
import { becomes, Processes } from './processes.mjs'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const LOOPBACK = '127.0.0.1'
const COMMAND_TIMEOUT_MS = 60_000
/** The agent as which every client of the run connects. */
const HOST = 'host'
/** All that a host passes on to the servers that it starts. */
const PASSED_ON = ['LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER']

/**
 * A realm that was set up by the commands that its user would give, on a real nats-server with TLS and logins, in a
 * folder of its own. Its commands know nothing of this user's: neither variables nor configuration.
 */
export class World {
  /** @type {() => Promise<void>} */
  #stopServer = async () => {}
  #commands = 0

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'subrosa-conformance-'))
    this.realm = join(this.folder, 'realm')
    this.processes = new Processes(this.folder)
    const home = join(this.folder, 'home')
    mkdirSync(home)
    const passedOn = PASSED_ON.flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    })
    /** @type {NodeJS.ProcessEnv} */
    this.env = { ...Object.fromEntries(passedOn), HOME: home }
  }

  /** @param {readonly string[]} servers the names of the MCP servers that clients will use */
  async start(servers) {
    const port = await freePort()
    await this.#subrosa('init', '--port', String(port))
    const server = await startNatsServer({
      program: await findNatsServer({ onProgress: (message) => console.log(message) }),
      configPath: realmLayout(this.realm).serverConfig,
      folder: this.folder,
    })
    const { pid } = server
    if (pid !== undefined) this.processes.watch(pid)
    this.#stopServer = async () => {
      await server.stop()
      if (pid !== undefined) this.processes.forget(pid)
    }
    const rotator = this.#start('rotator', 'rotator')
    await becomes(rotator, () => rotator.said().includes('the rotation service of'))
    await this.#subrosa('agent', 'add', HOST, '--mcp-use', ...servers)
  }

  /**
   * Puts an MCP server behind `subrosa mcp serve`.
   *
   * @param {string} name
   * @param {{
   *   readonly command: readonly string[], readonly env?: Readonly<Record<string, string>>,
   * }} server with the variables that it gets
   */
  async serve(name, { command, env = {} }) {
    await this.#subrosa('agent', 'add', name, '--mcp-serve')
    const passedOn = Object.keys(env).flatMap((variable) => ['--env', variable])
    const args = ['mcp', 'serve', name, '--as', name, ...passedOn, '--', ...command]
    const serving = this.#start(name, ...args)
    await becomes(serving, () => serving.said().includes('serving'))
  }

  /**
   * Puts `subrosa mcp connect --http` in front of an MCP server that is served.
   *
   * @param {string} name
   * @returns {Promise<string>} the URL at which it answers
   */
  async connectHttp(name) {
    const port = await freePort()
    const { command, args } = this.connectCommand(name, '--http', `${LOOPBACK}:${port}`)
    const connecting = this.processes.start({ name: `connect-${name}`, command, args, env: this.env })
    await becomes(connecting, () => answers(port))
    return `http://${LOOPBACK}:${port}/mcp`
  }

  /**
   * The command that a host starts.
   *
   * @param {string} name
   * @param {readonly string[]} options
   */
  connectCommand(name, ...options) {
    return this.#command('mcp', 'connect', name, '--as', HOST, ...options)
  }

  /**
   * Starts a program that listens on a port, and resolves with that when it answers.
   *
   * @param {string} name
   * @param {(port: number) => readonly string[]} argsFor the arguments to Node
   */
  async listen(name, argsFor) {
    const port = await freePort()
    const running = this.processes.start({
      name,
      command: process.execPath,
      args: argsFor(port),
      env: this.env,
    })
    await becomes(running, () => answers(port))
    return port
  }

  /** Ends everything that was started, and removes the folder. */
  async stop() {
    await this.processes.stop()
    await this.#stopServer()
    this.processes.release()
  }
}
