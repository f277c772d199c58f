import type { NatsConnection } from '@nats-io/transport-node'
import { fromHex } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { type SecureOptions, secure } from '../../src/bus/secure.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { deriveEpoch, numberAt } from '../../src/keys/epochs.ts'
import { signOrder } from '../../src/keys/orders.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { protocolSubjects } from '../../src/keys/subjects.ts'
import type { RotationOptions } from '../../src/rotation/service.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { decodePlan, decodeSignedPlan, type Plan, type Schedule } from '../../src/wire/plans.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { type ClientOptions, connectClient } from './client.ts'
import { ManualClock } from './clock.ts'
import { engine, type IdentityOptions, NOTHING, newAuthority, newIdentity } from './identities.ts'
import { passing } from './passing.ts'
import { type PlanChanges, signedPlan } from './plans.ts'
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
  /** How many rotation services the plan names. Default: one. */
  readonly rotators?: number
  /** How many of them an agent must hear. Default: more than half. */
  readonly threshold?: number
  /** What the plan's schedule has that others do not. By default epoch 1 begins with the realm. */
  readonly schedule?: Partial<Schedule>
  /** Options of the rotation services; `false` starts none. */
  readonly rotation?: Partial<RotationOptions> | false
}

/** A schedule whose epochs change within a few steps of a clock that is moved by hand. */
export const SHORT_EPOCHS = { periodMs: 180_000, leadMs: 60_000, graceMs: 60_000 } as const

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

/** A realm on a real server: authority, plan, rotation services, agents. `stop()` ends everything that it started. */
export class TestRealm {
  readonly server: TestServer
  readonly authority: SigningKey
  readonly clock: Clock
  readonly rotators: readonly Identity[]
  /** The rotation services that run, in the order of `rotators`; one that was not started is `undefined`. */
  readonly services: (RotationService | undefined)[] = []
  readonly #connections: NatsConnection[] = []
  readonly #agents: SecureConnection[] = []
  #kept: KeptPlan

  static async start(options: TestRealmOptions = {}): Promise<TestRealm> {
    const { rotation = {} } = options
    const realm = new TestRealm(await startTestServer(options.serverConfig), options)
    if (rotation === false) return realm
    for (const which of realm.rotators.keys()) await realm.startService(rotation, which)
    return realm
  }

  private constructor(server: TestServer, options: TestRealmOptions) {
    const { clock = systemClock, rotators = 1, threshold, schedule = {} } = options
    this.server = server
    this.clock = clock
    this.authority = newAuthority()
    this.rotators = Array.from({ length: rotators }, (_, i) =>
      this.identity(i === 0 ? 'rotator' : `rotator-${i + 1}`, { permissions: NOTHING, roles: ['rotator'] }),
    )
    const nowMs = clock.now()
    const grounds = { rotators: this.rotators, madeMs: nowMs, originMs: nowMs }
    this.#kept = signedPlan(this.authority, grounds, {
      schedule,
      ...(threshold === undefined ? {} : { threshold }),
    })
  }

  /** The newest plan that the authority has signed, with its list. */
  get kept(): KeptPlan {
    return this.#kept
  }

  /** The same, as it reads. */
  get plan(): Plan {
    return decodePlan(decodeSignedPlan(this.#kept.plan).structure)
  }

  /** The first of the rotators. */
  get rotator(): Identity {
    const [first] = this.rotators
    if (first === undefined) throw new Error('the realm has no rotator')
    return first
  }

  /** The service of the first rotator. */
  get service(): RotationService | undefined {
    return this.services[0]
  }

  /** Signs the plan that follows the newest one. It is for the caller to give it to somebody. */
  nextPlan(changes: PlanChanges = {}): KeptPlan {
    const { version, rotators, threshold, schedules } = this.plan
    const former = { version, rotators, threshold }
    const madeMs = this.clock.now()
    const grounds = { rotators: rotators.map((publicKey) => ({ publicKey })), madeMs, originMs: madeMs }
    const followed = { version: version + 1, former, threshold, schedules, list: this.#kept.list }
    this.#kept = signedPlan(this.authority, grounds, { ...followed, ...changes })
    return this.#kept
  }

  get trust() {
    return { authority: [this.authority.publicKey] }
  }

  /** The first tokens of every protocol subject. */
  get root(): string {
    return `subrosa.v1.${this.authority.publicKey}`
  }

  /** Where this instance, in hexadecimal, of an agent is answered. */
  inboxOf({ name, instance }: { readonly name: string; readonly instance: string }): string {
    return protocolSubjects(engine, this.authority.publicKey).inbox(name, fromHex(instance))
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

  /** Orders fresh keys in the epoch of now. */
  async orderFreshKeys(): Promise<void> {
    const at = this.clock.now()
    const { realm, number, hash } = deriveEpoch(engine, this.plan, numberAt(this.plan, at))
    const nc = await this.connection()
    nc.publish(`${this.root}.rotate`, signOrder(this.authority, { realm, number, epochHash: hash, at }))
    await nc.flush()
  }

  /** Starts the service of one of the rotators: with an empty record and the realm's plan, as an operator begins one. */
  async startService(options: Partial<RotationOptions> = {}, which = 0): Promise<RotationService> {
    const identity = options.identity ?? this.rotators[which]
    if (identity === undefined) throw new Error(`the realm has no rotator ${which}`)
    const service = await startRotationService(await this.connection(), {
      identity,
      trust: this.trust,
      plan: this.#kept,
      store: memoryRotationStore({ isBegun: true }),
      clock: this.clock,
      log: silentLog,
      ...options,
    })
    this.services[which] = service
    return service
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

  /**
   * Lets the realm's clock run by so much, in steps that all that is asked meanwhile is answered between: so agents stay fresh,
   * however busy the machine is.
   */
  async pass(ms: number, stepMs = 15_000): Promise<void> {
    const { clock } = this
    if (!(clock instanceof ManualClock)) throw new Error('the clock of the realm goes by itself')
    for (let left = ms; left > 0; left -= stepMs) {
      clock.advance(Math.min(left, stepMs))
      // What was said is with the services, what they answer is with the server, and then with whoever asked.
      for (let way = 0; way < 3; way++) await this.settled()
    }
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents) {
      const closed = agent.close().catch(() => {})
      // It waits for whoever may still ask for a handshake.
      await (this.clock instanceof ManualClock ? passing(this.clock, closed) : closed)
    }
    for (const service of this.services) await service?.close()
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
