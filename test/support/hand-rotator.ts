import type { NatsConnection } from '@nats-io/transport-node'
import { DEFAULT_TICK_MS } from '../../src/base/limits.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { signTick } from '../../src/keys/ticks.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  decodeQuery,
  decodeStatement,
  encodePage,
  QueryKind,
  readCursor,
  type Tick,
} from '../../src/wire/statements.ts'
import { engine } from './identities.ts'
import type { TestRealm } from './realm.ts'
import { type MadeEpoch, World } from './statements.ts'

export interface HandRotatorOptions {
  /** Epochs that it serves, oldest first. Default: one that begins now. */
  readonly epochs?: (world: World) => readonly MadeEpoch[]
  readonly subjectPrefix?: string
}

/**
 * A rotation service that does what a test tells it to, with the rotator's real key: it serves any epochs, any
 * revocations and any announcements, and ticks as it likes. Hostile ones are made of it.
 */
export class HandRotator {
  readonly world: World
  /** Served, oldest first. Ticks name the last one. */
  readonly epochs: MadeEpoch[]
  /** Served instead of `epochs`, whatever ticks name. */
  served: readonly MadeEpoch[] | undefined
  /** Served when asked for, and named by ticks unless `namedRevocations` is set. */
  revocations: readonly Uint8Array[] = []
  /** What ticks name instead of what is served. */
  namedRevocations: readonly Uint8Array[] | undefined
  /** Every announcement that was heard, as it is served. */
  readonly announcements: Uint8Array[] = []
  readonly root: string
  isTicking = true
  /** Whether it answers queries with pages. */
  isAnswering = true
  /** Called before every page, on the connection that sends it. */
  beforePage = (): void => {}
  readonly #nc: NatsConnection
  readonly #realm: TestRealm
  readonly #signer: Signer & { readonly token: string }
  #lastNow = 0

  static async start(realm: TestRealm, options: HandRotatorOptions = {}): Promise<HandRotator> {
    const rotator = new HandRotator(await realm.connection(), realm, options)
    await rotator.#start()
    return rotator
  }

  private constructor(nc: NatsConnection, realm: TestRealm, options: HandRotatorOptions) {
    const { subjectPrefix = 'subrosa.v1', epochs = (world) => [world.epoch(undefined, now)] } = options
    const now = { notBefore: realm.clock.now() }
    this.#nc = nc
    this.#realm = realm
    this.#signer = realm.rotator
    this.world = new World({ like: realm })
    this.epochs = [...epochs(this.world)]
    this.root = `${subjectPrefix}.${realm.authority.publicKey}`
  }

  /** Serves an epoch from now on, and publishes it. */
  publishEpoch(made: MadeEpoch): void {
    this.epochs.push(made)
    this.#nc.publish(`${this.root}.epoch`, made.bytes)
  }

  publish(subject: string, bytes: Uint8Array): void {
    this.#nc.publish(`${this.root}.${subject}`, bytes)
  }

  tick(nonces: readonly Uint8Array[] = [], changes: Partial<Tick> = {}): void {
    const newest = this.epochs.at(-1)
    if (newest === undefined) return
    this.#lastNow = Math.max(this.#realm.clock.now(), this.#lastNow + 1)
    const tick: Tick = {
      realm: this.#realm.authority.publicKey,
      number: newest.number,
      epochHash: newest.hash,
      revocationsHash: revocationsHash(this.namedRevocations ?? this.revocations),
      now: this.#lastNow,
      nonces,
      ...changes,
    }
    this.#nc.publish(`${this.root}.tick`, signTick(this.#signer, tick, this.#signer.token))
  }

  async #start(): Promise<void> {
    this.#nc.subscribe(`${this.root}.announce.*.*`, {
      callback: (_error, { data }) => {
        this.announcements.push(new Uint8Array(data))
      },
    })
    this.#nc.subscribe(`${this.root}.query`, {
      callback: (_error, { data, reply }) => this.#answer(new Uint8Array(data), reply ?? ''),
    })
    await this.#nc.flush()
    const next = (): void => {
      if (this.#nc.isClosed()) return
      if (this.isTicking) this.tick()
      this.#realm.clock.after(DEFAULT_TICK_MS, next)
    }
    next()
  }

  #answer(bytes: Uint8Array, reply: string): void {
    const { kind, nonce, cursor } = decodeQuery(bytes)
    if (kind === QueryKind.tick && this.isTicking) this.tick([nonce])
    const page = (statements: readonly Uint8Array[]): void =>
      this.#nc.publish(reply, encodePage({ nonce, kind, statements, next: undefined }))
    if (!this.isAnswering) return
    this.beforePage()
    if (kind === QueryKind.epochs) {
      const asked = this.epochs.filter(({ number }) => number >= readCursor(cursor))
      page((this.served ?? asked).map((made) => made.bytes))
    }
    if (kind === QueryKind.revocations) page(this.revocations)
    if (kind === QueryKind.announcements) page(this.announcements.slice(-100))
  }
}

function revocationsHash(statements: readonly Uint8Array[]): Uint8Array {
  const hashes = statements.map((bytes) =>
    engine.sha256(decodeStatement(WireType.revocation, bytes).structure),
  )
  return engine.sha256(Buffer.concat(hashes.sort(Buffer.compare)))
}
