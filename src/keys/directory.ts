// Over 300 lines: who is in an audience and why somebody is not are one set of rules, read side by side.
import { hex } from '../base/bytes.ts'
import { unconfirmed } from '../base/clock.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { LeftOutReason, RecipientKey } from '../envelope/keys.ts'
import { allows } from '../identity/permissions.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { VerifiedClaims } from '../identity/trust.ts'
import type { Plan } from '../wire/plans.ts'
import { AnnouncementIntake, type AnnouncementIntakeOptions, type Arrived } from './announcement-intake.ts'
import {
  AnnouncementStore,
  type HeldAnnouncement,
  isOver,
  isRetirement,
  type KnownAgent,
  type KnownInstance,
  newestFirst,
  type RefusedReason,
} from './announcement-store.ts'
import type { ParsedAnnouncement, VerifiedAnnouncement } from './announcements.ts'
import type { Buckets } from './buckets.ts'
import type { Epoch, Epochs } from './epochs.ts'
import { type Heard, Listings } from './listings.ts'
import { earliestOf, type NameOwners } from './name-owners.ts'
import { type IsSilent, type Listed, OwnBuckets } from './own-buckets.ts'

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
  readonly epoch: Epoch
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

/** An instance to which nothing is sealed: for what it announced, or because rotation services have not heard of it for long. */
export interface LeftOut {
  readonly name: string
  /** In hexadecimal. */
  readonly instance: string
  readonly why: LeftOutReason | 'silent'
}

/** What the directory works with. */
export interface DirectoryOptions
  extends Omit<
    AnnouncementIntakeOptions,
    'store' | 'epochs' | 'onVerified' | 'onRefused' | 'onSpoilt' | 'onCaughtUp'
  > {
  readonly epochs: Pick<Epochs, 'byHash' | 'hold' | 'current' | 'all'>
  /** Whether what is verified is passed on to others: its wire bytes are then held with it. Default: it is not. */
  readonly passesOn?: boolean
  /** Whose names were, before and now. Default: those of whoever is held, as for one look. */
  readonly owners?: Pick<NameOwners, 'ownerOf' | 'review'>
  /** Whether the own instance has keys to seal with in an epoch. Default: in every one. */
  readonly canSealIn?: (epoch: Epoch) => boolean
  /** Called when two verified announcements claim one instance, epoch and sequence number. */
  readonly onClone: (announcement: VerifiedAnnouncement) => void
  readonly onLeftOut: (leftOut: LeftOut) => void
  /** Called with each announcement that has been verified and is held, with its wire bytes. */
  readonly onVerified?: (verified: VerifiedAnnouncement, bytes: Uint8Array) => void
  /** Called after some of what had waited for budget was verified: whoever waits for any of it may look again. */
  readonly onCaughtUp?: () => void
}

/** A verified announcement for passing on. `order` grows with every one that was taken in. */
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
/** How long an audience is good while announcements wait to be verified, in ms. */
const WAITING_AUDIENCE_MS = 1000

/** What is wrong with an announcement that is not taken, for error messages. */
const REFUSED: Readonly<Record<RefusedReason, string>> = {
  'unusable key': 'nothing can be sealed to the key that it announced',
  'kid in use': 'it announced a key under the kid of another one',
  revoked: 'its identity is revoked',
}

/**
 * Who is in a realm, by the announcements that are held: who sent a message, who may read a subject, and why
 * somebody may not.
 */
export class Directory {
  readonly #options: DirectoryOptions
  readonly #store: AnnouncementStore
  readonly #intake: AnnouncementIntake
  readonly #buckets: OwnBuckets
  readonly #listings: Listings
  readonly #audiences = new Map<string, Kept>()
  /** Those that were held when others were last forgotten. */
  #epochs: readonly Epoch[] = []

