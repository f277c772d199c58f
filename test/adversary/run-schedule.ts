import { engineFor } from '../../src/crypto/engine.ts'
import type { Agent } from './agent.ts'
import { CAST, PASSING_PATTERNS, REQUESTERS, TOOLS } from './cast.ts'
import { type Sent, Violation } from './ledger.ts'
import type { Action, Round, Schedule, StormAction } from './schedule.ts'
import { SecretLog } from './secret-log.ts'
import { misfitted, refitted } from './storm.ts'
import { count, type Tally } from './tally.ts'
import { SeededRandom, watchEngine } from './watched-engine.ts'
import { CANARY_BYTES, World } from './world.ts'

const REQUEST_TIMEOUT_MS = 2000
const STALL_MS = 500
/** More than there are. */
const MANY = 1000
/** What is replayed went to the agent within so much time: as long as a message may be on its way. */
const REPLAYED_MS = 130_000

/** Where a schedule runs, and what is counted. */
export interface Stage {
  readonly serverPort: number
  /** All randomness of the agents follows from it. */
  readonly seed: number
  readonly tally: Tally
}

/**
 * Runs one schedule, and counts what has happened.
 *
 * @throws Violation when an invariant does not hold
 */
export async function runSchedule(schedule: Schedule, { serverPort, seed, tally }: Stage): Promise<void> {
  const secrets = new SecretLog()
  const random = new SeededRandom(seed)
  await watchEngine(engineFor(), { secrets, random }, async () => {
    const world = await World.start(serverPort, {
      tally,
      canary: random.bytes(CANARY_BYTES),
      epochs: schedule.epochs,
      fleet: schedule.fleet,
      seed,
    })
    try {
      for (const [i, round] of schedule.rounds.entries())
        await runRound(world, round, { tally, isOdd: (seed + i) % 2 === 1 })
      const leak = world.leaksOf(secrets)
      if (leak !== undefined) world.ledger.violate(leak)
      for (const error of world.line.errors) world.ledger.violate(`the line did not understand: ${error}`)
      assertNone(world)
    } finally {
      tally.schedules++
      await world.close()
    }
  })
}

async function runRound(
  world: World,
  { calm, faults, storm }: Round,
  { tally, isOdd }: { readonly tally: Tally; readonly isOdd: boolean },
): Promise<void> {
  for (const action of calm) await act(world, action)
  await checkAll(world, isOdd ? 'session' : 'message')
  world.beginStorm(faults)
  for (const action of storm) await actInStorm(world, action, tally)
  await world.endStorm()
  // What was announced while a clock was wrong, or with it, is mended by the next epoch alone.
  if (world.areClocksRight) await checkAll(world, 'session')
  if (world.areClocksRight && !world.hasShortEpochs) return
  await world.nextEpoch()
  await checkAll(world, isOdd ? 'message' : 'session')
}

function assertNone({ ledger: { violations } }: World): void {
  if (violations.length > 0) throw new Violation(violations.join('\n'))
}

/** Every agent talks to every other, and all of it arrives: in sessions and in messages by turns. */
async function checkAll(world: World, mode: 'session' | 'message'): Promise<void> {
  for (const agent of world.agents)
    publish(world, agent, { subject: 'chat.room', mode, to: undefined, bytes: 0 })
  const requests = TOOLS.flatMap((tool) =>
    REQUESTERS.map((name) => request(world, named(world, name), { tool, mode, isMany: false })),
  )
  await world.during(Promise.all(requests))
  world.ledger.settle()
  assertNone(world)
}

function named(world: World, name: string): Agent {
  const agent = world.agents.find((one) => one.name === name)
  if (agent === undefined) throw new Error(`no agent is called ${name}`)
  return agent
}

function choose<Item>(items: readonly Item[], which: number): Item | undefined {
  return items[which % Math.max(1, items.length)]
}

