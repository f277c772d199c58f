import { connect, type NatsConnection } from '@nats-io/transport-node'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { type SecureOptions, secure } from '../../src/bus/secure.ts'
import {
  encodeIdentityFile,
  generateIdentityKey,
  type Identity,
  parseIdentityFile,
} from '../../src/identity/identity.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import type { Pin, PinTrust } from '../../src/identity/pins.ts'
import { SigningKey } from '../../src/identity/signing-key.ts'
import { issueSelfSignedToken } from '../../src/identity/token.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { engine } from './identities.ts'
import { CAPTURED } from './realm.ts'
import { startTestServer, type TestServer } from './server.ts'

export interface SelfSignedOptions {
  /** Default: its own key, as for a rotation service. */
  readonly realm?: string
  readonly seed?: Uint8Array
  readonly issuedAtMs?: number
  readonly expiresAtMs?: number
}

/** A fresh identity that signs its own token. */
export function selfSigned(name: string, options: SelfSignedOptions = {}): Identity {
  const { issuedAtMs = Date.now() - 60_000, expiresAtMs = issuedAtMs + 30 * 86_400_000 } = options
  const seed = new Uint8Array(options.seed ?? generateIdentityKey(engine).seed)
  const keys = engine.ed25519KeyPair(seed)
  const { realm = encodeNkey('U', keys.publicKey) } = options
  const request = { realm, name, issuedAtMs, expiresAtMs }
  const token = issueSelfSignedToken(engine, request, new SigningKey(engine, 'U', keys))
  return parseIdentityFile(engine, encodeIdentityFile(token, seed))
}

/** A realm without an authority, on a real server: everybody has pinned everybody, unless a test says otherwise. */
export class PinnedRealm {
  readonly server: TestServer
  readonly rotator: Identity
  readonly #connections: NatsConnection[] = []
  readonly #agents: SecureConnection[] = []
  #service: RotationService | undefined

  /** `pins` are those of the rotation service. */
  static async start(rotator: Identity, pins: Readonly<Record<string, string | Pin>>): Promise<PinnedRealm> {
    const realm = new PinnedRealm(await startTestServer(), rotator)
    realm.#service = await startRotationService(await realm.connection(), {
      identity: rotator,
      trust: { realm: rotator.publicKey, pins },
      store: memoryRotationStore(),
      log: silentLog,
    })
    return realm
  }

  private constructor(server: TestServer, rotator: Identity) {
    this.server = server
    this.rotator = rotator
  }

  async connection(): Promise<NatsConnection> {
    const connection = await connect({ servers: this.server.url })
    this.#connections.push(connection)
    return connection
  }

  async agent(
    identity: Identity,
    pins: PinTrust['pins'],
    options: Partial<SecureOptions> = {},
  ): Promise<SecureConnection> {
    const trust = { realm: this.rotator.publicKey, pins }
    const bus = await secure(await this.connection(), {
      identity,
      trust,
      state: 'memory',
      capturedSubjects: CAPTURED,
      ...options,
    })
    this.#agents.push(bus)
    return bus
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents) await agent.close().catch(() => {})
    this.#service?.close()
    for (const connection of this.#connections) await connection.close()
    await this.server.stop()
  }
}
