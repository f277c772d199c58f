import type { NatsConnection } from '@nats-io/transport-node'
import { CLOCK_WINDOW_MS, MAX_JITTER_MS, STALE_AFTER_MS } from '../../src/base/limits.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { engineFor } from '../../src/crypto/engine.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { allows } from '../../src/identity/permissions.ts'
import { deriveEpoch, type Epoch, numberAt } from '../../src/keys/epochs.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { protocolSubjects } from '../../src/keys/subjects.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { decodePage, QueryKind } from '../../src/wire/queries.ts'
import { decodeSignedTick, decodeTick } from '../../src/wire/ticks.ts'
import { HostileLine } from '../support/hostile-line/hostile-line.ts'
import { type Direction, isMessage, type NatsOp } from '../support/hostile-line/nats-op.ts'
import { type Crossing, drop, pass, type Verdicts } from '../support/hostile-line/verdicts.ts'
import { may, NOTHING, newAuthority, newIdentity } from '../support/identities.ts'
import { Agent, type AgentSurroundings } from './agent.ts'
import { AGENTS, type AgentName, OPERATOR, OUTCAST, permissionsOf, ROTATOR, TRAITOR } from './cast.ts'
import type { Fault } from './faults.ts'
import { HostileMember, type Misdeed } from './hostile-member.ts'
import { Ledger, MARKER_LENGTH, type Sent } from './ledger.ts'
import { LyingRotator } from './lying-rotator.ts'
import { Outcast } from './outcast.ts'
import { type Fleet, Rotator } from './rotators.ts'
import { writtenForms } from './secret-log.ts'
import { Steward } from './steward.ts'
import { areApart, Storm } from './storm.ts'
import { count, type Tally } from './tally.ts'
import { type AgentClock, VirtualTime } from './virtual-time.ts'
import { SeededRandom } from './watched-engine.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE
/** Whom outcasts speak to. */
const VICTIM: AgentName = 'bob'

/**
 * How epochs follow each other. A long epoch is longer than a session with its tombstone, so that either can end first; in
 * short ones, epochs end in the midst of everything.
 */
const EPOCHS = {
  long: { periodMs: 21 * MINUTE, leadMs: MINUTE, graceMs: 5 * MINUTE },
  short: { periodMs: 120 * SECOND, leadMs: 30 * SECOND, graceMs: 30 * SECOND },
} as const

type Epochs = keyof typeof EPOCHS

/** Broadcasts are hints that nobody needs. */
const TICK_MS = 75 * SECOND

/**
 * So long after all faults have stopped, every agent can talk to every other, in the sessions that it has too: in ms of
 * virtual time. Where a clock was wrong, what was announced by it is mended by the next epoch alone.
 */
export const RECOVERY_MS = 150 * SECOND
/** So long after a revocation is confirmed, nobody seals to the revoked or opens what it says; and a step of the clock more. */
const REVOKED_MS = STALE_AFTER_MS + 2 * SECOND
/** So long after a plan was made, all its services count, where nothing goes wrong. */
const TAKEN_UP_MS = 30 * SECOND
const MAX_OUTCASTS = 3
/** Any set of lost announcements is found within this time. */
const RECONCILED_MS = 2 * MINUTE

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
  'ERR_PLAN_INVALID',
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
  readonly fleet: Fleet
  readonly seed: number
}

