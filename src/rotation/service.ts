// Over 300 lines: epochs, ticks and revocations of a realm change together, and are stored in one order.
import type { NatsLike, NatsMessage, NatsSubscription } from '../bus/nats-like.ts'
import { subscribeSafely } from '../bus/safely.ts'
import { hex } from '../bytes.ts'
import { type Clock, systemClock } from '../clock.ts'
import { type CryptoEngine, type EngineName, engineFor } from '../crypto/engine.ts'
import { SUITE_X25519 } from '../envelope/keys.ts'
import { SubrosaError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import { Directory } from '../keys/directory.ts'
import { type AcceptedEpoch, EpochChain, FIRST_PREV_HASH, signEpoch } from '../keys/epochs.ts'
import { RevocationSet } from '../keys/revocations.ts'
import { type ProtocolSubjects, protocolSubjects } from '../keys/subjects.ts'
import { signTick } from '../keys/ticks.ts'
import {
  DEFAULT_EPOCH_MS,
  DEFAULT_GRACE_MS,
  DEFAULT_LEAD_MS,
  DEFAULT_TICK_MS,
  MAX_EPOCH_MS,
  MAX_GRACE_MS,
  MAX_NONCES_PER_TICK,
  MAX_TICKS_PER_SECOND,
  STALE_AFTER_MS,
} from '../limits.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeQuery, decodeStatement } from '../wire/statements.ts'
import { QueryDesk } from './queries.ts'
import { memoryRotationStore, type RotationStore } from './store.ts'

/** Options of {@link startRotationService}. */
export interface RotationOptions {
  /** The service's own identity; its token has the role `rotator`. */
  readonly identity: Identity
  readonly trust: TrustOptions
  /** Where it keeps what it has published. Default: in memory, for as long as the process lives. */
  readonly store?: RotationStore
  /** How long an epoch lasts, in milliseconds. Default 1 hour, at most 24. */
  readonly epochMs?: number
  /** How long an epoch overlaps with the next, in milliseconds. Default 5 minutes. */
  readonly leadMs?: number
  /** How long after an epoch's end its messages may still arrive, in milliseconds. Default 5 minutes, at most 15. */
  readonly graceMs?: number
  /** Milliseconds between ticks. Default 15,000. Agents are stale after 90,000 without one. */
  readonly tickMs?: number
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  readonly subjectPrefix?: string
  readonly clock?: Clock
  /** Called with what happens, for logs. It holds no secrets. */
  readonly onEvent?: (event: RotationEvent) => void
}

/** What a rotation service reports. */
export type RotationEvent =
  | { readonly type: 'epoch'; readonly number: number; readonly notAfter: number }
  | { readonly type: 'announced'; readonly name: string; readonly instance: string; readonly epoch: number }
  | { readonly type: 'retired'; readonly name: string; readonly instance: string }
  | { readonly type: 'revoked'; readonly identity: string; readonly reason: string }
  | { readonly type: 'error'; readonly error: unknown }

const MAX_WAITING_NONCES = 4096
const TICK_RESERVE_MS = 2000

/**
 * Publishes signed epochs and ticks, takes in revocations, and answers questions about the directory. It never holds
 * an agent's private key, and what it may not do, agents refuse: SPEC, "Refusals".
 */
export class RotationService {
  readonly #nc: NatsLike
  readonly #identity: Identity
  readonly #clock: Clock
  readonly #store: RotationStore
  readonly #times: {
    readonly epochMs: number
    readonly leadMs: number
    readonly graceMs: number
    readonly tickMs: number
  }
  readonly #subjects: ProtocolSubjects
  readonly #onEvent: (event: RotationEvent) => void
  readonly #engine: CryptoEngine
  readonly #revocations: RevocationSet
  readonly #epochs: EpochChain
  readonly #directory: Directory
  readonly #desk: QueryDesk
  readonly #nonces: Uint8Array[] = []
  #statements: Uint8Array[]
  #tickedUntil: number
  #lastTickNow: number
  #lastTickAt = Number.NEGATIVE_INFINITY
  #subscriptions: readonly NatsSubscription[] = []
  #cancelTick = (): void => {}
  #cancelRotation = (): void => {}
  #isClosed = false
  #isRestored = false

  /** Use {@link startRotationService}. */
  constructor(nc: NatsLike, options: RotationOptions) {
    const { identity, clock = systemClock, store = memoryRotationStore(), onEvent = () => {} } = options
    this.#nc = nc
    this.#identity = identity
    this.#clock = clock
    this.#store = store
    this.#onEvent = onEvent
    this.#times = checkedTimes(options)
    this.#engine = engineFor(options.engine)
    const trust = new Trust(this.#engine, options.trust)
    checkRotator(trust, identity, clock.now())
    this.#subjects = protocolSubjects(trust.realm, options.subjectPrefix)
    const engine = this.#engine
    const revocations = new RevocationSet(engine, trust)
    const epochs = new EpochChain({
      engine,
      trust,
      revocations,
      floor: undefined,
      keepFloor: () => {
        if (this.#isRestored) this.#save()
      },
    })
    this.#revocations = revocations
    this.#epochs = epochs
    this.#directory = new Directory({ engine, trust, epochs, revocations, onClone: () => {} })
    const record = store.load()
    this.#statements = [...record.epochs]
    this.#tickedUntil = record.tickedUntil
    this.#lastTickNow = record.tickedUntil
    this.#desk = new QueryDesk(nc, {
      clock,
      subjects: this.#subjects,
      epochs: () => this.#statements.map((bytes) => ({ number: epochs.peek(bytes).number, bytes })),
      announcements: () => this.#directory.proven(clock.now()),
      revocations: () => revocations.inForce(clock.now()).map(({ bytes }) => bytes),
    })
    // The epochs first: a rotator may have been revoked since it signed them.
    this.#restore()
    for (const bytes of record.revocations) revocations.addCarried(bytes, clock.now())
    this.#isRestored = true
  }

  /** The newest epoch's number. */
  get epoch(): number {
    return this.#epochs.head?.number ?? 0
  }

  /** Subscribes, publishes the first or the next epoch where one is due, and ticks. */
  async start(): Promise<void> {
    const follow = (subject: string, take: (message: NatsMessage) => void): NatsSubscription =>
      subscribeSafely(this.#nc, subject, {
        take: (message) => {
          if (!this.#isClosed) take(message)
        },
        onError: (error) => this.#onEvent({ type: 'error', error }),
      })
    const { query, announcements, revoke } = this.#subjects
    this.#subscriptions = [
      follow(announcements, ({ data }) => this.#takeAnnouncement(data)),
      follow(revoke, ({ data }) => this.#takeRevocation(data)),
      follow(query, (message) => this.#takeQuery(message)),
    ]
    const head = this.#epochs.head
    if (head === undefined || this.#isDue(head) || this.#isOfFormerToken(head)) this.rotate()
    else this.#schedule(head)
    this.#tick()
    await this.#nc.flush()
  }

  /**
   * Publishes the next epoch now. Agents announce new keys, and move over when everyone they write to has.
   *
   * @returns the number of the new epoch
   * @throws SubrosaError ERR_CLOSED, ERR_STATE
   */
  rotate(): number {
    if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'the rotation service is closed')
    const { epochMs, graceMs } = this.#times
    const nowMs = this.#clock.now()
    const head = this.#epochs.head
    const bytes = signEpoch(
      this.#identity,
      {
        realm: this.#identity.claims.realm,
        number: (head?.number ?? 0) + 1,
        prevHash: head?.hash ?? FIRST_PREV_HASH,
        // Never earlier: the revocations that it must carry, and the token that signs it, are judged as of then.
        notBefore: nowMs,
        notAfter: nowMs + epochMs,
        graceMs,
        suites: [SUITE_X25519],
        revocations: this.#revocations.inForce(nowMs).map((revocation) => revocation.bytes),
      },
      this.#identity.token,
    )
    const epoch = this.#keep(bytes, nowMs)
    this.#directory.invalidate(this.#clock.now())
    this.#nc.publish(this.#subjects.epoch, bytes)
    this.#onEvent({ type: 'epoch', number: epoch.number, notAfter: epoch.notAfter })
    this.#forget(nowMs)
    this.#schedule(epoch)
    this.#tick()
    return epoch.number
  }

  /** Stops ticking and answering, and releases the store. The NATS connection stays open. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelTick()
    this.#cancelRotation()
    if (!this.#nc.isClosed()) for (const subscription of this.#subscriptions) subscription.unsubscribe()
    // What was reserved and not used is given back: or each restart would begin further ahead of the clock.
    this.#tickedUntil = this.#lastTickNow
    this.#guard(() => this.#save())
    this.#store.close()
  }

  /**
   * Judges an epoch as agents will, and stores it before anybody sees it: one that was seen and then forgotten would
   * fork the realm, and one that agents refuse would end it.
   */
  #keep(bytes: Uint8Array, nowMs: number): AcceptedEpoch {
    const before = this.#statements
    this.#statements = [...before, bytes]
    try {
      return this.#epochs.accept([bytes], this.#epochs.peek(bytes), nowMs)
    } catch (error) {
      this.#statements = before
      throw error
    }
  }

  #restore(): void {
    const newest = this.#statements.at(-1)
    if (newest === undefined) return
    const head = this.#epochs.peek(newest)
    // As of when it was made: the token that signed it may have been renewed since.
    this.#epochs.accept(this.#statements, head, head.notBefore)
    for (const bytes of this.#store.loadAnnouncements()) this.#directory.add(bytes, this.#clock.now())
  }

  #guard(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#onEvent({ type: 'error', error })
    }
  }

  #isDue(head: AcceptedEpoch): boolean {
    return head.notAfter - this.#times.leadMs <= this.#clock.now()
  }

  /** Whoever joins verifies the newest epoch now: with the token that signed it, when that may have ended. */
  #isOfFormerToken({ bytes, byAuthority }: AcceptedEpoch): boolean {
    return !byAuthority && decodeStatement(WireType.epoch, bytes).token !== this.#identity.token
  }

  #schedule(head: AcceptedEpoch): void {
    this.#cancelRotation()
    const delay = head.notAfter - this.#times.leadMs - this.#clock.now()
    this.#cancelRotation = this.#clock.after(delay, () => this.#guard(() => this.rotate()))
  }

  #takeAnnouncement(bytes: Uint8Array): void {
    const nowMs = this.#clock.now()
    const parsed = this.#directory.add(bytes, nowMs)
    if (parsed === undefined || this.#directory.sender(parsed.hash, nowMs).standing !== 'known') return
    this.#store.addAnnouncement(parsed.bytes)
    const { agent: name, epoch, keys } = parsed.announcement
    const instance = hex(parsed.announcement.instance)
    this.#onEvent(
      keys.length === 0 ? { type: 'retired', name, instance } : { type: 'announced', name, instance, epoch },
    )
  }

  #takeRevocation(bytes: Uint8Array): void {
    const added = this.#revocations.add(bytes, this.#clock.now())
    if (added === undefined) return
    this.#directory.invalidate(this.#clock.now())
    this.#save()
    const { identity, reason } = added.revocation
    this.#onEvent({ type: 'revoked', identity, reason })
    // At once: agents that missed it see from the tick that they did.
    this.#tickSoon()
  }

  #takeQuery({ data, reply }: NatsMessage): void {
    const query = decodeQuery(data)
    if (!this.#desk.mayAsk(reply)) return
    if (query.nonce !== undefined && this.#nonces.length < MAX_WAITING_NONCES) {
      this.#nonces.push(query.nonce)
      this.#tickSoon()
    }
    this.#desk.answer(query, reply)
  }

  /** A tick as soon as the limit of ten a second allows it. */
  #tickSoon(): void {
    const wait = this.#lastTickAt + 1000 / MAX_TICKS_PER_SECOND - this.#clock.monotonic()
    if (wait <= 0) this.#tick()
    else this.#tickIn(wait)
  }

  #tickIn(delayMs: number): void {
    this.#cancelTick()
    this.#cancelTick = this.#clock.after(delayMs, () => this.#guard(() => this.#tick()))
  }

  #tick(): void {
    const head = this.#epochs.head
    if (this.#isClosed || head === undefined || this.#nc.isClosed()) return
    // First, so that it goes on whatever happens below.
    this.#tickIn(this.#times.tickMs)
    // Timers do not see a suspended machine, nor a wall clock that is set.
    if (this.#isDue(head)) {
      this.#guard(() => this.rotate())
      if (this.#epochs.head !== head) return
    }
    const now = Math.max(this.#clock.now(), this.#lastTickNow + 1)
    this.#lastTickNow = now
    if (now > this.#tickedUntil) {
      // A reserve, so that not every tick costs a write, and none is repeated after a crash.
      this.#tickedUntil = now + TICK_RESERVE_MS
      this.#save()
    }
    const tick = {
      realm: head.realm,
      number: head.number,
      epochHash: head.hash,
      revocationsHash: this.#revocations.hash(now),
      now,
      nonces: this.#nonces.splice(0, MAX_NONCES_PER_TICK),
    }
    this.#nc.publish(this.#subjects.tick, signTick(this.#identity, tick, this.#identity.token))
    this.#lastTickAt = this.#clock.monotonic()
    if (this.#nonces.length > 0) this.#tickIn(1000 / MAX_TICKS_PER_SECOND)
  }

  #save(): void {
    const revocations = this.#revocations.inForce(this.#clock.now()).map(({ bytes }) => bytes)
    this.#store.save({ epochs: this.#statements, revocations, tickedUntil: this.#tickedUntil })
  }

  #forget(nowMs: number): void {
    this.#epochs.prune(nowMs)
    this.#revocations.prune(nowMs)
    this.#directory.prune()
    this.#store.setAnnouncements(this.#directory.proven(nowMs).map(({ bytes }) => bytes))
  }
}

