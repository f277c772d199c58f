// Over 300 lines: who is in an audience and why somebody is not are one set of rules, read side by side.
import { compareBytes, hex } from '../base/bytes.ts'
import { unconfirmed } from '../base/clock.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { LeftOutReason, RecipientKey } from '../envelope/keys.ts'
import { allows } from '../identity/permissions.ts'
import type { IdentityClaims } from '../identity/token.ts'
import {
  AnnouncementStore,
  type AnnouncementStoreOptions,
  instanceKey,
  isOfRetired,
  type KnownAgent,
  newestFirst,
  type StoredAnnouncement,
} from './announcement-store.ts'
import type { ParsedAnnouncement, VerifiedAnnouncement } from './announcements.ts'
import type { AcceptedEpoch } from './epochs.ts'
import { earliestOf, type NameOwners } from './name-owners.ts'

/** One recipient of a message: a live instance and the key to seal to. */
export interface AudienceMember {
  readonly name: string
  readonly instance: string
  readonly instanceBytes: Uint8Array
  readonly key: RecipientKey
  /** Of the announcement that has the key. */
  readonly announcementHash: Uint8Array
  /** How many instances its agent may have. */
  readonly maxInstances: number
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
export interface DirectoryOptions extends Omit<AnnouncementStoreOptions, 'onChange'> {
  /** Whose names were, before and now. Default: those of whoever is held, as for one look. */
  readonly owners?: Pick<NameOwners, 'ownerOf' | 'review'>
  /** Whether the own instance has keys to seal with in an epoch. Default: in every one. */
  readonly canSealIn?: (epoch: AcceptedEpoch) => boolean
}

/** A proved announcement for passing on. `order` grows with every one that was taken in. */
export interface ProvenAnnouncement {
  readonly order: number
  readonly bytes: Uint8Array
}

/** An audience that is good for a while. */
interface Kept {
  readonly audience: Audience
  readonly from: number
  readonly until: number
}

const MAX_CACHED_AUDIENCES = 1024

/** What is wrong with an announcement that is not taken, for error messages. */
const REFUSED: Readonly<Record<LeftOutReason, string>> = {
  'unusable key': 'nothing can be sealed to the key that it announced',
  'kid in use': 'it announced a key under the kid of another one',
}

/**
 * Who is in a realm, by the announcements that are held: who sent a message, who may read a subject, and why
 * somebody may not.
 */
export class Directory {
  readonly #options: DirectoryOptions
  readonly #store: AnnouncementStore
  readonly #audiences = new Map<string, Kept>()

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.#store = new AnnouncementStore({ ...options, onChange: () => this.#audiences.clear() })
  }

  /** How many announcements are held. */
  get size(): number {
    return this.#store.size
  }

  /** How many announcements are held at least: junk in the names of others does not count. */
  get sizeAtLeast(): number {
    return this.#store.sizeAtLeast
  }

  /**
   * Takes in an announcement.
   *
   * @param subject on which it was announced: the instance's own. Default: it came in a page, or is one's own
   * @returns it, where it was new, its token holds, and there was room for it
   */
  add(bytes: Uint8Array, nowMs: number, subject?: string): ParsedAnnouncement | undefined {
    return this.#store.add(bytes, nowMs, subject)
  }

  /**
   * The announcement under which a message was sealed. `refused` where it is here, but its identity is revoked,
   * expired or not the owner of its name; `unknown` where it is not here, or cannot be judged yet.
   */
  sender(hash: Uint8Array, nowMs: number): SenderStanding {
    const key = hex(hash)
    const verified = this.#store.prove(key, nowMs)
    const stored = this.#store.get(key)
    if (stored === undefined) return { standing: 'unknown' }
    if (verified === undefined) {
      const isRefused = stored.verified !== undefined || this.#options.revocations.isRevoked(stored.claims)
      return { standing: isRefused ? 'refused' : 'unknown' }
    }
    const isOwner = this.#owner(this.#store.agent(stored.claims.name), nowMs) === verified.claims.identity
    return isOwner ? { standing: 'known', announcement: verified } : { standing: 'refused' }
  }