/** One realm behind a hostile line on a server that others use too: services, agents, their clocks and the books. */
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
  readonly #times: (typeof EPOCHS)[Epochs]
  readonly #fleet: Fleet
  readonly #seed: number
  readonly #authority = newAuthority()
  readonly #steward: Steward
  /** Those that are not stolen and not done with, in the order of their numbers. */
  #rotators: Rotator[] = []
  /** Those that a plan has replaced: they hand over until the storm ends. */
  #replaced: Rotator[] = []
  readonly #liars: readonly LyingRotator[]
  #madeRotators = 0
  #outcasts: Outcast[] = []
  #halves: number | undefined
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
  /** When a tick of each rotation service last reached each agent, by the agent's name. */
  readonly #heardMs = new Map<string, Map<string, number>>()

  /** Starts a realm in which all agents know each other. */
  static async start(serverPort: number, parts: WorldOptions): Promise<World> {
    const time = new VirtualTime()
    const line = await HostileLine.start(serverPort, { clock: time.newClock() })
    const world = new World({ time, line, ...parts })
    await world.#begin()
    return world
  }

  private constructor(parts: WorldOptions & { readonly time: VirtualTime; readonly line: HostileLine }) {
    const { time, line, tally, canary, epochs, fleet, seed } = parts
    this.#times = EPOCHS[epochs]
    this.#fleet = fleet
    this.#seed = seed
    this.#canary = Buffer.from(canary).toString('hex')
    this.time = time
    this.line = line
    this.#tally = tally
    this.#root = `subrosa.v1.${this.#authority.publicKey}`
    // Of one length, whatever ran before: lengths decide which byte a fault hits.
    this.prefix = `world${String(seed).padStart(10, '0')}`
    this.ledger = new Ledger(tally, {
      repliesOf: (requester, subject) => this.#repliesOf(requester, subject),
      nowMs: () => time.nowMs,
      isOutOfTouch: (name) => this.isOutOfTouch(name),
      isBarred: (name) => this.isBarred(name),
    })
    line.onSend = ({ name }, direction, op) => this.#noteTick(name, direction, op)
    const honest = Array.from({ length: fleet.count - fleet.stolen }, () => this.#newRotator())
    this.#rotators = honest
    const subjects = protocolSubjects(engineFor(), this.#authority.publicKey)
    this.#liars = Array.from({ length: fleet.stolen }, () => {
      const { identity } = this.#newRotatorIdentity()
      const newestPlan = () => this.#steward.kept
      const isAlone = fleet.stolen === fleet.count
      const parts = { identity, subjects, url: line.url, newestPlan, isAlone }
      return new LyingRotator({ ...parts, nowMs: () => time.nowMs })
    })
    this.#steward = new Steward({
      authority: this.#authority,
      subjects,
      url: line.url,
      clock: time.newClock(),
      random: new SeededRandom(`${seed} ${OPERATOR}`),
      rotators: [...honest, ...this.#liars].map(({ identity }) => identity),
      threshold: fleet.threshold,
      times: this.#times,
    })
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
        plan: 1,
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
      inboxOf: (name, instance) => subjects.inbox(name, instance),
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
    // What clients have said: what the broker makes of it leaks nothing that this does not.
    const said = this.line.record.filter(({ direction }) => direction === 'to server')
    const seen = said.flatMap(({ op }) => {
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
    const others = [...this.#rotators, ...this.#replaced, ...this.#liars]
    const clients = [
      ...[...this.agents, ...others].map(({ name, nc }) => [name, nc] as const),
      [OPERATOR, this.#steward.nc] as const,
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

  /** Orders fresh keys. Where nothing goes wrong, everybody has announced itself again when this resolves. */
  async rotate(): Promise<void> {
    await this.during(this.#steward.orderFreshKeys())
    await this.line.quiet()
    if (!this.isStormy) await this.advance(MAX_JITTER_MS)
  }

  /** Makes a plan with the same services, and other epochs as soon as may be. */
  async renew(): Promise<void> {
    const isMade = await this.during(this.#steward.nextPlan({ schedules: this.#steward.renewedSchedules() }))
    if (isMade) count(this.#tally.faults, 'plan renewed')
    await this.#takenUp(isMade)
  }

  /** Makes a plan with another service in the place of one, which hands over to it. */
  async replace(which: number): Promise<void> {
    const former = this.#rotator(which)
    if (former === undefined) return
    const isMade = await this.#makeWithout(former)
    if (isMade) count(this.#tally.faults, 'service replaced')
    await this.#takenUp(isMade)
    if (!this.isStormy) await this.#endReplaced()
  }

  /** A member is revoked. From a while after that is confirmed nobody may hear it. */
  async revoke(): Promise<void> {
    const outcast = this.#newestOutcast()
    if (outcast === undefined) return
    const nowMs = this.time.nowMs
    const revocation = {
      realm: this.#authority.publicKey,
      identity: outcast.identity.publicKey,
      since: nowMs,
      until: nowMs + DAY,
      reason: 'cast out',
      past: 0 as const,
    }
    const isConfirmed = await this.during(this.#steward.revoke(signRevocation(this.#authority, revocation)))
    count(this.#tally.faults, 'revocation')
    outcast.isRevoked = true
    if (isConfirmed) outcast.barredFromMs = this.time.nowMs + REVOKED_MS
    else if (!this.isStormy) this.ledger.violate('a revocation is not confirmed, and nothing goes wrong')
  }

  /** All members that are revoked, or will be, say something to somebody. */
  async outcastsSpeak(): Promise<void> {
    this.#newestOutcast()
    const epoch = this.#epoch()
    for (const outcast of this.#outcasts) {
      const { bytes, isNew } = outcast.announcementOf(epoch)
      const { name, instance } = outcast.self
      if (isNew) {
        this.#inject(`${this.#root}.announce.${name}.${instance}`, bytes)
        await this.line.quiet()
      }
      const to = this.#hostile.keyOf(VICTIM, epoch.number)
      if (to === undefined) continue
      const subject = `${this.prefix}.chat.room`
      const marker = this.newMarker()
      this.ledger.enter({
        marker,
        payload: marker,
        from: outcast.self,
        subject,
        mode: 'message',
        audience: new Set(
          this.living.filter((agent) => agent.name === VICTIM).map(({ self }) => self.instance),
        ),
        headers: [],
        reply: undefined,
        untilMs: this.deadlineMs(),
        answers: undefined,
      })
      this.#inject(subject, outcast.seal(marker, to, { epoch, subject, sentAtMs: this.time.nowMs }))
      count(this.#tally.faults, 'outcast speaks')
      await this.line.quiet()
    }
  }

  /** The process of a rotation service is killed, and started again after a task, with its record. */
  async serviceRestarts(which: number, task: () => Promise<void>): Promise<void> {
    const rotator = this.#rotator(which)
    if (rotator === undefined) return
    count(this.#tally.faults, 'service restarts')
    await rotator.kill()
    await task()
    if (!rotator.isLost && !rotator.isUp) await rotator.start(this.#steward.kept)
    await this.line.quiet()
  }

  /** A rotation service loses its record, and a plan follows without it as soon as one can be made. */
  async serviceLost(which: number): Promise<void> {
    const rotator = this.#rotator(which)
    // One after the other, and never the only one: then nothing is left but the operator's word.
    if (rotator === undefined || this.#fleet.count === 1 || this.#rotators.some(({ counts }) => !counts))
      return
    count(this.#tally.faults, 'service lost')
    await rotator.lose()
    await this.#makeWithout(rotator)
    await this.line.quiet()
  }

  /** The wall clock of a rotation service is wrong while a task runs. */
  async serviceClock(which: number, errorMs: number, task: () => Promise<void>): Promise<void> {
    const rotator = this.#rotator(which)
    if (rotator === undefined) return
    count(this.#tally.faults, 'service clock')
    rotator.clock.setError(errorMs)
    await task()
    rotator.clock.setError(0)
  }

  /** The machine of a rotation service sleeps while a task runs. */
  async serviceSleeps(which: number, task: () => Promise<void>): Promise<void> {
    const rotator = this.#rotator(which)
    if (rotator === undefined) return
    count(this.#tally.faults, 'service suspended')
    await this.#asleep(rotator.clock, task)
  }

  /** Each half of the clients hears nothing of the other one while a task runs, and no agent of any revocation. */
  async divided(halves: number, task: () => Promise<void>): Promise<void> {
    count(this.#tally.faults, 'divided')
    this.#halves = halves
    await task()
    this.#halves = undefined
    await this.line.quiet()
  }

  /** From now on the line is hostile. */
  beginStorm(faults: readonly Fault[]): void {
    this.isStormy = true
    const accomplices = new Set(this.#liars.map(({ name }) => name))
    const grounds = { prefix: this.prefix, root: this.#root, accomplices }
    const storm = new Storm(this.line, { grounds, faults, tally: this.#tally })
    this.#storm = storm
    this.line.rule = (crossing) => {
      this.#hostile.see(crossing)
      const isKept = this.#isKeptBack(crossing, accomplices)
      return isKept ? drop() : (this.#holdForSleeper(crossing) ?? storm.judge(crossing))
    }
  }

  /** In a realm that is divided: what is of the other half, and every revocation that an agent would learn of. */
  #isKeptBack(crossing: Crossing, accomplices: ReadonlySet<string>): boolean {
    const { connection, direction, op } = crossing
    const halves = this.#halves
    if (halves === undefined || direction === 'to server' || !isMessage(op)) return false
    if (areApart(this.line, crossing, { accomplices, halves })) return true
    if (!this.agents.some(({ name }) => name === connection.name)) return false
    return op.subject === `${this.#root}.revoke` || isOfRevocations(op.payload)
  }

  /** The machine of an agent sleeps while a task runs: what comes for it waits in the network. */
  suspended({ clock }: Agent, task: () => Promise<void>): Promise<void> {
    return this.#asleep(clock, task)
  }

  async #asleep(clock: AgentClock, task: () => Promise<void>): Promise<void> {
    clock.sleep()
    await task()
    clock.wake()
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
    for (const { clock } of [...this.agents, ...this.#rotators]) {
      clock.setError(0)
      clock.wake()
    }
    this.line.rule = pass
    this.#storm?.end()
    this.#storm = undefined
    await this.line.quiet()
    await this.#mendServices()
    for (const agent of this.agents) if (agent.bus === undefined) await agent.start()
    await this.advance(RECOVERY_MS)
    this.isStormy = false
    await this.#endReplaced()
  }

  /** Whether epochs end in the midst of everything. */
  get hasShortEpochs(): boolean {
    return this.#times === EPOCHS.short
  }

  /** Lets time run until every epoch is over that had begun when the storm ended. */
  async nextEpoch(): Promise<void> {
    const { periodMs, leadMs } = this.#times
    await this.advance(Math.max(0, periodMs + 2 * leadMs - RECOVERY_MS))
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const agent of this.agents) await agent.close()
    for (const rotator of [...this.#rotators, ...this.#replaced]) await rotator.kill()
    for (const liar of this.#liars) await liar.close()
    await this.#steward.close()
    await this.line.close()
  }

  async #begin(): Promise<void> {
    for (const liar of this.#liars) await liar.start()
    for (const rotator of this.#rotators) await rotator.start(this.#steward.kept)
    await this.line.quiet()
    for (const agent of this.agents) await agent.start()
    await this.known()
  }

  /** Resolves when whoever has just joined knows all others, and they know it, where nothing goes wrong. */
  async known(): Promise<void> {
    await this.line.quiet()
    // A service that lies may have shown it an empty directory: it compares with the others too.
    if (!this.isStormy && this.#liars.length > 0) await this.advance(RECONCILED_MS)
  }

  #newRotatorIdentity(): { readonly identity: Identity; readonly name: string } {
    const name = `${ROTATOR}${++this.#madeRotators}`
    const { identity } = newIdentity(this.#authority, name, {
      permissions: NOTHING,
      roles: ['rotator'],
      issuedAtMs: this.time.nowMs - MINUTE,
    })
    return { identity, name }
  }

  #newRotator(): Rotator {
    const { identity, name } = this.#newRotatorIdentity()
    return new Rotator({
      identity,
      clock: this.time.newClock(),
      random: new SeededRandom(`${this.#seed} ${name}`),
      url: this.line.url,
      authority: this.#authority.publicKey,
      tickMs: TICK_MS,
    })
  }

  /** One of those that run by themselves. */
  #rotator(which: number): Rotator | undefined {
    const up = this.#rotators.filter(({ isUp }) => isUp)
    return up[which % Math.max(1, up.length)]
  }

  /** Makes a plan with a new service in the place of one. @returns whether there is one */
  async #makeWithout(former: Rotator): Promise<boolean> {
    const rotator = this.#newRotator()
    const others = this.#rotators.filter((one) => one !== former)
    const rotators = [...others, rotator, ...this.#liars].map(({ identity }) => identity)
    if (!(await this.during(this.#steward.nextPlan({ rotators })))) return false
    this.#rotators = [...others, rotator]
    this.#replaced.push(former)
    await rotator.start(this.#steward.kept)
    return true
  }

  /** Where nothing goes wrong, a plan can be made and is taken up. */
  async #takenUp(isMade: boolean): Promise<void> {
    await this.line.quiet()
    if (this.isStormy) return
    if (!isMade) this.ledger.violate('no plan can be made, and nothing goes wrong')
    await this.advance(TAKEN_UP_MS)
    this.#expectAllCount()
  }

  #expectAllCount(): void {
    for (const { name, counts } of this.#rotators)
      if (!counts) this.ledger.violate(`${name} does not count, and nothing goes wrong`)
  }

  /** Services that were killed are started again, and a lost one is replaced. */
  async #mendServices(): Promise<void> {
    for (const rotator of this.#rotators)
      if (!rotator.isUp && !rotator.isLost) await rotator.start(this.#steward.kept)
    await this.line.quiet()
    await this.advance(TAKEN_UP_MS)
    const lost = this.#rotators.find(({ isLost }) => isLost)
    if (lost !== undefined && !(await this.#makeWithout(lost)))
      this.ledger.violate(`${lost.name} cannot be replaced when all faults have stopped`)
    await this.advance(TAKEN_UP_MS)
    this.#expectAllCount()
  }

  /** Whoever was replaced has handed over. */
  async #endReplaced(): Promise<void> {
    for (const rotator of this.#replaced.splice(0)) await rotator.kill()
  }

  /** The member that is to be revoked next; none when there were many. */
  #newestOutcast(): Outcast | undefined {
    const newest = this.#outcasts.at(-1)
    if (newest?.isRevoked === false) return newest
    if (this.#outcasts.length === MAX_OUTCASTS) return undefined
    const name = `${OUTCAST}${this.#outcasts.length + 1}`
    const { identity } = newIdentity(this.#authority, name, {
      permissions: may([`${this.prefix}.chat.>`], [`${this.prefix}.chat.>`]),
      issuedAtMs: this.time.nowMs - MINUTE,
    })
    const outcast = new Outcast(identity, new SeededRandom(`${this.#seed} ${name}`))
    this.#outcasts.push(outcast)
    return outcast
  }

  /** Whether nobody may hear this member any more, or seal to it. */
  isBarred(name: string): boolean {
    const outcast = this.#outcasts.find(({ identity }) => identity.name === name)
    return outcast !== undefined && outcast.barredFromMs < this.time.nowMs
  }

  #epoch(): Epoch {
    const { plan } = this.#steward
    return deriveEpoch(engineFor(), plan, numberAt(plan, this.time.nowMs))
  }

  /** The broker puts something on a subject by itself. */
  #inject(subject: string, bytes: Uint8Array): void {
    const connection = this.line.connections.findLast(({ name }) => name === TRAITOR)
    if (connection === undefined) return
    const payload = Buffer.from(bytes)
    this.line.inject(connection, 'to server', {
      kind: 'PUB',
      subject,
      reply: undefined,
      headers: undefined,
      payload,
    })
  }

  #noteTick(name: string, direction: Direction, op: NatsOp): void {
    if (direction !== 'to client' || !isMessage(op) || !op.subject.startsWith(`${this.#root}.inbox.`)) return
    if (wireType(op.payload) !== WireType.tick) return
    try {
      const tick = decodeTick(decodeSignedTick(op.payload).structure)
      const heard = this.#heardMs.get(name) ?? new Map<string, number>()
      this.#heardMs.set(name, heard.set(tick.rotator, this.time.nowMs))
    } catch {
      // A fault has made it junk.
    }
  }

  #holdForSleeper(crossing: Crossing): Verdicts | undefined {
    const { connection, direction, op } = crossing
    if (direction === 'to server' || !isMessage(op)) return undefined
    const isTheirs = (one: Agent | Rotator): boolean => one.clock.isAsleep && one.name === connection.name
    if (!this.agents.some(isTheirs) && !this.#rotators.some(isTheirs)) return undefined
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

  /** Whether an agent has heard too few rotation services for so long that it must neither seal nor open. */
  isOutOfTouch(name: string): boolean {
    const heard = [...(this.#heardMs.get(name)?.values() ?? [])].sort((a, b) => b - a)
    const lastMs = heard[this.#fleet.threshold - 1] ?? Number.NEGATIVE_INFINITY
    return this.time.nowMs - lastMs > STALE_AFTER_MS
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
    const members = subject.startsWith(`${this.prefix}.chat.`) ? this.#outcasts : []
    const outcasts = members.map(({ self }) => self).filter(({ name }) => !this.isBarred(name))
    const may = [...others, ...outcasts].map(({ instance }) => instance)
    return { must: new Set(must), may: new Set([...must, ...may]) }
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

function isOfRevocations(payload: Buffer): boolean {
  if (wireType(payload) !== WireType.page) return false
  try {
    return decodePage(payload).kind === QueryKind.revocations
  } catch {
    return false
  }
}
