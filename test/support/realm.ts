import type { NatsConnection } from '@nats-io/transport-node'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { type SecureOptions, secure } from '../../src/bus/secure.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import {
  type RotationOptions,
  type RotationService,
  startRotationService,
} from '../../src/rotation/service.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { type ClientOptions, connectClient } from './client.ts'
import { ManualClock } from './clock.ts'
import { type IdentityOptions, NOTHING, newAuthority, newIdentity } from './identities.ts'
import { passing } from './passing.ts'
import { startTestServer, type TestServer } from './server.ts'
import { lookOn } from './until.ts'

/**
 * Patterns of subjects on which agents seal in messages that stand for themselves: none, or all where
 * SUBROSA_TEST_MODE says `message`. What a test does not say otherwise so runs in either mode.
 */
export const CAPTURED: readonly string[] = process.env['SUBROSA_TEST_MODE'] === 'message' ? ['>'] : []

export interface TestRealmOptions {
  readonly clock?: Clock
  readonly serverConfig?: string
  /** Options of the rotation service; `false` starts none. */
  readonly rotation?: Partial<RotationOptions> | false
}

/** Options of an agent, and the connection that it gets where it is not a new one. */
export interface AgentOptions extends Partial<SecureOptions> {
  readonly over?: NatsConnection
}

/** What a tap without keys sees of one message. */
export interface Tapped {
  readonly subject: string
  readonly reply: string | undefined
  readonly data: Uint8Array
}

/** A realm on a real server: authority, rotation service, agents. `stop()` ends everything that it started. */
export class TestRealm {
  readonly server: TestServer
  readonly authority: SigningKey
  readonly clock: Clock
  readonly rotator: Identity
  service: RotationService | undefined
  readonly #connections: NatsConnection[] = []
  readonly #agents: SecureConnection[] = []

  static async start(options: TestRealmOptions = {}): Promise<TestRealm> {
    const realm = new TestRealm(await startTestServer(options.serverConfig), options.clock ?? systemClock)
    if (options.rotation !== false) await realm.startService(options.rotation)
    return realm
  }

  private constructor(server: TestServer, clock: Clock) {
    this.server = server
    this.clock = clock
    this.authority = newAuthority()
    this.rotator = this.identity('rotator', { permissions: NOTHING, roles: ['rotator'] })
  }

  get trust() {
    return { authority: [this.authority.publicKey] }
  }

  /** The first tokens of every protocol subject. */
  get root(): string {
    return `subrosa.v1.${this.authority.publicKey}`
  }

  identity(name: string, options: Partial<IdentityOptions> = {}): Identity {
    // Issued a minute ago: a revocation now covers it.
    return newIdentity(this.authority, name, { issuedAtMs: this.clock.now() - 60_000, ...options }).identity
  }

  async connection(options: ClientOptions = {}): Promise<NatsConnection> {
    const connection = await connectClient({ servers: this.server.url, ...options })
    this.#connections.push(connection)
    return connection
  }

  async startService(options: Partial<RotationOptions> = {}): Promise<RotationService> {
    this.service = await startRotationService(await this.connection(), {
      identity: this.rotator,
      trust: this.trust,
      clock: this.clock,
      log: silentLog,
      ...options,
    })
    return this.service
  }

  /** A sealed connection of a fresh identity of this name, or of the one given. */
  async agent(
    name: string | Identity,
    options: Partial<IdentityOptions> = {},
    { over, ...secureOptions }: AgentOptions = {},
  ): Promise<SecureConnection> {
    const identity = typeof name === 'string' ? this.identity(name, options) : name
    const bus = await secure(over ?? (await this.connection()), {
      identity,
      trust: this.trust,
      state: 'memory',
      log: silentLog,
      clock: this.clock,
      capturedSubjects: CAPTURED,
      ...secureOptions,
    })
    this.#agents.push(bus)
    return bus
  }

  /** Everything that passes on these subjects from now on, as the broker sees it. */
  tap(pattern = '>'): Promise<Tapped[]> {
    return this.#tap(pattern, () => true)
  }

  /** The same without handshakes, which say nothing by themselves: one entry for each message, however it is sealed. */
  tapMessages(pattern: string): Promise<Tapped[]> {
    return this.#tap(pattern, (data) => wireType(data) !== WireType.handshake)
  }

  /** Resolves when the taps have everything that the server has handled: somebody else may have it before them. */
  async settled(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.isClosed() || connection.flush()))
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents) {
      const closed = agent.close().catch(() => {})
      // It waits for whoever may still ask for a handshake.
      await (this.clock instanceof ManualClock ? passing(this.clock, closed) : closed)
    }
    await this.service?.close()
    for (const connection of this.#connections) await connection.close()
    await this.server.stop()
  }

  async #tap(pattern: string, wants: (data: Uint8Array) => boolean): Promise<Tapped[]> {
    const connection = await this.connection()
    const seen: Tapped[] = []
    connection.subscribe(pattern, {
      callback: (_error, { subject, reply, data }) => {
        if (wants(data)) seen.push({ subject, reply, data: new Uint8Array(data) })
      },
    })
    await connection.flush()
    let isConnected = true
    void (async () => {
      for await (const { type } of connection.status()) {
        if (type === 'disconnect') isConnected = false
        if (type === 'reconnect') isConnected = true
      }
    })()
    // Without a server there is nothing to catch up with.
    const forget = lookOn(() => (isConnected ? connection.flush().catch(() => {}) : Promise.resolve()))
    void connection.closed().then(forget)
    return seen
  }
}

/** Collects a connection's events in an array that grows. */
export function collectStatus(bus: SecureConnection): StatusEvent[] {
  const events: StatusEvent[] = []
  void (async () => {
    for await (const event of bus.status()) events.push(event)
  })()
  return events
}
