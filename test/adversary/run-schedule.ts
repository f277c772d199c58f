import { engineFor } from '../../src/crypto/engine.ts'
import { allows } from '../../src/identity/permissions.ts'
import type { Agent } from './agent.ts'
import { CAST, PASSING_PATTERNS, permissionsOf, REQUESTERS, TOOLS } from './cast.ts'
import { type Sent, Violation } from './ledger.ts'
import type { Action, Round, Schedule, StormAction } from './schedule.ts'
import { SecretLog } from './secret-log.ts'
import { refitted } from './storm.ts'
import { count, type Tally } from './tally.ts'
import { SeededRandom, watchEngine } from './watched-engine.ts'
import { CANARY_BYTES, World } from './world.ts'

const REQUEST_TIMEOUT_MS = 2000
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
  await checkAll(world, 'session')
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
    REQUESTERS.map((name) => request(world, named(world, name), tool, mode)),
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
    case 'cut':
      count(tally.faults, 'cut')
      await world.cut(choose(world.agents, action.who) ?? fail())
      return
    case 'restart':
      count(tally.faults, 'restart in a storm')
      await act(world, action)
      return
    default:
      await act(world, action)
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
      await world.during(request(world, named(world, requester), tool, action.mode))
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
}

function publish(world: World, agent: Agent, what: Publishing): void {
  const { bus } = agent
  if (bus === undefined || agent.clock.isAsleep) return
  const subject = `${world.prefix}.${what.subject}`
  try {
    const { to, audience } = addressed(world, agent, { ...what, subject })
    const marker = world.newMarker()
    const sent: Sent = {
      marker,
      // Any fragment of some length has the canary in it.
      payload: marker.padEnd(marker.length + what.bytes, marker),
      from: agent.self,
      subject,
      mode: what.mode,
      audience: new Set(audience),
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
    }
    agent.doing(() => bus.publish(subject, sent.payload, options))
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
    const { audience } = addressed(world, agent, { subject, mode: what.mode, to: undefined })
    const all = Array.from({ length: what.count }, (): Sent => {
      const marker = world.newMarker()
      return {
        marker,
        payload: marker,
        from: agent.self,
        subject,
        mode: what.mode,
        audience: new Set(audience),
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
  } catch (error) {
    world.failed(`${agent.name} could not publish many on ${what.subject}`, error)
  }
}

async function request(world: World, agent: Agent, tool: string, mode: Sent['mode']): Promise<void> {
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
      audience: new Set(audience),
      headers: [],
      reply: 'request',
      answers: undefined,
    }
    world.ledger.enter(sent)
    if (!world.isStormy) world.ledger.owe(sent)
    const options = { mode, timeout: REQUEST_TIMEOUT_MS, ...(to === undefined ? {} : { to }) }
    const response = await agent.doing(() => bus.request(subject, sent.payload, options))
    world.ledger.takeResponse(sent, response)
  } catch (error) {
    world.failed(`${agent.name} got no response on ${tool}`, error)
  }
}

/** Whom a message goes to: all that may read the subject, or one instance of them. */
function addressed(
  world: World,
  agent: Agent,
  what: { readonly subject: string; readonly mode: Sent['mode']; readonly to: number | undefined },
): { readonly to: readonly string[] | undefined; readonly audience: readonly string[] } {
  const audience = agent.bus?.audience(what.subject) ?? []
  if (!world.isStormy)
    assertWhole(world, agent, what.subject, new Set(audience.map(({ instance }) => instance)))
  if (what.mode !== 'channel' && what.to === undefined)
    return { to: undefined, audience: audience.map(({ instance }) => instance) }
  const wanted = choose(world.agents, what.to ?? 0)
  const others = audience.filter(({ name }) => name === wanted?.name)
  const one = others[0] ?? audience[0]
  if (one === undefined) return { to: undefined, audience: [] }
  return { to: [`${one.name}/${one.instance}`], audience: [one.instance] }
}

/** Where nothing goes wrong, an agent knows every living instance that may read. */
function assertWhole(world: World, agent: Agent, subject: string, audience: ReadonlySet<string>): void {
  for (const { name, self } of world.living) {
    const mayRead = allows(permissionsOf(name, world.prefix).sub, subject)
    if (mayRead && !audience.has(self.instance))
      world.ledger.violate(`${agent.name} cannot seal to ${name} on ${subject}, and nothing goes wrong`)
  }
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
  await agent.stop(isCrash)
  try {
    await agent.start()
  } catch (error) {
    world.failed(`${agent.name} could not join`, error)
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
  }
  await world.line.quiet()
}
