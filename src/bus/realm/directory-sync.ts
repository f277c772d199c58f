import { hex, samePublic } from '../../base/bytes.ts'
import {
  MAX_BUCKETS_PER_QUERY,
  MAX_RECONCILED,
  RECONCILE_INTERVAL_MS,
  RECONCILE_SPREAD_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { BUCKET_COUNT, BUCKET_HASH_BYTES, readBucketHashes, readListing } from '../../keys/buckets.ts'
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
  readonly directory: Pick<Directory, 'add' | 'buckets' | 'lacking' | 'noteListing'>
  /** The rotation services of the plan, in its order. */
  readonly rotators: () => readonly string[]
  /** Hashes of own announcements that every rotation service should list by now. */
  readonly own: () => readonly Uint8Array[]
  /** Called when announcements were taken in. */
  readonly onChanged: () => void
}

/** What is known of the directory of one rotation service. */
interface Known {
  /** The process that has answered last, in hexadecimal. */
  process: string
  /** Of the directory when it was looked at last. */
  root: Uint8Array | undefined
  /** The hashes of its buckets then. */
  buckets: Uint8Array | undefined
  /** By the monotonic clock: when it was looked at last, or is to be. */
  at: number
  isWaiting: boolean
}

/**
 * Compares the own directory with that of each rotation service, whose ticks name its root, and asks for what is missing. Only
 * that is looked at: what an agent holds more never matters, so that nothing goes round in circles. SPEC, "Reconciling".
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

  /** Whether a root is that of the own directory, or the one that this service had when it was looked at last. */
  isKnownRoot(rotator: string, root: Uint8Array): boolean {
    const last = this.#known.get(rotator)?.root
    if (last !== undefined && samePublic(last, root)) return true
    return samePublic(this.#options.directory.buckets().root(), root)
  }

  /** A tick has counted. */
  counted({ rotator, process, directoryRoot }: Tick): void {
    const known = this.#knownOf(rotator)
    const name = hex(process)
    if (known.process !== '' && known.process !== name) {
      known.buckets = undefined
      this.#options.handOver.restarted(rotator)
    }
    known.process = name
    this.named(rotator, directoryRoot)
  }

  /** A rotation service has signed that its directory has, or had, this root. */
  named(rotator: string, root: Uint8Array): void {
    if (!this.#isJoined || this.isKnownRoot(rotator, root)) return
    const { clock, engine } = this.#options
    const known = this.#knownOf(rotator)
    const restMs = Math.max(0, known.at + RECONCILE_INTERVAL_MS - clock.monotonic())
    if (!known.isWaiting) this.#compareIn(rotator, restMs + randomDelay(engine, RECONCILE_SPREAD_MS))
  }

  /** Compares with one service soon: this agent may have missed something. */
  refresh(rotator: string): void {
    if (!this.#knownOf(rotator).isWaiting) this.#compareIn(rotator, 0)
  }

  #knownOf(rotator: string): Known {
    const known = this.#known.get(rotator) ?? {
      process: '',
      root: undefined,
      buckets: undefined,
      at: Number.NEGATIVE_INFINITY,
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
    this.#goOn()
  }

  #compare(rotator: string): void {
    const { clock, engine, fetches } = this.#options
    const known = this.#knownOf(rotator)
    known.isWaiting = false
    known.at = clock.monotonic()
    let theirs: Uint8Array | undefined
    const isBegun = fetches.begin({
      rotator,
      kind: QueryKind.buckets,
      onPage: ([statement]) => {
        theirs = statement && readBucketHashes(statement)
        return theirs !== undefined
      },
      onEnd: () => {
        if (theirs === undefined) return this.#done()
        const wanted = this.#differing(theirs, known.buckets)
        // From now on it is known to have this, whatever is made of it.
        known.root = engine.sha256(theirs)
        known.buckets = theirs
        this.#list(rotator, wanted, [])
      },
    })
    if (!isBegun) this.#done()
  }

  /** Buckets that differ from the own ones, and from what this service had when it was looked at last. */
  #differing(theirs: Uint8Array, before: Uint8Array | undefined): readonly number[] {
    const own = this.#options.directory.buckets()
    const differing: number[] = []
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const hash = hashAt(theirs, bucket)
      const isKnown = before !== undefined && samePublic(hashAt(before, bucket), hash)
      if (!isKnown && !samePublic(own.hashOf(bucket), hash)) differing.push(bucket)
    }
    return differing
  }

  /** Asks what is in these buckets, 16 at a time, and then for what is missing of it. */
  #list(rotator: string, [...wanted]: readonly number[], missing: readonly Uint8Array[]): void {
    const { clock, directory, fetches, rotators, handOver } = this.#options
    const asked = wanted.splice(0, MAX_BUCKETS_PER_QUERY)
    if (asked.length === 0 || missing.length >= MAX_RECONCILED) return this.#fetch(rotator, missing)
    const index = rotators().indexOf(rotator)
    const lacking: Uint8Array[] = []
    let place = 0
    const isBegun = fetches.begin({
      rotator,
      kind: QueryKind.buckets,
      cursor: Uint8Array.from(asked),
      onPage: (statements) => {
        for (const statement of statements) {
          const bucket = asked[place++]
          if (bucket === undefined) return false
          const hashes = readListing(bucket, statement)
          if (index >= 0) directory.noteListing(index, bucket, hashes, clock.now())
          lacking.push(...directory.lacking(hashes))
          if (this.#misses(bucket, hashes)) handOver.check(rotator)
        }
        return true
      },
      onEnd: (isWhole) => {
        if (isWhole) this.#list(rotator, wanted, [...missing, ...lacking])
        else this.#fetch(rotator, [...missing, ...lacking])
      },
    })
    if (!isBegun) this.#done()
  }

  /** Whether a bucket should have an own announcement and has not. */
  #misses(bucket: number, hashes: readonly Uint8Array[]): boolean {
    return this.#options
      .own()
      .some((own) => own[0] === bucket && !hashes.some((hash) => samePublic(hash, own)))
  }

  #fetch(rotator: string, missing: readonly Uint8Array[]): void {
    const { clock, directory, lookups, onChanged } = this.#options
    lookups.ask({
      rotator,
      hashes: missing.slice(0, MAX_RECONCILED),
      onStatements: (statements) => {
        for (const statement of statements) directory.add(statement, clock.now(), { isAsked: true })
        onChanged()
      },
      onEnd: (answer) => {
        // What is still missing is asked for again when it names another root.
        const isIncomplete = answer === 'silent' || missing.length > MAX_RECONCILED
        if (isIncomplete) this.#knownOf(rotator).buckets = undefined
        this.#done()
      },
    })
  }
}

function hashAt(buckets: Uint8Array, bucket: number): Uint8Array {
  return buckets.subarray(bucket * BUCKET_HASH_BYTES, (bucket + 1) * BUCKET_HASH_BYTES)
}
