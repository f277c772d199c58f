import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { engineFor } from '../../src/crypto/engine.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { issueCreds } from '../../src/setup/broker-login.ts'
import { agentBrokerPermissions } from '../../src/setup/broker-permissions.ts'
import { type AgentPaths, agentPaths } from '../../src/setup/layout.ts'
import { loadAccount } from '../../src/setup/signers.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { until } from '../support/until.ts'
import { type RunningCommand, spawnCli, start } from './run.ts'

/**
 * A realm on a real broker with TLS and logins, its rotation service, and three agents: `orders` publishes and asks,
 * `billing` reads and answers, `audit` only reads.
 */
export class DailyRealm {
  readonly running: RunningRealm
  readonly #agents: SecureConnection[] = []

  static async start(): Promise<DailyRealm> {
    const running = await RunningRealm.create()
    const { realm } = running
    await addAgent(realm, { name: 'orders', pub: ['orders.>', 'tools.>', 'alone.>'], sub: ['alone.>'] })
    await addAgent(realm, { name: 'billing', pub: ['orders.>'], sub: ['orders.>', 'tools.>'] })
    await addAgent(realm, { name: 'audit', sub: ['orders.>'] })
    await running.startServer()
    await running.startService()
    return new DailyRealm(running)
  }

  private constructor(running: RunningRealm) {
    this.running = running
  }

  /** The variables under which a command is an agent of this realm. */
  env(agent: string): Record<string, string> {
    return { SUBROSA_REALM: this.running.realm.dir, SUBROSA_AGENT: agent, SUBROSA_STATE: this.state }
  }

  get state(): string {
    return join(this.running.folder, 'state')
  }

  /** The files of an agent. */
  files(agent: string): AgentPaths {
    return agentPaths(this.running.realm.dir, agent)
  }

  /** Writes a login for an agent with which the broker lets it publish on these subjects, whatever its identity says. */
  async writeLogin(agent: string, pub: readonly string[]): Promise<string> {
    const { realm } = this.running
    const rules = { pub: { allow: pub, deny: [] }, sub: { allow: [], deny: [] } }
    const permissions = agentBrokerPermissions({
      realm: realm.key,
      name: agent,
      roles: [],
      permissions: rules,
    })
    const expiresAtMs = Date.now() + 3_600_000
    const signing = { signer: await loadAccount(realm), issuedAtMs: Date.now() }
    const path = this.path(`${agent}-limited.creds`)
    await writeFile(path, issueCreds(engineFor(), { name: agent, permissions, expiresAtMs }, signing), {
      mode: 0o600,
    })
    return path
  }

  path(name: string): string {
    return join(this.running.folder, name)
  }

  /** An agent that does not come from a command. */
  async join(name: string): Promise<SecureConnection> {
    const bus = await secure(await this.running.login({ agent: name }), {
      identity: await loadIdentity(`file:${agentPaths(this.running.realm.dir, name).identity}`),
      trust: { authority: this.running.realm.authority },
      state: 'memory',
    })
    this.#agents.push(bus)
    return bus
  }

  /** Starts a command in this process as an agent. */
  start(agent: string, argv: readonly string[], input?: Iterable<string>): RunningCommand {
    return this.startWith(this.env(agent), argv, input)
  }

  /** Starts a command in this process, with the variables of a shell. */
  startWith(
    env: Readonly<Record<string, string>>,
    argv: readonly string[],
    input?: Iterable<string>,
  ): RunningCommand {
    return start(argv, { PATH: process.env['PATH'] ?? '', ...env }, input)
  }

  /** Starts a command that receives, and resolves when it does. */
  async listen(agent: string, ...argv: readonly string[]): Promise<RunningCommand> {
    const command = this.start(agent, argv)
    let end: string | undefined
    void command.outcome.then(({ stderr }) => {
      end = stderr
    })
    await until('it listens', () => end !== undefined || command.said.some(isReady))
    if (end !== undefined) throw new Error(`it ended instead of listening: ${end}`)
    return command
  }

  /** Starts the built program as an agent. */
  spawn(agent: string, ...argv: readonly string[]) {
    return spawnCli(argv, this.env(agent))
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents) await agent.close().catch(() => {})
    await this.running.stop()
  }
}

function isReady(line: string): boolean {
  return line.includes('subscribed to') || line.includes('listening on')
}
