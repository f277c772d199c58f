import type { NatsConnection } from '@nats-io/transport-node'
import { concat, hex } from '../../src/base/bytes.ts'
import { DEFAULT_TICK_MS } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { Buckets } from '../../src/keys/buckets.ts'
import { type Epoch, numberAt } from '../../src/keys/epochs.ts'
import { signNotice } from '../../src/keys/notices.ts'
import { listHash } from '../../src/keys/plan.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { ANY_SERVICE, type ProtocolSubjects, protocolSubjects, rid } from '../../src/keys/subjects.ts'
import {
  decodeQuery,
  encodePage,
  type Query,
  QueryKind,
  readBuckets,
  readHashes,
  readPlanCursor,
} from '../../src/wire/queries.ts'
import type { Tick } from '../../src/wire/ticks.ts'
import { engine } from './identities.ts'
import type { TestRealm } from './realm.ts'
import { reparse, World } from './statements.ts'

export interface HandRotatorOptions {
  readonly subjectPrefix?: string
  /** Which of the realm's rotators it is. Default: the first. */
  readonly which?: number
  /** The plan that it serves. Default: the realm's newest. */
  readonly kept?: KeptPlan
  /** Whose key it signs with, in place of one of the realm's. */
  readonly identity?: Identity
}

/** A ping that somebody has sent. */
interface HeardPing {
  /** In hexadecimal. */
  readonly instance: string
  readonly nonce: Uint8Array
  readonly reply: string
  readonly isAnswered: boolean
}

/**
 * A rotation service that does what a test tells it to, with a rotator's real key: it answers pings as it likes, and
 * serves any plan, any revocations and any announcements. Hostile ones are made of it.
 */
export class HandRotator {
  readonly world: World
  readonly identity: Identity
  readonly subjects: ProtocolSubjects
  /** Served when it is asked for the plan; ticks name its version unless `changes` say otherwise. */
  kept: KeptPlan
  /** Served when asked for, and named by ticks unless `namedRevocations` is set. */
  revocations: readonly Uint8Array[] = []
  /** What ticks name instead of what is served. */
  namedRevocations: readonly Uint8Array[] | undefined
  /** Every announcement that was heard, as it is served. */
  readonly announcements: Uint8Array[] = []
  /** Everything that was handed over to it alone. */
  readonly handedOver: Uint8Array[] = []
  /** The pings that it heard, whether it answered or not, by the instance that asked. */
  readonly pings: HeardPing[] = []
  /** What its ticks have that others do not. */
  changes: Partial<Tick> = {}
  /** Whether it answers pings, and says every 15 s that it is there. */
  isTicking = true
  /** Whether it answers queries with pages. */
  isAnswering = true
  /** Called before every page, on the connection that sends it. */
  beforePage = (): void => {}
  readonly #nc: NatsConnection
  readonly #realm: TestRealm
  readonly #process = engine.randomBytes(8)
  readonly #buckets = new Buckets(engine)
  /** What is listed, by the hash of each. */
  readonly #listed = new Map<string, Uint8Array>()

  static async start(realm: TestRealm, options: HandRotatorOptions = {}): Promise<HandRotator> {
    const rotator = new HandRotator(await realm.connection(), realm, options)
    await rotator.#start()
    return rotator
  }

  private constructor(nc: NatsConnection, realm: TestRealm, options: HandRotatorOptions) {
    const { which = 0, identity = realm.rotators[which] } = options
    if (identity === undefined) throw new Error(`the realm has no rotator ${which}`)
    this.#nc = nc
    this.#realm = realm
    this.identity = identity
    this.kept = options.kept ?? realm.kept
    this.world = new World({
      like: { authority: realm.authority, rotators: realm.rotators, kept: this.kept },
    })
    this.subjects = protocolSubjects(engine, realm.authority.publicKey, options.subjectPrefix)
  }

  get root(): string {
    return this.subjects.root
  }

