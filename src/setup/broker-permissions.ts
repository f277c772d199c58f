import { SubrosaError } from '../base/errors.ts'
import { covers } from '../base/subject.ts'
import { engineFor } from '../crypto/engine.ts'
import type { Permissions } from '../identity/permissions.ts'
import type { Role } from '../identity/token.ts'
import { OBSERVER_NAME } from '../identity/token.ts'
import { protocolSubjects } from '../keys/subjects.ts'

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
  return {
    pub: {
      allow: [
        ...permissions.pub.allow,
        ...protocol.pub,
        ...(roles.includes('rotator') ? [] : [STREAM_NAMES]),
      ],
      deny: permissions.pub.deny,
    },
    sub: { allow: [...permissions.sub.allow, ...protocol.sub], deny: permissions.sub.deny },
  }
}

function protocolPatterns({ realm, name, roles }: BrokerRequest): {
  readonly pub: readonly string[]
  readonly sub: readonly string[]
} {
  const { root, revoke, plan, epoch, tick, rotate, announcements, pings } = protocolSubjects(
    engineFor(),
    realm,
  )
  if (roles.includes('rotator')) {
    const asking = [`${root}.ping.${name}.*`, `${root}.query.*.${name}.*`]
    const inboxes = `${root}.inbox.*`
    return {
      pub: [epoch, tick, plan, revoke, rotate, ...asking, inboxes],
      sub: [tick, plan, rotate, revoke, announcements, pings, `${root}.query.*.*.*`, inboxes],
    }
  }
  const sessions = [`${root}.inbox.*`, `${root}.session.*`, `${root}.handshake.*`]
  // The name in a subject is that of whoever asks, so that nobody spends what another may ask. Observers have a common one.
  const asking = [name, OBSERVER_NAME].flatMap((asker) => [
    `${root}.ping.${asker}.*`,
    `${root}.query.*.${asker}.*`,
  ])
  return {
    pub: [`${root}.announce.${name}.*`, ...asking, revoke, plan, ...sessions, INBOXES],
    sub: [epoch, tick, plan, rotate, revoke, announcements, ...sessions, INBOXES],
  }
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
