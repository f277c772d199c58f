import type { NatsConnection } from '@nats-io/transport-node'
import { CLOCK_WINDOW_MS, MAX_JITTER_MS, STALE_AFTER_MS } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { allows } from '../../src/identity/permissions.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { connectClient } from '../support/client.ts'
import { HostileLine } from '../support/hostile-line/hostile-line.ts'
import { isMessage } from '../support/hostile-line/nats-op.ts'
import { type Crossing, drop, pass, type Verdicts } from '../support/hostile-line/verdicts.ts'
import { NOTHING, newAuthority, newIdentity } from '../support/identities.ts'
import { Agent, type AgentSurroundings } from './agent.ts'
import { AGENTS, type AgentName, permissionsOf, ROTATOR, TRAITOR } from './cast.ts'
import type { Fault } from './faults.ts'
import { HostileMember, type Misdeed } from './hostile-member.ts'
import { Ledger, MARKER_LENGTH, type Sent } from './ledger.ts'
import { writtenForms } from './secret-log.ts'
import { Storm } from './storm.ts'
import { count, type Tally } from './tally.ts'
import { type AgentClock, VirtualTime } from './virtual-time.ts'
import { drawingFrom, SeededRandom } from './watched-engine.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

/**
 * Times of the rotation service. A long epoch is longer than a session with its tombstone, so that either can end
 * first; in short ones, epochs end in the midst of everything. Ticks are as rare as agents bear.
 */
const ROTATION = {
  long: { epochMs: 22 * MINUTE, leadMs: MINUTE, graceMs: 5 * MINUTE, tickMs: 75 * SECOND },
  short: { epochMs: 150 * SECOND, leadMs: 30 * SECOND, graceMs: 30 * SECOND, tickMs: 75 * SECOND },
} as const

type Epochs = keyof typeof ROTATION

/**
 * So long after all faults have stopped, every agent can talk to every other, in the sessions that it has too: in ms of
 * virtual time. That is two ticks. The longest that was measured is 135 s. Where a clock was wrong, what was announced by
 * it is mended by the next epoch alone.
 */
export const RECOVERY_MS = 150 * SECOND

/** Timers that are due within a step of each other run together. A long time passes in about so many steps. */
const STEPS = 40
const MAX_STEPS = 200
const MIN_STEP_MS = 250
const MAX_STEP_MS = 2000
/** What every plaintext of a schedule begins with. */
export const CANARY_BYTES = 10
/** What an agent may not be able to do in a storm, and says so. Anything else is a violation there too. */
const TROUBLES: readonly unknown[] = [
  'ERR_STALE',
  'ERR_TIMEOUT',
  'ERR_NO_ROTATION_SERVICE',
  'ERR_NO_RESPONDERS',
  'ERR_UNADDRESSED',
  'ERR_EMPTY_AUDIENCE',
  'ERR_RECIPIENT_NOT_ALLOWED',
  'ERR_CLOCK_SKEW',
]

/** What may stand in the way of an agent that joins, beyond that: statements that do not hold. */
const JOINING_TROUBLES: readonly unknown[] = [
  ...TROUBLES,
  'ERR_MALFORMED',
  'ERR_TOKEN_INVALID',
  'ERR_UNKNOWN_AUTHORITY',
  'ERR_EPOCH_INVALID',
  'ERR_ROLLBACK',
]

/** Beyond every timeout of the library's. */
const LONGEST_TASK_MS = 5 * MINUTE

/** What a world is told. */
export interface WorldOptions {
  readonly tally: Tally
  /** What plaintexts begin with. */
  readonly canary: Uint8Array
  readonly epochs: Epochs
  readonly seed: number
}

/** One realm behind a hostile line on a server that others use too: a service, agents, their clocks and the books. */
export class World {
  readonly time = new VirtualTime()
  readonly line: HostileLine
  readonly ledger: Ledger
  readonly agents: readonly Agent[]
  readonly prefix: string
  /** Whether something goes wrong now: what fails then is no violation. */
  isStormy = false
  readonly #tally: Tally
  readonly #root: string
  readonly #canary: string
  readonly #rotation: (typeof ROTATION)[Epochs]
  readonly #serviceClock: AgentClock
  readonly #serviceRandom: SeededRandom
  readonly #authority = newAuthority()
  #serviceConnection: NatsConnection | undefined
  #service: RotationService | undefined
  #storm: Storm | undefined
  #markers = 0
  /** Reply subjects, by who has published with them where, as far as the record was read. */
  readonly #replies = new Map<string, Set<string>>()
  #repliesRead = 0
  /** How much each client had published when it was last looked at. */
  readonly #published = new WeakMap<NatsConnection, number>()
  #heldForSleepers: Crossing[] = []
  readonly #hostile: HostileMember
  /** Every instance that there has been. */
  readonly #instances: { readonly name: AgentName; readonly instance: string }[] = []
  /** Instances that ended without a word. */
  readonly #crashed = new Set<string>()
  /** When a word of the rotation service last reached each agent, by the agent's name. */
  readonly #heardMs = new Map<string, number>()

