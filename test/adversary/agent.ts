import type { NatsConnection } from '@nats-io/transport-node'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { SecureSubscription } from '../../src/bus/messages/subscription.ts'
import { secure } from '../../src/bus/secure.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { connectClient } from '../support/client.ts'
import { type AgentName, CAST } from './cast.ts'
import type { Inlet, InstanceName, Ledger } from './ledger.ts'
import { count, type Tally } from './tally.ts'
import type { AgentClock } from './virtual-time.ts'
import { drawingFrom, type SeededRandom } from './watched-engine.ts'

/** What agents of one schedule have in common. */
export interface AgentSurroundings {
  /** Where the line listens. */
  readonly url: string
  readonly prefix: string
  readonly authority: string
  readonly ledger: Ledger
  readonly tally: Tally
  /** Lets virtual time run until a task ends. */
  readonly during: <Result>(task: Promise<Result>) => Promise<Result>
  /** Called with what a handler got that responds. */
  readonly respond: (agent: Agent, message: SecureMessage) => void
  /** Called with each new instance. */
  readonly onStart: (agent: Agent) => void
  /** Called with what went wrong inside of an agent. */
  readonly onError: (agent: Agent, what: string, error: unknown) => void
}

/** A subscription, and its page in the books. */
interface Reading {
  readonly inlet: Inlet
  readonly subscription: SecureSubscription
  readonly isStanding: boolean
  readonly responds: boolean
}

/** An agent through all its restarts: one identity, one clock, one process after the other. */
export class Agent {
  readonly name: AgentName
  readonly clock: AgentClock
  readonly #identity: Identity
  readonly #around: AgentSurroundings
  readonly #random: SeededRandom
  #nc: NatsConnection | undefined
  #bus: SecureConnection | undefined
  #readings: Reading[] = []

  constructor(
    name: AgentName,
    parts: {
      readonly clock: AgentClock
      readonly identity: Identity
      readonly around: AgentSurroundings
      readonly random: SeededRandom
    },
  ) {
    this.name = name
    this.clock = parts.clock
    this.#identity = parts.identity
    this.#around = parts.around
    this.#random = parts.random
  }

  /** The sealed connection; `undefined` while the agent is down. */
  get bus(): SecureConnection | undefined {
    return this.#bus
  }

  /** The connection underneath; `undefined` between a crash and the next start. */
  get nc(): NatsConnection | undefined {
    return this.#nc
  }

  /** The instance of now. @throws Error while the agent is down */
  get self(): InstanceName {
    if (this.#bus === undefined) throw new Error(`${this.name} is down`)
    return { name: this.name, instance: this.#bus.instance }
  }

  /** Connects, joins the realm and opens the standing subscriptions. @throws what {@link secure} throws */
  start(): Promise<void> {
    return this.doing(() => this.#start())
  }

  /** Runs what this agent does: all randomness of it is drawn from its own stream. */
  doing<Result>(task: () => Result): Result {
    return drawingFrom(this.#random, task)
  }

  async #start(): Promise<void> {
    const { url, authority, during, prefix } = this.#around
    this.#nc ??= await connectClient({ servers: url, name: this.name, client: CAST[this.name].client })
    this.#bus = await during(
      secure(this.#nc, {
        identity: this.#identity,
        trust: { authority: [authority] },
        state: 'memory',
        log: silentLog,
        clock: this.clock,
        capturedSubjects: [],
      }),
    )
    void this.#watch(this.#bus)
    this.#around.onStart(this)
    for (const { pattern, queue, responds } of CAST[this.name].standing)
      this.#read(`${prefix}.${pattern}`, { queue, responds: responds === true, isStanding: true })
    await during(this.#bus.flush())
  }

  async #watch(bus: SecureConnection): Promise<void> {
    const { instance } = this.self
    for await (const event of bus.status()) {
      if (event.type === 'error') this.#around.onError(this, 'reports an error', event.error)
      if (event.type === 'sessionRefused') this.#around.ledger.sessionRefused(instance)
    }
  }

  /** Opens one more subscription. @throws SubrosaError ERR_SUBSCRIBE_DENIED */
  async subscribe(pattern: string, queue: string | undefined): Promise<void> {
    if (this.#bus === undefined) return
    this.#read(pattern, { queue, responds: false, isStanding: false })
    await this.#around.during(this.#bus.flush())
  }

  /** Ends a standing subscription without a queue, and opens the same again. */
  async resubscribe(which: number): Promise<void> {
    const standing = this.#readings.filter(({ isStanding, inlet }) => isStanding && inlet.queue === undefined)
    const chosen = standing[which % Math.max(1, standing.length)]
    if (chosen === undefined || this.#bus === undefined) return
    chosen.inlet.isOpen = false
    chosen.subscription.unsubscribe()
    this.#readings = this.#readings.filter((reading) => reading !== chosen)
    this.#read(chosen.inlet.pattern, { queue: undefined, responds: chosen.responds, isStanding: true })
    await this.#around.during(this.#bus.flush())
  }

  /** Ends one of the subscriptions that are not standing ones. */
  unsubscribe(which: number): void {
    const passing = this.#readings.filter(({ isStanding }) => !isStanding)
    const chosen = passing[which % Math.max(1, passing.length)]
    if (chosen === undefined) return
    chosen.inlet.isOpen = false
    chosen.subscription.unsubscribe()
    this.#readings = this.#readings.filter((reading) => reading !== chosen)
  }

  /** Ends this process: it retires, or falls over. */
  async stop(isCrash: boolean): Promise<void> {
    const bus = this.#bus
    this.#bus = undefined
    for (const { inlet } of this.#readings) inlet.isOpen = false
    this.#readings = []
    if (isCrash) await this.#disconnect()
    if (bus === undefined) return
    if (!isCrash) await this.#around.during(bus.close())
    for (const [reason, times] of Object.entries(bus.rejections()))
      count(this.#around.tally.refused, reason, times)
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.stop(true)
  }

  async #disconnect(): Promise<void> {
    await this.#nc?.close()
    this.#nc = undefined
  }

  /** Resolves when the client has connected again after a cut. */
  async reconnected(): Promise<void> {
    if (this.#nc === undefined) return
    for await (const { type } of this.#nc.status()) if (type === 'reconnect') return
  }

  #read(
    pattern: string,
    of: { readonly queue: string | undefined; readonly responds: boolean; readonly isStanding: boolean },
  ): void {
    const { ledger, respond } = this.#around
    const bus = this.#bus
    if (bus === undefined) return
    const { queue, responds, isStanding } = of
    const inlet = ledger.open(this.self, { pattern, queue })
    const subscription = bus.subscribe(pattern, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error !== undefined) {
          this.#around.onError(this, `has an error in its handler of ${pattern}`, error)
          return
        }
        ledger.take(inlet, message)
        if (responds) respond(this, message)
      },
    })
    this.#readings.push({ inlet, subscription, isStanding, responds })
  }
}
