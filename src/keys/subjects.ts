import { hex } from '../base/bytes.ts'
import { isSubject } from '../base/subject.ts'
import type { Announcement } from '../wire/statements.ts'

/** The subjects of the protocol in one realm. SPEC, "Subjects". */
export interface ProtocolSubjects {
  readonly root: string
  readonly epoch: string
  readonly tick: string
  readonly revoke: string
  readonly query: string
  readonly rotate: string
  readonly announcements: string
  announce(agent: string, instance: Uint8Array): string
  inbox(instance: Uint8Array): string
  /** Where the handshake of a session is asked for, by its sid. */
  session(sid: Uint8Array): string
  /** Where it is published again. */
  handshake(sid: Uint8Array): string
}

const DEFAULT_SUBJECT_PREFIX = 'subrosa.v1'

/** Whether a subject is the one on which an instance of an agent announces itself, in whatever realm. */
export function isAnnouncedOn(
  subject: string,
  { agent, instance }: Pick<Announcement, 'agent' | 'instance'>,
): boolean {
  return subject.endsWith(`.announce.${agent}.${hex(instance)}`)
}

/** @throws TypeError when the prefix is no subject. */
export function protocolSubjects(realm: string, prefix: string = DEFAULT_SUBJECT_PREFIX): ProtocolSubjects {
  if (!isSubject(prefix)) throw new TypeError('subjectPrefix must be a subject without wildcards')
  const root = `${prefix}.${realm}`
  return {
    root,
    epoch: `${root}.epoch`,
    tick: `${root}.tick`,
    revoke: `${root}.revoke`,
    query: `${root}.query`,
    rotate: `${root}.rotate`,
    announcements: `${root}.announce.*.*`,
    announce: (agent, instance) => `${root}.announce.${agent}.${hex(instance)}`,
    inbox: (instance) => `${root}.inbox.${hex(instance)}`,
    session: (sid) => `${root}.session.${hex(sid)}`,
    handshake: (sid) => `${root}.handshake.${hex(sid)}`,
  }
}
