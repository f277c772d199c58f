import { readUint } from '../../base/bytes.ts'
import { SID_BYTES } from '../../wire/frame.ts'
import { REFUSAL_TAG_BYTES } from '../../wire/refusal.ts'

/** What is kept of a session that has ended: enough to know its handshake, and to refuse it. */
export interface Tombstone {
  readonly sid: Uint8Array
  /** What proves the refusal; `undefined` where there is none. */
  readonly tag: Uint8Array | undefined
  /** When the rule of time refuses its handshake, in ms since 1970. */
  readonly until: number
  /** By {@link ownKeyName} the own key to which its handshake was sealed. */
  readonly key: number
  /** The number of the one whose session it was, from 1. */
  readonly owner: number
}

const NAME_BYTES = SID_BYTES + REFUSAL_TAG_BYTES
/** With `until`, `key` and `owner`. */
const RECORD_BYTES = NAME_BYTES + 8 + 8 + 4
const FIRST_SLOTS = 16
/** Of the slots at most so many are taken; with more, looking for one takes long. */
const MAX_LOAD = 0.75
const GROWTH = 1.25
const TWO_TO_32 = 2 ** 32

/**
 * What a tombstone takes, in bytes: its record of 52, in a table of which three fifths are taken at least once it has
 * grown.
 */
export const TOMBSTONE_BYTES = Math.ceil((RECORD_BYTES * GROWTH) / MAX_LOAD)

/**
 * Sessions that have ended, by their sids: a table of fixed records in flat memory, since whoever opens sessions makes
 * one for each.
 */
export class Tombstones {
  readonly #seeds: readonly [number, number]
  #names: Uint8Array
  #until: Float64Array
  #keys: Float64Array
  /** 0 in an empty slot. */
  #owners: Uint32Array
  #size = 0

  /** @param random 8 bytes: without them somebody could choose handshakes whose places collide */
  constructor(random: Uint8Array) {
    this.#seeds = [readUint(random, 0, 4) | 1, readUint(random, 4, 4) | 1]
    const slots = FIRST_SLOTS
    this.#names = new Uint8Array(NAME_BYTES * slots)
    this.#until = new Float64Array(slots)
    this.#keys = new Float64Array(slots)
    this.#owners = new Uint32Array(slots)
  }

  get size(): number {
    return this.#size
  }

  /** The tombstone of this session. It shares memory with the table: good until the next change. */
  get(sid: Uint8Array): Tombstone | undefined {
    if (this.#size === 0) return undefined
    const slot = this.#find(sid)
    return this.#owners[slot] === 0 ? undefined : this.#at(slot)
  }

  add(tombstone: Tombstone): void {
    if ((this.#size + 1) / this.#owners.length > MAX_LOAD) this.#grow()
    const slot = this.#find(tombstone.sid)
    if (this.#owners[slot] === 0) this.#size++
    this.#put(slot, tombstone)
  }

  /** Removes those of which this says so. */
  remove(isOver: (until: number, owner: number) => boolean): void {
    for (let slot = 0; slot < this.#owners.length; ) {
      const owner = this.#owners[slot] ?? 0
      // Another one may have moved up into the slot.
      if (owner !== 0 && isOver(this.#until[slot] ?? 0, owner)) this.#delete(slot)
      else slot++
    }
    if (this.#size === 0 && this.#owners.length > FIRST_SLOTS) this.#resize(FIRST_SLOTS)
  }

  clear(): void {
    this.#owners.fill(0)
    this.#size = 0
    this.#resize(FIRST_SLOTS)
  }

  #at(slot: number): Tombstone {
    const start = slot * NAME_BYTES
    const tag = this.#names.subarray(start + SID_BYTES, start + NAME_BYTES)
    return {
      sid: this.#names.subarray(start, start + SID_BYTES),
      tag: tag.every((byte) => byte === 0) ? undefined : tag,
      until: this.#until[slot] ?? 0,
      key: this.#keys[slot] ?? 0,
      owner: this.#owners[slot] ?? 0,
    }
  }

  #put(slot: number, { sid, tag, until, key, owner }: Tombstone): void {
    const start = slot * NAME_BYTES
    this.#names.set(sid, start)
    if (tag === undefined) this.#names.fill(0, start + SID_BYTES, start + NAME_BYTES)
    else this.#names.set(tag, start + SID_BYTES)
    this.#until[slot] = until
    this.#keys[slot] = key
    this.#owners[slot] = owner
  }

  /** Its slot, or the empty one where it belongs. */
  #find(sid: Uint8Array): number {
    const slots = this.#owners.length
    for (let slot = this.#home(sid, 0); ; slot = slot + 1 === slots ? 0 : slot + 1)
      if (this.#owners[slot] === 0 || this.#isAt(sid, slot)) return slot
  }

  #isAt(sid: Uint8Array, slot: number): boolean {
    const start = slot * NAME_BYTES
    for (let i = 0; i < SID_BYTES; i++) if (this.#names[start + i] !== sid[i]) return false
    return true
  }

  /** Where the search for a sid begins that stands in `bytes` from `start` on. */
  #home(bytes: Uint8Array, start: number): number {
    const [first, second] = this.#seeds
    const mixed =
      Math.imul(readUint(bytes, start, 4) ^ second, first) ^
      Math.imul(readUint(bytes, start + 4, 4) ^ first, second)
    const hash = Math.imul(mixed ^ (mixed >>> 15), first) >>> 0
    return Math.floor((hash / TWO_TO_32) * this.#owners.length)
  }

  /** Empties a slot, and moves up what was only behind it because it was taken. */
  #delete(slot: number): void {
    const slots = this.#owners.length
    let hole = slot
    for (let next = (slot + 1) % slots; this.#owners[next] !== 0; next = (next + 1) % slots) {
      const home = this.#home(this.#names, next * NAME_BYTES)
      const isBetween = hole <= next ? home > hole && home <= next : home > hole || home <= next
      if (isBetween) continue
      this.#put(hole, this.#at(next))
      hole = next
    }
    this.#owners[hole] = 0
    this.#size--
  }

  #grow(): void {
    this.#resize(Math.ceil(this.#owners.length * GROWTH))
  }

  #resize(slots: number): void {
    const [names, until, keys, owners] = [this.#names, this.#until, this.#keys, this.#owners]
    this.#names = new Uint8Array(NAME_BYTES * slots)
    this.#until = new Float64Array(slots)
    this.#keys = new Float64Array(slots)
    this.#owners = new Uint32Array(slots)
    for (let slot = 0; slot < owners.length; slot++) {
      const owner = owners[slot] ?? 0
      if (owner === 0) continue
      const start = slot * NAME_BYTES
      const sid = names.subarray(start, start + SID_BYTES)
      const tag = names.subarray(start + SID_BYTES, start + NAME_BYTES)
      this.#put(this.#find(sid), { sid, tag, until: until[slot] ?? 0, key: keys[slot] ?? 0, owner })
    }
  }
}
