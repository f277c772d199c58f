import type { HouseClock } from '../../base/house-clock.ts'
import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import type { NatsMessage } from '../nats-like.ts'

/** Entries of one generation at most. Two of them are kept. */
const MAX_ENTRIES = 2 ** 18
const FIRST_SLOTS = 2 ** 10
/** After this the rule of time refuses what is in a generation, whenever in it that came: its time may lie ahead. */
const GENERATION_MS = 2 * CLOCK_WINDOW_MS

/**
 * The messages that were opened lately, so that none is opened twice: who repeats a recorded one pays for nothing but
 * this look. A message is known by the first eight bytes of its name, and by where it was delivered: in which
 * subscription, on which subject. So what was refused because a broker had moved it does not stand in the way of the
 * genuine delivery. SPEC, "Known messages", says what the name is, and when it is noted.
 *
 * - Only what the AEAD has opened is noted, so junk takes no room here.
 * - A name is a hash of all that nobody else can have made: of 2^19 entries one is mistaken for a genuine message in 2^45.
 * - There are two generations. A new one begins when those of the older one are too old to be opened, judged by the
 *   highest time that was confirmed; or when one is full. Then the oldest repeats cost an opening from the budget again,
 *   and the replay window refuses them.
 */
export class KnownWires {
  readonly #clock: HouseClock
  readonly #seeds: Uint32Array
  #now: Generation
  #before: Generation | undefined
  #beganAtMs: number

  /** @param random 12 bytes: without them somebody could make messages whose places collide */
  constructor(clock: HouseClock, random: Uint8Array) {
    this.#clock = clock
    const view = new DataView(random.buffer, random.byteOffset, random.byteLength)
    this.#seeds = Uint32Array.of(view.getUint32(0), view.getUint32(4), view.getUint32(8) | 1)
    this.#now = new Generation(this.#seeds)
    this.#beganAtMs = clock.latest
  }

  /** Whether this message was opened before, delivered in the same way. */
  has(name: Uint8Array, delivery: number): boolean {
    const high = highOf(name, delivery)
    const low = lowOf(name)
    return this.#now.has(high, low) || this.#before?.has(high, low) === true
  }

  /** Notes a message that the AEAD has opened. */
  note(name: Uint8Array, delivery: number): void {
    const { latest } = this.#clock
    if (this.#now.isFull || latest - this.#beganAtMs >= GENERATION_MS) {
      this.#before = this.#now
      this.#now = new Generation(this.#seeds)
      this.#beganAtMs = latest
    }
    this.#now.add(highOf(name, delivery), lowOf(name))
  }
}

/** A set of 64-bit names by open addressing. It begins small and doubles: most agents hear few messages. */
class Generation {
  readonly #seeds: Uint32Array
  #slots = new Uint32Array(2 * FIRST_SLOTS)
  #count = 0

  constructor(seeds: Uint32Array) {
    this.#seeds = seeds
  }

  get isFull(): boolean {
    return this.#count >= MAX_ENTRIES
  }

  has(high: number, low: number): boolean {
    return this.#slots[2 * this.#find(this.#slots, high, low)] !== 0
  }

  add(high: number, low: number): void {
    if (this.#count * 2 >= this.#slots.length / 2) this.#grow()
    const at = this.#find(this.#slots, high, low)
    if (this.#slots[2 * at] !== 0) return
    this.#slots[2 * at] = high
    this.#slots[2 * at + 1] = low
    this.#count++
  }

  #grow(): void {
    const slots = new Uint32Array(2 * this.#slots.length)
    for (let i = 0; i < this.#slots.length; i += 2) {
      const high = this.#slots[i] ?? 0
      const low = this.#slots[i + 1] ?? 0
      if (high === 0) continue
      const at = this.#find(slots, high, low)
      slots[2 * at] = high
      slots[2 * at + 1] = low
    }
    this.#slots = slots
  }

  /** Its slot, or the empty one where it belongs. */
  #find(slots: Uint32Array, high: number, low: number): number {
    const mask = slots.length / 2 - 1
    const [first = 0, second = 0, factor = 1] = this.#seeds
    const mixed = Math.imul(high ^ first, factor) ^ Math.imul(low ^ second, 0x85ebca6b)
    let at = Math.imul(mixed ^ (mixed >>> 15), factor) >>> 7
    for (at &= mask; ; at = (at + 1) & mask) {
      const held = slots[2 * at]
      if (held === 0 || (held === high && slots[2 * at + 1] === low)) return at
    }
  }
}

/**
 * A number for how a message was delivered. Others may have the same: then a copy that came first stands in the way of
 * the genuine one, and only a broker, who could as well drop it, delivers a copy first.
 */
export function deliveryOf(subscription: number, { subject }: Pick<NatsMessage, 'subject'>): number {
  let mixed = FNV_START ^ subscription
  for (let i = 0; i < subject.length; i++) mixed = Math.imul(mixed ^ subject.charCodeAt(i), FNV_PRIME)
  return mixed >>> 0
}

const FNV_START = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** Never 0, which marks an empty slot. */
function highOf(name: Uint8Array, delivery: number): number {
  return (wordAt(name, 0) ^ delivery) >>> 0 || 1
}

function lowOf(name: Uint8Array): number {
  return wordAt(name, 4)
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  )
}
