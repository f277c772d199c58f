import { STALE_AFTER_MS } from '../../../dist/base/limits.js'
import type { Agent } from './agent.ts'
import { AGENTS, type World } from './world.ts'

/** How long it took until the last agent had acted on a revocation, in ms from its confirmation. */
export interface Acted {
  /** It was published to all. */
  readonly heardMs: number
  /** Neither it nor any broadcast reached an agent: it learned of it by the answers to its own questions. */
  readonly withheldMs: number
}

/** Until whoever has announced itself is in all directories. */
const ANNOUNCED_MS = 30_000
/** Until a revocation is confirmed, and a moment more. */
const CONFIRMED_MS = 2000

/**
 * Revokes two whom everybody knows. All hear of the first one. Of the second one nothing reaches an agent but answers to what it asks.
 *
 * @throws Error where one is not confirmed, or an agent acts later than 90 s after it is, or goes on sealing
 */
export async function revokeTwo(world: World): Promise<Acted> {
  const { clock, line, realm, agents } = world
  const operator = line.connect('operator')
  const heard = realm.identity('outcast-1')
  const withheld = realm.identity('outcast-2')
  const outcasts = [heard, withheld].map(({ name }) => name)
  for (const outcast of [heard, withheld]) {
    const { subject, bytes } = realm.announced(outcast, clock.now())
    operator.publish(subject, bytes)
  }
  await clock.run(ANNOUNCED_MS)
  assertAll(agents, 'do not know everybody', (agent) => knowsAll(agent, agents.length + outcasts.length))

  operator.publish(realm.subjects.revoke, realm.revoke(heard, clock.now()))
  await clock.run(CONFIRMED_MS)
  line.lose(({ group, kind }) => group === AGENTS && (kind === 'revocations' || kind === 'broadcasts'))
  operator.publish(realm.subjects.revoke, realm.revoke(withheld, clock.now()))
  await clock.run(CONFIRMED_MS + STALE_AFTER_MS)
  line.lose()
  operator.close()
  assertAll(agents, 'would seal to somebody who is revoked', (agent) => knowsAll(agent, agents.length))
  return { heardMs: lastOf(world, heard.publicKey), withheldMs: lastOf(world, withheld.publicKey) }
}

function knowsAll(agent: Agent, count: number): boolean {
  const audience = agent.audience()
  return audience === undefined || audience.length === count
}

function assertAll(agents: readonly Agent[], what: string, holds: (agent: Agent) => boolean): void {
  const others = agents.filter((agent) => !holds(agent)).length
  if (others > 0) throw new Error(`${others} of ${agents.length} agents ${what}`)
}

/** When the last agent acted on the revocation of this identity, from when it was confirmed. */
function lastOf({ fleet, agents }: World, identity: string): number {
  const confirmedAt = fleet.confirmedAt(identity)
  if (confirmedAt === undefined) throw new Error('a revocation is not confirmed')
  const actedAfter = agents.map(
    (agent) => (agent.actedAt(identity) ?? Number.POSITIVE_INFINITY) - confirmedAt,
  )
  const late = actedAfter.filter((ms) => ms > STALE_AFTER_MS).length
  if (late > 0) throw new Error(`${late} of ${agents.length} agents acted on a revocation too late, or never`)
  return actedAfter.reduce((last, ms) => Math.max(last, ms), 0)
}