  /** An epoch of the plan that it serves. Default: the one of now. */
  epoch(number = numberAt(this.world.held, this.#realm.clock.now())): Epoch {
    return this.world.epoch(number)
  }

  /** Holds and serves another plan from now on, and publishes it unless that is not wanted. */
  adopt(kept: KeptPlan, { isPublished = true }: { readonly isPublished?: boolean } = {}): void {
    this.kept = kept
    this.world.adopt(kept)
    if (isPublished) this.publish('plan', kept.plan)
  }

  publish(subject: string, bytes: Uint8Array): void {
    this.#nc.publish(`${this.root}.${subject}`, bytes)
  }

  /** Publishes that an epoch begins, as it sees it. */
  notice(epoch: Epoch = this.epoch()): void {
    this.publish('epoch', signNotice(this.identity, epoch, this.world.held.version))
  }

  /** Says to everybody what it holds: a hint, that makes nobody fresh. */
  tick(changes: Partial<Tick> = {}): void {
    this.publish('tick', this.#tick(changes))
  }

  /** A tick that answers a nonce, as it would send it now. */
  answer(nonce: Uint8Array, changes: Partial<Tick> = {}): Uint8Array {
    return this.#tick(changes, nonce)
  }

  /** Sends an answer to a ping that it heard. */
  send(reply: string, bytes: Uint8Array): void {
    this.#nc.publish(reply, bytes)
  }

  async flush(): Promise<void> {
    await this.#nc.flush()
  }

  #tick(changes: Partial<Tick>, nonce?: Uint8Array): Uint8Array {
    const tick: Partial<Tick> = {
      process: this.#process,
      now: this.#realm.clock.now(),
      revocationsHash: listHash(engine, this.namedRevocations ?? this.revocations),
      directoryRoot: this.#buckets.root(),
      ...this.changes,
      ...changes,
    }
    return this.world.tick(tick, { by: this.identity, ...(nonce === undefined ? {} : { nonce }) })
  }

  async #start(): Promise<void> {
    const { announcements, pings, tick } = this.subjects
    const rotator = this.identity.publicKey
    this.#follow(announcements, ({ data }) => {
      this.announcements.push(data)
      this.#list(data)
    })
    this.#follow(pings, (ping) => this.#takePing(ping))
    this.#follow(this.subjects.queriesTo(rid(engine, rotator)), ({ data, reply }) =>
      this.#takeQuery(decodeQuery(data), reply),
    )
    this.#follow(this.subjects.queriesTo(ANY_SERVICE), ({ data, reply }) => {
      const query = decodeQuery(data)
      if (query.kind === QueryKind.plan) this.#takeQuery(query, reply)
    })
    await this.#nc.flush()
    const next = (): void => {
      if (this.#nc.isClosed()) return
      if (this.isTicking) this.#nc.publish(tick, this.#tick({}))
      this.#realm.clock.after(DEFAULT_TICK_MS, next)
    }
    next()
  }

  #follow(subject: string, take: (message: Heard) => void): void {
    this.#nc.subscribe(subject, {
      callback: (_error, message) =>
        take({ subject: message.subject, data: new Uint8Array(message.data), reply: message.reply ?? '' }),
    })
  }

  #takePing({ subject, data, reply }: Heard): void {
    const { nonce } = decodeQuery(data)
    const isAnswered = this.isTicking
    this.pings.push({ instance: subject.split('.').at(-1) ?? '', nonce, reply, isAnswered })
    if (isAnswered) this.send(reply, this.answer(nonce))
  }

  #takeQuery({ kind, nonce, cursor }: Query, reply: string): void {
    if (kind === QueryKind.handOver && cursor !== undefined) this.handedOver.push(cursor)
    if (!this.isAnswering || kind === QueryKind.handOver) return
    this.beforePage()
    const statements = this.#asked(kind, cursor)
    this.send(reply, encodePage({ nonce, kind, statements, next: undefined }))
  }

  #asked(kind: QueryKind, cursor: Uint8Array | undefined): readonly Uint8Array[] {
    switch (kind) {
      case QueryKind.plan:
        return this.#plan(cursor)
      case QueryKind.revocations:
        return this.revocations
      case QueryKind.announcements:
        return this.announcements.slice(-100)
      case QueryKind.byHash:
        return readHashes(cursor).flatMap((hash) => this.#listed.get(hex(hash)) ?? [])
      case QueryKind.buckets:
        return this.#listings(cursor)
      default:
        return []
    }
  }

  /** Lists an announcement, unless it is none or listed already. */
  #list(bytes: Uint8Array): void {
    try {
      const { hash } = reparse(bytes)
      if (this.#listed.has(hex(hash))) return
      this.#listed.set(hex(hash), bytes)
      this.#buckets.add(hash)
    } catch {
      // Tests publish junk there too.
    }
  }

  /** The hashes of all buckets, or what is in those that are asked for. */
  #listings(cursor: Uint8Array | undefined): readonly Uint8Array[] {
    const asked = readBuckets(cursor)
    if (asked === undefined) return [this.#buckets.hashesOfAll()]
    return asked.map((bucket) => concat(...this.#buckets.hashes(bucket)))
  }

  /** Of one plan, from the place on that is asked for: all that is left. */
  #plan(cursor: Uint8Array | undefined): readonly Uint8Array[] {
    const { version = this.world.held.version, place } = readPlanCursor(cursor)
    if (version !== this.world.held.version) return []
    return place === 0 ? [this.kept.plan, ...this.kept.list] : this.kept.list.slice(place)
  }
}

/** What came in, in memory that stays as it is. */
interface Heard {
  readonly subject: string
  readonly data: Uint8Array
  readonly reply: string
}
