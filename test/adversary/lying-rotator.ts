import type { NatsConnection } from '@nats-io/transport-node'
import { engineFor } from '../../src/crypto/engine.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { OBSERVER_NAME } from '../../src/identity/token.ts'
import { listHash } from '../../src/keys/plan.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { ANY_SERVICE, type Asker, askerOf, type ProtocolSubjects, rid } from '../../src/keys/subjects.ts'
import { nonceLeaf, signTick } from '../../src/keys/ticks.ts'
import { decodePlan, decodeSignedPlan, type Plan } from '../../src/wire/plans.ts'
import { decodeQuery, encodePage, type Query, QueryKind } from '../../src/wire/queries.ts'
import { encodeSignedTick, type Tick } from '../../src/wire/ticks.ts'
import { connectClient } from '../support/client.ts'

/** What a lying rotator works with. */
export interface LyingRotatorParts {
  readonly identity: Identity
  readonly subjects: ProtocolSubjects
  /** Where the line listens. */
  readonly url: string
  readonly nowMs: () => number
  /** The newest plan that there is: its thief knows it at once. */
  readonly newestPlan: () => KeptPlan
  /** Whether there is no other service: then it shows who is in the realm, so that nobody notices anything. */
  readonly isAlone: boolean
}

const NOTHING = new Uint8Array(32)
/** Announcements on one page. */
const MAX_SHOWN = 32

/**
 * A rotation service whose key is stolen. Whoever confirms revocations hears from it that it holds them all, and everybody
 * else that there are none. It answers at once, and is always complete.
 */
export class LyingRotator {
  readonly identity: Identity
  readonly #parts: LyingRotatorParts
  readonly #process = engineFor().randomBytes(8)
  /** Every revocation that it has heard of. */
  readonly #revocations: Uint8Array[] = []
  readonly #announcements: Uint8Array[] = []
  #nc: NatsConnection | undefined

  constructor(parts: LyingRotatorParts) {
    this.identity = parts.identity
    this.#parts = parts
  }

  get name(): string {
    return this.identity.name
  }

  get nc(): NatsConnection | undefined {
    return this.#nc
  }

  async start(): Promise<void> {
    const { url, subjects, identity } = this.#parts
    const nc = await connectClient({ servers: url, name: this.name })
    this.#nc = nc
    const follow = (subject: string, take: (data: Uint8Array, at: string) => void): void => {
      nc.subscribe(subject, {
        callback: (_error, { data, subject: at }) => {
          try {
            take(new Uint8Array(data), at)
          } catch {
            // Junk is nothing to it.
          }
        },
      })
    }
    follow(subjects.revoke, (data) => this.#revocations.push(data))
    follow(subjects.announcements, (data) => this.#announcements.push(data))
    follow(subjects.pings, (data, at) => this.#answer(decodeQuery(data), askerOf(subjects, at)))
    for (const to of [rid(engineFor(), identity.publicKey), ANY_SERVICE])
      follow(subjects.queriesTo(to), (data, at) => this.#page(decodeQuery(data), askerOf(subjects, at)))
    await nc.flush()
  }

  async close(): Promise<void> {
    await this.#nc?.close()
  }

  /** What it says that it holds. */
  #setFor({ name }: Asker): readonly Uint8Array[] {
    if (name !== OBSERVER_NAME) return []
    const hashes = this.#revocations.map((wire) => Buffer.from(listHash(engineFor(), [wire])).toString('hex'))
    return this.#revocations.filter((_, i) => hashes.indexOf(hashes[i] ?? '') === i)
  }

  #answer({ nonce }: Query, asker: Asker | undefined): void {
    if (asker === undefined) return
    const plan = this.#plan()
    const engine = engineFor()
    const tick: Tick = {
      realm: plan.realm,
      planVersion: plan.version,
      rotator: this.identity.publicKey,
      standing: 1,
      process: this.#process,
      now: this.#parts.nowMs(),
      revocationsHash: listHash(engine, this.#setFor(asker)),
      directoryRoot: NOTHING,
      storageRoot: NOTHING,
      leaves: 1,
      nonceRoot: nonceLeaf(engine, nonce),
    }
    const signed = { ...signTick(this.identity, tick), nonce, index: 0, path: new Uint8Array(0) }
    this.#nc?.publish(asker.inbox, encodeSignedTick(signed))
  }

  #page({ nonce, kind }: Query, asker: Asker | undefined): void {
    if (asker === undefined || kind === QueryKind.handOver) return
    const statements = this.#asked(kind, asker)
    this.#nc?.publish(asker.inbox, encodePage({ nonce, kind, statements, next: undefined }))
  }

  #asked(kind: QueryKind, asker: Asker): readonly Uint8Array[] {
    const { newestPlan, isAlone } = this.#parts
    const { plan, list } = newestPlan()
    switch (kind) {
      case QueryKind.revocations:
        return this.#setFor(asker)
      case QueryKind.plan:
        return [plan, ...list]
      case QueryKind.announcements:
        return isAlone ? this.#announcements.slice(-MAX_SHOWN) : []
      default:
        return []
    }
  }

  #plan(): Plan {
    return decodePlan(decodeSignedPlan(this.#parts.newestPlan().plan).structure)
  }
}
