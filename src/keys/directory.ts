import { compareBytes, hex } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { RecipientKey } from '../envelope/keys.ts'
import { allows } from '../identity/permissions.ts'
import { type IdentityClaims, readClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import {
  MAX_ANNOUNCEMENTS_PER_INSTANCE,
  MAX_EARLY_ANNOUNCEMENTS,
  MAX_EMPTY_AGENTS,
  MAX_FAILED_VERIFICATIONS_PER_SECOND,
  MAX_UNVERIFIED,
  MAX_UNVERIFIED_PER_AGENT,
  MAX_VERIFICATIONS_PER_AGENT_PER_SECOND,
} from '../limits.ts'
import {
  type ParsedAnnouncement,
  parseAnnouncement,
  type VerifiedAnnouncement,
  verifyAnnouncement,
} from './announcements.ts'
import { RateLimit } from './budget.ts'
import type { AcceptedEpoch, EpochChain } from './epochs.ts'
import type { RevocationSet } from './revocations.ts'

/** One recipient of a message: a live instance and the key to seal to. */
export interface AudienceMember {
  readonly name: string
  readonly instance: string
  readonly instanceBytes: Uint8Array
  readonly key: RecipientKey
}

/** Whom a message on a subject is sealed to, and in which epoch. */
export interface Audience {
  readonly epoch: AcceptedEpoch
  readonly members: readonly AudienceMember[]
}

/** Why an agent that is known does not stand in an audience. */
export interface Absence {
  readonly name: string
  readonly why: string
}

/** What the directory says about the sender of a message. */
export type SenderStanding =
  | { readonly standing: 'known'; readonly announcement: VerifiedAnnouncement }
  | { readonly standing: 'refused' }
  | { readonly standing: 'unknown' }

/** What the directory works with. */
export interface DirectoryOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly epochs: EpochChain
  readonly revocations: RevocationSet
  /** Whether the own instance has keys to seal with in an epoch. Default: in every one. */
  readonly canSealIn?: (epoch: AcceptedEpoch) => boolean
  /** Called when two verified announcements claim one instance, epoch and sequence number. */
  readonly onClone: (announcement: VerifiedAnnouncement) => void
}

/** A proved announcement for passing on. `order` grows with every one that was taken in. */
export interface ProvenAnnouncement {
  readonly order: number
  readonly bytes: Uint8Array
  readonly hash: Uint8Array
}

interface Entry {
  readonly order: number
  readonly parsed: ParsedAnnouncement
  readonly claims: IdentityClaims
  verified: VerifiedAnnouncement | undefined
}

interface Agent {
  readonly entries: Map<string, Entry>
  /** Instances of which a verified retirement is known, by identity and instance. */
  readonly retired: Set<string>
  readonly verifications: RateLimit
  unverified: number
}

const MAX_CACHED_AUDIENCES = 1024

/**
 * The announcements of a realm. They are taken in unverified and proved when somebody needs them: the sender of a
 * message, or the audience of a subject. What is proved is never displaced by what is not.
 */
export class Directory {
  readonly #options: DirectoryOptions
  readonly #byHash = new Map<string, Entry>()
  readonly #agents = new Map<string, Agent>()
  readonly #audiences = new Map<string, { readonly audience: Audience; readonly until: number }>()
  /** The hashes of what is not proved yet, oldest first. */
  readonly #unverified = new Set<string>()
  /** Announcements for an epoch that is not known yet, oldest first: they may be a moment ahead of it. */
  #early: Uint8Array[] = []
  readonly #failures = new RateLimit(MAX_FAILED_VERIFICATIONS_PER_SECOND)
  #order = 0

  constructor(options: DirectoryOptions) {
    this.#options = options
  }

  /** How many announcements are held. */
  get size(): number {
    return this.#byHash.size
  }

