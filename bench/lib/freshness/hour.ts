import type { GroupTraffic } from '../memory-line.ts'
import type { Kind } from './realm.ts'
import { type Acted, revokeTwo } from './revoking.ts'
import { AGENTS, startWorld, type WorldPlan } from './world.ts'

/** What is measured. */
export interface HourPlan extends WorldPlan {
  /** How much of the hour passes. */
  readonly minutes: number
}

/** What a virtual hour costs. Bytes and nonces are those of agents: what services ask each other is not among them. */
export interface Hour extends HourPlan {
  /** Of all agents. */
  readonly noncesPerSecond: number
  /** Of one service. */
  readonly signaturesPerSecond: number
  /** Of an answer on the line, in the mean. */
  readonly answerBytes: number
  /** Of one agent in an hour, on its own line in both directions. */
  readonly bytes: Readonly<Record<'pings' | 'answers' | 'broadcasts' | 'directory' | 'rest', number>>
  /** Of all agents: those that were fresh from when they joined until the end. */
  readonly shareFresh: number
  readonly acted: Acted
  /** What it took in real time. */
  readonly seconds: number
}

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
/** Until directories agree, and pings come evenly. */
const SETTLE_MS = { whole: 4 * MINUTE_MS, parts: MINUTE_MS } as const

/**
 * Lets an hour pass, or a part of it, in which nothing happens but what time brings; then two identities are revoked.
 *
 * @throws Error where an agent was not fresh, acts too late, or anything goes wrong
 */
export async function measureHour(plan: HourPlan): Promise<Hour> {
  const startedAt = performance.now()
  const world = await startWorld(plan)
  const { clock, line, fleet, agents } = world
  await clock.run(SETTLE_MS[plan.as])
  line.reset()
  const before = fleet.signatures
  await clock.run(plan.minutes * MINUTE_MS)
  const cost = costOf(plan, { traffic: line.traffic(AGENTS), signatures: fleet.signatures - before })
  const acted = await revokeTwo(world)
  const fresh = agents.filter((agent) => agent.isFresh() && agent.wasAlwaysFresh).length
  if (fresh < agents.length)
    throw new Error(`${agents.length - fresh} of ${agents.length} agents became stale`)
  world.assertFaultless()
  await world.close()
  const seconds = (performance.now() - startedAt) / SECOND_MS
  return { ...plan, ...cost, shareFresh: fresh / agents.length, acted, seconds }
}

/** What it comes to for one agent and one service. */
function costOf(
  { agents, services, minutes }: HourPlan,
  { traffic, signatures }: { readonly traffic: GroupTraffic; readonly signatures: number },
): Pick<Hour, 'noncesPerSecond' | 'signaturesPerSecond' | 'answerBytes' | 'bytes'> {
  const { sent, received } = traffic
  const ms = minutes * MINUTE_MS
  const perSecond = (count: number): number => (count * SECOND_MS) / ms
  const bytesOf = (...kinds: readonly Kind[]): number => {
    const all = kinds.flatMap((kind) => [sent.get(kind)?.bytes ?? 0, received.get(kind)?.bytes ?? 0])
    return (all.reduce((sum, bytes) => sum + bytes, 0) * HOUR_MS) / ms / agents
  }
  const answers = received.get('answers')
  return {
    noncesPerSecond: perSecond(sent.get('pings')?.messages ?? 0),
    signaturesPerSecond: perSecond(signatures) / services,
    answerBytes: answers === undefined ? Number.NaN : answers.bytes / answers.messages,
    bytes: {
      pings: bytesOf('pings'),
      answers: bytesOf('answers'),
      broadcasts: bytesOf('broadcasts'),
      directory: bytesOf('directory'),
      rest: bytesOf('revocations', 'others'),
    },
  }
}
