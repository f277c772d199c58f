import { compareBytes, hex, samePublic } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import {
  MAX_ANNOUNCEMENTS_PER_INSTANCE,
  MAX_EARLY_ANNOUNCEMENTS,
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
import type { EpochChain } from './epochs.ts'
import type { RevocationSet } from './revocations.ts'

const NONE = new Uint8Array(0)

/** What the store works with. */
export interface AnnouncementStoreOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly epochs: EpochChain
  readonly revocations: RevocationSet
  /** Called when two verified announcements claim one instance, epoch and sequence number. */
  readonly onClone: (announcement: VerifiedAnnouncement) => void
  /** Called when what is held or proved has changed. */
  readonly onChange: () => void
}

/** One announcement: its token is verified, its signatures are once `verified` is there. */
export interface StoredAnnouncement {
  readonly order: number
  readonly parsed: ParsedAnnouncement
  readonly claims: VerifiedClaims
  readonly verified: VerifiedAnnouncement | undefined
}

interface Entry extends StoredAnnouncement {
  verified: VerifiedAnnouncement | undefined
}

/** Everything that is held of one name. */
export interface KnownAgent {
  readonly name: string
  readonly entries: ReadonlyMap<string, StoredAnnouncement>
  /** Instances of which a verified retirement is held, by {@link instanceKey}. */
  readonly retired: ReadonlySet<string>
}

interface Agent extends KnownAgent {
  readonly entries: Map<string, Entry>
  readonly retired: Set<string>
  readonly verifications: RateLimit
  unverified: number
}

/**
 * Holds announcements and proves them when asked. Whatever floods it costs a bounded amount of work and memory, and
 * what is proved is never displaced by what is not. A token is verified at the door, once for each token: strangers
 * leave no trace, and the two signatures of an announcement are checked only for agents that somebody asks for.
 */
export class AnnouncementStore {
  readonly #options: AnnouncementStoreOptions
  readonly #byHash = new Map<string, Entry>()
  readonly #agents = new Map<string, Agent>()
  /** The hashes of what is not proved yet, oldest first. */
  readonly #unverified = new Set<string>()
  /** Announcements for the next epoch, which is not known yet, oldest first. */
  #early = new Map<string, Uint8Array>()
  readonly #newTokens = new RateLimit(MAX_FAILED_VERIFICATIONS_PER_SECOND)
  readonly #failures = new RateLimit(MAX_FAILED_VERIFICATIONS_PER_SECOND)
  #order = 0

  constructor(options: AnnouncementStoreOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#byHash.size
  }

  /** How many are held that are not proved. */
  get unverified(): number {
    return this.#unverified.size
  }

  /** Every name of which something is held. */
  agents(): Iterable<KnownAgent> {
    return this.#agents.values()
  }

  agent(name: string): KnownAgent | undefined {
    return this.#agents.get(name)
  }

  get(hash: string): StoredAnnouncement | undefined {
    return this.#byHash.get(hash)
  }

