import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clientPermissions, serverPermissions } from '../../src/mcp/session/subjects.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { run } from '../cli/run.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { until } from '../support/until.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const HAND_SERVER = fileURLToPath(new URL('./hand-server.mjs', import.meta.url))

/** Signs of life as often as this, so that a test need not wait for long: a session ends when three are missing. */
const HEARTBEAT = '300ms'

/** A command of the built program in a process of its own. */
export class Command {
  readonly process: ChildProcess
  readonly #output: Buffer[] = []
  #said = ''
  readonly exited: Promise<number | null>

  constructor(process: ChildProcess) {
    this.process = process
    process.stdout?.on('data', (chunk: Buffer) => this.#output.push(chunk))
    process.stderr?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
    })
    this.exited = new Promise((resolve) => process.once('close', (code) => resolve(code)))
  }

  get pid(): number {
    return this.process.pid ?? 0
  }

  /** What it has written to standard error. */
  get said(): string {
    return this.#said
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  /** The messages on its standard output, whole ones. */
  get messages(): readonly Record<string, unknown>[] {
    const lines = Buffer.concat(this.#output).toString().split('\n')
    return lines.slice(0, -1).map((line) => JSON.parse(line))
  }

  async says(what: string): Promise<void> {
    await until(`it says "${what}"; it has said: ${this.#said}`, () => this.#said.includes(what))
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.process.kill(signal)
  }
}

/** `mcp connect` as its host has started it. */
export class Host extends Command {
  #nextId = 0

  say(message: object): void {
    this.process.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  }

  /** Sends a request without waiting. @returns its id */
  ask(method: string, params: object = {}): number {
    const id = this.#nextId++
    this.say({ id, method, params })
    return id
  }

  /** What was answered to it. */
  async answer(id: number): Promise<Record<string, unknown>> {
    const find = () => this.messages.find((message) => message['id'] === id)
    await until(`request ${id} is answered; it has said: ${this.said}`, () => find() !== undefined)
    return find() ?? {}
  }

  async initialize(): Promise<void> {
    const clientInfo = { name: 'test', version: '1' }
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
    await this.answer(this.ask('initialize', params))
    this.say({ method: 'notifications/initialized' })
  }

  /** The text that a tool answers with. */
  async call(name: string, args: object = {}): Promise<string> {
    const { result, error } = await this.answer(this.ask('tools/call', { name, arguments: args }))
    if (error !== undefined) throw new Error(JSON.stringify(error))
    const { content } = result as { content: readonly { text: string }[] }
    return content[0]?.text ?? ''
  }

  /** The processes behind it: the MCP server, and its child where it has one. */
  async pids(): Promise<readonly number[]> {
    return JSON.parse(await this.call('pids')) as number[]
  }

  /** The end of its standard input. */
  hangUp(): void {
    this.process.stdin?.end()
  }
}

/**
 * A realm on a real broker with TLS and logins, with its rotation service in a process of its own: `files` serves and
 * `laptop` uses it, `desk` too.
 */
export class BridgeRealm {
  readonly running: RunningRealm
  readonly #commands: Command[] = []

  static async start(): Promise<BridgeRealm> {
    const running = await RunningRealm.create()
    const { realm } = running
    await addAgent(realm, { name: 'files', ...serverPermissions('files') })
    for (const name of ['laptop', 'desk']) await addAgent(realm, { name, ...clientPermissions('files') })
    await running.startServer()
    const bridge = new BridgeRealm(running)
    const begun = await run('rotator', 'begin', '--realm', realm.dir)
    if (begun.code !== 0) throw new Error(begun.stderr)
    const rotator = bridge.command(['rotator', '--realm', realm.dir])
    await rotator.says('rotation service')
    return bridge
  }

  private constructor(running: RunningRealm) {
    this.running = running
  }

  get folder(): string {
    return this.running.folder
  }

  /** A command that is an agent of this realm. */
  command(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Command {
    return this.#keep(new Command(this.#spawn(argv, env)))
  }

  /** Serves, and resolves when sessions can be opened. */
  async serve(
    {
      options = [],
      env = {},
    }: { readonly options?: readonly string[]; readonly env?: Record<string, string> } = {},
    ...traits: readonly string[]
  ): Promise<Command> {
    const server = ['--', process.execPath, HAND_SERVER, ...traits]
    const command = this.command(
      ['mcp', 'serve', 'files', ...this.#agent('files'), '--heartbeat', HEARTBEAT, ...options, ...server],
      env,
    )
    await command.says('serving files')
    return command
  }

  /** A host with its `mcp connect`. */
  connect(agent = 'laptop', ...options: readonly string[]): Host {
    const argv = ['mcp', 'connect', 'files', ...this.#agent(agent), ...options]
    return this.#keep(new Host(this.#spawn(argv, {})))
  }

  async stop(): Promise<void> {
    for (const command of this.#commands) command.kill()
    await Promise.all(this.#commands.map(({ exited }) => exited))
    await this.running.stop()
  }

  #agent(name: string): readonly string[] {
    return ['--realm', this.running.realm.dir, '--as', name, '--state', join(this.folder, 'state')]
  }

  #spawn(argv: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
    return spawn(process.execPath, [MAIN, ...argv], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.folder, ...env },
      cwd: this.folder,
    })
  }

  #keep<T extends Command>(command: T): T {
    this.#commands.push(command)
    return command
  }
}
