import { fromHex } from '../../base/bytes.ts'
import type { HouseClock } from '../../base/house-clock.ts'
import { MAX_SESSION_BYTES, SILENT_SESSION_MS } from '../../base/limits.ts'
import { type HeldSession, ownKeyName } from './held-session.ts'
import { TOMBSTONE_BYTES, type Tombstone, Tombstones } from './tombstones.ts'
import { waterLevel } from './water-level.ts'

/** Time is told in periods of this length, so that a frame says with one number when its session was heard. */
const PERIOD_MS = 10_000
const SILENT_PERIODS = SILENT_SESSION_MS / PERIOD_MS + 1
/** Where room is made more is made than is needed: looking at all sessions for each would take more than they do. */
const SLACK = 1 / 64

/** A tombstone, and the name of the agent whose session it was. */
export interface HeldTombstone extends Tombstone {
  readonly holder: string
}

/** What one identity holds here. */
interface Holder {
  readonly identity: string
  readonly name: string
  /** From 1. Tombstones name their holder by it. */
  readonly number: number
  readonly sessions: Set<HeldSession>
  /** Those in which nothing was said yet. */
  silent: number
  /** In which period there was no room for it, though it gave all that it could miss. */
  refusedIn: number
  tombstones: number
  bytes: number
  /** Handshakes that were sent until then, and are not held, are refused: tombstones that gave way. In ms since 1970. */
  refusesUntil: number
  /** When the rule of time refuses all of those, in ms since 1970. */
  floorUntil: number
  /** The newest sending time of a session that has a tombstone, and when the last of them ends. */
  newestBuried: number
  lastBuriedUntil: number
}

/** What a session pool works with. */
export interface SessionPoolOptions {
  readonly clock: HouseClock
  /** For all sessions. Default: as SPEC has it. */
  readonly maxBytes?: number
  /** 8 bytes. */
  readonly random: Uint8Array
  /** What proves that this instance has ended a session, to be asked before its key is wiped. */
  readonly tagOf: (held: HeldSession) => Uint8Array | undefined
  /** Called with sessions (their sids in hexadecimal) of which no frame is opened any more. */
  readonly onGone: (sids: readonly string[]) => void
}

/** Why a session is not taken in. */
export type Admittance = 'held' | 'no room' | 'ended'

/**
 * The memory for sessions of others, shared fairly by identity. SPEC, "Memory for sessions".
 *
 * Where it is full, those who hold more than their share lose what they can miss, in this order: sessions that have been
 * silent for a while become tombstones; sessions in use forget what only saves work; tombstones become one line of time,
 * before which their handshakes are refused; and for the sake of somebody who holds less, or where sessions have grown,
 * sessions in use become tombstones too. So nobody keeps out others, however
 * many identities, instances and sessions he has.
 *
 * Nothing is forgotten before the rule of time refuses its handshake, judged by the highest time that was confirmed: what
 * was once held can never be opened a second time.
 */
export class SessionPool {
  readonly #options: SessionPoolOptions
  readonly #maxBytes: number
  readonly #bySid = new Map<string, HeldSession>()
  readonly #holders = new Map<string, Holder>()
  readonly #byNumber = new Map<number, Holder>()
  readonly #tombstones: Tombstones
  #bytes = 0
  #holderNumbers = 0
  #period = 0
  #cancelPeriod: (() => void) | undefined

  constructor(options: SessionPoolOptions) {
    this.#options = options
    this.#maxBytes = options.maxBytes ?? MAX_SESSION_BYTES
    this.#tombstones = new Tombstones(options.random)
  }

  /** How much memory is counted, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** A session that is held, by its sid in hexadecimal. */
  get(sid: string): HeldSession | undefined {
    return this.#bySid.get(sid)
  }