  constructor(options: DirectoryOptions) {
    const { clock, onClone, onLeftOut } = options
    this.#options = options
    this.#store = new AnnouncementStore({
      ...options,
      monotonic: () => clock.monotonic(),
      isSilent: (entry) => this.#listings.isSilent(entry),
      onClone,
      onListed: (entry) => {
        this.#buckets.add(entry)
        this.#listings.came(entry)
      },
      onUnlisted: (entry) => this.#buckets.remove(entry),
    })
    this.#buckets = new OwnBuckets({ ...options, store: this.#store })
    this.#listings = new Listings({ ...options, store: this.#store, own: () => this.buckets() })
    this.#intake = new AnnouncementIntake({
      ...options,
      store: this.#store,
      onVerified: (verified, bytes) => {
        this.#audiences.clear()
        options.onVerified?.(verified, bytes)
      },
      onRefused: onLeftOut,
      onSpoilt: (hash) => this.#listings.spoilt(hash),
      onCaughtUp: () => options.onCaughtUp?.(),
    })
  }

  /** How many announcements and retirements are verified and held. */
  get size(): number {
    return this.#store.size
  }

  /** How many announcements that came in answer to own queries wait to be verified. */
  get unverified(): number {
    return this.#intake.asked
  }

  /** This agent has joined: from now on verifying takes no more than a quarter of a core. */
  joined(): void {
    this.#intake.joined()
  }

  /**
   * Takes in an announcement. It is verified at once where there is budget for it, and has its turn later where there is not.
   *
   * @returns it, where it is new, and is held or waits
   */
  add(bytes: Uint8Array, nowMs: number, arrived?: Arrived): ParsedAnnouncement | undefined {
    this.#options.epochs.hold(nowMs)
    this.prune()
    return this.#intake.add(bytes, nowMs, arrived)
  }

  /**
   * The announcement under which a message was sealed. `refused` where it is here, but its identity is revoked,
   * expired or not the owner of its name; `unknown` where it is not here, or cannot be judged yet.
   */
  sender(hash: Uint8Array, nowMs: number): SenderStanding {
    const key = hex(hash)
    if (this.#store.get(key) === undefined) this.#intake.awaitOne(key, nowMs)
    const entry = this.#store.get(key)
    if (entry === undefined) return { standing: this.#intake.isRevoked(key) ? 'refused' : 'unknown' }
    const { verified, instance } = entry
    if (!this.#isValid(verified.claims, nowMs)) return { standing: 'refused' }
    const isOwner = this.#owner(this.#store.agent(instance.name), nowMs) === instance.identity
    return isOwner ? { standing: 'known', announcement: verified } : { standing: 'refused' }
  }

  /** Whether an announcement of this hash (hexadecimal) is held, verified or not. */
  has(hash: string): boolean {
    return this.#store.get(hash) !== undefined || this.#intake.has(hash)
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
    const mayRead = (claims: IdentityClaims): boolean => allows(claims.permissions.sub, subject)
    this.#intake.awaitAll(mayRead, nowMs)
    const perEpoch = current.map((epoch) => ({ epoch, members: this.#live(epoch, nowMs, mayRead) }))
    const everyone = new Set(perEpoch.flatMap(({ members }) => members.map(({ instance }) => instance)))
    const complete = perEpoch.find(({ members }) => members.length === everyone.size) ?? perEpoch.at(-1)
    if (complete === undefined) return undefined
    const audience = {
      epoch: complete.epoch,
      members: complete.members.flatMap(({ verified }) => toMember(verified) ?? []),
    }
    const until = this.#nextChange(current, complete.members, nowMs)
    this.#remember(subject, { audience, from: nowMs, until })
    return audience
  }

  /** This instance as a recipient in another epoch, where it has announced itself for it: also one that is silent. */
  memberOf(
    { claims, announcement }: VerifiedAnnouncement,
    epoch: Epoch,
    nowMs: number,
  ): AudienceMember | undefined {
    const held = this.#options.epochs.byHash(epoch.hash)
    const agent = this.#store.agent(claims.name)
    const instance = this.#store.instance(claims.name, claims.identity, hex(announcement.instance))
    if (held === undefined || agent === undefined || instance === undefined) return undefined
    const ranked = this.#ranked(agent, held, nowMs)
    const entry = ranked.find((other) => other.instance === instance)
    return entry === undefined ? undefined : toMember(entry.verified)
  }

  /** Every verified live announcement of the current epochs. */
  live(nowMs: number): readonly VerifiedAnnouncement[] {
    const everybody = (): boolean => true
    this.#intake.awaitAll(everybody, nowMs)
    return this.#options.epochs
      .current(nowMs)
      .flatMap((epoch) => this.#live(epoch, nowMs, everybody).map(({ verified }) => verified))
  }

  /** Why the agents that are known are not in the audience of a subject; for error messages. */
  absences(subject: string, nowMs: number): readonly Absence[] {
    const present = new Set(this.audience(subject, nowMs)?.members.map(({ name }) => name))
    const absences: Absence[] = []
    for (const agent of this.#store.agents()) {
      const { name } = agent
      if (!present.has(name)) absences.push({ name, why: this.#absence(agent, subject, nowMs) })
    }
    for (const name of this.#intake.names()) {
      if (this.#store.agent(name) === undefined)
        absences.push({ name, why: 'its announcement waits to be verified, as many others do' })
    }
    return absences.sort((a, b) => a.name.localeCompare(b.name))
  }

  /**
   * What is verified and of use to whoever comes anew, in the order in which it came, from a place on. Of an instance that
   * has retired it is the retirement alone. Its keys are of no use any more, and who is shown them again knows that they are
   * over.
   *
   * @param isSilent whose keys are left out. Default: nobody's
   */
  *proven(nowMs: number, from = 0, isSilent: IsSilent = () => false): Iterable<ProvenAnnouncement> {
    for (const entry of this.#store.from(from)) {
      const { verified, instance } = entry
      if (isOver(entry) || !this.#isValid(verified.claims, nowMs)) continue
      if (!isRetirement(entry) && isSilent(instance.name, instance.id)) continue
      if (entry.bytes !== undefined) yield { order: entry.order, bytes: entry.bytes }
    }
  }

  /**
   * The wire bytes of those of these announcements that are held and passed on, also of instances that have retired: they
   * may have sent what is still under way.
   */
  bytesOf(hashes: readonly Uint8Array[]): readonly Uint8Array[] {
    return hashes.flatMap((hash) => this.#store.get(hex(hash))?.bytes ?? [])
  }

  /** The wire bytes of everything that can be passed on and is of use: whoever reads them verifies them. */
  *kept(): Iterable<Uint8Array> {
    for (const entry of this.#store.from(0)) {
      if (entry.bytes !== undefined && !isOver(entry)) yield entry.bytes
    }
  }

  /** Which of these are neither held nor wait to be verified, and have not come from an identity that is revoked. */
  lacking(hashes: readonly Uint8Array[]): readonly Uint8Array[] {
    return hashes.filter((hash) => {
      const key = hex(hash)
      return !this.has(key) && !this.#intake.isRevoked(key)
    })
  }

  /** What is verified, of current epochs and of use to others, by bucket: what is compared with the directories of others. */
  buckets(): Buckets {
    return this.#buckets.all()
  }

  /**
   * As {@link buckets}, but only what a rotation service lists: what it has held for so long, and no keys of instances that
   * it has not heard of. Retirements stay: nothing is heard of who has retired.
   */
  listed(listed: Listed): Buckets {
    return this.#buckets.listed(listed)
  }

  /** The rotation services are those of another plan: what the former ones do not list counts no more. */
  adopt(plan: Pick<Plan, 'threshold'>): void {
    this.#listings.adopt(plan)
    this.#audiences.clear()
  }

  /**
   * Whether a root is that of the own directory, or the one of which this rotation service (by its place in the plan) has
   * shown all that is of interest.
   */
  isKnownRoot(rotator: number, root: Uint8Array): boolean {
    return this.#listings.isKnownRoot(rotator, root)
  }

  /** Notes that a rotation service has this root in a tick that counts: it may list all that is held here. */
  noteRoot(rotator: number, root: Uint8Array): void {
    this.#noteHeard(this.#listings.noteRoot(rotator, root))
  }

  /**
   * Notes the hashes of all buckets of a rotation service.
   *
   * @param hashes 256 × 16 bytes
   * @returns the buckets that have to be asked for
   */
  noteBuckets(rotator: number, hashes: Uint8Array): readonly number[] {
    const { toAsk, heard } = this.#listings.noteBuckets(rotator, hashes)
    this.#noteHeard(heard)
    return toAsk
  }

  /**
   * Notes all that a rotation service lists in a bucket. Instances that were held for long, and that `threshold` services do
   * not list, are left out of audiences from then on, until one of these lists them again.
   */
  noteListing(rotator: number, bucket: number, hashes: readonly Uint8Array[]): void {
    this.#noteHeard(this.#listings.noteListing(rotator, bucket, hashes))
  }

  /** Something outside changed who is in an audience: a revocation, an epoch. */
  invalidate(): void {
    this.#options.owners?.review()
    this.#audiences.clear()
  }

  /** Forgets announcements for epochs that are not held any more. It costs nothing where the same ones are held. */
  prune(): void {
    const all = this.#options.epochs.all()
    if (all === this.#epochs) return
    this.#epochs = all
    const held = new Set(all)
    this.#intake.prune(held)
    this.#store.prune(held)
    this.#audiences.clear()
  }

  #noteHeard(heard: readonly Heard[]): void {
    if (heard.length > 0) this.#audiences.clear()
    for (const { instance, isSilent } of heard) {
      if (isSilent) this.#options.onLeftOut({ name: instance.name, instance: instance.id, why: 'silent' })
    }
  }

  /** Whether a token is in force: it may expire, and its identity be revoked. */
  #isValid(claims: VerifiedClaims, nowMs: number): boolean {
    const { revocations, latest = unconfirmed } = this.#options
    return Math.max(nowMs, latest()) < claims.expiresAt * 1000 && !revocations.isRevoked(claims)
  }

  /** Whose name it is: SPEC, "Two identities for one name". */
  #owner(agent: KnownAgent | undefined, nowMs: number): string | undefined {
    if (agent === undefined) return undefined
    const proved = agent.claims.filter((claims) => this.#isValid(claims, nowMs))
    const { owners } = this.#options
    return owners === undefined ? earliestOf(proved)?.identity : owners.ownerOf(agent.name, proved)
  }

  #live(
    epoch: Epoch,
    nowMs: number,
    wanted: (claims: IdentityClaims) => boolean,
  ): readonly HeldAnnouncement[] {
    const live: HeldAnnouncement[] = []
    for (const agent of this.#store.agents()) {
      if (!agent.claims.some(wanted)) continue
      const instances = this.#ranked(agent, epoch, nowMs, (entry) => !this.#listings.isSilent(entry))
      for (const entry of instances) if (wanted(entry.verified.claims)) live.push(entry)
    }
    return live
  }

  /** The newest announcements of an agent's instances in an epoch, as many as it may have, the newest instance first. */
  #ranked(
    agent: KnownAgent,
    epoch: Epoch,
    nowMs: number,
    counts: (entry: HeldAnnouncement) => boolean = () => true,
  ): readonly HeldAnnouncement[] {
    const owner = this.#owner(agent, nowMs)
    const ranked: HeldAnnouncement[] = []
    for (const instance of agent.instances) {
      if (instance.identity !== owner || instance.isRetired) continue
      const newest = this.#newest(instance, epoch, nowMs)
      if (newest !== undefined && counts(newest)) ranked.push(newest)
    }
    ranked.sort((a, b) => newestFirst(a.verified, b.verified))
    const most = ranked[0]?.verified.claims.maxInstances ?? 0
    return ranked.length > most ? ranked.slice(0, most) : ranked
  }

  #newest({ entries }: KnownInstance, epoch: Epoch, nowMs: number): HeldAnnouncement | undefined {
    let newest: HeldAnnouncement | undefined
    for (const entry of entries) {
      if (entry.epoch !== epoch || !this.#isValid(entry.verified.claims, nowMs)) continue
      const isNewer = newest === undefined || seqOf(newest) < seqOf(entry)
      if (isNewer) newest = entry
    }
    return newest
  }

  #absence(agent: KnownAgent, subject: string, nowMs: number): string {
    const { epochs, revocations, latest = unconfirmed } = this.#options
    const { claims } = agent
    const refused = agent.refused && REFUSED[agent.refused.why]
    if (claims.length === 0 && refused !== undefined) return refused
    if (claims.every((claim) => revocations.isRevoked(claim))) return REFUSED.revoked
    const notBeforeMs = Math.max(nowMs, latest())
    if (claims.every((claim) => notBeforeMs >= claim.expiresAt * 1000))
      return 'its identity token has expired'
    if (!claims.some((claim) => allows(claim.permissions.sub, subject)))
      return 'its token does not allow it to read this subject'
    // A retirement may be all that is held of an instance.
    const remaining = [...agent.instances].filter(({ isRetired }) => !isRetired)
    if (remaining.length === 0) return 'it has retired'
    const current = epochs.current(nowMs)
    const announced = remaining
      .flatMap(({ entries }) => entries)
      .filter(({ epoch }) => current.includes(epoch))
    if (announced.length === 0) return refused ?? 'it has not announced keys for the current epoch'
    if (announced.every((entry) => this.#listings.isSilent(entry)))
      return 'no rotation service has heard of it for minutes'
    return 'another identity holds its name'
  }

  #remember(subject: string, kept: Kept): void {
    if (this.#audiences.size >= MAX_CACHED_AUDIENCES) this.#audiences.clear()
    this.#audiences.set(subject, kept)
  }

  /** When time alone changes the answer: an epoch begins or ends, a token expires, a budget refills. */
  #nextChange(current: readonly Epoch[], members: readonly HeldAnnouncement[], nowMs: number): number {
    if (this.#intake.size > 0) return nowMs + WAITING_AUDIENCE_MS
    const ends = current.map(({ notAfter }) => notAfter)
    const begins = this.#options.epochs.all().map(({ notBefore }) => notBefore - CLOCK_WINDOW_MS)
    const expiries = members.map(({ verified }) => verified.claims.expiresAt * 1000)
    let next = Math.min(...ends, ...begins.filter((begin) => begin > nowMs))
    for (const expiry of expiries) next = Math.min(next, expiry)
    return next
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

function seqOf({ verified }: HeldAnnouncement): number {
  return verified.announcement.seq
}