  /** Whether an announcement of this hash (hexadecimal) is held, verified or not. */
  has(hash: string): boolean {
    return this.#store.get(hash) !== undefined
  }

  /**
   * Every live instance that may read `subject`, in the newest epoch that all of them have announced; `undefined`
   * while there is no current epoch.
   */
  audience(subject: string, nowMs: number): Audience | undefined {
    const cached = this.#audiences.get(subject)
    const { epochs, latest = unconfirmed, canSealIn = () => true } = this.#options
    // Epochs begin by the wall clock, and end by the latest time where that is ahead of it.
    if (cached !== undefined && nowMs >= cached.from && Math.max(nowMs, latest()) < cached.until)
      return cached.audience
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
    const until = this.#nextChange(current, complete.members, nowMs)
    this.#remember(subject, { audience, from: nowMs, until })
    return audience
  }

  /** This instance as a recipient in another epoch, where it has announced itself for it. */
  memberOf(instance: VerifiedAnnouncement, epoch: AcceptedEpoch, nowMs: number): AudienceMember | undefined {
    const agent = this.#store.agent(instance.claims.name)
    if (agent === undefined) return undefined
    const key = instanceKey(instance)
    const verified = this.#liveInstances(agent, epoch, nowMs).find((other) => instanceKey(other) === key)
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
    for (const agent of this.#store.agents()) {
      const { name, entries, refused } = agent
      if (!present.has(name) && (entries.length > 0 || refused !== undefined))
        absences.push({ name, why: this.#absence(agent, subject, nowMs) })
    }
    return absences.sort((a, b) => a.name.localeCompare(b.name))
  }

  /**
   * What is proved and of use to whoever comes anew, in the order in which it came, from a place on. Each is proved when
   * its turn comes: whoever takes a few pays for a few. Of an instance that has retired it is the retirement alone. Its
   * keys are of no use any more, and who is shown them again knows that they are over.
   */
  *proven(nowMs: number, from = 0): Iterable<ProvenAnnouncement> {
    for (const entry of this.#store.all()) {
      if (entry.order < from) continue
      const proven = this.#proven(entry, nowMs)
      if (proven !== undefined && !this.#isOver(entry)) yield proven
    }
  }

  /** One announcement by its hash (hexadecimal), where it is proved; also that of an instance that has retired. */
  provenOne(hash: string, nowMs: number): ProvenAnnouncement | undefined {
    const entry = this.#store.get(hash)
    return entry && this.#proven(entry, nowMs)
  }

  /** The wire bytes of what is of use and can be passed on, proved or not: whoever reads them proves them. */
  *kept(): Iterable<Uint8Array> {
    for (const entry of this.#store.all()) {
      if (entry.bytes !== undefined && !this.#isOver(entry)) yield entry.bytes
    }
  }

  /** Something outside changed who is in an audience: a revocation, an epoch. */
  invalidate(nowMs: number): void {
    this.#store.takeEarly(nowMs)
    this.#options.owners?.review()
    this.#audiences.clear()
  }

  /** Forgets announcements for epochs that are not held any more. */
  prune(): void {
    this.#store.prune()
  }

  #proven(entry: StoredAnnouncement, nowMs: number): ProvenAnnouncement | undefined {
    if (entry.verified === undefined) this.#store.prove(entry.hash, nowMs)
    const { order, bytes, verified } = entry
    return verified === undefined || bytes === undefined ? undefined : { order, bytes }
  }

  /** Whether it announces keys of an instance that has retired. */
  #isOver(entry: StoredAnnouncement): boolean {
    const agent = this.#store.agent(entry.claims.name)
    return entry.verified?.recipient !== undefined && agent !== undefined && isOfRetired(agent, entry)
  }

  /** Whose name it is: SPEC, "Two identities for one name". */
  #owner(agent: KnownAgent | undefined, nowMs: number): string | undefined {
    if (agent === undefined) return undefined
    const proved = this.#store.proveAll(agent, nowMs).map(({ claims }) => claims)
    const { owners } = this.#options
    return owners === undefined ? earliestOf(proved)?.identity : owners.ownerOf(agent.name, proved)
  }

  #live(
    epoch: AcceptedEpoch,
    nowMs: number,
    wanted: (claims: IdentityClaims) => boolean,
  ): readonly VerifiedAnnouncement[] {
    const live: VerifiedAnnouncement[] = []
    for (const agent of this.#store.agents()) {
      // Nothing is proved for an agent that nobody asks for.
      if (!agent.entries.some(({ claims }) => wanted(claims))) continue
      live.push(...this.#liveInstances(agent, epoch, nowMs).filter(({ claims }) => wanted(claims)))
    }
    return live
  }

  #liveInstances(agent: KnownAgent, epoch: AcceptedEpoch, nowMs: number): readonly VerifiedAnnouncement[] {
    const owner = this.#owner(agent, nowMs)
    const newest = new Map<string, VerifiedAnnouncement>()
    for (const entry of agent.entries) {
      const { verified } = entry
      if (verified?.recipient === undefined || !this.#store.holds(verified, nowMs)) continue
      const isOfEpoch = compareBytes(verified.announcement.epochHash, epoch.hash) === 0
      const key = instanceKey(verified)
      if (verified.claims.identity !== owner || !isOfEpoch || isOfRetired(agent, entry)) continue
      const known = newest.get(key)
      if (known === undefined || known.announcement.seq < verified.announcement.seq) newest.set(key, verified)
    }
    const ranked = [...newest.values()].sort(newestFirst)
    return ranked.slice(0, ranked[0]?.claims.maxInstances)
  }

  #absence(agent: KnownAgent, subject: string, nowMs: number): string {
    const { epochs, revocations, latest = unconfirmed } = this.#options
    const claims = agent.entries.map((entry) => entry.claims)
    const refused = agent.refused && REFUSED[agent.refused.why]
    if (claims.length === 0 && refused !== undefined) return refused
    if (claims.every((claim) => revocations.isRevoked(claim))) return 'its identity is revoked'
    const notBeforeMs = Math.max(nowMs, latest())
    if (claims.every((claim) => notBeforeMs >= claim.expiresAt * 1000))
      return 'its identity token has expired'
    if (!claims.some((claim) => allows(claim.permissions.sub, subject)))
      return 'its token does not allow it to read this subject'
    const proved = agent.entries.filter(({ verified }) => verified !== undefined)
    if (proved.length === 0) return 'its announcement does not hold'
    // A retirement may be all that is held of an instance.
    const remaining = proved.filter((entry) => !isOfRetired(agent, entry))
    if (remaining.length === 0) return 'it has retired'
    const current = epochs.current(nowMs)
    if (!remaining.some(({ epoch }) => current.includes(epoch)))
      return refused ?? 'it has not announced keys for the current epoch'
    return 'another identity holds its name'
  }

