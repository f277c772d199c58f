// Over 300 lines: what is taken in, proved and pushed out is one bookkeeping, and its bounds hold together.
import { compareBytes, hex, samePublic } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import {
  MAX_ANNOUNCEMENTS_PER_INSTANCE,
  MAX_FAILED_VERIFICATIONS_PER_SECOND,
  MAX_UNVERIFIED,
  MAX_UNVERIFIED_PER_AGENT,
  MAX_VERIFICATIONS_PER_AGENT_PER_SECOND,
} from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { LeftOutReason } from '../envelope/keys.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import {
  type AnnouncementFault,
  judgeAnnouncement,
  type ParsedAnnouncement,
  parseAnnouncement,
  type VerifiedAnnouncement,
} from './announcements.ts'
import { EarlyAnnouncements } from './early-announcements.ts'
import type { AcceptedEpoch, EpochChain } from './epochs.ts'
import { KeyMemory } from './key-memory.ts'
import { Retired } from './retired.ts'
import type { RevocationSet } from './revocations.ts'
import { isAnnouncedOn } from './subjects.ts'

/** An instance to which nothing is sealed, because of an announcement that its identity has signed. */
export interface LeftOut {
  readonly name: string
  /** In hexadecimal. */
  readonly instance: string
  readonly why: LeftOutReason
}

/** What the store works with. */
export interface AnnouncementStoreOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly epochs: EpochChain
  readonly revocations: RevocationSet
  /** Whether what is proved is passed on to others: its wire bytes are then held with it. Default: it is not. */
  readonly passesOn?: boolean
  /** By it a token has expired where it is ahead of the clock. */
  readonly latest?: Latest
  /** Milliseconds of the monotonic clock, for budgets: setting the wall clock must not fill them. */
  readonly monotonic: () => number
  /** Called when two verified announcements claim one instance, epoch and sequence number. */
  readonly onClone: (announcement: VerifiedAnnouncement) => void
  /** Called when an announcement is not taken that its identity has signed. */
  readonly onRefused: (leftOut: LeftOut) => void
  /** Called when what is held or proved has changed. */
  readonly onChange: () => void
}

/** One announcement: its token is verified, its signatures are once `verified` is there. */
export interface StoredAnnouncement {
  /** Its hash in hexadecimal. */
  readonly hash: string
  readonly order: number
  readonly claims: VerifiedClaims
  readonly epoch: AcceptedEpoch
  /** In hexadecimal. */
  readonly instance: string
  /** As it came, until it is proved; longer where the store passes on what is. */
  readonly bytes: Uint8Array | undefined
  readonly verified: VerifiedAnnouncement | undefined
}

interface Entry extends StoredAnnouncement {
  bytes: Uint8Array | undefined
  verified: VerifiedAnnouncement | undefined
}

/** Everything that is held of one name. */
export interface KnownAgent {
  readonly name: string
  /** In the order in which they came. */
  readonly entries: readonly StoredAnnouncement[]
  /** Instances of which a verified retirement has come. Most agents have none, and an empty one is not small. */
  readonly retired: Pick<Retired, 'has'> | undefined
  /** The last one that was not taken although its identity has signed it, while its epoch is held. */
  readonly refused: Refused | undefined
}

interface Refused {
  readonly why: LeftOutReason
  readonly epoch: AcceptedEpoch
}

interface Agent extends KnownAgent {
  entries: readonly Entry[]
  retired: Retired | undefined
  refused: Refused | undefined
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
  /** The `kid` of every live key that is held, in hexadecimal. */
  readonly #kids = new Set<string>()
  /** The hashes of what is not proved yet, oldest first. */
  readonly #unverified = new Set<string>()
  /** Announcements for the next epoch, which is not known yet. */
  readonly #early = new EarlyAnnouncements()
  readonly #newTokens = new RateLimit(MAX_FAILED_VERIFICATIONS_PER_SECOND)
  readonly #failures = new RateLimit(MAX_FAILED_VERIFICATIONS_PER_SECOND)
  readonly #memory = new KeyMemory()
  #order = 0

  constructor(options: AnnouncementStoreOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#byHash.size
  }

