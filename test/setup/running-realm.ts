import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node'
import { silentLog } from '../../src/base/logger.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { newestPlan } from '../../src/setup/plan-records.ts'
import { type CreateRealmOptions, createRealm, type Realm } from '../../src/setup/realm.ts'
import { addRotators, type RotatorsRequest } from '../../src/setup/rotators.ts'
import { type RunningServer, startNatsServer } from '../../src/setup/run-server.ts'

/** A folder that is removed by `remove()`. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'subrosa-setup-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new TypeError('no free port')
  return address.port
}

/** A realm's folder as `subrosa init` makes it: with its rotation services, and the plan that names them. */
export async function createWholeRealm(
  options: CreateRealmOptions,
  rotators: RotatorsRequest = {},
): Promise<Realm> {
  const { clock } = options
  const furnish = (realm: Realm) => addRotators(realm, { ...(clock && { clock }), ...rotators })
  return createRealm({ ...options, furnish })
}

/** A realm's folder, and the real broker that runs on its configuration as it is. */
export class RunningRealm {
  readonly folder: string
  readonly realm: Realm
  #server: RunningServer | undefined
  readonly #connections: NatsConnection[] = []
  readonly #services: RotationService[] = []

  static async create(rotators: RotatorsRequest = {}): Promise<RunningRealm> {
    const { path } = await temporaryFolder()
    const options = { dir: join(path, 'realm'), port: await freePort() }
    return new RunningRealm(path, await createWholeRealm(options, rotators))
  }

  constructor(folder: string, realm: Realm) {
    this.folder = folder
    this.realm = realm
  }

  async startServer(): Promise<void> {
    this.#server = await startNatsServer({
      program: await findNatsServer(),
      configPath: realmLayout(this.realm.dir).serverConfig,
      folder: this.folder,
    })
  }

  async stopServer(): Promise<void> {
    await this.#server?.stop()
    this.#server = undefined
  }

  /** Logs in with an agent's creds, or those of a path. */
  async login(creds: { readonly agent: string } | { readonly path: string }): Promise<NatsConnection> {
    const path = 'agent' in creds ? agentPaths(this.realm.dir, creds.agent).creds : creds.path
    const connection = await connect({
      servers: this.realm.server,
      tls: { caFile: realmLayout(this.realm.dir).caCertificate },
      authenticator: credsAuthenticator(await readFile(path)),
      reconnect: false,
    })
    this.#connections.push(connection)
    return connection
  }

  /** Starts a rotation service of the realm, with a record that ends with it. */
  async startService(name = 'rotator'): Promise<RotationService> {
    const service = await startRotationService(await this.login({ agent: name }), {
      identity: await loadIdentity(`file:${agentPaths(this.realm.dir, name).identity}`),
      trust: { authority: this.realm.authority },
      plan: (await newestPlan(this.realm)).kept,
      store: memoryRotationStore(),
      log: silentLog,
    })
    this.#services.push(service)
    return service
  }

  async stopServices(): Promise<void> {
    for (const service of this.#services.splice(0)) await service.close()
  }

  async stop(): Promise<void> {
    await this.stopServices()
    for (const connection of this.#connections) await connection.close()
    await this.stopServer()
    await rm(this.folder, { recursive: true, force: true })
  }
}
