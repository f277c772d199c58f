import { rm } from 'node:fs/promises'
import { systemClock } from '../base/clock.ts'
import { MAX_PLAN_MS } from '../base/limits.ts'
import { checkTimes } from '../keys/schedules.ts'
import { listAgents } from './agent-records.ts'
import { addAgent, MAX_LIFETIME_MS } from './agents.ts'
import { agentPaths } from './layout.ts'
import type { PlanRecord } from './plan-records.ts'
import { checkTerms, type FirstPlanRequest, majorityOf, makeFirstPlan } from './plans.ts'
import type { Realm } from './realm.ts'

/** What the only rotation service of a realm is called, and how the names of several begin. */
export const ROTATOR_NAME = 'rotator'

/** Which rotation services a realm begins with. */
export interface RotatorsRequest extends Omit<FirstPlanRequest, 'rotators'> {
  /** How many there are. Default 1. */
  readonly count?: number
}

/**
 * Gives a new realm its rotation services: an identity and a login for each, and the first plan, which names them.
 *
 * @throws as addAgent and makeFirstPlan; nothing of it is left then
 *
 * @example
 * ```ts
 * const furnish = (realm: Realm) => addRotators(realm, { count: 3, threshold: 2 })
 * await createRealm({ dir: './subrosa-realm', furnish })
 * ```
 */
export async function addRotators(realm: Realm, request: RotatorsRequest = {}): Promise<PlanRecord> {
  checkRotators(request)
  const { count = 1, ...plan } = request
  const rotators: string[] = []
  const added: string[] = []
  try {
    for (const name of rotatorNamesOf(count)) {
      rotators.push(await addRotator(realm, name, plan))
      added.push(name)
    }
    return await makeFirstPlan(realm, { ...plan, rotators })
  } catch (error) {
    // They are of a realm that does not come about.
    for (const name of added)
      for (const path of Object.values(agentPaths(realm.dir, name))) await rm(path, { force: true })
    throw error
  }
}

/** @throws RangeError when {@link addRotators} would refuse the request: nothing has been written then */
export function checkRotators({
  count = 1,
  threshold,
  times = {},
  lastsMs = MAX_PLAN_MS,
}: RotatorsRequest): void {
  checkTerms({ count, threshold: threshold ?? majorityOf(count), lastsMs })
  checkTimes(times)
}

/** What the rotation services of a new realm are called. */
export function rotatorNamesOf(count: number): readonly string[] {
  if (count === 1) return [ROTATOR_NAME]
  return Array.from({ length: count }, (_, i) => `${ROTATOR_NAME}-${i + 1}`)
}

/**
 * Adds one rotation service, which acts once a plan names it.
 *
 * @returns its public key, `U…`
 * @throws as addAgent
 */
export async function addRotator(
  realm: Realm,
  name: string,
  { lastsMs = MAX_PLAN_MS, clock = systemClock }: Pick<FirstPlanRequest, 'lastsMs' | 'clock'> = {},
): Promise<string> {
  const expiresInMs = Math.min(lastsMs, MAX_LIFETIME_MS)
  const { claims } = await addAgent(realm, { name, roles: ['rotator'], maxInstances: 1, expiresInMs, clock })
  return claims.identity
}

/** What the rotation services of a realm's folder are called, by their public keys. */
export async function rotatorNames(realm: Realm): Promise<ReadonlyMap<string, string>> {
  const agents = await listAgents(realm)
  return new Map(
    agents
      .filter(({ claims }) => claims.roles.includes('rotator'))
      .map(({ claims }) => [claims.identity, claims.name]),
  )
}