async function actInStorm(world: World, action: StormAction, tally: Tally): Promise<void> {
  switch (action.kind) {
    case 'replay':
      await replay(world, action, tally)
      return
    case 'wrong clock': {
      const { clock } = choose(world.agents, action.who) ?? fail()
      count(tally.faults, action.errorMs > 0 ? 'clock ahead' : 'clock behind')
      clock.setError(action.errorMs)
      for (const one of action.meanwhile) await act(world, one)
      clock.setError(0)
      if (action.replays) await replay(world, { who: action.who, back: 0, count: MANY }, tally)
      return
    }
    case 'suspend': {
      const agent = choose(world.agents, action.who) ?? fail()
      count(tally.faults, 'suspend')
      await world.suspended(agent, async () => {
        for (const one of action.meanwhile) await act(world, one)
        await world.advance(action.ms)
      })
      return
    }
    case 'resubscribe': {
      const agent = choose(world.agents, action.who) ?? fail()
      for (const one of action.meanwhile) await act(world, one)
      if (agent.clock.isAsleep) return
      count(tally.faults, 'resubscribe')
      await agent.resubscribe(action.who)
      await replay(world, { who: action.who, back: 0, count: MANY }, tally)
      return
    }
    case 'hostile':
      for (const misdeed of action.misdeeds) world.misbehave(misdeed)
      if (action.misdeeds.includes('unasked answer'))
        await act(world, { kind: 'request', who: 0, tool: 0, mode: 'session', isMany: false })
      await world.line.quiet()
      return
    case 'cut':
      count(tally.faults, 'cut')
      await world.cut(choose(world.agents, action.who) ?? fail())
      return
    case 'service restart':
      await world.serviceRestarts(action.which, meanwhile(world, action))
      return
    case 'service lost':
      await world.serviceLost(action.which)
      return
    case 'service clock':
      await world.serviceClock(action.which, action.errorMs, meanwhile(world, action))
      return
    case 'service suspend':
      await world.serviceSleeps(action.which, async () => {
        await meanwhile(world, action)()
        await world.advance(action.ms)
      })
      return
    case 'divide':
      await world.divided(action.halves, meanwhile(world, action))
      return
    case 'restart':
      count(tally.faults, 'restart in a storm')
      await act(world, action)
      return
    default:
      await act(world, action)
  }
}

/** Does one thing after the other. */
function meanwhile(world: World, { meanwhile: actions }: { readonly meanwhile: readonly Action[] }) {
  return async (): Promise<void> => {
    for (const one of actions) await act(world, one)
  }
}

function fail(): never {
  throw new Error('nobody is there')
}

async function act(world: World, action: Action): Promise<void> {
  const agent = 'who' in action ? choose(world.agents, action.who) : undefined
  switch (action.kind) {
    case 'publish': {
      if (agent === undefined) return
      const subject = choose(CAST[agent.name].publishes, action.subject) ?? 'chat.room'
      publish(world, agent, { ...action, subject })
      await world.line.quiet(new Set([agent.name]))
      break
    }
    case 'publish many': {
      if (agent === undefined) return
      const subject = choose(CAST[agent.name].publishes, action.subject) ?? 'chat.room'
      publishMany(world, agent, { ...action, subject })
      await world.line.quiet(new Set([agent.name]))
      break
    }
    case 'request': {
      const requester = choose(REQUESTERS, action.who) ?? 'alice'
      const tool = choose(TOOLS, action.tool) ?? 'tools.echo'
      await world.during(request(world, named(world, requester), { ...action, tool }))
      break
    }
    case 'subscribe':
      await subscribe(world, agent, action)
      break
    case 'unsubscribe':
      agent?.unsubscribe(action.which)
      await world.line.quiet()
      break
    case 'rotate':
      await world.rotate()
      break
    case 'renew':
      await world.renew()
      break
    case 'replace':
      await world.replace(action.which)
      break
    case 'revoke':
      await world.revoke()
      break
    case 'outcasts':
      await world.outcastsSpeak()
      break
    case 'restart':
      await restart(world, agent, action.isCrash)
      break
    case 'wait':
      await world.advance(action.ms)
  }
}

interface Publishing {
  readonly subject: string
  readonly mode: Sent['mode']
  readonly to: number | undefined
  readonly bytes: number
  readonly hasHeaders?: boolean
  readonly hasReply?: boolean
  readonly ttlMs?: number | undefined
}

