import type { JetStreamClient } from '@nats-io/jetstream'
import type { KV } from '@nats-io/kv'
import { SubrosaError } from '../base/errors.ts'
import { isStreamMissing, isWrongSequence, jetStreamError } from './jetstream-errors.ts'
import type { Lease } from './log.ts'
import type { LogNames } from './log-names.ts'

/** What a lease is kept with. */
export interface JetStreamLeaseOptions {
  readonly client: JetStreamClient
  readonly names: LogNames
  readonly durationMs: number
  /** Who takes it: another word for each process. */
  readonly holder: string
}

/**
 * A lease as one key in a bucket whose entries end by themselves. It is taken by creating the key, and renewed by
 * updating the very revision that this holder wrote.
 */
export class JetStreamLease implements Lease {
  readonly durationMs: number
  readonly #options: JetStreamLeaseOptions
  #bucket: KV | undefined
  #revision: number | undefined

  /** Makes the bucket where it is not there. @throws SubrosaError ERR_SETUP, ERR_STATE, ERR_TIMEOUT */
  static async open(options: JetStreamLeaseOptions): Promise<JetStreamLease> {
    try {
      const bucket = await openBucket(options)
      const { ttl } = await bucket.status()
      if (ttl !== options.durationMs) throw otherDuration(ttl, options.names.bucketStream)
      return new JetStreamLease(bucket, options)
    } catch (error) {
      throw jetStreamError(error)
    }
  }

  private constructor(bucket: KV, options: JetStreamLeaseOptions) {
    this.#bucket = bucket
    this.#options = options
    this.durationMs = options.durationMs
  }

  async take(): Promise<boolean> {
    try {
      this.#bucket ??= await openBucket(this.#options)
      this.#revision = await this.#write(this.#bucket)
      return this.#revision !== undefined
    } catch (error) {
      // Somebody has removed it: the next attempt makes it anew.
      if (isStreamMissing(error)) this.#bucket = undefined
      throw jetStreamError(error)
    }
  }

  async giveBack(): Promise<void> {
    const revision = this.#revision
    this.#revision = undefined
    if (revision === undefined) return
    try {
      await this.#bucket?.delete(this.#options.names.leaseKey, { previousSeq: revision })
    } catch (error) {
      if (!isWrongSequence(error)) throw jetStreamError(error)
    }
  }

  /** @returns the revision that this holder has written, or `undefined` where another one holds it */
  async #write(bucket: KV): Promise<number | undefined> {
    const { holder, names } = this.#options
    const { leaseKey: key } = names
    try {
      if (this.#revision !== undefined) return await bucket.update(key, holder, this.#revision)
      return await bucket.create(key, holder)
    } catch (error) {
      if (!isWrongSequence(error)) throw error
    }
    // An answer may have been lost: then what was written is still this holder's.
    const entry = await bucket.get(key)
    if (entry?.operation !== 'PUT' || entry.string() !== holder) return undefined
    try {
      return await bucket.update(key, holder, entry.revision)
    } catch (error) {
      if (isWrongSequence(error)) return undefined
      throw error
    }
  }
}

async function openBucket({ client, names, durationMs }: JetStreamLeaseOptions): Promise<KV> {
  const { Kvm } = await import('@nats-io/kv')
  return new Kvm(client).create(names.bucket, { history: 1, ttl: durationMs, allow_direct: false })
}

function otherDuration(ttlMs: number, stream: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `the replicas of this realm have a lease of ${ttlMs} ms`, {
    hint: `give all of them the same --lease; to change it, stop them all and remove the stream ${stream}`,
  })
}
