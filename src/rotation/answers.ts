import type { Clock } from '../base/clock.ts'
import {
  MAX_PINGS_OF_NAME_PER_SECOND,
  MAX_PINGS_PER_ASKER_PER_SECOND,
  MAX_PINGS_WAITING,
  MAX_TICK_LEAVES,
  MAX_TICKS_PER_SECOND,
} from '../base/limits.ts'
import { Timers } from '../base/timers.ts'
import { Turns } from '../base/turns.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import { publishSafely } from '../bus/safely.ts'
import { merklePathLength, merkleTree } from '../crypto/merkle.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { Asker } from '../keys/subjects.ts'
import { nonceLeaf, signTick } from '../keys/ticks.ts'
import { HASH_BYTES } from '../wire/fields.ts'
import { encodeSignedTick, type SignedTick, type Tick } from '../wire/ticks.ts'
import type { Parts } from './parts.ts'

/** What a tick says whoever asks. */
export type TickBody = Omit<Tick, 'leaves' | 'nonceRoot'>

/** What ticks are made with. */
export interface AnswersOptions extends Pick<Parts, 'engine' | 'onError'> {
  readonly identity: Signer
  readonly clock: Clock
  /** The subject of broadcasts. */
  readonly subject: string
  /** Asked right before each signature; `undefined` where this service says nothing. */
  readonly tick: () => TickBody | undefined
}

interface Ping {
  readonly nonce: Uint8Array
  readonly inbox: string
}

const SIGNATURE_INTERVAL_MS = 1000 / MAX_TICKS_PER_SECOND
const SECOND_MS = 1000
const NO_NONCES = { leaves: 0, nonceRoot: new Uint8Array(HASH_BYTES) }

/**
 * Answers pings: one signature serves everybody who asks within a tenth of a second, and each gets the path of its own nonce. Those
 * of one name wait for their turn behind each other, and not in front of others.
 */
export class Answers {
  readonly #nc: NatsLike
  readonly #options: AnswersOptions
  readonly #timers: Timers
  readonly #waiting = new Turns<string, Ping>(MAX_TICK_LEAVES)
  /** How often each name, and each instance of it, has asked in this second. */
  #counts = new Map<string, number>()
  #countedSince = Number.NEGATIVE_INFINITY
  #signedAt = Number.NEGATIVE_INFINITY
  #isDue = false
  #isBroadcastDue = false

  constructor(nc: NatsLike, options: AnswersOptions) {
    this.#nc = nc
    this.#options = options
    this.#timers = new Timers(options.clock, options.onError)
  }

  /** A tick that proves this nonce goes to its asker, as soon as one is signed. */
  answer(nonce: Uint8Array, { name, instance, inbox }: Asker): void {
    if (this.#waiting.size >= MAX_PINGS_WAITING || !this.#isCounted(name, instance)) return
    if (this.#waiting.add(name, { nonce, inbox })) this.#soon()
  }

  /** A tick that answers nobody goes to all: a hint that makes those ask who hold something else. */
  broadcast(): void {
    if (this.#isBroadcastDue) return
    this.#isBroadcastDue = true
    // Once for all reasons of one turn.
    this.#timers.after(0, () => this.#soon())
  }

  /** Signs nothing any more. */
  close(): void {
    this.#timers.close()
    this.#waiting.clear()
  }

  #isCounted(name: string, instance: string): boolean {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#countedSince >= SECOND_MS) {
      this.#counts = new Map()
      this.#countedSince = nowMs
    }
    // Instances are made up at will: a name, which the broker binds an asker to, has a budget for all of its own.
    return (
      this.#count(name, MAX_PINGS_OF_NAME_PER_SECOND) &&
      this.#count(`${name} ${instance}`, MAX_PINGS_PER_ASKER_PER_SECOND)
    )
  }

  #count(asker: string, most: number): boolean {
    const count = (this.#counts.get(asker) ?? 0) + 1
    if (count > most || this.#counts.size >= MAX_PINGS_WAITING) return false
    this.#counts.set(asker, count)
    return true
  }

  #soon(): void {
    if (this.#isDue) return
    const waitMs = this.#signedAt + SIGNATURE_INTERVAL_MS - this.#options.clock.monotonic()
    if (waitMs <= 0) return this.#sign()
    this.#isDue = true
    this.#timers.after(waitMs, () => {
      this.#isDue = false
      this.#sign()
    })
  }

  #sign(): void {
    if (this.#nc.isClosed()) return
    const body = this.#options.tick()
    // Whoever waits asks again.
    if (body === undefined) {
      this.#waiting.clear()
      this.#isBroadcastDue = false
      return
    }
    this.#signedAt = this.#options.clock.monotonic()
    if (this.#isBroadcastDue) this.#broadcast(body)
    else this.#answer(body)
    if (this.#waiting.size > 0) this.#soon()
  }

  #broadcast(body: TickBody): void {
    this.#isBroadcastDue = false
    const signed = signTick(this.#options.identity, { ...body, ...NO_NONCES })
    this.#publish(this.#options.subject, { ...signed, nonce: undefined, index: undefined, path: undefined })
  }

  #answer(body: TickBody): void {
    const { engine, identity } = this.#options
    const pings = this.#takePings()
    const hashes = pings.map(({ nonce }) => nonceLeaf(engine, nonce))
    const leaves = hashes.length
    const tree = merkleTree(engine, hashes)
    const signed = signTick(identity, { ...body, leaves, nonceRoot: tree.root })
    for (const [index, { nonce, inbox }] of pings.entries()) {
      const path = new Uint8Array(HASH_BYTES * merklePathLength(leaves, index))
      tree.writePath(index, path, 0)
      this.#publish(inbox, { ...signed, nonce, index, path })
    }
  }

  #takePings(): readonly Ping[] {
    const pings: Ping[] = []
    while (pings.length < MAX_TICK_LEAVES) {
      const ping = this.#waiting.take()
      if (ping === undefined) break
      pings.push(ping)
    }
    return pings
  }

  #publish(subject: string, tick: SignedTick): void {
    publishSafely(this.#nc, subject, { bytes: encodeSignedTick(tick), onError: this.#options.onError })
  }
}
