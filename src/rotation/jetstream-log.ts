import type { JetStreamClient, JetStreamManager, StoredMsg, StreamInfo } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/nats-core'
import { copy, hex } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import {
  DEFAULT_LEASE_MS,
  MAX_LEASE_MS,
  MAX_LOG_BYTES,
  MAX_LOG_ENTRIES,
  MIN_LEASE_MS,
} from '../base/limits.ts'
import type { NatsSubscription } from '../bus/nats-like.ts'
import { subscribeSafely } from '../bus/safely.ts'
import { engineFor } from '../crypto/engine.ts'
import { isStreamMissing, isWrongSequence, jetStreamError } from './jetstream-errors.ts'
import { JetStreamLease } from './jetstream-lease.ts'
import type { Lease, LogEntry, LogReading, OpenLog, RotationLog } from './log.ts'
import { type LogNames, logNames } from './log-names.ts'

/** Options of {@link jetStreamRotationLog}. */
export interface JetStreamLogOptions {
  /** How long a replica leads without renewing its lease, in milliseconds: the same for all. Default 3000. */
  readonly leaseMs?: number
}

const HOLDER_BYTES = 8
const TIMEOUT_MS = 2000
const READS_AT_ONCE = 64
const MAX_ATTEMPTS = 8

/**
 * A log in a JetStream stream, with a lease in a key-value bucket: both are made where they are not there. The
 * connection is one of `@nats-io/*`. SPEC, "Replicas".
 *
 * @throws RangeError when `leaseMs` is not 300 to 60,000
 *
 * @example
 * ```ts
 * import { jetStreamRotationLog } from 'subrosa/jetstream'
 *
 * const log = jetStreamRotationLog(nc, { leaseMs: 3000 })
 * const replica = await startRotationService(nc, { identity, trust, store, log })
 * ```
 */
export function jetStreamRotationLog(nc: NatsConnection, options: JetStreamLogOptions = {}): RotationLog {
  const { leaseMs = DEFAULT_LEASE_MS } = options
  if (!(Number.isInteger(leaseMs) && leaseMs >= MIN_LEASE_MS && leaseMs <= MAX_LEASE_MS))
    throw new RangeError(`leaseMs must be ${MIN_LEASE_MS} to ${MAX_LEASE_MS}`)
  return { open: (root, onAppended) => JetStreamLog.open(nc, { names: logNames(root), onAppended, leaseMs }) }
}

interface OpenOptions {
  readonly names: LogNames
  readonly onAppended: () => void
  readonly leaseMs: number
}

/** The stream as it was found, and how far it has been read. */
interface Position {
  /** When the stream was made: another time is another stream. */
  readonly created: string
  readonly sequence: number
  /** The last entry among the epochs that was read or appended, whatever it is. Where it is gone, others may be. */
  readonly epoch: number
  /** The same as the server sees it. They differ where entries were deleted. */
  readonly lastEpoch: number
}

class JetStreamLog implements OpenLog {
  readonly lease: Lease
  readonly #client: JetStreamClient
  readonly #manager: JetStreamManager
  readonly #names: LogNames
  readonly #subscriptions: readonly NatsSubscription[]
  #position: Position | undefined

  static async open(nc: NatsConnection, { names, onAppended, leaseMs }: OpenOptions): Promise<JetStreamLog> {
    // Only a replica needs it: agents load this package too.
    const { jetstream, jetstreamManager } = await import('@nats-io/jetstream')
    const options = { checkAPI: false, timeout: TIMEOUT_MS }
    const manager = await jetstreamManager(nc, options)
    await asked(() => streamInfo(manager, names))
    const lease = await JetStreamLease.open({
      client: jetstream(nc, { ...options, timeout: Math.min(TIMEOUT_MS, Math.round(leaseMs / 3)) }),
      names,
      durationMs: leaseMs,
      holder: hex(engineFor().randomBytes(HOLDER_BYTES)),
    })
    // What is appended passes here too, and so does what is refused: it says no more than that it is time to read.
    const subscriptions = [names.epochs, names.revocations].map((subject) =>
      subscribeSafely(nc, subject, { take: onAppended, onError: () => {}, reject: () => {} }),
    )
    return new JetStreamLog({ lease, client: jetstream(nc, options), manager, names, subscriptions })
  }

