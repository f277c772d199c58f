import { SubrosaError } from '../base/errors.ts'
import { QUERY_INTERVAL_MS } from '../base/limits.ts'
import { Timers } from '../base/timers.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import { Leadership } from './leadership.ts'
import type { RotationLog } from './log.ts'
import { LogSync, type LogSyncOptions } from './log-sync.ts'
import { Newcomer, type NewcomerOptions } from './newcomer.ts'
import type { RotationTimes } from './times.ts'
import { Turns } from './turns.ts'

/** What a replica is made of, and whom it tells. */
export interface ReplicaOptions extends Omit<LogSyncOptions, 'log'>, Omit<NewcomerOptions, 'sync'> {
  readonly log: RotationLog
  readonly times: RotationTimes
  /** Whether the next epoch should begin now. */
  readonly isDue: () => boolean
  readonly onLeading: () => void
  readonly onFollowing: () => void
  /** Every revocation is in the log now. */
  readonly onLogged: () => void
}

type OpenOptions = Omit<ReplicaOptions, 'log'> & LogSyncOptions

const POKE_DELAY_MS = 20
const APPEND_AGAIN_MS = 200

/**
 * One of several rotation services that share a log. It follows the log, takes over when nobody leads, and appends
 * what it publishes before it publishes it. SPEC, "Replicas".
 */
export class Replica {
  readonly #options: OpenOptions
  readonly #leadership: Leadership
  readonly #sync: LogSync
  readonly #newcomer: Newcomer
  readonly #timers: Timers
  /** Whatever reads or writes the log. */
  readonly #turns = new Turns()
  /** Counts how often the lease was taken: what was begun under an earlier one is not ended under a later one. */
  #term = 0
  #isInOffice = false
  #isInStep = false
  #isPoked = false
  #isClosed = false

  /** Opens the log. @throws SubrosaError as {@link RotationLog.open} */
  static async open(nc: NatsLike, options: ReplicaOptions): Promise<Replica> {
    let poke = (): void => {}
    const log = await options.log.open(options.subjects.root, () => poke())
    const replica = new Replica(nc, { ...options, log })
    poke = () => replica.poke()
    return replica
  }