  #remember(subject: string, kept: Kept): void {
    if (this.#audiences.size >= MAX_CACHED_AUDIENCES) this.#audiences.clear()
    this.#audiences.set(subject, kept)
  }

  /** When time alone changes the answer: an epoch begins or ends, a token expires, a budget refills. */
  #nextChange(
    current: readonly AcceptedEpoch[],
    members: readonly VerifiedAnnouncement[],
    nowMs: number,
  ): number {
    if (this.#store.unverified > 0) return nowMs + 1000
    const ends = current.map(({ notAfter }) => notAfter)
    const begins = this.#options.epochs.all().map(({ notBefore }) => notBefore - CLOCK_WINDOW_MS)
    const expiries = members.map(({ claims }) => claims.expiresAt * 1000)
    return Math.min(...ends, ...begins.filter((begin) => begin > nowMs), ...expiries)
  }
}

/** The announced instance as a recipient; `undefined` for a retirement, which announces no key. */
export function toMember({
  hash,
  claims,
  announcement,
  recipient,
}: VerifiedAnnouncement): AudienceMember | undefined {
  if (recipient === undefined) return undefined
  const { instance } = announcement
  const { name, maxInstances } = claims
  return {
    name,
    instance: hex(instance),
    instanceBytes: instance,
    key: recipient,
    announcementHash: hash,
    maxInstances,
  }
}
