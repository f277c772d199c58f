import { hex } from '../../base/bytes.ts'
import type { Observation } from '../../bus/realm/observe-realm.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { allows, type Permissions } from '../../identity/permissions.ts'
import { instanceKey } from '../../keys/announcement-store.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import { whenShown } from './times.ts'

/** One live instance of an agent. */
interface InstanceView {
  readonly instance: string
  /** Those for which it has announced keys, newest first. */
  readonly epochs: readonly number[]
  /** When it announced those of the newest. */
  readonly announced: string
  readonly ageMs: number
  readonly roles: readonly string[]
  readonly permissions: Permissions
  readonly maxInstances: number
  readonly issued: string
  readonly expires: string
}

/** An agent that has live instances. */
export interface AgentView {
  readonly name: string
  readonly identity: string
  readonly fingerprint: string
  readonly instances: readonly InstanceView[]
}

/** An identity that is revoked. */
export interface RevokedView {
  /** Where a token that says it was seen, or the realm's folder knows it. */
  readonly name?: string
  readonly identity: string
  readonly since: string
  readonly until: string
  readonly reason: string
  readonly byAuthority: boolean
}

/** What would become of a message on a subject. */
export interface SubjectView {
  readonly subject: string
  readonly epoch: number | undefined
  readonly recipients: readonly { readonly name: string; readonly instance: string }[]
  readonly publishers: readonly { readonly name: string; readonly instance: string }[]
  /** Agents that are known and would not get it. */
  readonly absent: readonly { readonly name: string; readonly why: string }[]
}

/** The agents of a realm with their live instances, by name. */
export function agentsOf({ directory, takenAt }: Observation): readonly AgentView[] {
  const live = directory.live(takenAt)
  const agents = new Map<string, AgentView>()
  const seen = new Set<string>()
  for (const newest of live) {
    const key = instanceKey(newest)
    if (seen.has(key)) continue
    seen.add(key)
    const { name, identity } = newest.claims
    const announced = live.filter((other) => instanceKey(other) === key)
    const instances = [...(agents.get(identity)?.instances ?? []), instanceView(newest, announced, takenAt)]
    agents.set(identity, { name, identity, fingerprint: fingerprint(identity), instances })
  }
  return [...agents.values()].sort((a, b) => a.name.localeCompare(b.name))
}

function instanceView(
  { announcement, claims }: VerifiedAnnouncement,
  announced: readonly VerifiedAnnouncement[],
  nowMs: number,
): InstanceView {
  const { roles, permissions, maxInstances, issuedAt, expiresAt } = claims
  return {
    instance: hex(announcement.instance),
    epochs: announced.map(({ announcement: { epoch } }) => epoch),
    announced: whenShown(announcement.notBefore),
    ageMs: Math.max(0, nowMs - announcement.notBefore),
    roles,
    permissions,
    maxInstances,
    issued: whenShown(issuedAt * 1000),
    expires: whenShown(expiresAt * 1000),
  }
}

/**
 * The revocations in force.
 *
 * @param names what revoked identities are called, where that is known besides
 */
export function revokedOf(
  { revocations, revokedNames }: Observation,
  names: ReadonlyMap<string, string>,
): readonly RevokedView[] {
  return revocations.map(({ revocation: { identity, since, until, reason }, byAuthority }) => {
    const name = revokedNames.get(identity) ?? names.get(identity)
    return {
      ...(name !== undefined && { name }),
      identity,
      since: whenShown(since),
      until: whenShown(until),
      reason,
      byAuthority,
    }
  })
}

/** Who would get a message on a subject, who may publish there, and who would not get it and why. */
export function subjectOf({ directory, takenAt }: Observation, subject: string): SubjectView {
  const audience = directory.audience(subject, takenAt)
  const publishers = new Map<string, { readonly name: string; readonly instance: string }>()
  for (const live of directory.live(takenAt)) {
    const { claims, announcement } = live
    if (allows(claims.permissions.pub, subject))
      publishers.set(instanceKey(live), { name: claims.name, instance: hex(announcement.instance) })
  }
  return {
    subject,
    epoch: audience?.epoch.number,
    recipients: (audience?.members ?? []).map(({ name, instance }) => ({ name, instance })),
    publishers: [...publishers.values()],
    absent: directory.absences(subject, takenAt),
  }
}