  /** Starts a realm in which all agents know each other. */
  static async start(serverPort: number, parts: WorldOptions): Promise<World> {
    const time = new VirtualTime()
    const line = await HostileLine.start(serverPort, { clock: time.newClock() })
    const world = new World({ time, line, ...parts })
    await world.#begin()
    return world
  }

  private constructor(parts: WorldOptions & { readonly time: VirtualTime; readonly line: HostileLine }) {
    const { time, line, tally, canary, epochs, seed } = parts
    this.#rotation = ROTATION[epochs]
    this.#canary = Buffer.from(canary).toString('hex')
    this.time = time
    this.line = line
    this.#tally = tally
    this.#serviceClock = time.newClock()
    this.#serviceRandom = new SeededRandom(`${seed} ${ROTATOR}`)
    this.#root = `subrosa.v1.${this.#authority.publicKey}`
    // Of one length, whatever ran before: lengths decide which byte a fault hits.
    this.prefix = `world${String(seed).padStart(10, '0')}`
    this.ledger = new Ledger(tally, {
      repliesOf: (requester, subject) => this.#repliesOf(requester, subject),
      nowMs: () => time.nowMs,
      isOutOfTouch: (name) => this.isOutOfTouch(name),
    })
    line.onSend = (connection, direction, op) => {
      if (direction === 'to client' && isMessage(op) && op.subject === `${this.#root}.tick`)
        this.#heardMs.set(connection.name, time.nowMs)
    }
    const around: AgentSurroundings = {
      url: line.url,
      prefix: this.prefix,
      authority: this.#authority.publicKey,
      ledger: this.ledger,
      tally,
      during: (task) => this.during(task),
      respond: (agent, message) => this.#respond(agent, message),
      onStart: ({ name, self }) => this.#instances.push({ name, instance: self.instance }),
      onError: (agent, what, error) => this.#inside(agent, what, error),
    }
    const randoms = new Map(AGENTS.map((name) => [name, new SeededRandom(`${seed} ${name}`)]))
    this.agents = AGENTS.map((name) => {
      const permissions = permissionsOf(name, this.prefix)
      const { identity } = newIdentity(this.#authority, name, {
        permissions,
        issuedAtMs: time.nowMs - MINUTE,
      })
      const random = randoms.get(name) ?? new SeededRandom(name)
      return new Agent(name, { clock: time.newClock(), identity, around, random })
    })
    this.#hostile = new HostileMember({
      name: TRAITOR,
      line,
      prefix: this.prefix,
      root: this.#root,
      keyPairs: randoms.get(TRAITOR)?.keyPairs ?? [],
      nowMs: () => time.nowMs,
    })
  }

  /** The agents that are up. */
  get living(): readonly Agent[] {
    return this.agents.filter(({ bus }) => bus !== undefined)
  }

  /** A marker that nobody has used, and that shows where it is in clear. */
  newMarker(): string {
    return `${this.#canary}${String(++this.#markers).padStart(MARKER_LENGTH - 2 * CANARY_BYTES, '0')}`
  }

  /** What the line can show of what must be hidden. */
  leaksOf(secrets: { readonly findIn: (bytes: Buffer) => string | undefined }): string | undefined {
    const seen = this.line.record.flatMap(({ op }) => {
      if (isMessage(op))
        return [Buffer.from(`${op.subject} ${op.reply ?? ''} `), op.headers ?? Buffer.alloc(0), op.payload]
      return op.kind === 'SUB' ? [Buffer.from(`${op.subject} `)] : []
    })
    const all = Buffer.concat(seen)
    const plain = writtenForms(Buffer.from(this.#canary)).find(({ bytes }) => all.includes(bytes))
    if (plain !== undefined) return `a plaintext is on the line, ${plain.name}`
    const form = secrets.findIn(all)
    return form === undefined ? undefined : `a secret is on the line, ${form}`
  }

  /** Lets virtual time run. */
  async advance(ms: number): Promise<void> {
    const stepMs = Math.min(Math.max(ms / STEPS, MIN_STEP_MS), Math.max(MAX_STEP_MS, ms / MAX_STEPS))
    const endMs = this.time.nowMs + ms
    while (this.time.nowMs < endMs) {
      const nextMs = Math.max(this.time.nextTimerMs, this.time.nowMs + stepMs)
      this.time.advanceTo(Math.min(nextMs, endMs))
      await this.line.quiet(await this.#speakers())
    }
  }

  /** Who has published anything since this was last asked. Most timers do nothing but look around. */
  async #speakers(): Promise<ReadonlySet<string>> {
    // An agent publishes at the end of its turn what it publishes together.
    await new Promise((resolve) => setImmediate(resolve))
    const speakers = new Set<string>()
    for (const [name, nc] of this.#clients()) {
      const { outMsgs } = nc.stats()
      if (outMsgs !== this.#published.get(nc)) speakers.add(name)
      this.#published.set(nc, outMsgs)
    }
    return speakers
  }

  #clients(): readonly (readonly [string, NatsConnection])[] {
    const clients = [
      ...this.agents.map(({ name, nc }) => [name, nc] as const),
      [ROTATOR, this.#serviceConnection] as const,
    ]
    return clients.flatMap(([name, nc]) => (nc === undefined ? [] : [[name, nc] as const]))
  }

  /** Lets virtual time run until a task ends. */
  async during<Result>(task: Promise<Result>): Promise<Result> {
    let isOver = false
    const end = (): void => {
      isOver = true
    }
    task.then(end, end)
    await this.line.quiet()
    for (const endMs = this.time.nowMs + LONGEST_TASK_MS; !isOver; await this.advance(MIN_STEP_MS))
      if (this.time.nowMs > endMs) throw new Error('a task of an agent does not end')
    return task
  }

  /** Publishes a new epoch. Where nothing goes wrong, everybody has announced itself for it when this resolves. */
  async rotate(): Promise<void> {
    await drawingFrom(this.#serviceRandom, () => this.#service?.rotate())
    await this.line.quiet()
    if (!this.isStormy) await this.advance(MAX_JITTER_MS)
  }

  /** From now on the line is hostile. */
  beginStorm(faults: readonly Fault[]): void {
    this.isStormy = true
    const grounds = { prefix: this.prefix, root: this.#root }
    const storm = new Storm(this.line, { grounds, faults, tally: this.#tally })
    this.#storm = storm
    this.line.rule = (crossing) => {
      this.#hostile.see(crossing)
      return this.#holdForSleeper(crossing) ?? storm.judge(crossing)
    }
  }

  /** The machine of an agent sleeps while a task runs: what comes for it waits in the network. */
  async suspended(agent: Agent, task: () => Promise<void>): Promise<void> {
    agent.clock.sleep()
    await task()
    agent.clock.wake()
    for (const { connection, op } of this.#heldForSleepers.splice(0))
      this.line.inject(connection, 'to client', op)
    await this.line.quiet()
  }

  /** The connection of an agent breaks, and is made again. */
  async cut(agent: Agent): Promise<void> {
    const reconnected = agent.reconnected()
    this.line.connection(agent.name).cut()
    await reconnected
    await this.line.quiet()
  }

  /** The faults stop: clocks are right, machines awake, everything that was held back arrives. */
  async endStorm(): Promise<void> {
    for (const { clock } of this.agents) {
      clock.setError(0)
      clock.wake()
    }
    this.line.rule = pass
    this.#storm?.end()
    this.#storm = undefined
    await this.line.quiet()
    for (const agent of this.agents) if (agent.bus === undefined) await agent.start()
    await this.advance(RECOVERY_MS)
    this.isStormy = false
  }

  /** Lets time run until every epoch is over that had begun when the storm ended. */
  async nextEpoch(): Promise<void> {
    const { epochMs, leadMs } = this.#rotation
    await this.advance(Math.max(0, epochMs + leadMs - RECOVERY_MS))
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const agent of this.agents) await agent.close()
    await this.#service?.close()
    await this.#serviceConnection?.close()
    await this.line.close()
  }

  async #begin(): Promise<void> {
    const issuedAtMs = this.time.nowMs - MINUTE
    const rotator = newIdentity(this.#authority, ROTATOR, {
      permissions: NOTHING,
      roles: ['rotator'],
      issuedAtMs,
    })
    await drawingFrom(this.#serviceRandom, async () => {
      this.#serviceConnection = await connectClient({ servers: this.line.url, name: ROTATOR })
      this.#service = await startRotationService(this.#serviceConnection, {
        identity: rotator.identity,
        trust: { authority: [this.#authority.publicKey] },
        clock: this.#serviceClock,
        log: silentLog,
        ...this.#rotation,
      })
    })
    for (const agent of this.agents) await agent.start()
    await this.line.quiet()
  }

  #holdForSleeper(crossing: Crossing): Verdicts | undefined {
    const { connection, direction, op } = crossing
    const isAsleep = this.agents.some(({ name, clock }) => name === connection.name && clock.isAsleep)
    if (!isAsleep || direction === 'to server' || !isMessage(op)) return undefined
    this.#heldForSleepers.push(crossing)
    return drop()
  }

  #respond(agent: Agent, message: SecureMessage): void {
    const { bus } = agent
    if (bus === undefined || message.reply === undefined) return
    const marker = this.newMarker()
    const response: Sent = {
      marker,
      payload: marker,
      from: agent.self,
      subject: 'the reply subject',
      mode: message.mode,
      audience: new Set([message.sender.instance]),
      headers: [],
      reply: undefined,
      untilMs: this.deadlineMs(),
      answers: Buffer.from(message.data.subarray(0, MARKER_LENGTH)).toString('latin1'),
    }
    this.ledger.enter(response)
    try {
      message.respond(marker)
    } catch (error) {
      this.failed(`${agent.name} could not respond`, error)
    }
  }

  /** A member that keeps to nothing does what it must not. */
  misbehave(misdeed: Misdeed): void {
    // While a clock is wrong, or was, what is late by the true time may be in time by that one.
    if (!this.areClocksRight && (misdeed.startsWith('late') || misdeed === 'past its ttl')) return
    if (!this.#hostile.attempt(misdeed)) return
    count(this.#tally.faults, 'hostile member')
    count(this.#tally.aims, `hostile member: ${misdeed}`)
  }

  /** Whether no clock has been wrong in this schedule. */
  get areClocksRight(): boolean {
    return this.agents.every(({ clock }) => !clock.wasWrong)
  }

  /** Until when what is sent now may be delivered, in true time. */
  deadlineMs(ttlMs = CLOCK_WINDOW_MS): number {
    // Clocks tell whole milliseconds.
    const latestMs = this.time.nowMs + Math.min(ttlMs, CLOCK_WINDOW_MS) + 1
    return this.areClocksRight ? latestMs : Number.POSITIVE_INFINITY
  }

  /** Whether an agent has not heard of the rotation service for so long that it must neither seal nor open. */
  isOutOfTouch(name: string): boolean {
    return this.time.nowMs - (this.#heardMs.get(name) ?? Number.NEGATIVE_INFINITY) > STALE_AFTER_MS
  }

  /** To be told before an agent ends. */
  ends(agent: Agent, isCrash: boolean): void {
    if (isCrash && agent.bus !== undefined) this.#crashed.add(agent.self.instance)
  }

  /**
   * Who must have a message and who may, by the cast's permissions and by who lives. In a storm nobody knows who has
   * retired, and of whoever crashed nobody knows until its epoch is over.
   */
  readersOf(subject: string): { readonly must: ReadonlySet<string>; readonly may: ReadonlySet<string> } {
    const mayRead = (name: AgentName): boolean => allows(permissionsOf(name, this.prefix).sub, subject)
    const must = this.living.filter(({ name }) => mayRead(name)).map(({ self }) => self.instance)
    const others = this.#instances.filter(
      ({ name, instance }) => mayRead(name) && (this.isStormy || this.#crashed.has(instance)),
    )
    return { must: new Set(must), may: new Set([...must, ...others.map(({ instance }) => instance)]) }
  }

  /** Something went wrong inside of an agent. Only a storm may make it say that its clock does not fit. */
  #inside(agent: Agent, what: string, error: unknown): void {
    if (this.isStormy && error instanceof Error && 'code' in error && error.code === 'ERR_CLOCK_SKEW') return
    this.ledger.violate(`${agent.name} ${what}: ${error instanceof Error ? error.stack : String(error)}`)
  }

  /** Something that an agent could not do: counted, and a violation where nothing goes wrong. */
  failed(what: string, error: unknown, isJoining = false): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    count(this.#tally.failed, code)
    if (this.isStormy && !(isJoining ? JOINING_TROUBLES : TROUBLES).includes(code))
      this.ledger.violate(`${what}: ${error instanceof Error ? error.stack : String(error)}`)
    if (!this.isStormy) this.ledger.violate(`${what} where nothing went wrong: ${String(error)}`)
  }

  #repliesOf(requester: string, subject: string): ReadonlySet<string> {
    for (const { op, connection } of this.line.record.slice(this.#repliesRead)) {
      if (op.kind !== 'PUB' || op.reply === undefined) continue
      const key = `${connection.name} ${op.subject}`
      const replies = this.#replies.get(key) ?? new Set()
      this.#replies.set(key, replies.add(op.reply))
    }
    this.#repliesRead = this.line.record.length
    return this.#replies.get(`${requester} ${subject}`) ?? new Set()
  }
}
