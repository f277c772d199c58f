// Over 300 lines: what is held, what retires and what gives way to others is one bookkeeping, and its bounds hold together.
import { compareBytes, hex } from '../base/bytes.ts'
import { MAX_ANNOUNCEMENTS_PER_INSTANCE, MAX_DIRECTORY_CACHE_BYTES } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { KeyUse, keyId, type LeftOutReason, SUITE_X25519 } from '../envelope/keys.ts'
import type { VerifiedClaims } from '../identity/trust.ts'
import type { VerifiedAnnouncement } from './announcements.ts'
import type { Epoch } from './epochs.ts'
import { Instances } from './instances.ts'

const SECOND_MS = 1000
/** The share of an identity's places that announcements of retired instances may have beside others. */
const SHARE_OVER = 0.25
/** So many that are held no more are kept in order before they are left out. */
const MIN_COMPACTED = 1024

/** A verified announcement, or retirement, that is held. */
export interface HeldAnnouncement {
  /** Its hash in hexadecimal. */
  readonly hash: string
  /** It grows with every one that is taken in. */
  readonly order: number
  readonly verified: VerifiedAnnouncement
  readonly epoch: Epoch
  readonly instance: KnownInstance
  /** When it was taken in, in whole seconds of the monotonic clock. */
  readonly sinceS: number
  /** As it came, where the store passes it on. */
  readonly bytes: Uint8Array | undefined
  /** At which rotation services it is absent: one bit for each, by its place in the plan. */
  readonly absentAt: number
}

/** Everything that is held of one instance of an identity. */
export interface KnownInstance {
  readonly name: string
  readonly identity: string
  /** In hexadecimal. */
  readonly id: string
  readonly entries: readonly HeldAnnouncement[]
  /** Whether a verified retirement of it has come. It is known for as long as anything of the instance is held. */
  readonly isRetired: boolean
}

/** Everything that is held of one name. */
export interface KnownAgent {
  readonly name: string
  readonly instances: Iterable<KnownInstance>
  /** Of all its announcements, each once. */
  readonly claims: readonly VerifiedClaims[]
  /** The last one that was not taken although its identity has signed it, while its epoch is held. */
  readonly refused: Refused | undefined
}

/** Why an announcement is not held that is genuine, or may be. */
export type RefusedReason = LeftOutReason | 'revoked'

interface Refused {
  readonly why: RefusedReason
  readonly epoch: Epoch
}

interface Entry extends HeldAnnouncement {
  readonly instance: Instance
  bytes: Uint8Array | undefined
  absentAt: number
}

interface Instance extends KnownInstance {
  readonly agent: Agent
  entries: readonly Entry[]
  isRetired: boolean
}

interface Agent extends KnownAgent {
  readonly instances: Instances<Instance>
  /** How many announcements are held, and the bytes of those that are passed on. */
  size: number
  bytes: number
  claims: readonly VerifiedClaims[]
  refused: Refused | undefined
}

/** What the store works with. */
export interface AnnouncementStoreOptions {
  readonly engine: CryptoEngine
  /** Whether what is held is passed on to others: its wire bytes are then held with it. Default: it is not. */
  readonly passesOn?: boolean
  /** Milliseconds of the monotonic clock. */
  readonly monotonic: () => number
  /** Whether too many rotation services have not heard of its instance: it gives way before those that they have. */
  readonly isSilent: (entry: HeldAnnouncement) => boolean
  /** Called when two announcements claim one instance, epoch and sequence number. */
  readonly onClone: (announcement: VerifiedAnnouncement) => void
  /** Called when an entry is of use from now on to others that do not have it. */
  readonly onListed: (entry: HeldAnnouncement) => void
  /** Called when it is of no use any more: it is held no longer, or announces keys of an instance that has retired. */
  readonly onUnlisted: (entry: HeldAnnouncement) => void
}

/** A verified announcement to be held. */
export interface NewAnnouncement {
  readonly verified: VerifiedAnnouncement
  readonly epoch: Epoch
  readonly bytes: Uint8Array
}

/**
 * Holds verified announcements. Whatever its members announce, each identity has a bounded number of places in each epoch,
 * and what is of no use any more gives way first. Nothing that is done for one announcement takes longer because its agent
 * has many.
 */