  /** Everything held, in the order in which it came. */
  all(): readonly StoredAnnouncement[] {
    return [...this.#byHash.values()]
  }

  /** Takes in an announcement whose token holds. @returns it, where it was new and there was room for it */
  add(bytes: Uint8Array, nowMs: number): ParsedAnnouncement | undefined {
    const entry = this.#parse(bytes, nowMs)
    if (entry === undefined) return undefined
    const { parsed } = entry
    if (this.#options.epochs.byHash(parsed.announcement.epochHash) === undefined) {
      this.#keepEarly(parsed)
      return undefined
    }
    const agent = this.#agentOf(entry)
    this.#makeRoom(agent, nowMs)
    if (agent.unverified >= MAX_UNVERIFIED_PER_AGENT) return undefined
    const key = hex(parsed.hash)
    if (!this.#isNew(key, parsed, nowMs)) return undefined
    this.#byHash.set(key, entry)
    agent.entries.set(key, entry)
    agent.unverified++
    this.#unverified.add(key)
    this.#evictUnverified()
    this.#options.onChange()
    return parsed
  }

  /** An epoch has been accepted: what came a moment ahead of it is taken in. */
  takeEarly(nowMs: number): void {
    const early = this.#early
    this.#early = new Map()
    for (const bytes of early.values()) this.add(bytes, nowMs)
  }

  /**
   * Proves one announcement, within its agent's budget. What does not hold is dropped; what cannot be judged yet, or
   * claims a revoked identity, stays.
   *
   * @returns it, where it is proved and still holds
   */
  prove(hash: string, nowMs: number): VerifiedAnnouncement | undefined {
    const entry = this.#byHash.get(hash)
    if (entry === undefined) return undefined
    if (entry.verified !== undefined) return this.holds(entry.verified, nowMs) ? entry.verified : undefined
    const { epochs, revocations } = this.#options
    const agent = this.#agentOf(entry)
    const epoch = epochs.byHash(entry.parsed.announcement.epochHash)
    if (epoch === undefined || revocations.isRevoked(entry.claims)) return undefined
    if (this.#failures.available(nowMs) < 1 || !agent.verifications.take(nowMs)) return undefined
    const verified = verifyAnnouncement(this.#options, entry.parsed, { epoch, nowMs })
    if (verified === undefined) {
      this.#failures.take(nowMs)
      this.#drop(hash)
      return undefined
    }
    entry.verified = verified
    this.#noLongerUnverified(hash, agent)
    this.#noteProved(entry, agent)
    return verified
  }

  /** Proves everything that is held of an agent. @returns what is proved and holds */
  proveAll(agent: KnownAgent, nowMs: number): readonly VerifiedAnnouncement[] {
    return [...agent.entries.keys()].flatMap((hash) => this.prove(hash, nowMs) ?? [])
  }

  /** Whether a proved announcement is still to be believed: its token may expire, and its identity be revoked. */
  holds({ claims }: VerifiedAnnouncement, nowMs: number): boolean {
    return nowMs < claims.expiresAt * 1000 && !this.#options.revocations.isRevoked(claims)
  }

  /** Forgets announcements for epochs that are not held any more. */
  prune(): void {
    for (const [hash, { parsed }] of this.#byHash) {
      if (this.#options.epochs.byHash(parsed.announcement.epochHash) === undefined) this.#drop(hash)
    }
    for (const agent of this.#agents.values()) {
      if (agent.entries.size === 0) this.#agents.delete(agent.name)
      else forgetRetired(agent)
    }
    this.#options.onChange()
  }

  #parse(bytes: Uint8Array, nowMs: number): Entry | undefined {
    const { engine, trust } = this.#options
    try {
      const parsed = parseAnnouncement(engine, bytes)
      const { agent, token } = parsed.announcement
      if (samePublic(this.#byHash.get(hex(parsed.hash))?.parsed.bytes ?? NONE, bytes)) return undefined
      const isNew = !trust.knows(token)
      if (isNew && !this.#mayVerify(token, nowMs)) return undefined
      const claims = trust.verify(token, nowMs)
      if (isNew) this.#newTokens.giveBack()
      return claims.name === agent ? { order: this.#order++, parsed, claims, verified: undefined } : undefined
    } catch {
      return undefined
    }
  }

  /**
   * Whether a new token is worth a signature check. Strangers' and malformed ones never are; of those in the name of
   * somebody who is trusted only so many a second may be false.
   */
  #mayVerify(token: string, nowMs: number): boolean {
    return this.#options.trust.claimsTrust(token) && this.#newTokens.take(nowMs)
  }

  /** A copy with a bad signature has the hash of the genuine one, and must not stand in its place. */
  #isNew(hash: string, parsed: ParsedAnnouncement, nowMs: number): boolean {
    const held = this.#byHash.get(hash)
    if (held === undefined) return true
    if (held.verified !== undefined || samePublic(held.parsed.bytes, parsed.bytes)) return false
    this.prove(hash, nowMs)
    return !this.#byHash.has(hash)
  }

  #agentOf({ claims: { name } }: Entry): Agent {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const agent: Agent = {
      name,
      entries: new Map(),
      retired: new Set(),
      verifications: new RateLimit(MAX_VERIFICATIONS_PER_AGENT_PER_SECOND),
      unverified: 0,
    }
    this.#agents.set(name, agent)
    return agent
  }

  /** Junk in an agent's name must not keep its next announcement out: what waits is proved, or found to be junk. */
  #makeRoom(agent: Agent, nowMs: number): void {
    if (agent.unverified < MAX_UNVERIFIED_PER_AGENT) return
    this.proveAll(agent, nowMs)
    if (agent.unverified < MAX_UNVERIFIED_PER_AGENT) return
    // What claims a revoked identity is never proved, and must not hold the places of a name that has a new one.
    for (const [hash, { verified, claims }] of agent.entries) {
      if (verified !== undefined || !this.#options.revocations.isRevoked(claims)) continue
      this.#drop(hash)
      return
    }
  }

  #keepEarly({ announcement, bytes, hash }: ParsedAnnouncement): void {
    const head = this.#options.epochs.head
    if (head !== undefined && announcement.epoch !== head.number + 1) return
    this.#early.set(hex(hash), bytes)
    const [oldest] = this.#early.keys()
    if (this.#early.size > MAX_EARLY_ANNOUNCEMENTS && oldest !== undefined) this.#early.delete(oldest)
  }

  #drop(hash: string): void {
    const entry = this.#byHash.get(hash)
    if (entry === undefined) return
    const agent = this.#agentOf(entry)
    this.#byHash.delete(hash)
    agent.entries.delete(hash)
    this.#noLongerUnverified(hash, agent)
  }

  #noLongerUnverified(hash: string, agent: Agent): void {
    if (this.#unverified.delete(hash)) agent.unverified--
  }

  #evictUnverified(): void {
    const [oldest] = this.#unverified
    if (this.#unverified.size > MAX_UNVERIFIED && oldest !== undefined) this.#drop(oldest)
  }

  #noteProved(entry: Entry, agent: Agent): void {
    const { verified } = entry
    if (verified === undefined) return
    if (verified.recipient === undefined) agent.retired.add(instanceKey(verified))
    for (const other of agent.entries.values()) {
      const isClone = other !== entry && other.verified !== undefined && isSamePlace(other.verified, verified)
      if (isClone) this.#options.onClone(verified)
    }
    this.#evictInstances(agent, verified)
    this.#options.onChange()
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
    if (last !== undefined) this.#drop(hex(last.hash))
  }
}

/** Names an instance of an identity. */
export function instanceKey({ claims, announcement }: VerifiedAnnouncement): string {
  return `${claims.identity} ${hex(announcement.instance)}`
}

/** The order in which instances count towards `max_instances`. */
export function newestFirst(a: VerifiedAnnouncement, b: VerifiedAnnouncement): number {
  return b.announcement.notBefore - a.announcement.notBefore || compareBytes(a.hash, b.hash)
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