  private constructor(nc: NatsLike, options: OpenOptions) {
    const { log, clock, onError } = options
    this.#options = options
    this.#timers = new Timers(clock, onError)
    this.#sync = new LogSync(options)
    this.#newcomer = new Newcomer(nc, { ...options, sync: this.#sync })
    this.#leadership = new Leadership({
      lease: log.lease,
      clock,
      onTaken: () => void this.#takeOffice(++this.#term),
      onLost: () => this.#leaveOffice(),
      onError,
    })
  }

  /** Whether this replica speaks for all of them. It is asked before each word. */
  get isLeading(): boolean {
    return this.#isInOffice && this.#leadership.isHeld
  }

  /** Whether what is held may be told: what the log does not hold could be lost with this replica. */
  get mayConfirm(): boolean {
    return this.isLeading && !this.#sync.hasUnlogged
  }

  /**
   * Comes in step with the log, and leads where nobody else does.
   *
   * @throws SubrosaError ERR_ROLLBACK when the log holds other epochs than the record, and what the log throws
   */
  async start(): Promise<void> {
    const { record } = this.#options
    await this.#turns.run(() => this.#sync.read())
    if (record.isBelieved) await this.#stand()
    if (this.isLeading) return
    await this.#ask()
    void this.#followUp()
  }

  /** Something may have been appended. */
  poke(): void {
    if (this.#isPoked || this.#isClosed) return
    this.#isPoked = true
    this.#timers.after(POKE_DELAY_MS, () => {
      this.#isPoked = false
      void this.#read()
    })
  }

  /** Has the leader's directory once more: announcements may have been missed. */
  comeInStep(): void {
    this.poke()
    if (!this.#isInStep) return
    this.#isInStep = false
    void this.#followUp()
  }

  /**
   * Begins the next epoch: it is in the log, and stored, when this resolves.
   *
   * @throws SubrosaError ERR_STATE where another replica leads, and what {@link RealmRecord.accept} and the log throw
   */
  async rotate(): Promise<void> {
    await this.#turns.run(() => this.#rotate())
  }

  /** Appends revocations that were taken in. It goes on trying for as long as this replica leads. */
  logRevocations(): void {
    if (!this.isLeading || !this.#sync.hasUnlogged) return
    void this.#turns.run(async () => {
      try {
        if (!this.isLeading) return
        // First, since an append to a log that is gone is never answered.
        await this.#sync.read()
        await this.#appendMissing()
      } catch (error) {
        this.#options.onError(error)
        this.#timers.after(APPEND_AGAIN_MS, () => this.logRevocations())
      }
    })
  }

  /** This replica cannot do what the leading one has to: another one may. */
  async giveUp(error: unknown): Promise<void> {
    this.#options.onError(error)
    if (this.#leadership.isHeld && !this.#isClosed) await this.#leadership.giveUp()
  }

  /** Says nothing any more, ends what is under way, and gives the lease back. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#isInOffice = false
    this.#timers.close()
    await this.#turns.idle()
    await this.#leadership.close()
    this.#options.log.close()
  }

  async #stand(): Promise<void> {
    await this.#leadership.start()
    await this.#turns.idle()
  }

  /** Asks the replica that leads, until it has answered or this one leads. */
  async #followUp(): Promise<void> {
    while (!this.#isClosed && !this.isLeading && !this.#isInStep) {
      await new Promise<void>((resolve) => this.#timers.after(QUERY_INTERVAL_MS, resolve))
      await this.#ask()
    }
  }

  async #ask(): Promise<void> {
    const { record, onError } = this.#options
    const wasBelieved = record.isBelieved
    try {
      this.#isInStep = await this.#newcomer.ask()
    } catch (error) {
      onError(error)
    }
    if (!wasBelieved && record.isBelieved && !this.#isClosed) await this.#stand()
  }

  async #read(): Promise<void> {
    await this.#turns.run(async () => {
      try {
        await this.#sync.read()
        if (this.isLeading) await this.#appendMissing()
      } catch (error) {
        await this.giveUp(error)
      }
    })
  }

  /** With the lease in hand: first everything that others have appended, then everything that they should have. */
  async #takeOffice(term: number): Promise<void> {
    const { onLeading, isDue } = this.#options
    await this.#turns.run(async () => {
      try {
        await this.#sync.read()
        await this.#sync.appendMissing()
        if (this.#isClosed || term !== this.#term || !this.#leadership.isHeld) return
        this.#isInOffice = true
        onLeading()
        // What came while the log was read.
        this.logRevocations()
        if (isDue()) await this.#rotate()
      } catch (error) {
        await this.giveUp(error)
      }
    })
  }

  async #appendMissing(): Promise<void> {
    const isWaiting = this.#sync.hasUnlogged
    await this.#sync.appendMissing()
    if (isWaiting) this.#options.onLogged()
  }

  #leaveOffice(): void {
    if (!this.#isInOffice) return
    this.#isInOffice = false
    this.#options.onFollowing()
  }

  async #rotate(): Promise<void> {
    const { record, clock, times, onEpoch } = this.#options
    if (!this.isLeading) throw notLeading()
    await this.#sync.read()
    await this.#appendMissing()
    const before = record.head
    const nowMs = clock.now()
    const bytes = record.nextEpoch(times, nowMs)
    // As agents will: one that they refuse would end the realm.
    record.judge(bytes, nowMs)
    record.keepPending(bytes)
    if (!this.isLeading) throw notLeading()
    if (await this.#sync.append(bytes)) onEpoch(record.accept(bytes, [], nowMs))
    else if (record.head === before) {
      throw new SubrosaError('ERR_STATE', 'the log of the replicas takes no epoch, and holds no other one')
    }
  }
}

function notLeading(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'another replica leads', {
    hint: 'the one that leads takes the order: subrosa rotate now',
  })
}