  /** How many are proved, or of how many names something is held: tokens prove names, and junk makes neither more. */
  get sizeAtLeast(): number {
    return Math.max(this.#agents.size, this.#byHash.size - this.#unverified.size)
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
  all(): Iterable<StoredAnnouncement> {
    return this.#byHash.values()
  }

  /**
   * Takes in an announcement whose token holds.
   *
   * @param subject on which it was announced: the instance's own. Default: it came in a page, or is one's own
   * @returns it, where it was new and there was room for it
   */
  add(bytes: Uint8Array, nowMs: number, subject?: string): ParsedAnnouncement | undefined {
    const parsed = this.#parse(bytes)
    if (parsed === undefined) return undefined
    const { announcement } = parsed
    // Who may publish there, the broker knows: whoever may not in this name neither spends its budgets nor plays it again.
    if (subject !== undefined && !isAnnouncedOn(subject, announcement)) return undefined
    const claims = this.#claimsOf(parsed, nowMs)
    if (claims === undefined) return undefined
    const epoch = this.#options.epochs.byHash(announcement.epochHash)
    if (epoch === undefined) {
      this.#keepEarly(parsed)
      return undefined
    }
    const agent = this.#agentOf(claims.name)
    this.#makeRoom(agent, nowMs)
    if (agent.unverified >= MAX_UNVERIFIED_PER_AGENT) return undefined
    const hash = hex(parsed.hash)
    if (!this.#isNew(hash, parsed, nowMs)) return undefined
    const entry: Entry = {
      hash,
      order: this.#order++,
      claims,
      epoch,
      instance: hex(announcement.instance),
      bytes: parsed.bytes,
      verified: undefined,
    }
    this.#byHash.set(hash, entry)
    agent.entries = [...agent.entries, entry]
    agent.unverified++
    this.#unverified.add(hash)
    this.#evictUnverified()
    this.#options.onChange()
    return parsed
  }

  /** An epoch has been accepted: what came a moment ahead of it is taken in. */
  takeEarly(nowMs: number): void {
    for (const bytes of this.#early.take()) this.add(bytes, nowMs)
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
    const { epoch, claims, bytes } = entry
    if (entry.verified !== undefined) return this.holds(entry.verified, nowMs) ? entry.verified : undefined
    const { engine, revocations, passesOn = false } = this.#options
    const agent = this.#agentOf(claims.name)
    if (bytes === undefined || revocations.isRevoked(claims)) return undefined
    if (!this.#mayProve(agent)) return undefined
    const parsed = parseAnnouncement(engine, bytes)
    const verified = this.#judge(parsed, { epoch, nowMs })
    if (typeof verified === 'string') {
      this.#drop(hash)
      // What an identity has signed spends its own budget alone.
      if (verified === 'unproved') this.#failures.take(this.#options.monotonic())
      else this.#noteRefused(entry, agent, verified)
      return undefined
    }
    entry.verified = verified
    // Most of what is held would be the bytes of tokens and signatures that nobody looks at again.
    if (!passesOn) entry.bytes = undefined
    this.#noLongerUnverified(hash, agent)
    this.#noteProved(entry, agent)
    return verified
  }

  /** Proves everything that is held of an agent. @returns what is proved and holds */
  proveAll(agent: KnownAgent, nowMs: number): readonly VerifiedAnnouncement[] {
    return agent.entries.flatMap(({ hash }) => this.prove(hash, nowMs) ?? [])
  }

  /** Whether a proved announcement is still to be believed: its token may expire, and its identity be revoked. */
  holds({ claims }: VerifiedAnnouncement, nowMs: number): boolean {
    const { revocations, latest = unconfirmed } = this.#options
    return Math.max(nowMs, latest()) < claims.expiresAt * 1000 && !revocations.isRevoked(claims)
  }

  /** Forgets announcements for epochs that are not held any more. */
  prune(): void {
    const held = new Set(this.#options.epochs.all())
    for (const { hash, epoch } of this.#byHash.values()) if (!held.has(epoch)) this.#drop(hash)
    for (const agent of this.#agents.values()) {
      if (agent.refused !== undefined && !held.has(agent.refused.epoch)) agent.refused = undefined
      agent.retired?.prune(held)
      if (agent.retired?.isEmpty === true) agent.retired = undefined
      const isKnown = agent.entries.length > 0 || agent.refused !== undefined || agent.retired !== undefined
      if (!isKnown) this.#agents.delete(agent.name)
    }
    this.#options.onChange()
  }

  #parse(bytes: Uint8Array): ParsedAnnouncement | undefined {
    try {
      const parsed = parseAnnouncement(this.#options.engine, bytes)
      const held = this.#byHash.get(hex(parsed.hash))
      // What is proved needs no second look, whatever signatures it comes with.
      const isKnown = held !== undefined && (held.verified !== undefined || isSame(held.bytes, bytes))
      return isKnown ? undefined : parsed
    } catch {
      return undefined
    }
  }

  #claimsOf(
    { announcement: { agent, token } }: ParsedAnnouncement,
    nowMs: number,
  ): VerifiedClaims | undefined {
    const { trust, latest = unconfirmed } = this.#options
    try {
      const isNew = !trust.knows(token)
      if (isNew && !this.#mayVerify(token)) return undefined
      const claims = trust.verify(token, nowMs, Math.max(nowMs, latest()))
      if (isNew) this.#newTokens.giveBack()
      return claims.name === agent ? claims : undefined
    } catch {
      return undefined
    }
  }

  /**
   * Whether a new token is worth a signature check. Strangers' and malformed ones never are; of those in the name of
   * somebody who is trusted only so many a second may be false.
   */
  #mayVerify(token: string): boolean {
    const { trust, monotonic } = this.#options
    return trust.claimsTrust(token) && this.#newTokens.take(monotonic())
  }

  /** Whether a signature may be verified for this agent now; that is then spent. */
  #mayProve(agent: Agent): boolean {
    const nowMs = this.#options.monotonic()
    return this.#failures.available(nowMs) >= 1 && agent.verifications.take(nowMs)
  }

  /** A copy with a bad signature has the hash of the genuine one, and must not stand in its place. */
  #isNew(hash: string, parsed: ParsedAnnouncement, nowMs: number): boolean {
    const held = this.#byHash.get(hash)
    if (held === undefined) return true
    if (held.verified !== undefined || isSame(held.bytes, parsed.bytes)) return false
    this.prove(hash, nowMs)
    return !this.#byHash.has(hash)
  }

  #agentOf(name: string): Agent {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const agent: Agent = {
      name,
      entries: [],
      retired: undefined,
      refused: undefined,
      verifications: new RateLimit(MAX_VERIFICATIONS_PER_AGENT_PER_SECOND),
      unverified: 0,
    }
    this.#agents.set(name, agent)
    return agent
  }

  /**
   * Junk in an agent's name must not keep its next announcement out: of what waits, as much is proved or found to be
   * junk as it takes. The rest of the agent's budget is for what is asked for.
   */
  #makeRoom(agent: Agent, nowMs: number): void {
    for (const { hash, verified } of agent.entries) {
      if (agent.unverified < MAX_UNVERIFIED_PER_AGENT) return
      if (verified === undefined) this.prove(hash, nowMs)
    }
    if (agent.unverified < MAX_UNVERIFIED_PER_AGENT) return
    // What claims a revoked identity is never proved, and must not hold the places of a name that has a new one.
    const useless = agent.entries.find(
      ({ verified, claims }) => verified === undefined && this.#options.revocations.isRevoked(claims),
    )
    if (useless !== undefined) this.#drop(useless.hash)
  }

  #keepEarly(parsed: ParsedAnnouncement): void {
    const head = this.#options.epochs.head
    if (head === undefined || parsed.announcement.epoch === head.number + 1) this.#early.keep(parsed)
  }