function publish(world: World, agent: Agent, what: Publishing): void {
  const { bus } = agent
  if (bus === undefined || agent.clock.isAsleep) return
  const subject = `${world.prefix}.${what.subject}`
  try {
    const isOutOfTouch = world.isOutOfTouch(agent.name)
    const { to, audience } = addressed(world, agent, { ...what, subject })
    const marker = world.newMarker()
    const sent: Sent = {
      marker,
      // Any fragment of some length has the canary in it.
      payload: marker.padEnd(marker.length + what.bytes, marker),
      from: agent.self,
      subject,
      mode: what.mode,
      audience,
      untilMs: world.deadlineMs(what.ttlMs),
      headers: what.hasHeaders === true ? [['X-Marker', marker]] : [],
      reply: what.hasReply === true ? `${world.prefix}.replies.${marker.slice(-6)}` : undefined,
      answers: undefined,
    }
    world.ledger.enter(sent)
    if (!world.isStormy) world.ledger.owe(sent)
    const options = {
      mode: what.mode,
      ...(to === undefined ? {} : { to }),
      ...(sent.headers.length === 0 ? {} : { headers: new Map(sent.headers.map(([k, v]) => [k, [v]])) }),
      ...(sent.reply === undefined ? {} : { reply: sent.reply }),
      ...(what.ttlMs === undefined ? {} : { ttl: what.ttlMs }),
    }
    agent.doing(() => bus.publish(subject, sent.payload, options))
    if (isOutOfTouch) world.ledger.violate(`${agent.name} sealed on ${subject}, and is out of touch`)
  } catch (error) {
    world.failed(`${agent.name} could not publish on ${what.subject}`, error)
  }
}

function publishMany(
  world: World,
  agent: Agent,
  what: { readonly subject: string; readonly mode: 'session' | 'message'; readonly count: number },
): void {
  const { bus } = agent
  if (bus === undefined || agent.clock.isAsleep) return
  const subject = `${world.prefix}.${what.subject}`
  try {
    const isOutOfTouch = world.isOutOfTouch(agent.name)
    const { audience } = addressed(world, agent, { subject, mode: what.mode, to: undefined })
    const all = Array.from({ length: what.count }, (): Sent => {
      const marker = world.newMarker()
      return {
        marker,
        payload: marker,
        from: agent.self,
        subject,
        mode: what.mode,
        audience,
        untilMs: world.deadlineMs(),
        headers: [],
        reply: undefined,
        answers: undefined,
      }
    })
    for (const sent of all) {
      world.ledger.enter(sent)
      if (!world.isStormy) world.ledger.owe(sent)
    }
    const payloads = all.map(({ payload }) => payload)
    agent.doing(() => bus.publishMany(subject, payloads, { mode: what.mode }))
    if (isOutOfTouch) world.ledger.violate(`${agent.name} sealed on ${subject}, and is out of touch`)
  } catch (error) {
    world.failed(`${agent.name} could not publish many on ${what.subject}`, error)
  }
}

interface Asking {
  readonly tool: string
  readonly mode: Sent['mode']
  readonly isMany: boolean
}

async function request(world: World, agent: Agent, { tool, mode, isMany }: Asking): Promise<void> {
  const { bus } = agent
  if (bus === undefined || agent.clock.isAsleep) return
  const subject = `${world.prefix}.${tool}`
  try {
    const owner = named(world, tool === 'tools.echo' ? 'bob' : 'dave')
    const names = world.agents.map(({ name }) => name)
    const toOwner = mode === 'channel' ? names.indexOf(owner.name) : undefined
    const { to, audience } = addressed(world, agent, { subject, mode, to: toOwner })
    const marker = world.newMarker()
    const sent: Sent = {
      marker,
      payload: marker,
      from: agent.self,
      subject,
      mode,
      audience,
      untilMs: world.deadlineMs(),
      headers: [],
      reply: 'request',
      answers: undefined,
    }
    world.ledger.enter(sent)
    if (!world.isStormy) world.ledger.owe(sent)
    const options = { mode, timeout: REQUEST_TIMEOUT_MS, ...(to === undefined ? {} : { to }) }
    const isOutOfTouch = world.isOutOfTouch(agent.name)
    if (isMany) await requestMany(world, agent, sent, { mode, ...(to === undefined ? {} : { to }) })
    else world.ledger.takeResponse(sent, await agent.doing(() => bus.request(subject, sent.payload, options)))
    if (isOutOfTouch) world.ledger.violate(`${agent.name} asked on ${subject}, and was out of touch`)
  } catch (error) {
    world.failed(`${agent.name} got no response on ${tool}`, error)
  }
}