/**
 * Starts a rotation service on a NATS connection. Exactly one may run on a realm.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID without the role `rotator`, ERR_TOKEN_EXPIRED, ERR_UNKNOWN_AUTHORITY,
 *   ERR_STATE, ERR_ROLLBACK, ERR_EPOCH_INVALID
 * @throws RangeError when a time is out of its bounds
 *
 * @example
 * ```ts
 * const service = await startRotationService(nc, {
 *   identity: await loadIdentity('file:rotator.identity'),
 *   trust: { authority: ['A…'] },
 *   store: fileRotationStore('/var/lib/subrosa'),
 * })
 * ```
 */
export async function startRotationService(nc: NatsLike, options: RotationOptions): Promise<RotationService> {
  const service = new RotationService(nc, options)
  await service.start()
  return service
}

function checkRotator(trust: Trust, identity: Identity, nowMs: number): void {
  if (trust.verify(identity.token, nowMs).roles.includes('rotator')) return
  throw new SubrosaError('ERR_TOKEN_INVALID', `the identity token of ${identity.name} has no role rotator`, {
    hint: 'make one with: subrosa agent add NAME --role rotator',
  })
}

function checkedTimes(options: RotationOptions) {
  const {
    epochMs = DEFAULT_EPOCH_MS,
    leadMs = DEFAULT_LEAD_MS,
    graceMs = DEFAULT_GRACE_MS,
    tickMs = DEFAULT_TICK_MS,
  } = options
  for (const [name, value] of Object.entries({ epochMs, leadMs, graceMs, tickMs })) {
    if (!Number.isInteger(value)) throw new RangeError(`${name} must be a whole number of milliseconds`)
  }
  if (!(epochMs > 0 && epochMs <= MAX_EPOCH_MS))
    throw new RangeError('epochMs must be above 0 and at most 24 hours')
  if (!(leadMs > 0 && leadMs < epochMs)) throw new RangeError('leadMs must be above 0 and below epochMs')
  if (!(graceMs >= 0 && graceMs <= MAX_GRACE_MS))
    throw new RangeError('graceMs must be at least 0 and at most 15 minutes')
  if (!(tickMs > 0 && tickMs < STALE_AFTER_MS))
    throw new RangeError('tickMs must be above 0 and below 90 seconds')
  return { epochMs, leadMs, graceMs, tickMs }
}