  /** The tombstone of a session, and whose it was. */
  tombstone(sid: Uint8Array): HeldTombstone | undefined {
    const found = this.#tombstones.get(sid)
    return found && { ...found, holder: this.#byNumber.get(found.owner)?.name ?? '' }
  }

  /** Takes in a session that is not held and has no tombstone, where there is room. */
  admit(held: HeldSession): Admittance {
    const { clock } = this.#options
    const holder = this.#holderOf(held)
    if (held.session.startsAtMs <= holder.refusesUntil) return 'ended'
    if (!this.#makeRoomFor(holder, held.bytes)) {
      this.#dropIfEmpty(holder)
      return 'no room'
    }
    this.#bySid.set(held.session.sid, held)
    holder.sessions.add(held)
    holder.silent++
    // It is never in force for longer than the clock says now, whatever the clock says later.
    held.livesUntil = clock.late() + held.until - clock.notBefore()
    this.#note(held)
    this.#tellPeriods()
    return 'held'
  }

  /** In how many sessions of this identity nothing was said yet. */
  silentOf(identity: string): number {
    return this.#holders.get(identity)?.silent ?? 0
  }

  /** A frame of this session was opened. */
  heard(held: HeldSession): void {
    if (!held.hasSpoken) {
      held.hasSpoken = true
      this.#holderOf(held).silent--
    }
    this.#note(held)
  }

  #note(held: HeldSession): void {
    held.heardIn = this.#period
    const { bytes } = held
    if (bytes !== held.counted) this.#count(held, bytes)
  }

  /** The windows of this session (its sid in hexadecimal) take so many bytes more, or less. */
  countWindows(sid: string, bytes: number): void {
    const held = this.#bySid.get(sid)
    if (held === undefined) return
    held.countWindows(bytes)
    this.#count(held, held.bytes)
  }

  /** Ends a session: its key is wiped, and a tombstone takes its place. */
  end(held: HeldSession): void {
    if (held.isEnded) return
    this.#bury(held)
    this.#options.onGone([held.session.sid])
  }