/** Every response that comes in time; each responder has one. */
async function requestMany(
  world: World,
  agent: Agent,
  sent: Sent,
  how: { readonly mode: Sent['mode']; readonly to?: readonly string[] },
): Promise<void> {
  const { bus } = agent
  if (bus === undefined) return
  const options = { ...how, strategy: 'stall', maxWait: REQUEST_TIMEOUT_MS, stall: STALL_MS } as const
  const responses = await agent.doing(() => bus.requestMany(sent.subject, sent.payload, options))
  const from = new Set<string>()
  for await (const response of responses) {
    world.ledger.takeResponse(sent, response)
    const { instance, name } = response.sender
    if (from.has(instance)) world.ledger.violate(`${agent.name} got two responses of ${name} to one request`)
    from.add(instance)
  }
  if (!world.isStormy && from.size !== 1)
    world.ledger.violate(
      `${agent.name} got ${from.size} responses on ${sent.subject}, and nothing goes wrong`,
    )
}

/**
 * Whom a message goes to: all that may read the subject, or one instance of them. Who that can be is known without asking
 * the agent, which must not seal to anybody else, nor to fewer where nothing goes wrong.
 */
function addressed(
  world: World,
  agent: Agent,
  what: { readonly subject: string; readonly mode: Sent['mode']; readonly to: number | undefined },
): { readonly to: readonly string[] | undefined; readonly audience: ReadonlySet<string> } {
  const { must, may } = world.readersOf(what.subject)
  const members = agent.bus?.audience(what.subject) ?? []
  const found = new Set(members.map(({ instance }) => instance))
  for (const { name, instance } of members) {
    if (!may.has(instance))
      world.ledger.violate(`${agent.name} seals to ${name}, who may not read ${what.subject} or is gone`)
  }
  if (!world.isStormy && [...must].some((instance) => !found.has(instance)))
    world.ledger.violate(
      `${agent.name} does not seal to everybody on ${what.subject}, and nothing goes wrong`,
    )
  if (what.mode !== 'channel' && what.to === undefined) return { to: undefined, audience: may }
  const wanted = choose(world.agents, what.to ?? 0)
  const one = members.find(({ name }) => name === wanted?.name) ?? members[0]
  if (one === undefined) return { to: undefined, audience: new Set() }
  return { to: [`${one.name}/${one.instance}`], audience: new Set([one.instance]) }
}

async function subscribe(
  world: World,
  agent: Agent | undefined,
  { pattern, isQueue }: { readonly pattern: number; readonly isQueue: boolean },
): Promise<void> {
  if (agent === undefined || agent.clock.isAsleep) return
  const chosen = `${world.prefix}.${choose(PASSING_PATTERNS, pattern)}`
  try {
    await agent.subscribe(chosen, isQueue ? 'workers' : undefined)
  } catch (error) {
    // What its token does not allow it to read, it is denied.
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_SUBSCRIBE_DENIED')) throw error
  }
}

async function restart(world: World, agent: Agent | undefined, isCrash: boolean): Promise<void> {
  if (agent === undefined || agent.clock.isAsleep) return
  world.ends(agent, isCrash)
  await agent.stop(isCrash)
  try {
    await agent.start()
    await world.known()
  } catch (error) {
    world.failed(`${agent.name} could not join`, error, true)
  }
}

async function replay(
  world: World,
  { who, back, count: many }: { readonly who: number; readonly back: number; readonly count: number },
  tally: Tally,
): Promise<void> {
  const agent = choose(world.agents, who)
  const connection = world.line.connections.findLast(({ name }) => name === agent?.name)
  if (agent === undefined || connection === undefined) return
  const recent = world.line.record.filter(
    ({ op, connection: from, atMs }) =>
      op.kind === 'MSG' && from.name === agent.name && world.time.nowMs - atMs < REPLAYED_MS,
  )
  const end = Math.max(0, recent.length - back)
  for (const { op } of recent.slice(Math.max(0, end - many), end)) {
    if (op.kind !== 'MSG') continue
    for (const again of refitted(op, connection)) {
      count(tally.faults, 'replay')
      world.line.inject(connection, 'to client', again)
    }
    for (const moved of misfitted(op, connection)) {
      count(tally.faults, 'move to another sid')
      world.line.inject(connection, 'to client', moved)
    }
  }
  await world.line.quiet()
}
