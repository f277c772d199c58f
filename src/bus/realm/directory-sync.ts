import { hex, samePublic } from '../../base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_BUCKETS_PER_QUERY,
  MAX_COMPARISON_MS,
  MAX_RECONCILED,
  MAX_ROOTS_REMEMBERED,
  RECONCILE_INTERVAL_MS,
  RECONCILE_SPREAD_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { bucketHash, bucketHashAt, readBucketHashes, readListing, rootOf } from '../../keys/buckets.ts'
import type { Directory } from '../../keys/directory.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Context } from '../context.ts'
import type { HandOver } from './hand-over.ts'
import type { HashLookups } from './hash-lookups.ts'
import type { PageFetches } from './page-fetches.ts'
import { randomDelay } from './random.ts'

/** What directories are compared with. */
export interface DirectorySyncOptions extends Pick<Context, 'engine' | 'clock'> {
  readonly timers: Pick<Timers, 'after'>
  readonly fetches: Pick<PageFetches, 'begin'>
  readonly lookups: Pick<HashLookups, 'ask'>
  readonly handOver: Pick<HandOver, 'restarted' | 'check'>
  readonly directory: Pick<
    Directory,
    'add' | 'lacking' | 'isKnownRoot' | 'noteRoot' | 'noteBuckets' | 'noteListing'
  >
  /** The rotation services of the plan, in its order. */
  readonly rotators: () => readonly string[]
  /** Hashes of own announcements that every rotation service should list by now. */
  readonly own: () => readonly Uint8Array[]
  /** Asks the rotation services for ticks: what one of them lists now belongs to a root that it has not signed yet. */
  readonly askForTick: () => void
  /** Called when announcements were taken in, or somebody is heard of again, or not any more. */
  readonly onChanged: () => void
}

/** What is known of one rotation service. */
interface Known {
  /** The process that has answered last, in hexadecimal. */
  process: string | undefined
  /** When its directory was looked at last, by the monotonic clock. */
  lookedAt: number
  isWaiting: boolean
  /** Roots that it has signed, the newest last. */
  roots: readonly SignedRoot[]
  /** Whether its next signed root is waited for: the last page was of none that is known. */
  isRootWanted: boolean
}

interface SignedRoot {
  readonly root: Uint8Array
  /** When it came, by the monotonic clock. */
  readonly atMs: number
}

/** What a rotation service lists in one bucket. */
interface Listed {
  readonly bucket: number
  readonly hashes: readonly Uint8Array[]
}

/** A comparison with one service, for as long as it is its turn. */
interface Turn {
  readonly rotator: string
  readonly cancel: () => void
}

/** Buckets of one service that are asked for. */
interface Wanted {
  readonly turn: Turn
  /** The hashes of all buckets, under a root that it has signed. */
  readonly hashes: Uint8Array
  readonly buckets: readonly number[]
  /** How many announcements are asked for at most. */
  readonly maxMissing: number
}

/**
 * Compares the own directory with that of each rotation service, whose ticks name its root, and asks for what is missing. Only
 * that is asked for: what an agent holds more never matters, so that nothing goes round in circles. SPEC, "Reconciling".
 *
 * Anybody who sees a question can answer it before the service does, and whom a service does not list may lose its place in
 * audiences: so a list counts only where it hashes to a root that the service has signed lately.
 */
export class DirectorySync {
  readonly #options: DirectorySyncOptions
  readonly #known = new Map<string, Known>()
  /** Services whose turn it is, one after the other, and whether that is because the last page was of no known root. */
  readonly #line: { readonly rotator: string; readonly isAgain: boolean }[] = []
  /** Whose turn it is. */
  #turn: Turn | undefined
  #isJoined = false

  constructor(options: DirectorySyncOptions) {
    this.#options = options
  }

  /** The agent has joined: it compares from now on. */
  joined(): void {
    this.#isJoined = true
  }