export class AnnouncementStore {
  readonly #options: AnnouncementStoreOptions
  readonly #byHash = new Map<string, Entry>()
  readonly #agents = new Map<string, Agent>()
  /** The `kid` of every live key that is held, in hexadecimal. */
  readonly #kids = new Set<string>()
  /** In the order in which they came, with some that are held no more. */
  #ordered: Entry[] = []
  #order = 0
  /** Of all wire bytes that are passed on. */
  #bytes = 0

  constructor(options: AnnouncementStoreOptions) {
    this.#options = options
  }

  /** How many announcements and retirements are held. */
  get size(): number {
    return this.#byHash.size
  }

  agent(name: string): KnownAgent | undefined {
    return this.#agents.get(name)
  }

  agents(): Iterable<KnownAgent> {
    return this.#agents.values()
  }

  /** One instance of an identity, where anything of it is held. */
  instance(name: string, identity: string, id: string): KnownInstance | undefined {
    return this.#agents.get(name)?.instances.find(identity, id)
  }

  /** One by its hash in hexadecimal. */
  get(hash: string): HeldAnnouncement | undefined {
    return this.#byHash.get(hash)
  }

  /** Everything held from a place on, in the order in which it came. */
  *from(order: number): Iterable<HeldAnnouncement> {
    for (let i = this.#indexOf(order); i < this.#ordered.length; i++) {
      const entry = this.#ordered[i]
      if (entry !== undefined && this.#isHeld(entry)) yield entry
    }
  }

  /**
   * Holds one that is not held yet. Where its identity has too many in its epoch, the one of least use gives way.
   *
   * @returns why it is not held, where another live key has its `kid`: the first one keeps it
   */
  hold({ verified, epoch, bytes }: NewAnnouncement): LeftOutReason | undefined {
    const kid = this.#kidOf(verified)
    if (kid !== undefined && this.#kids.has(kid)) return 'kid in use'
    const entry = this.#add({ verified, epoch, bytes })
    const { instance } = entry
    if (kid !== undefined) this.#kids.add(kid)
    if (isCloned(entry)) this.#options.onClone(verified)
    this.#list(entry)
    this.#makeRoom(instance.agent, entry)
    return undefined
  }

  /** Whether an entry is passed on: it is of use to others, and its bytes are there. */
  isListed(entry: HeldAnnouncement): boolean {
    const { passesOn = false } = this.#options
    return !isOver(entry) && (!passesOn || entry.bytes !== undefined)
  }

  /** Notes that a genuine announcement of this name is not held, and why. */
  noteRefused(name: string, why: RefusedReason, epoch: Epoch): void {
    this.#agentOf(name).refused = { why, epoch }
  }

  /** Notes whether a rotation service lists an entry. @returns whether that is another word than it had given before */
  noteListed({ hash }: HeldAnnouncement, bit: number, isListed: boolean): boolean {
    const entry = this.#byHash.get(hash)
    if (entry === undefined) return false
    const before = entry.absentAt
    entry.absentAt = isListed ? before & ~bit : before | bit
    return entry.absentAt !== before
  }

  /** Forgets what rotation services do not list. */
  forgetAbsences(): void {
    for (const entry of this.#byHash.values()) entry.absentAt = 0
  }

  /** Forgets what is of other epochs than these. */
  prune(held: ReadonlySet<Epoch>): void {
    for (const agent of this.#agents.values()) {
      for (const instance of agent.instances) {
        const over = instance.entries.filter(({ epoch }) => !held.has(epoch))
        if (over.length > 0) this.#drop(instance, over)
      }
      if (agent.refused !== undefined && !held.has(agent.refused.epoch)) agent.refused = undefined
      this.#tidy(agent)
    }
    this.#ordered = this.#ordered.filter((entry) => this.#isHeld(entry))
  }

  #agentOf(name: string): Agent {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const agent = {
      name,
      instances: new Instances<Instance>(),
      size: 0,
      bytes: 0,
      claims: [],
      refused: undefined,
    }
    this.#agents.set(name, agent)
    return agent
  }

  #instanceOf({ claims: { name, identity }, announcement }: VerifiedAnnouncement): Instance {
    const agent = this.#agentOf(name)
    const id = hex(announcement.instance)
    const known = agent.instances.find(identity, id)
    if (known !== undefined) return known
    const instance = { name, identity, id, agent, entries: [], isRetired: false }
    agent.instances.add(instance)
    return instance
  }

