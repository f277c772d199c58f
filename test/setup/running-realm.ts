import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { createRealm, type Realm } from '../../src/setup/realm.ts'
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

/** A realm's folder, and the real broker that runs on its configuration as it is. */
export class RunningRealm {
  readonly folder: string
  readonly realm: Realm
  #server: RunningServer | undefined
  readonly #connections: NatsConnection[] = []

  static async create(): Promise<RunningRealm> {
    const { path } = await temporaryFolder()
    return new RunningRealm(path, await createRealm({ dir: join(path, 'realm'), port: await freePort() }))
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

  async stop(): Promise<void> {
    for (const connection of this.#connections) await connection.close()
    await this.stopServer()
    await rm(this.folder, { recursive: true, force: true })
  }
}
