import { SubrosaError } from '../base/errors.ts'
import { covers, overlaps } from '../base/subject.ts'
import type { Permissions } from '../identity/permissions.ts'
import type { Role } from '../identity/token.ts'
import { protocolSubjects } from '../keys/subjects.ts'
import { logNames } from '../rotation/log-names.ts'

const INBOXES = '_INBOX.>'
/** Where an agent asks which streams capture a subject. It can do without: it then seals every message by itself. */
const STREAM_NAMES = '$JS.API.STREAM.NAMES'
const SAMPLE_TOKEN = 'x'

/** Whose login it is. */
export interface BrokerRequest {
  readonly realm: string
  readonly name: string
  readonly roles: readonly Role[]
  readonly permissions: Permissions
}

/** Everything: for administrators. */
export const FULL_ACCESS: Permissions = {
  pub: { allow: ['>'], deny: [] },
  sub: { allow: ['>'], deny: [] },
}

/**
 * What the broker lets an agent do: its own permissions and the protocol's subjects. This is a second fence. What
 * counts are the permissions in the identity token, which every agent checks by itself.
 *
 * @throws SubrosaError ERR_SETUP when a deny pattern would cut the agent off from its realm
 */
export function agentBrokerPermissions(request: BrokerRequest): Permissions {
  const { permissions, roles } = request
  const protocol = protocolPatterns(request)
  checkDenied('pub', permissions.pub.deny, protocol.pub)
  checkDenied('sub', permissions.sub.deny, protocol.sub)
  const reserved = reservedPatterns(request).filter((pattern) =>
    permissions.pub.allow.some((allowed) => overlaps(allowed, pattern)),
  )
  return {
    pub: {
      allow: [
        ...permissions.pub.allow,
        ...protocol.pub,
        ...(roles.includes('rotator') ? [] : [STREAM_NAMES]),
      ],
      deny: [...permissions.pub.deny, ...reserved],
    },
    sub: { allow: [...permissions.sub.allow, ...protocol.sub], deny: permissions.sub.deny },
  }
}

function protocolPatterns({ realm, name, roles }: BrokerRequest): {
  readonly pub: readonly string[]
  readonly sub: readonly string[]
} {
  const { root, query, revoke, epoch, tick, announcements } = protocolSubjects(realm)
  if (roles.includes('rotator')) {
    const everything = [`${root}.>`, INBOXES]
    return { pub: [...everything, ...replicaPatterns(root)], sub: everything }
  }
  const sessions = [`${root}.inbox.*`, `${root}.session.*`, `${root}.handshake.*`]
  return {
    pub: [`${root}.announce.${name}.*`, query, revoke, ...sessions, INBOXES],
    sub: [epoch, tick, announcements, revoke, ...sessions, INBOXES],
  }
}

/** What replicas of the rotation service ask of JetStream: to make their stream and their bucket, and to read them. */
function replicaPatterns(root: string): readonly string[] {
  const { stream, bucketStream, lease } = logNames(root)
  const calls = [stream, bucketStream].flatMap((name) => [
    `$JS.API.STREAM.CREATE.${name}`,
    `$JS.API.STREAM.INFO.${name}`,
    `$JS.API.STREAM.MSG.GET.${name}`,
  ])
  return [...calls, lease]
}

/** What belongs to the replicas alone, however wide the patterns of an agent are. */
function reservedPatterns({ realm, roles }: BrokerRequest): readonly string[] {
  if (roles.includes('rotator')) return []
  const { root } = protocolSubjects(realm)
  const { stream, bucketStream, bucket } = logNames(root)
  const calls = [stream, bucketStream].flatMap((name) => [
    `$JS.API.STREAM.*.${name}`,
    `$JS.API.STREAM.*.*.${name}`,
  ])
  return [...calls, `$KV.${bucket}.>`, `${root}.log.>`, `${root}.reply.>`]
}

function checkDenied(option: string, deny: readonly string[], needed: readonly string[]): void {
  for (const denied of deny) {
    const cut = needed.find((pattern) => covers(denied, sample(pattern)))
    if (cut === undefined) continue
    throw new SubrosaError('ERR_SETUP', `the ${option} deny pattern ${denied} covers ${cut}`, {
      hint: 'every agent needs the subjects of the protocol: what is not allowed is denied already',
    })
  }
}

/** A subject that the pattern matches. */
function sample(pattern: string): string {
  return pattern.replace('>', `${SAMPLE_TOKEN}.${SAMPLE_TOKEN}`).replaceAll('*', SAMPLE_TOKEN)
}