  /** Another plan: rotation services that are not in it are forgotten. */
  adopt(): void {
    const rotators = this.#options.rotators()
    for (const rotator of this.#known.keys()) if (!rotators.includes(rotator)) this.#known.delete(rotator)
  }

  /** Whether a rotation service with this root has nothing to say that is not known. */
  isKnownRoot(rotator: string, root: Uint8Array): boolean {
    const place = this.#placeOf(rotator)
    return place < 0 || this.#options.directory.isKnownRoot(place, root)
  }

  /** A tick has counted. */
  counted({ rotator, process, directoryRoot }: Tick): void {
    const known = this.#knownOf(rotator)
    const name = hex(process)
    // One that a newer plan names holds nothing yet, as one that has started again.
    const hasRestarted = known.process === undefined ? this.#isJoined : known.process !== name
    known.process = name
    if (hasRestarted) this.#options.handOver.restarted(rotator)
    const place = this.#placeOf(rotator)
    if (place >= 0) this.#options.directory.noteRoot(place, directoryRoot)
    this.named(rotator, directoryRoot)
  }

  /** A rotation service has signed that its directory has, or had, this root. */
  named(rotator: string, root: Uint8Array): void {
    const { clock, engine } = this.#options
    const known = this.#knownOf(rotator)
    const isWanted = known.isRootWanted
    known.isRootWanted = false
    known.roots = [...known.roots, { root, atMs: clock.monotonic() }].slice(-MAX_ROOTS_REMEMBERED)
    if (!this.#isJoined || this.isKnownRoot(rotator, root)) return
    if (isWanted && !known.isWaiting) return this.#compareIn(rotator, 0, true)
    const restMs = Math.max(0, known.lookedAt + RECONCILE_INTERVAL_MS - clock.monotonic())
    if (!known.isWaiting) this.#compareIn(rotator, restMs + randomDelay(engine, RECONCILE_SPREAD_MS))
  }

  /** Compares with one service now: this agent may have missed something. */
  refresh(rotator: string): void {
    if (!this.#knownOf(rotator).isWaiting) this.#compareIn(rotator, 0)
  }

  #placeOf(rotator: string): number {
    return this.#options.rotators().indexOf(rotator)
  }

  #knownOf(rotator: string): Known {
    const known = this.#known.get(rotator) ?? {
      process: undefined,
      lookedAt: Number.NEGATIVE_INFINITY,
      isWaiting: false,
      roots: [],
      isRootWanted: false,
    }
    this.#known.set(rotator, known)
    return known
  }