  /**
   * Takes in an announcement, unverified.
   *
   * @returns it, where it was new and there was room for it.
   */
  add(bytes: Uint8Array, nowMs: number): ParsedAnnouncement | undefined {
    const entry = this.#parse(bytes)
    if (entry === undefined) return undefined
    const { parsed } = entry
    const key = hex(parsed.hash)
    if (this.#byHash.has(key)) return undefined
    if (this.#options.epochs.byHash(parsed.announcement.epochHash) === undefined) {
      this.#keepEarly(parsed)
      return undefined
    }
    const agent = this.#agent(parsed.announcement.agent)
    // Junk in an agent's name must not keep its next announcement out: make room by proving what waits.
    if (agent.unverified >= MAX_UNVERIFIED_PER_AGENT) this.#verifyPending(agent, nowMs)
    if (agent.unverified >= MAX_UNVERIFIED_PER_AGENT) this.#evictRevoked(agent)
    if (agent.unverified >= MAX_UNVERIFIED_PER_AGENT) return undefined
    this.#byHash.set(key, entry)
    agent.entries.set(key, entry)
    agent.unverified++
    this.#unverified.add(key)
    this.#evictUnverified()
    this.#audiences.clear()
    return parsed
  }

  /**
   * The announcement under which a message was sealed. `refused` where it is here and proved, but its identity is
   * revoked, expired or not the owner of its name; `unknown` where it is not here, or cannot be judged yet.
   */
  sender(hash: Uint8Array, nowMs: number): SenderStanding {
    const entry = this.#byHash.get(hex(hash))
    if (entry === undefined) return { standing: 'unknown' }
    const agent = this.#agent(entry.parsed.announcement.agent)
    const verified = this.#verify(entry, agent, nowMs)
    if (verified === undefined) {
      const isRefused = entry.verified !== undefined || this.#options.revocations.isRevoked(entry.claims)
      return { standing: isRefused ? 'refused' : 'unknown' }
    }
    const isOwner = this.#owner(agent, nowMs) === verified.claims.identity
    return isOwner ? { standing: 'known', announcement: verified } : { standing: 'refused' }
  }

  /** Whether an announcement of this hash (hexadecimal) was taken in, verified or not. */
  has(hash: string): boolean {
    return this.#byHash.has(hash)
  }

  /**
   * Every live instance that may read `subject`, in the newest epoch that all of them have announced; `undefined`
   * while there is no current epoch.
   */
  audience(subject: string, nowMs: number): Audience | undefined {
    const cached = this.#audiences.get(subject)
    if (cached !== undefined && nowMs < cached.until) return cached.audience
    const { epochs, canSealIn = () => true } = this.#options
    const current = epochs.current(nowMs).filter(canSealIn)
    const mayRead = (claims: IdentityClaims) => allows(claims.permissions.sub, subject)
    const perEpoch = current.map((epoch) => ({ epoch, members: this.#live(epoch, nowMs, mayRead) }))
    const everyone = new Set(perEpoch.flatMap(({ members }) => members.map(instanceKey)))
    const complete = perEpoch.find(({ members }) => members.length === everyone.size) ?? perEpoch.at(-1)
    if (complete === undefined) return undefined
    const audience = {
      epoch: complete.epoch,
      members: complete.members.flatMap((verified) => toMember(verified) ?? []),
    }
    this.#remember(subject, audience, this.#nextChange(current, complete.members, nowMs))
    return audience
  }

  /** This instance as a recipient in another epoch, where it has announced itself for it. */
  memberOf(instance: VerifiedAnnouncement, epoch: AcceptedEpoch, nowMs: number): AudienceMember | undefined {
    const key = instanceKey(instance)
    const live = this.#liveInstances(this.#agent(instance.claims.name), epoch, nowMs)
    const verified = live.find((other) => instanceKey(other) === key)
    return verified === undefined ? undefined : toMember(verified)
  }

  /** Every verified live announcement of the current epochs. */
  live(nowMs: number): readonly VerifiedAnnouncement[] {
    return this.#options.epochs.current(nowMs).flatMap((epoch) => this.#live(epoch, nowMs, () => true))
  }

  /** Why the agents that are known are not in the audience of a subject; for error messages. */
  absences(subject: string, nowMs: number): readonly Absence[] {
    const present = new Set(this.audience(subject, nowMs)?.members.map(({ name }) => name))
    const absences: Absence[] = []
    for (const [name, agent] of this.#agents) {
      if (present.has(name) || agent.entries.size === 0) continue
      absences.push({ name, why: this.#absence(agent, subject, nowMs) })
    }
    return absences.sort((a, b) => a.name.localeCompare(b.name))
  }

  /** Every announcement that is proved, after proving what waits; in the order in which they came. */
  proven(nowMs: number): readonly ProvenAnnouncement[] {
    for (const agent of this.#agents.values()) this.#verifyPending(agent, nowMs)
    const all = [...this.#byHash.values()]
    return all.flatMap(({ verified, order, parsed }) =>
      verified === undefined ? [] : { order, bytes: parsed.bytes, hash: parsed.hash },
    )
  }

  /** Something outside changed who is in an audience: a revocation, an epoch. */
  invalidate(nowMs: number): void {
    const early = this.#early
    this.#early = []
    for (const bytes of early) this.add(bytes, nowMs)
    this.#audiences.clear()
  }

  /** Forgets announcements for epochs that are not held any more. */
  prune(): void {
    for (const [key, entry] of this.#byHash) {
      if (this.#options.epochs.byHash(entry.parsed.announcement.epochHash) === undefined)
        this.#drop(key, entry)
    }
    this.#forgetEmptyAgents()
    for (const agent of this.#agents.values()) forgetRetired(agent)
    this.#audiences.clear()
  }

  #parse(bytes: Uint8Array): Entry | undefined {
    try {
      const parsed = parseAnnouncement(this.#options.engine, bytes)
      const claims = readClaims(parsed.announcement.token)
      const fits = claims.name === parsed.announcement.agent && claims.realm === this.#options.trust.realm
      return fits ? { order: this.#order++, parsed, claims, verified: undefined } : undefined
    } catch {
      return undefined
    }
  }

  #agent(name: string): Agent {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    if (this.#agents.size >= this.#byHash.size + MAX_EMPTY_AGENTS) this.#forgetEmptyAgents()
    const agent: Agent = {
      entries: new Map(),
      retired: new Set(),
      verifications: new RateLimit(MAX_VERIFICATIONS_PER_AGENT_PER_SECOND),
      unverified: 0,
    }
    this.#agents.set(name, agent)
    return agent
  }

  /** Agents of which nothing is held are kept for a while, so that their budgets are not refilled by dropping junk. */
  #forgetEmptyAgents(): void {
    for (const [name, { entries }] of this.#agents) if (entries.size === 0) this.#agents.delete(name)
  }

  #drop(key: string, entry: Entry): void {
    const agent = this.#agent(entry.parsed.announcement.agent)
    this.#byHash.delete(key)
    agent.entries.delete(key)
    this.#noLongerUnverified(key, agent)
  }

  #noLongerUnverified(key: string, agent: Agent): void {
    if (this.#unverified.delete(key)) agent.unverified--
  }

  /** A flood of made-up agents pushes out its own oldest, and never what is proved. */
  #evictUnverified(): void {
    const [oldest] = this.#unverified
    if (this.#unverified.size <= MAX_UNVERIFIED || oldest === undefined) return
    const entry = this.#byHash.get(oldest)
    if (entry !== undefined) this.#drop(oldest, entry)
  }

  /** What claims a revoked identity is never proved, and must not hold the places of a name that has a new one. */
  #evictRevoked(agent: Agent): void {
    for (const [key, entry] of agent.entries) {
      if (entry.verified !== undefined || !this.#options.revocations.isRevoked(entry.claims)) continue
      this.#drop(key, entry)
      return
    }
  }

  #keepEarly({ announcement, bytes }: ParsedAnnouncement): void {
    const head = this.#options.epochs.head
    if (head !== undefined && announcement.epoch <= head.number) return
    this.#early.push(bytes)
    if (this.#early.length > MAX_EARLY_ANNOUNCEMENTS) this.#early.shift()
  }

  /** An agent that starts again and again leaves announcements behind: those far beyond its limit are forgotten. */
  #evictInstances(agent: Agent, newest: VerifiedAnnouncement): void {
    const { epochHash, identity } = newest.announcement
    const ofEpoch = [...agent.entries.values()].flatMap(({ verified }) => {
      const isOfEpoch =
        verified?.claims.identity === identity &&
        compareBytes(verified.announcement.epochHash, epochHash) === 0
      return isOfEpoch ? [verified] : []
    })
    if (ofEpoch.length <= MAX_ANNOUNCEMENTS_PER_INSTANCE * newest.claims.maxInstances) return
    const last = ofEpoch.sort(newestFirst).at(-1)
    const entry = last === undefined ? undefined : this.#byHash.get(hex(last.hash))
    if (last !== undefined && entry !== undefined) this.#drop(hex(last.hash), entry)
  }

  /** Proves one entry, within the agent's budget. What does not hold is dropped; what cannot be judged yet stays. */
  #verify(entry: Entry, agent: Agent, nowMs: number): VerifiedAnnouncement | undefined {
    const { epochs, revocations, onClone } = this.#options
    if (entry.verified !== undefined)
      return this.#stillHolds(entry.verified, nowMs) ? entry.verified : undefined
    const epoch = epochs.byHash(entry.parsed.announcement.epochHash)
    // What is revoked is kept, so that messages sealed under it are known as such; it is not worth a signature check.
    if (epoch === undefined || revocations.isRevoked(entry.claims)) return undefined
    if (this.#failures.available(nowMs) < 1) return undefined
    if (!agent.verifications.take(nowMs)) return undefined
    const verified = verifyAnnouncement(this.#options, entry.parsed, { epoch, nowMs })
    if (verified === undefined) {
      this.#failures.take(nowMs)
      this.#drop(hex(entry.parsed.hash), entry)
      return undefined
    }
    entry.verified = verified
    this.#noLongerUnverified(hex(verified.hash), agent)
    if (verified.recipient === undefined) agent.retired.add(instanceKey(verified))
    for (const other of agent.entries.values()) {
      if (other !== entry && other.verified !== undefined && isSamePlace(other.verified, verified))
        onClone(verified)
    }
    this.#evictInstances(agent, verified)
    this.#audiences.clear()
    return verified
  }

  #stillHolds({ claims }: VerifiedAnnouncement, nowMs: number): boolean {
    return nowMs < claims.expiresAt * 1000 && !this.#options.revocations.isRevoked(claims)
  }

  #verifyPending(agent: Agent, nowMs: number): readonly VerifiedAnnouncement[] {
    const verified: VerifiedAnnouncement[] = []
    for (const entry of [...agent.entries.values()]) {
      const proven = this.#verify(entry, agent, nowMs)
      if (proven !== undefined) verified.push(proven)
    }
    return verified
  }

  /** Whose name it is: of several identities the one whose token is earliest, then the lower key. */
  #owner(agent: Agent, nowMs: number): string | undefined {
    let owner: IdentityClaims | undefined
    for (const { claims } of this.#verifyPending(agent, nowMs)) {
      const isEarlier =
        owner === undefined ||
        claims.issuedAt < owner.issuedAt ||
        (claims.issuedAt === owner.issuedAt && claims.identity < owner.identity)
      if (isEarlier) owner = claims
    }
    return owner?.identity
  }

  #live(
    epoch: AcceptedEpoch,
    nowMs: number,
    wanted: (claims: IdentityClaims) => boolean,
  ): readonly VerifiedAnnouncement[] {
    const live: VerifiedAnnouncement[] = []
    for (const agent of this.#agents.values()) {
      // Nothing is proved for an agent that nobody asks for.
      if (![...agent.entries.values()].some(({ claims }) => wanted(claims))) continue
      live.push(...this.#liveInstances(agent, epoch, nowMs).filter(({ claims }) => wanted(claims)))
    }
    return live
  }

  #liveInstances(agent: Agent, epoch: AcceptedEpoch, nowMs: number): readonly VerifiedAnnouncement[] {
    const owner = this.#owner(agent, nowMs)
    const newest = new Map<string, VerifiedAnnouncement>()
    for (const entry of agent.entries.values()) {
      const { verified } = entry
      if (verified?.recipient === undefined || !this.#stillHolds(verified, nowMs)) continue
      const isOfEpoch = compareBytes(verified.announcement.epochHash, epoch.hash) === 0
      const key = instanceKey(verified)
      if (verified.claims.identity !== owner || !isOfEpoch || agent.retired.has(key)) continue
      const known = newest.get(key)
      if (known === undefined || known.announcement.seq < verified.announcement.seq) newest.set(key, verified)
    }
    const ranked = [...newest.values()].sort(newestFirst)
    return ranked.slice(0, ranked[0]?.claims.maxInstances)
  }

  #absence(agent: Agent, subject: string, nowMs: number): string {
    const { epochs, revocations } = this.#options
    const claims = [...agent.entries.values()].map((entry) => entry.claims)
    if (claims.every((claim) => revocations.isRevoked(claim))) return 'its identity is revoked'
    if (claims.every((claim) => nowMs >= claim.expiresAt * 1000)) return 'its identity token has expired'
    if (!claims.some((claim) => allows(claim.permissions.sub, subject)))
      return 'its token does not allow it to read this subject'
    const announced = [...agent.entries.values()].filter(({ verified }) => verified?.recipient !== undefined)
    if (announced.length === 0) return 'its announcement does not hold'
    if (announced.every(({ verified }) => verified !== undefined && agent.retired.has(instanceKey(verified))))
      return 'it has retired'
    const current = epochs.current(nowMs).map(({ hash }) => hex(hash))
    if (!announced.some(({ parsed }) => current.includes(hex(parsed.announcement.epochHash)))) {
      return 'it has not announced keys for the current epoch'
    }
    return 'another identity holds its name'
  }

  #remember(subject: string, audience: Audience, until: number): void {
    if (this.#audiences.size >= MAX_CACHED_AUDIENCES) this.#audiences.clear()
    this.#audiences.set(subject, { audience, until })
  }

  /** When time alone changes the answer: an epoch begins or ends, a token expires, a budget refills. */
  #nextChange(
    current: readonly AcceptedEpoch[],
    members: readonly VerifiedAnnouncement[],
    nowMs: number,
  ): number {
    if (this.#unverified.size > 0) return nowMs + 1000
    const ends = current.map(({ notAfter }) => notAfter)
    const begins = this.#options.epochs.all().map(({ notBefore }) => notBefore)
    const expiries = members.map(({ claims }) => claims.expiresAt * 1000)
    return Math.min(...ends, ...begins.filter((begin) => begin > nowMs), ...expiries)
  }
}

function instanceKey({ claims, announcement }: VerifiedAnnouncement): string {
  return `${claims.identity} ${hex(announcement.instance)}`
}

function forgetRetired({ entries, retired }: Agent): void {
  const held = new Set<string>()
  for (const { verified } of entries.values()) if (verified !== undefined) held.add(instanceKey(verified))
  for (const key of retired) if (!held.has(key)) retired.delete(key)
}

function isSamePlace(a: VerifiedAnnouncement, b: VerifiedAnnouncement): boolean {
  const isSameEpoch = compareBytes(a.announcement.epochHash, b.announcement.epochHash) === 0
  return isSameEpoch && a.announcement.seq === b.announcement.seq && instanceKey(a) === instanceKey(b)
}

function newestFirst(a: VerifiedAnnouncement, b: VerifiedAnnouncement): number {
  return b.announcement.notBefore - a.announcement.notBefore || compareBytes(a.hash, b.hash)
}

/** The announced instance as a recipient; `undefined` for a retirement, which announces no key. */
export function toMember({
  claims,
  announcement,
  recipient,
}: VerifiedAnnouncement): AudienceMember | undefined {
  if (recipient === undefined) return undefined
  const { instance } = announcement
  return { name: claims.name, instance: hex(instance), instanceBytes: instance, key: recipient }
}