  #drop(hash: string): void {
    const entry = this.#byHash.get(hash)
    if (entry === undefined) return
    const agent = this.#agentOf(entry.claims.name)
    const kid = entry.verified?.recipient?.kid
    if (kid !== undefined) this.#kids.delete(hex(kid))
    this.#byHash.delete(hash)
    agent.entries = agent.entries.filter((other) => other !== entry)
    this.#noLongerUnverified(hash, agent)
  }

  #noLongerUnverified(hash: string, agent: Agent): void {
    if (this.#unverified.delete(hash)) agent.unverified--
  }

  #evictUnverified(): void {
    const [oldest] = this.#unverified
    if (this.#unverified.size > MAX_UNVERIFIED && oldest !== undefined) this.#drop(oldest)
  }

  /** Proves an announcement, whose `kid` no other live key that is held may have: the first one keeps it. */
  #judge(
    parsed: ParsedAnnouncement,
    at: { readonly epoch: AcceptedEpoch; readonly nowMs: number },
  ): VerifiedAnnouncement | AnnouncementFault {
    const judged = judgeAnnouncement(this.#options, parsed, { ...at, memory: this.#memory })
    if (typeof judged === 'string' || judged.recipient === undefined) return judged
    return this.#kids.has(hex(judged.recipient.kid)) ? 'kid in use' : judged
  }

  #noteRefused({ instance, epoch }: Entry, agent: Agent, why: LeftOutReason): void {
    agent.refused = { why, epoch }
    this.#options.onRefused({ name: agent.name, instance, why })
  }

  #noteProved(entry: Entry, agent: Agent): void {
    const { verified } = entry
    if (verified === undefined) return
    if (verified.recipient !== undefined) this.#kids.add(hex(verified.recipient.kid))
    if (verified.recipient === undefined || isOfRetired(agent, entry)) noteRetired(agent, entry)
    const isClone = agent.entries.some(
      (other) => other !== entry && other.verified !== undefined && isSamePlace(other.verified, verified),
    )
    // Once, however many there are: an agent can make as many as it likes.
    if (isClone) this.#options.onClone(verified)
    this.#evictInstances(agent, entry)
    this.#options.onChange()
  }

  /**
   * An agent that starts again and again leaves announcements behind. What is of no use any more goes first: an instance
   * that runs for long must not lose its place to others of its agent that come and go.
   */
  #evictInstances(agent: Agent, { claims, epoch }: Entry): void {
    const ofEpoch = agent.entries.filter(
      (entry) =>
        entry.verified !== undefined && entry.epoch === epoch && entry.claims.identity === claims.identity,
    )
    if (ofEpoch.length <= MAX_ANNOUNCEMENTS_PER_INSTANCE * claims.maxInstances) return
    const oldestRetired = ofEpoch.find((entry) => isOfRetired(agent, entry))
    const least = oldestRetired ?? oldestReplaced(ofEpoch) ?? lastInRank(ofEpoch)
    if (least !== undefined) this.#drop(least.hash)
  }
}