  #compareIn(rotator: string, delayMs: number, isAgain = false): void {
    this.#knownOf(rotator).isWaiting = true
    this.#options.timers.after(delayMs, () => {
      this.#line.push({ rotator, isAgain })
      this.#goOn()
    })
  }

  /** With one service at a time, and with none for so long that it keeps others from their turn. */
  #goOn(): void {
    if (this.#turn !== undefined) return
    const next = this.#line.shift()
    if (next === undefined) return
    const cancel = this.#options.timers.after(MAX_COMPARISON_MS, () => this.#done(turn))
    const turn: Turn = { rotator: next.rotator, cancel }
    this.#turn = turn
    this.#compare(turn, next.isAgain)
  }

  /** A turn ends once. */
  #done(turn: Turn): void {
    if (this.#turn !== turn) return
    turn.cancel()
    this.#turn = undefined
    this.#options.onChanged()
    this.#goOn()
  }

  #compare(turn: Turn, isAgain: boolean): void {
    const { clock, fetches, directory, askForTick } = this.#options
    const { rotator } = turn
    const known = this.#knownOf(rotator)
    known.isWaiting = false
    known.lookedAt = clock.monotonic()
    let hashes: Uint8Array | undefined
    const isBegun = fetches.begin({
      rotator,
      kind: QueryKind.buckets,
      onPage: ([statement]) => {
        hashes = statement && readBucketHashes(statement)
        return hashes !== undefined
      },
      onEnd: () => {
        const place = this.#placeOf(rotator)
        if (hashes === undefined || place < 0 || this.#turn !== turn) return this.#done(turn)
        if (this.#isSigned(known, hashes)) {
          const buckets = directory.noteBuckets(place, hashes)
          return this.#list({ turn, hashes, buckets, maxMissing: MAX_RECONCILED })
        }
        // It may list another thing than when it signed last. Once: somebody else may have answered in its place.
        known.isRootWanted = !isAgain
        if (!isAgain) askForTick()
        this.#done(turn)
      },
    })
    if (!isBegun) this.#done(turn)
  }

  /** Whether the service has signed a root lately to which these hashes of its buckets belong. */
  #isSigned({ roots }: Known, hashes: Uint8Array): boolean {
    const { engine, clock } = this.#options
    const root = rootOf(engine, hashes)
    const sinceMs = clock.monotonic() - CLOCK_WINDOW_MS
    return roots.some((signed) => signed.atMs >= sinceMs && samePublic(signed.root, root))
  }

  /** Asks what is in these buckets, 16 at a time, and each time for what is missing of it. */
  #list(wanted: Wanted): void {
    const { engine, fetches, own, handOver } = this.#options
    const { turn, hashes, buckets, maxMissing } = wanted
    const { rotator } = turn
    const asked = buckets.slice(0, MAX_BUCKETS_PER_QUERY)
    if (asked.length === 0 || maxMissing <= 0) return this.#done(turn)
    const listed: Listed[] = []
    const isBegun = fetches.begin({
      rotator,
      kind: QueryKind.buckets,
      cursor: Uint8Array.from(asked),
      onPage: (statements) => {
        for (const statement of statements) {
          const bucket = asked[listed.length]
          if (bucket === undefined) return false
          listed.push({ bucket, hashes: readListing(bucket, statement) })
        }
        return true
      },
      onEnd: (isWhole) => {
        const isOfRoot = listed.every((one) =>
          samePublic(bucketHash(engine, one.hashes), bucketHashAt(hashes, one.bucket)),
        )
        if (!isWhole || listed.length < asked.length || !isOfRoot || this.#turn !== turn)
          return this.#done(turn)
        if (listed.some((one) => misses(one, own()))) handOver.check(rotator)
        this.#take(turn, listed, (missing) =>
          this.#list({
            ...wanted,
            buckets: buckets.slice(MAX_BUCKETS_PER_QUERY),
            maxMissing: maxMissing - missing,
          }),
        )
      },
    })
    if (!isBegun) this.#done(turn)
  }

  #take(turn: Turn, listed: readonly Listed[], goOn: (missing: number) => void): void {
    const { clock, directory, lookups } = this.#options
    const { rotator } = turn
    const missing = listed.flatMap(({ hashes }) => directory.lacking(hashes))
    lookups.ask({
      rotator,
      hashes: missing.slice(0, MAX_RECONCILED),
      isWanted: () => this.#turn === turn,
      onStatements: (statements) => {
        for (const statement of statements) directory.add(statement, clock.now(), { isAsked: true })
      },
      onEnd: (answer) => {
        const place = this.#placeOf(rotator)
        // What has not come is asked for again, the next time that this service names its root.
        const isOfUse = answer !== 'silent' && missing.length <= MAX_RECONCILED && place >= 0
        if (!isOfUse || this.#turn !== turn) return this.#done(turn)
        for (const { bucket, hashes } of listed) directory.noteListing(place, bucket, hashes)
        goOn(missing.length)
      },
    })
  }
}

/** Whether a bucket should have an own announcement and has not. */
function misses({ bucket, hashes }: Listed, own: readonly Uint8Array[]): boolean {
  return own.some((one) => one[0] === bucket && !hashes.some((hash) => samePublic(hash, one)))
}
