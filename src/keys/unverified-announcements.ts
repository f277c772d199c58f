import { samePublic } from '../base/bytes.ts'
import {
  MAX_UNVERIFIED_BYTES,
  MAX_UNVERIFIED_BYTES_PER_AGENT,
  MAX_UNVERIFIED_PER_AGENT,
} from '../base/limits.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Epoch } from './epochs.ts'
import { FairLine } from './fair-line.ts'

/** Working time of one name in one turn, in ms: a few announcements. */
const TURN_MS = 2

/** In which line an announcement waits: `awaited` where somebody waits for it, `heard` where it came unasked. */
export type LineName = 'awaited' | 'heard'

/** An announcement that is not verified yet. */
export interface UnverifiedAnnouncement {
  /** Its hash in hexadecimal. */
  readonly hash: string
  readonly name: string
  /** Of the instance, in hexadecimal. */
  readonly instance: string
  readonly isRetirement: boolean
  readonly epoch: Epoch
  /** The wire message. */
  readonly bytes: Uint8Array
  /** Where its token was verified already. */
  readonly claims: IdentityClaims | undefined
  /** Whether it answers an own query. */
  readonly isAsked: boolean
}

interface Waiting extends UnverifiedAnnouncement {
  line: LineName
}

/** What waits under one name; and what of it came unasked. */
interface OfName {
  readonly items: Set<Waiting>
  heard: number
  heardBytes: number
}

/**
 * Announcements that wait to be verified. What comes unasked has so many places and bytes for each name: newer ones of an
 * instance take the place of older ones, and what is too much is not kept. What answers own queries takes nobody's place, and
 * nobody takes its.
 */
export class UnverifiedAnnouncements {
  readonly #byHash = new Map<string, Waiting>()
  readonly #names = new Map<string, OfName>()
  readonly #lines = { awaited: new FairLine<Waiting>(TURN_MS), heard: new FairLine<Waiting>(TURN_MS) }
  #heardBytes = 0
  #askedBytes = 0
  #asked = 0

  /** How many wait. */
  get size(): number {
    return this.#byHash.size
  }

  /** How many of them answer own queries. */
  get asked(): number {
    return this.#asked
  }

  /** In which lines any wait. */
  get lines(): Readonly<Record<LineName, boolean>> {
    return { awaited: this.#lines.awaited.size > 0, heard: this.#lines.heard.size > 0 }
  }

  /** Of which names any wait. */
  names(): Iterable<string> {
    return this.#names.keys()
  }

  /** Whether one with this hash (hexadecimal) waits. */
  has(hash: string): boolean {
    return this.#byHash.has(hash)
  }

  /** Whether anything of an instance (hexadecimal) waits that is no retirement. */
  hasKeysOf(name: string, instance: string): boolean {
    for (const item of this.#names.get(name)?.items ?? [])
      if (item.instance === instance && !item.isRetirement) return true
    return false
  }

  /** Has one wait. @returns `false` where it waits already, or there is no room for it */
  add(announcement: UnverifiedAnnouncement): boolean {
    const item: Waiting = { ...announcement, line: announcement.isAsked ? 'awaited' : 'heard' }
    const same = this.#byHash.get(item.hash)
    if (same !== undefined && samePublic(same.bytes, item.bytes)) {
      if (item.isAsked) this.#promote(same)
      return false
    }
    // A copy with a bad signature has the hash of the genuine one.
    if (same?.isAsked === true && !item.isAsked) return false
    if (same !== undefined) this.delete(same)
    const ofName = this.#names.get(item.name) ?? { items: new Set(), heard: 0, heardBytes: 0 }
    if (item.isAsked ? this.#hasRoom(item) : this.#makeRoom(item, ofName)) {
      this.#put(item)
      return true
    }
    // One of the two is the genuine one.
    if (same !== undefined) this.#put(same)
    return false
  }

  #put(item: Waiting): void {
    const ofName = this.#names.get(item.name) ?? { items: new Set(), heard: 0, heardBytes: 0 }
    this.#names.set(item.name, ofName)
    ofName.items.add(item)
    this.#byHash.set(item.hash, item)
    this.#lines[item.line].add(item.name, item)
    this.#count(item, 1)
  }

  /** Somebody waits for this one: it is the first of its name. */
  awaitOne(hash: string): void {
    const item = this.#byHash.get(hash)
    if (item === undefined) return
    this.#promote(item)
    this.#lines.awaited.addFirst(item.name, item)
  }

  /**
   * Somebody waits for all of those whose token says this. One that is not verified may say anything, and made-up names would
   * wait with those that are needed.
   */
  awaitAll(isWanted: (claims: IdentityClaims) => boolean): void {
    for (const item of this.#byHash.values())
      if (item.line !== 'awaited' && item.claims !== undefined && isWanted(item.claims)) this.#promote(item)
  }

  /** The one whose turn it is in a line. It waits on. */
  next(line: LineName): UnverifiedAnnouncement | undefined {
    return this.#lines[line].next()?.item
  }

  /** Notes the working time that one of this name has taken in its turn. */
  spend(line: LineName, name: string, workMs: number): void {
    this.#lines[line].spend(name, workMs)
  }

  /** It waits no more. */
  delete({ hash }: Pick<UnverifiedAnnouncement, 'hash'>): void {
    const item = this.#byHash.get(hash)
    if (item === undefined) return
    this.#byHash.delete(hash)
    this.#lines[item.line].delete(item.name, item)
    this.#count(item, -1)
    const ofName = this.#names.get(item.name)
    ofName?.items.delete(item)
    if (ofName?.items.size === 0) this.#names.delete(item.name)
  }

  /** Forgets those of other epochs than these. */
  prune(held: ReadonlySet<Epoch>): void {
    for (const item of this.#byHash.values()) if (!held.has(item.epoch)) this.delete(item)
  }

  #hasRoom({ bytes }: Waiting): boolean {
    return this.#askedBytes + bytes.length <= MAX_UNVERIFIED_BYTES
  }

  #makeRoom(item: Waiting, ofName: OfName): boolean {
    for (const other of ofName.items) if (!other.isAsked && isOfSamePlace(other, item)) this.delete(other)
    const bytes = item.bytes.length
    return (
      ofName.heard < MAX_UNVERIFIED_PER_AGENT &&
      ofName.heardBytes + bytes <= MAX_UNVERIFIED_BYTES_PER_AGENT &&
      this.#heardBytes + bytes <= MAX_UNVERIFIED_BYTES
    )
  }

  #promote(item: Waiting): void {
    if (item.line === 'awaited') return
    this.#lines.heard.delete(item.name, item)
    item.line = 'awaited'
    this.#lines.awaited.add(item.name, item)
  }

  #count(item: Waiting, sign: 1 | -1): void {
    const bytes = sign * item.bytes.length
    if (item.isAsked) {
      this.#asked += sign
      this.#askedBytes += bytes
      return
    }
    this.#heardBytes += bytes
    const ofName = this.#names.get(item.name)
    if (ofName === undefined) return
    ofName.heard += sign
    ofName.heardBytes += bytes
  }
}

/** Whether one is newer than the other, and nothing else. */
function isOfSamePlace(a: Waiting, b: Waiting): boolean {
  return a.instance === b.instance && a.epoch === b.epoch && a.isRetirement === b.isRetirement
}