  #add({ verified, epoch, bytes }: NewAnnouncement): Entry {
    const { passesOn = false, monotonic } = this.#options
    const instance = this.#instanceOf(verified)
    const { agent } = instance
    const entry: Entry = {
      hash: hex(verified.hash),
      order: this.#order++,
      verified,
      epoch,
      instance,
      sinceS: Math.floor(monotonic() / SECOND_MS),
      bytes: passesOn ? bytes : undefined,
      absentAt: 0,
    }
    this.#byHash.set(entry.hash, entry)
    this.#ordered.push(entry)
    // Exactly as long as it has to be: most instances have two, and there are many of them.
    instance.entries = instance.entries.concat([entry])
    agent.size++
    if (!agent.claims.includes(verified.claims)) agent.claims = agent.claims.concat([verified.claims])
    this.#count(entry, entry.bytes?.length ?? 0)
    return entry
  }

  /** Tells of what is of use to others now: keys of an instance that has retired are not. */
  #list(entry: Entry): void {
    const { instance } = entry
    const { onListed, onUnlisted } = this.#options
    if (entry.verified.recipient === undefined) {
      const wasRetired = instance.isRetired
      instance.isRetired = true
      if (!wasRetired) for (const other of instance.entries) if (isOver(other)) onUnlisted(other)
    }
    if (!isOver(entry)) onListed(entry)
  }

  #makeRoom(agent: Agent, { instance, epoch, verified }: Entry): void {
    const ofInstance = instance.entries.filter((entry) => entry.epoch === epoch && !isRetirement(entry))
    if (ofInstance.length > MAX_ANNOUNCEMENTS_PER_INSTANCE) this.#dropOne(lowestSeq(ofInstance))
    const most = MAX_ANNOUNCEMENTS_PER_INSTANCE * verified.claims.maxInstances
    if (agent.size > most) this.#evict(agent, { identity: instance.identity, epoch, most })
    while (this.#bytes > MAX_DIRECTORY_CACHE_BYTES) this.#shedBytes()
  }

  /**
   * An agent that starts again and again leaves announcements behind. What is of no use any more goes first: an instance
   * that runs for long must not lose its place to others of its agent that come and go.
   */
  #evict(
    agent: Agent,
    { identity, epoch, most }: { readonly identity: string; readonly epoch: Epoch; readonly most: number },
  ): void {
    const entries: Entry[] = []
    for (const instance of agent.instances) {
      if (instance.identity !== identity) continue
      for (const entry of instance.entries) if (entry.epoch === epoch) entries.push(entry)
    }
    if (entries.length <= most) return
    const over = entries.filter(isOver)
    // What those have sent that went last may be under way: some of their announcements stay beside the retirements.
    const leastOver = over.length > most * SHARE_OVER ? oldest(over) : undefined
    const least =
      leastOver ??
      oldest(entries.filter(isReplaced)) ??
      oldest(entries.filter(isRetirement)) ??
      oldest(over) ??
      oldest(entries.filter((entry) => this.#options.isSilent(entry))) ??
      lastInRank(entries)
    this.#dropOne(least)
  }

  /** The name that has most of it does not pass on its oldest one any more. */
  #shedBytes(): void {
    let most: Agent | undefined
    for (const agent of this.#agents.values()) if (agent.bytes > (most?.bytes ?? 0)) most = agent
    if (most === undefined) return
    const kept: Entry[] = []
    for (const { entries } of most.instances) kept.push(...entries.filter(({ bytes }) => bytes !== undefined))
    const entry = oldest(kept)
    if (entry === undefined) return
    this.#count(entry, -(entry.bytes?.length ?? 0))
    entry.bytes = undefined
    this.#options.onUnlisted(entry)
  }

  #count({ instance: { agent } }: Entry, bytes: number): void {
    agent.bytes += bytes
    this.#bytes += bytes
  }

  #dropOne(entry: Entry | undefined): void {
    if (entry === undefined) return
    const { agent } = entry.instance
    this.#drop(entry.instance, [entry])
    if (agent.claims.length > 1) this.#tidy(agent)
    // What is pushed out again and again must not be kept in order for ever.
    if (this.#ordered.length > 2 * this.#byHash.size + MIN_COMPACTED)
      this.#ordered = this.#ordered.filter((other) => this.#isHeld(other))
  }

  #drop(instance: Instance, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const kid = this.#kidOf(entry.verified)
      if (kid !== undefined) this.#kids.delete(kid)
      this.#byHash.delete(entry.hash)
      instance.agent.size--
      this.#count(entry, -(entry.bytes?.length ?? 0))
      this.#options.onUnlisted(entry)
    }
    instance.entries = instance.entries.filter((entry) => !entries.includes(entry))
    if (instance.entries.length === 0) instance.agent.instances.delete(instance)
  }

  /** Claims of which nothing is held are forgotten, and a name of which nothing is known. */
  #tidy(agent: Agent): void {
    const claims = new Set<VerifiedClaims>()
    for (const { entries } of agent.instances) for (const { verified } of entries) claims.add(verified.claims)
    if (claims.size !== agent.claims.length) agent.claims = [...claims]
    if (agent.size === 0 && agent.refused === undefined) this.#agents.delete(agent.name)
  }

  /** Not kept in the key: few of all keys are ever sealed to, and memory of its own would be more than the rest of one. */
  #kidOf({ recipient, hash }: VerifiedAnnouncement): string | undefined {
    if (recipient === undefined) return undefined
    return hex(keyId(this.#options.engine, { suite: SUITE_X25519, use: KeyUse.live, announcementHash: hash }))
  }

  #isHeld(entry: Entry): boolean {
    return this.#byHash.get(entry.hash) === entry
  }

  /** Where those begin that came at this place or later. */
  #indexOf(order: number): number {
    let [low, high] = [0, this.#ordered.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ordered[middle]?.order ?? order) < order) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Whether it announces keys of an instance that has retired: they are of no use any more. */
export function isOver({ verified, instance }: HeldAnnouncement): boolean {
  return verified.recipient !== undefined && instance.isRetired
}

/** Whether it says that an instance has retired. */
export function isRetirement({ verified }: HeldAnnouncement): boolean {
  return verified.recipient === undefined
}

/** The order in which instances count towards `max_instances`. */
export function newestFirst(a: VerifiedAnnouncement, b: VerifiedAnnouncement): number {
  return b.announcement.notBefore - a.announcement.notBefore || compareBytes(a.hash, b.hash)
}

/** Names an instance of an identity. */
export function instanceKey({ claims, announcement }: VerifiedAnnouncement): string {
  return `${claims.identity} ${hex(announcement.instance)}`
}

/** Whether another announcement claims the same instance, epoch and sequence number. */
function isCloned(entry: Entry): boolean {
  const { seq } = entry.verified.announcement
  return entry.instance.entries.some(
    (other) => other !== entry && other.epoch === entry.epoch && other.verified.announcement.seq === seq,
  )
}

/** Whether its instance has announced other keys for the same epoch later. */
function isReplaced(entry: Entry): boolean {
  if (isRetirement(entry)) return false
  const { seq } = entry.verified.announcement
  return entry.instance.entries.some(
    (other) => other.epoch === entry.epoch && !isRetirement(other) && other.verified.announcement.seq > seq,
  )
}

function oldest(entries: readonly Entry[]): Entry | undefined {
  return first(entries, (a, b) => a.order - b.order)
}

function lowestSeq(entries: readonly Entry[]): Entry | undefined {
  return first(entries, (a, b) => a.verified.announcement.seq - b.verified.announcement.seq)
}

function lastInRank(entries: readonly Entry[]): Entry | undefined {
  return first(entries, (a, b) => newestFirst(b.verified, a.verified))
}

function first(entries: readonly Entry[], compare: (a: Entry, b: Entry) => number): Entry | undefined {
  let least: Entry | undefined
  for (const entry of entries) if (least === undefined || compare(entry, least) < 0) least = entry
  return least
}
