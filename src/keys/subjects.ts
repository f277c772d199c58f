import { fromHex, hex, utf8 } from '../base/bytes.ts'
import { isSubject } from '../base/subject.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Announcement } from '../wire/statements.ts'

/** The subjects of the protocol in one realm. SPEC, "Subjects". */
export interface ProtocolSubjects {
  readonly root: string
  /** Where rotation services say which epoch begins. */
  readonly epoch: string
  readonly tick: string
  readonly revoke: string
  /** Where plans are told to those that have an older one. */
  readonly plan: string
  /** Where orders for fresh keys are given. */
  readonly rotate: string
  readonly announcements: string
  /** All pings, for rotation services. */
  readonly pings: string
  /** Where one instance of an agent asks all rotation services for ticks. */
  ping(name: string, instance: Uint8Array): string
  /** Where one instance of an agent asks one rotation service, by its {@link rid}. */
  query(rid: string, name: string, instance: Uint8Array): string
  /** All queries to one rotation service. */
  queriesTo(rid: string): string
  announce(agent: string, instance: Uint8Array): string
  /**
   * Where one instance of an agent is answered. Name and instance are hashed together: nobody has the inbox of another, whatever
   * instance he says is his.
   */
  inbox(name: string, instance: Uint8Array): string
  /** Where the handshake of a session is asked for, by its sid. */
  session(sid: Uint8Array): string
  /** Where it is published again. */
  handshake(sid: Uint8Array): string
}

const DEFAULT_SUBJECT_PREFIX = 'subrosa.v1'

const RID_BYTES = 8
const INBOX_BYTES = 8
/** In no name. */
const SEPARATOR = Uint8Array.of(0)
const INSTANCE = /^[0-9a-f]{16}$/

/**
 * In a query's subject, in place of the name of one rotation service: each of them answers there for its plan, and for nothing
 * else. Whoever has no plan knows none of their names.
 */
export const ANY_SERVICE = 'any'

/** Who asks on a subject of {@link ProtocolSubjects.ping} or {@link ProtocolSubjects.query}: the broker lets nobody else publish there. */
export interface Asker {
  readonly name: string
  /** In hexadecimal. */
  readonly instance: string
  /** Its inbox, where alone it may be answered. */
  readonly inbox: string
}

/** What a rotation service is called in subjects. */
export function rid(engine: CryptoEngine, rotator: string): string {
  return hex(engine.sha256(utf8(rotator)).subarray(0, RID_BYTES))
}

/** Who asks on this subject; `undefined` where it does not end as one on which somebody asks. */
export function askerOf({ inbox }: Pick<ProtocolSubjects, 'inbox'>, subject: string): Asker | undefined {
  const [name, instance] = subject.split('.').slice(-2)
  if (name === undefined || instance === undefined || !INSTANCE.test(instance)) return undefined
  return { name, instance, inbox: inbox(name, fromHex(instance)) }
}

/** Whether a subject is the one on which an instance of an agent announces itself, in whatever realm. */
export function isAnnouncedOn(
  subject: string,
  { agent, instance }: Pick<Announcement, 'agent' | 'instance'>,
): boolean {
  return subject.endsWith(`.announce.${agent}.${hex(instance)}`)
}

/** @throws TypeError when the prefix is no subject. */
export function protocolSubjects(
  engine: Pick<CryptoEngine, 'sha256'>,
  realm: string,
  prefix: string = DEFAULT_SUBJECT_PREFIX,
): ProtocolSubjects {
  if (!isSubject(prefix)) throw new TypeError('subjectPrefix must be a subject without wildcards')
  const root = `${prefix}.${realm}`
  return {
    root,
    epoch: `${root}.epoch`,
    tick: `${root}.tick`,
    revoke: `${root}.revoke`,
    plan: `${root}.plan`,
    rotate: `${root}.rotate`,
    announcements: `${root}.announce.*.*`,
    pings: `${root}.ping.*.*`,
    ping: (name, instance) => `${root}.ping.${name}.${hex(instance)}`,
    query: (to, name, instance) => `${root}.query.${to}.${name}.${hex(instance)}`,
    queriesTo: (to) => `${root}.query.${to}.*.*`,
    announce: (agent, instance) => `${root}.announce.${agent}.${hex(instance)}`,
    inbox(name, instance) {
      const digest = engine.sha256(utf8(name), SEPARATOR, instance)
      return `${root}.inbox.${hex(digest.subarray(0, INBOX_BYTES))}`
    },
    session: (sid) => `${root}.session.${hex(sid)}`,
    handshake: (sid) => `${root}.handshake.${hex(sid)}`,
  }
}
