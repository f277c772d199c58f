import { hex, samePublic } from '../../base/bytes.ts'
import {
  MAX_BUCKETS_PER_QUERY,
  MAX_RECONCILED,
  RECONCILE_INTERVAL_MS,
  RECONCILE_SPREAD_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { readBucketHashes, readListing } from '../../keys/buckets.ts'
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
}

/** What a rotation service lists in one bucket. */
interface Listed {
  readonly bucket: number
  readonly hashes: readonly Uint8Array[]
}

/**
 * Compares the own directory with that of each rotation service, whose ticks name its root, and asks for what is missing. Only
 * that is asked for: what an agent holds more never matters, so that nothing goes round in circles. SPEC, "Reconciling".
 */
export class DirectorySync {
  readonly #options: DirectorySyncOptions
  readonly #known = new Map<string, Known>()
  /** Services whose turn it is, one after the other. */
  readonly #line: string[] = []
  #isBusy = false
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
    const hasRestarted = known.process !== undefined && known.process !== name
    known.process = name
    if (hasRestarted) this.#options.handOver.restarted(rotator)
    const place = this.#placeOf(rotator)
    if (place >= 0) this.#options.directory.noteRoot(place, directoryRoot)
    this.named(rotator, directoryRoot)
  }

  /** A rotation service has signed that its directory has, or had, this root. */
  named(rotator: string, root: Uint8Array): void {
    if (!this.#isJoined || this.isKnownRoot(rotator, root)) return
    const { clock, engine } = this.#options
    const known = this.#knownOf(rotator)
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
    }
    this.#known.set(rotator, known)
    return known
  }

  #compareIn(rotator: string, delayMs: number): void {
    this.#knownOf(rotator).isWaiting = true
    this.#options.timers.after(delayMs, () => {
      this.#line.push(rotator)
      this.#goOn()
    })
  }

  /** With one service at a time. */
  #goOn(): void {
    if (this.#isBusy) return
    const rotator = this.#line.shift()
    if (rotator === undefined) return
    this.#isBusy = true
    this.#compare(rotator)
  }

  #done(): void {
    this.#isBusy = false
    this.#options.onChanged()
    this.#goOn()
  }

  #compare(rotator: string): void {
    const { clock, fetches, directory } = this.#options
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
        if (hashes === undefined || place < 0) return this.#done()
        this.#list(rotator, directory.noteBuckets(place, hashes), MAX_RECONCILED)
      },
    })
    if (!isBegun) this.#done()
  }

  /** Asks what is in these buckets, 16 at a time, and each time for what is missing of it. */
  #list(rotator: string, wanted: readonly number[], maxMissing: number): void {
    const { fetches, own, handOver } = this.#options
    const asked = wanted.slice(0, MAX_BUCKETS_PER_QUERY)
    if (asked.length === 0 || maxMissing <= 0) return this.#done()
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
        if (!isWhole || listed.length < asked.length) return this.#done()
        if (listed.some((one) => misses(one, own()))) handOver.check(rotator)
        this.#take(rotator, listed, (missing) =>
          this.#list(rotator, wanted.slice(MAX_BUCKETS_PER_QUERY), maxMissing - missing),
        )
      },
    })
    if (!isBegun) this.#done()
  }

  #take(rotator: string, listed: readonly Listed[], goOn: (missing: number) => void): void {
    const { clock, directory, lookups } = this.#options
    const missing = listed.flatMap(({ hashes }) => directory.lacking(hashes))
    lookups.ask({
      rotator,
      hashes: missing.slice(0, MAX_RECONCILED),
      onStatements: (statements) => {
        for (const statement of statements) directory.add(statement, clock.now(), { isAsked: true })
      },
      onEnd: (answer) => {
        const place = this.#placeOf(rotator)
        // What has not come is asked for again, the next time that this service names its root.
        if (answer === 'silent' || missing.length > MAX_RECONCILED || place < 0) return this.#done()
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