/** The first that came of those whose instance has announced again. */
function oldestReplaced(entries: readonly Entry[]): Entry | undefined {
  const highest = new Map<string, number>()
  const seqOf = ({ verified }: Entry): number => verified?.announcement.seq ?? 0
  for (const entry of entries)
    highest.set(entry.instance, Math.max(seqOf(entry), highest.get(entry.instance) ?? 0))
  return entries.find((entry) => seqOf(entry) < (highest.get(entry.instance) ?? 0))
}

function lastInRank(entries: readonly Entry[]): Entry | undefined {
  const [first, ...others] = entries
  return others.reduce((last, entry) => (isNewer(last, entry) ? entry : last), first)
}

function isNewer(a: Entry | undefined, b: Entry): boolean {
  return a?.verified !== undefined && b.verified !== undefined && newestFirst(a.verified, b.verified) < 0
}

/** Names an instance of an identity. */
export function instanceKey({ claims, announcement }: VerifiedAnnouncement): string {
  return `${claims.identity} ${hex(announcement.instance)}`
}

/** The order in which instances count towards `max_instances`. */
export function newestFirst(a: VerifiedAnnouncement, b: VerifiedAnnouncement): number {
  return b.announcement.notBefore - a.announcement.notBefore || compareBytes(a.hash, b.hash)
}

/** Whether an announcement is of an instance that is known to have retired. It may be the retirement itself. */
export function isOfRetired({ retired }: KnownAgent, { claims, instance }: StoredAnnouncement): boolean {
  return retired?.has(claims.identity, instance) === true
}

/** In each epoch in which its instance has announced itself: there its keys can be played again. */
function noteRetired(agent: Agent, { claims: { identity }, instance, epoch }: Entry): void {
  agent.retired ??= new Retired()
  agent.retired.note(identity, instance, epoch)
  for (const { verified, ...other } of agent.entries) {
    const isOfIt = verified !== undefined && other.claims.identity === identity && other.instance === instance
    if (isOfIt) agent.retired.note(identity, instance, other.epoch)
  }
}

function isSame(held: Uint8Array | undefined, bytes: Uint8Array): boolean {
  return held !== undefined && samePublic(held, bytes)
}

function isSamePlace(a: VerifiedAnnouncement, b: VerifiedAnnouncement): boolean {
  const isSameEpoch = compareBytes(a.announcement.epochHash, b.announcement.epochHash) === 0
  return isSameEpoch && a.announcement.seq === b.announcement.seq && instanceKey(a) === instanceKey(b)
}
