import { concat, hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import type { Identity } from '../identity/identity.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Trust } from '../identity/trust.ts'
import { type AcceptedEpoch, rotatorKey } from '../keys/epochs.ts'
import type { VerifiedRevocation } from '../keys/revocations.ts'
import { decodeEndorsed, type Endorsed, encodeEndorsed } from '../wire/endorsed.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeEpoch, decodeStatement } from '../wire/statements.ts'
import type { LogEntry, OpenLog } from './log.ts'
import type { RealmRecord } from './realm-record.ts'

/** What is kept in step with what. */
export interface LogSyncOptions {
  readonly log: OpenLog
  readonly record: RealmRecord
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly identity: Identity
  readonly clock: Clock
  readonly onEpoch: (epoch: AcceptedEpoch) => void
  readonly onRevoked: (revocation: VerifiedRevocation) => void
  /** What is wrong with the log, where one can go on. */
  readonly onError: (error: unknown) => void
}

/** An epoch as it stands in the log, unverified. */
interface LoggedEpoch {
  readonly number: number
  readonly hash: Uint8Array
  readonly notBefore: number
  readonly bytes: Uint8Array
}

const MAX_RACES = 8

/**
 * Keeps a replica's record and the shared log in step. What the log holds is judged as if a hostile broker had put it
 * there; what the record holds and the log does not is appended by whoever leads. SPEC, "Replicas".
 */
export class LogSync {
  readonly #options: LogSyncOptions
  readonly #ownKey: Uint8Array
  /** What of the record the log holds: hashes of epochs, and of revocations that a replica has endorsed. */
  readonly #logged = new Set<string>()
  #newestLogged = 0

  constructor(options: LogSyncOptions) {
    this.#options = options
    this.#ownKey = decodeNkey('U', options.identity.publicKey)
  }

  /** Whether the log, as far as it was read, holds no epoch that is believed. */
  get isEmpty(): boolean {
    return this.#newestLogged === 0
  }

  /** Whether a revocation is in force that the log does not hold. */
  get hasUnlogged(): boolean {
    return this.#missingRevocations().length > 0
  }

  /**
   * Takes in what has been appended.
   *
   * @throws SubrosaError ERR_ROLLBACK when the log holds other epochs than the record, or what the log throws
   */
  async read(): Promise<void> {
    const { log } = this.#options
    const { entries, isWhole } = await log.read()
    if (isWhole) {
      this.#logged.clear()
      this.#newestLogged = 0
    }
    try {
      this.#take(entries)
    } catch (error) {
      // What is wrong with it stays wrong: the next reading, too, sees the whole.
      log.rewind()
      if (isWhole) throw error
      // It may have been set back, and have grown again.
      await this.read()
    }
  }

  /**
   * Appends the next epoch.
   *
   * @returns whether it was appended; where another replica was faster, its epoch has been taken in
   * @throws SubrosaError as {@link read}
   */
  async append(bytes: Uint8Array): Promise<boolean> {
    const isAppended = await this.#options.log.appendEpoch(bytes)
    if (isAppended) this.#note(this.#options.record.epochs.peek(bytes))
    else await this.#readAgain()
    return isAppended
  }

  /** Appends what the record holds and the log does not. @throws SubrosaError as {@link read}, ERR_STATE */
  async appendMissing(): Promise<void> {
    for (let race = 0; !(await this.#appendEpochs()); race++) if (race >= MAX_RACES) throw lostRaces()
    for (const { bytes } of this.#missingRevocations()) {
      await this.#options.log.appendRevocation(encodeEndorsed(this.#endorse(bytes)))
      this.#logged.add(this.#revocationKey(bytes))
    }
  }

  async #readAgain(): Promise<void> {
    this.#options.log.rewind()
    await this.read()
  }

  /** @returns whether none is missing any more; else somebody else was faster */
  async #appendEpochs(): Promise<boolean> {
    const missing = this.#options.record.published.filter(({ number }) => number > this.#newestLogged)
    for (const { bytes } of missing) if (!(await this.append(bytes))) return false
    return true
  }

  #take(entries: readonly LogEntry[]): void {
    const bytesOf = (kind: LogEntry['kind']): readonly Uint8Array[] =>
      entries.flatMap((entry) => (entry.kind === kind ? entry.bytes : []))
    // The epochs first: a rotator may have been revoked since it signed them.
    const junk = this.#takeEpochs(bytesOf('epoch')) + this.#takeRevocations(bytesOf('revocation'))
    if (junk === 0) return
    this.#options.onError(
      new SubrosaError('ERR_STATE', `the log holds ${junk} entries that count for nothing: they are skipped`),
    )
  }

  /** @returns how many count for nothing */
  #takeEpochs(entries: readonly Uint8Array[]): number {
    const { record } = this.#options
    const offered = entries.flatMap((bytes) => this.#readEpoch(bytes) ?? [])
    const signed = offered.filter((epoch) => !record.has(epoch.hash) && this.#isSigned(epoch))
    // The newest first: those before it come along, bound by their hashes.
    for (const epoch of signed.toSorted((a, b) => b.number - a.number)) this.#accept(epoch, offered)
    const known = offered.filter(({ hash }) => record.has(hash))
    for (const epoch of known) this.#note(epoch)
    const others = signed.filter(({ hash }) => !record.has(hash))
    for (const epoch of others) this.#assertNoFork(epoch)
    return entries.length - known.length
  }

  #readEpoch(bytes: Uint8Array): LoggedEpoch | undefined {
    const { record, trust } = this.#options
    try {
      const { realm } = decodeEpoch(decodeStatement(WireType.epoch, bytes).structure)
      return realm === trust.realm ? { ...record.epochs.peek(bytes), bytes } : undefined
    } catch {
      return undefined
    }
  }

  /** Whether a replica, another rotator or an authority has signed it, whatever else is wrong with it. */
  #isSigned({ bytes }: LoggedEpoch): boolean {
    const { trust, engine, record, clock } = this.#options
    const { structure, signature, token } = decodeStatement(WireType.epoch, bytes)
    const isBy = (key: Uint8Array): boolean => engine.verify(key, concat(labels.epoch, structure), signature)
    if (isBy(this.#ownKey)) return true
    try {
      const { revocations } = record
      if (token === undefined) return trust.authorityKeys().some(isBy)
      return isBy(rotatorKey({ trust, revocations }, token, clock.now()))
    } catch {
      return false
    }
  }

  #accept(epoch: LoggedEpoch, offered: readonly LoggedEpoch[]): void {
    const { record, clock, onEpoch } = this.#options
    if (record.head !== undefined && epoch.number <= record.head.number) return
    const statements = offered.map(({ bytes }) => bytes)
    try {
      // As of when it was made, as with one's own record: the token that signed it may have been renewed since.
      onEpoch(record.accept(epoch.bytes, statements, Math.min(epoch.notBefore, clock.now())))
    } catch (error) {
      if (error instanceof SubrosaError && error.code === 'ERR_ROLLBACK') throw forked(epoch.number, error)
      // Agents refuse it too: it is as good as not there.
    }
  }

  /** An epoch that is signed and is not that of the record: another one that is in the log as well has come first. */
  #assertNoFork({ number }: LoggedEpoch): void {
    const own = this.#options.record.published.find((recorded) => recorded.number === number)
    if (own !== undefined && !this.#logged.has(hex(own.hash))) throw forked(number)
  }

  /** @returns how many are no revocations, or not to be believed */
  #takeRevocations(entries: readonly Uint8Array[]): number {
    const { record, onRevoked } = this.#options
    const read = entries.flatMap((bytes) => this.#readRevocation(bytes) ?? [])
    const endorsed = read.filter((entry) => this.#isEndorsed(entry))
    const statements = (of: readonly Endorsed[]) => of.map(({ statement }) => statement)
    // That the revoker's token has ended since does not undo it: a replica took it in when it had not.
    for (const added of record.addCarried(statements(endorsed))) onRevoked(added)
    const others = statements(read.filter((entry) => !endorsed.includes(entry)))
    const added = record.addRevocations(others)
    for (const revocation of added) onRevoked(revocation)
    for (const { statement } of endorsed) this.#logged.add(this.#revocationKey(statement))
    return entries.length - endorsed.length - added.length
  }

  #readRevocation(bytes: Uint8Array): Endorsed | undefined {
    try {
      const endorsed = decodeEndorsed(bytes)
      decodeStatement(WireType.revocation, endorsed.statement)
      return endorsed
    } catch {
      return undefined
    }
  }

  #isEndorsed({ statement, endorsement }: Endorsed): boolean {
    return this.#options.engine.verify(this.#ownKey, this.#endorsed(statement), endorsement)
  }

  #endorse(statement: Uint8Array): Endorsed {
    return { statement, endorsement: this.#options.identity.sign(this.#endorsed(statement)) }
  }

  #endorsed(statement: Uint8Array): Uint8Array {
    return concat(labels.endorsement, this.#options.engine.sha256(statement))
  }

  #missingRevocations(): readonly VerifiedRevocation[] {
    const { record, clock } = this.#options
    const carried = new Set(record.head?.revocations.map((bytes) => this.#revocationKey(bytes)))
    return record.revocations.inForce(clock.now()).filter(({ bytes }) => {
      const key = this.#revocationKey(bytes)
      return !this.#logged.has(key) && !carried.has(key)
    })
  }

  /** The same revocation with another signature reaches others: they are told apart. */
  #revocationKey(bytes: Uint8Array): string {
    return hex(this.#options.engine.sha256(bytes))
  }

  #note({ number, hash }: { readonly number: number; readonly hash: Uint8Array }): void {
    this.#logged.add(hex(hash))
    this.#newestLogged = Math.max(this.#newestLogged, number)
  }
}

function forked(number: number, cause?: unknown): SubrosaError {
  return new SubrosaError(
    'ERR_ROLLBACK',
    `the log of the replicas holds another epoch ${number} than this record, or leaves out those before it`,
    {
      hint: 'one of the two is of another time or another realm: stop this replica, and keep both until it is clear which one agents follow',
      cause,
    },
  )
}

function lostRaces(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'the log of the replicas takes no epoch: others are always faster')
}
