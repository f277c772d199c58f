import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node'
import { silentLog } from '../../base/logger.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import { secure } from '../../bus/secure.ts'
import { loadIdentity } from '../../identity/keyfiles/key-file.ts'
import { beginRecord, fileRotationStore } from '../../rotation/file-store.ts'
import { type RotationService, startRotationService } from '../../rotation/service.ts'
import { addAgent, addBrokerUser } from '../../setup/agents.ts'
import { agentPaths, realmLayout, rotationRecordPath } from '../../setup/layout.ts'
import { findNatsServer, type NatsServerProgram } from '../../setup/nats-server.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import { createRealm, type Realm } from '../../setup/realm.ts'
import { addRotators, ROTATOR_NAME } from '../../setup/rotators.ts'
import { type RunningServer, startNatsServer } from '../../setup/run-server.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { pause } from './checks.ts'

/** Epochs of seconds, so that a rotation can be watched. */
export const DEMO_TIMES = { periodMs: 2000, leadMs: 1000, graceMs: 1500 } as const

const LEAVE_MS = 2000
const LOOPBACK = '127.0.0.1'

/** A message as the broker sees it: someone who may read every subject, and has no keys. */
export interface BrokerView {
  readonly subject: string
  readonly reply: string | undefined
  readonly data: Uint8Array
}

/** Everything that the demo starts, in one temporary folder. `close()` ends it, and removes the folder. */
export class DemoWorld {
  readonly folder: string
  readonly realm: Realm
  readonly program: NatsServerProgram
  readonly #server: RunningServer
  readonly #connections: NatsConnection[] = []
  readonly #agents: SecureConnection[] = []
  #service: RotationService | undefined

  static async create(onProgress: (message: string) => void): Promise<DemoWorld> {
    const program = await findNatsServer({ onProgress })
    const folder = await mkdtemp(join(tmpdir(), 'subrosa-demo-'))
    try {
      const realm = await createRealm({
        dir: join(folder, 'realm'),
        port: await freePort(),
        furnish: (made) => addRotators(made, { times: DEMO_TIMES }),
      })
      const configPath = realmLayout(realm.dir).serverConfig
      const server = await startNatsServer({ program, configPath, folder })
      return new DemoWorld({ folder, realm, program, server })
    } catch (error) {
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  constructor(parts: { folder: string; realm: Realm; program: NatsServerProgram; server: RunningServer }) {
    this.folder = parts.folder
    this.realm = parts.realm
    this.program = parts.program
    this.#server = parts.server
  }

  /** Makes an agent's identity and its login to the broker. */
  async register(
    name: string,
    permissions: { readonly pub: string[]; readonly sub: string[] },
  ): Promise<void> {
    await addAgent(this.realm, { name, ...permissions })
  }

  /** Connects by TLS with the agent's login, and seals the connection. */
  async join(name: string, server = this.realm.server): Promise<SecureConnection> {
    const paths = agentPaths(this.realm.dir, name)
    const bus = await secure(await this.connect(paths.creds, server), {
      identity: await loadIdentity(`file:${paths.identity}`),
      trust: { authority: this.realm.authority },
      state: join(this.folder, 'state'),
      // The screen says what happens.
      log: silentLog,
    })
    this.#agents.push(bus)
    return bus
  }

  /** A connection by TLS, with a login. */
  async connect(credsPath: string, server = this.realm.server): Promise<NatsConnection> {
    const connection = await connect({
      servers: server,
      tls: { caFile: realmLayout(this.realm.dir).caCertificate },
      authenticator: credsAuthenticator(await readFile(credsPath)),
      maxReconnectAttempts: 0,
    })
    this.#connections.push(connection)
    return connection
  }

  /** The broker itself: a login that may do everything, and no key of the realm. */
  async broker(): Promise<NatsConnection> {
    return this.connect(await addBrokerUser(this.realm, 'broker'))
  }

  async startRotation(): Promise<RotationService> {
    const paths = agentPaths(this.realm.dir, ROTATOR_NAME)
    const record = rotationRecordPath(this.realm.dir, ROTATOR_NAME)
    beginRecord(record)
    this.#service = await startRotationService(await this.connect(paths.creds), {
      identity: await loadIdentity(`file:${paths.identity}`),
      trust: { authority: this.realm.authority },
      plan: (await newestPlan(this.realm)).kept,
      store: fileRotationStore(record),
      log: silentLog,
    })
    return this.#service
  }

  async close(): Promise<void> {
    // After a Ctrl-C the broker may be gone already: nothing here may wait for it, or keep the folder from going.
    await Promise.race([this.#leave(), pause(LEAVE_MS)])
    await this.#server.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  async #leave(): Promise<void> {
    for (const agent of this.#agents) await agent.close().catch(() => {})
    await this.#service?.close()
    for (const connection of this.#connections) await connection.close().catch(() => {})
  }
}

/** Everything that passes on a pattern from now on, as the broker sees it. */
export async function tap(broker: NatsConnection, pattern: string): Promise<readonly BrokerView[]> {
  const seen: BrokerView[] = []
  broker.subscribe(pattern, {
    callback: (error, message) => {
      if (error === null) {
        const { subject, reply, data } = message
        seen.push({ subject, reply, data: new Uint8Array(data) })
      }
    },
  })
  await broker.flush()
  return seen
}

/** Whether it is a sealed message or a frame: not what the server says, and no handshake. */
export function isContent({ data }: BrokerView): boolean {
  const type = wireType(data)
  return type === WireType.sealed || type === WireType.frame
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new TypeError('no free port')
  return address.port
}