  /** Ends and forgets what is over. */
  prune(): void {
    const { clock } = this.#options
    const late = clock.late()
    const { latest } = clock
    const gone: string[] = []
    for (const [sid, held] of this.#bySid) {
      if (held.until <= latest) this.#remove(held)
      else if (late >= held.livesUntil) this.#bury(held)
      else continue
      gone.push(sid)
    }
    this.#tombstones.remove((until, owner) => {
      if (until > latest) return false
      this.#uncountTombstone(owner)
      return true
    })
    for (const holder of this.#holders.values()) this.#dropIfEmpty(holder)
    if (gone.length > 0) this.#options.onGone(gone)
  }

  /** Wipes all keys, and forgets everything. */
  close(): void {
    this.#cancelPeriod?.()
    this.#cancelPeriod = undefined
    for (const held of this.#bySid.values()) wipe(held)
    this.#bySid.clear()
    this.#holders.clear()
    this.#byNumber.clear()
    this.#tombstones.clear()
    this.#bytes = 0
  }

  #holderOf({ sender }: HeldSession): Holder {
    const { identity, name } = sender.claims
    const known = this.#holders.get(identity)
    if (known !== undefined) return known
    const holder: Holder = {
      identity,
      name,
      number: ++this.#holderNumbers,
      sessions: new Set(),
      silent: 0,
      refusedIn: -1,
      tombstones: 0,
      bytes: 0,
      refusesUntil: 0,
      floorUntil: 0,
      newestBuried: 0,
      lastBuriedUntil: 0,
    }
    this.#holders.set(identity, holder)
    this.#byNumber.set(holder.number, holder)
    return holder
  }

  #count(held: HeldSession, bytes: number): void {
    this.#add(this.#holderOf(held), bytes - held.counted)
    held.counted = bytes
    if (this.#bytes > this.#maxBytes) this.#makeRoom(0)
  }

  #add(holder: Holder, bytes: number): void {
    holder.bytes += bytes
    this.#bytes += bytes
  }

  /** Whoever has nothing left to miss is not looked at again in the same period: that takes longer than a handshake. */
  #makeRoomFor(holder: Holder, needed: number): boolean {
    if (this.#hasRoom(needed)) return true
    if (holder.refusedIn === this.#period) return false
    if (this.#makeRoom(needed, holder)) return true
    holder.refusedIn = this.#period
    return false
  }

  /**
   * Makes room for so many bytes.
   *
   * @param newcomer who wants them: with more than its share it gets them from silent sessions alone. Default: they are
   *   taken already, by sessions that have grown
   * @returns `false` where there is none
   */
  #makeRoom(needed: number, newcomer?: Holder): boolean {
    if (this.#hasRoom(needed)) return true
    const target = this.#maxBytes * (1 - SLACK) - needed
    const level = waterLevel(
      [...this.#holders.values()].map(({ bytes }) => bytes),
      Math.max(0, target),
    )
    const above = [...this.#holders.values()].filter(({ bytes }) => bytes > level)
    const gone: string[] = []
    for (const holder of above) gone.push(...this.#shrink(holder, level, 'silent'))
    if (!this.#hasRoom(needed)) for (const holder of above) this.#slim(holder, level)
    if (!this.#hasRoom(needed)) for (const holder of above) if (holder.bytes > level) this.#drawLine(holder)
    const mayTakeAll = newcomer === undefined || newcomer.bytes + needed <= level
    if (!this.#hasRoom(needed) && mayTakeAll)
      for (const holder of above) gone.push(...this.#shrink(holder, level, 'all'))
    if (gone.length > 0) this.#options.onGone(gone)
    return this.#hasRoom(needed)
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.#maxBytes
  }

  /** Buries sessions until so much is left, those first that were not heard for longest. @returns their sids */
  #shrink(holder: Holder, level: number, which: 'silent' | 'all'): readonly string[] {
    if (holder.bytes <= level) return []
    const heardBefore = which === 'all' ? Number.POSITIVE_INFINITY : this.#period - SILENT_PERIODS + 1
    const candidates = [...holder.sessions].filter(({ heardIn }) => heardIn < heardBefore)
    candidates.sort((a, b) => a.heardIn - b.heardIn)
    const gone: string[] = []
    for (const held of candidates) {
      if (holder.bytes <= level) break
      this.#bury(held)
      gone.push(held.session.sid)
    }
    return gone
  }

  /** Takes memory that only saves work from the sessions of a holder, until so much is left. */
  #slim(holder: Holder, level: number): void {
    for (const held of holder.sessions) {
      if (holder.bytes <= level) return
      held.slim()
      this.#add(holder, held.bytes - held.counted)
      held.counted = held.bytes
    }
  }

  #bury(held: HeldSession): void {
    const holder = this.#holderOf(held)
    const tag = this.#options.tagOf(held)
    const { until, kid, session } = held
    this.#remove(held)
    this.#tombstones.add({
      sid: fromHex(session.sid),
      tag,
      until,
      key: ownKeyName(kid),
      owner: holder.number,
    })
    holder.tombstones++
    holder.newestBuried = Math.max(holder.newestBuried, session.startsAtMs)
    holder.lastBuriedUntil = Math.max(holder.lastBuriedUntil, until)
    this.#add(holder, TOMBSTONE_BYTES)
  }

  #remove(held: HeldSession): void {
    const holder = this.#holderOf(held)
    wipe(held)
    this.#bySid.delete(held.session.sid)
    holder.sessions.delete(held)
    if (!held.hasSpoken) holder.silent--
    this.#add(holder, -held.counted)
    held.counted = 0
  }

  /** Puts one line of time in the place of all tombstones of a holder. */
  #drawLine(holder: Holder): void {
    if (holder.tombstones === 0) return
    this.#tombstones.remove((_until, owner) => owner === holder.number)
    this.#add(holder, -holder.tombstones * TOMBSTONE_BYTES)
    holder.tombstones = 0
    holder.refusesUntil = Math.max(holder.refusesUntil, holder.newestBuried)
    holder.floorUntil = Math.max(holder.floorUntil, holder.lastBuriedUntil)
  }

  #uncountTombstone(owner: number): void {
    const holder = this.#byNumber.get(owner)
    if (holder === undefined) return
    holder.tombstones--
    this.#add(holder, -TOMBSTONE_BYTES)
  }

  #dropIfEmpty(holder: Holder): void {
    const isNeeded = holder.sessions.size > 0 || holder.tombstones > 0
    if (isNeeded || holder.floorUntil > this.#options.clock.latest) return
    this.#holders.delete(holder.identity)
    this.#byNumber.delete(holder.number)
  }

  /** No clock that anybody can set: silence is told by the monotonic one. */
  #tellPeriods(): void {
    this.#cancelPeriod ??= this.#options.clock.after(PERIOD_MS, () => {
      this.#cancelPeriod = undefined
      this.#period++
      if (this.#bySid.size > 0) this.#tellPeriods()
    })
  }
}

function wipe(held: HeldSession): void {
  held.isEnded = true
  held.session.end()
}