  private constructor(parts: {
    readonly lease: Lease
    readonly client: JetStreamClient
    readonly manager: JetStreamManager
    readonly names: LogNames
    readonly subscriptions: readonly NatsSubscription[]
  }) {
    this.lease = parts.lease
    this.#client = parts.client
    this.#manager = parts.manager
    this.#names = parts.names
    this.#subscriptions = parts.subscriptions
  }

  async read(): Promise<LogReading> {
    return asked(async () => {
      const { created, first, last, lastEpoch } = await this.#state()
      const before = this.#position
      const isWhole = before?.created !== created || last < before.sequence || lastEpoch < before.epoch
      let epoch = isWhole ? 0 : before.epoch
      const entries: LogEntry[] = []
      for (const { seq, subject, data } of await this.#messages(
        isWhole ? first : before.sequence + 1,
        last,
      )) {
        if (subject === this.#names.epochs) {
          epoch = seq
          entries.push({ kind: 'epoch', bytes: copy(data) })
        } else if (subject === this.#names.revocations)
          entries.push({ kind: 'revocation', bytes: copy(data) })
      }
      this.#position = { created, sequence: last, epoch, lastEpoch }
      return { entries, isWhole }
    })
  }

  rewind(): void {
    this.#position = undefined
  }

  async appendEpoch(bytes: Uint8Array): Promise<boolean> {
    return asked(async () => {
      const position = this.#position
      if (position === undefined) return false
      try {
        const expect = { streamName: this.#names.stream, lastSubjectSequence: position.lastEpoch }
        const { seq } = await this.#client.publish(this.#names.epochs, bytes, { expect })
        this.#position = { ...position, epoch: seq, lastEpoch: seq }
        return true
      } catch (error) {
        if (isWrongSequence(error)) return false
        throw error
      }
    })
  }

  async appendRevocation(bytes: Uint8Array): Promise<void> {
    const expect = { streamName: this.#names.stream }
    await asked(() => this.#client.publish(this.#names.revocations, bytes, { expect }))
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  /** From where to where the stream reaches, and its last entry among the epochs: none that is not within. */
  async #state() {
    const { stream, epochs } = this.#names
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { created, state } = await streamInfo(this.#manager, this.#names)
      const newest = await this.#manager.streams.getMessage(stream, { last_by_subj: epochs })
      const lastEpoch = newest?.seq ?? 0
      const { first_seq: first, last_seq: last } = state
      if (lastEpoch <= last) return { created, first: Math.max(1, first), last, lastEpoch }
    }
    throw new SubrosaError('ERR_STATE', `the stream ${stream} does not hold still`)
  }

  /** Those that nobody has deleted. */
  async #messages(first: number, last: number): Promise<readonly StoredMsg[]> {
    const { stream } = this.#names
    const messages: StoredMsg[] = []
    let bytes = 0
    for (let next = first; next <= last; next += READS_AT_ONCE) {
      const count = Math.min(READS_AT_ONCE, last - next + 1)
      const some = await Promise.all(
        Array.from({ length: count }, (_, i) => this.#manager.streams.getMessage(stream, { seq: next + i })),
      )
      for (const message of some) {
        bytes += message?.data.length ?? 0
        if (message !== null) messages.push(message)
      }
      if (bytes > MAX_LOG_BYTES || next - first > MAX_LOG_ENTRIES) throw tooMuch(stream)
    }
    return messages
  }
}

async function streamInfo(manager: JetStreamManager, names: LogNames): Promise<StreamInfo> {
  const { stream, epochs, revocations } = names
  try {
    return await manager.streams.info(stream)
  } catch (error) {
    if (!isStreamMissing(error)) throw error
  }
  return manager.streams.add({
    name: stream,
    subjects: [epochs, revocations],
    // Nothing goes by itself, and nobody takes anything out by mistake.
    deny_delete: true,
    deny_purge: true,
  })
}

async function asked<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw jetStreamError(error)
  }
}

function tooMuch(stream: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `the stream ${stream} holds more than a realm ever needs`, {
    hint: 'somebody has filled it with junk: stop every replica and delete it, and the replicas fill it anew',
  })
}
