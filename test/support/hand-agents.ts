import type { NatsConnection } from '@nats-io/transport-node'
import { expect } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { STALE_AFTER_MS } from '../../src/base/limits.ts'
import { type Logger, silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import type { KeyPair } from '../../src/crypto/engine.ts'
import type { RecipientKey, SessionSecrets } from '../../src/envelope/keys.ts'
import { type Sealed, seal } from '../../src/envelope/seal.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { Permissions } from '../../src/identity/permissions.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { CHANNEL_AUTH, frameLeaf, signBatch } from '../../src/session/session-auth.ts'
import type { FrameMeta } from '../../src/wire/frame.ts'
import { encodeHandshake, type Handshake, SessionMode } from '../../src/wire/handshake.ts'
import { decodeQuery } from '../../src/wire/queries.ts'
import type { SealedContent, SealedType } from '../../src/wire/sealed.ts'
import { forgeFrame, headerOf } from '../session/forge-frame.ts'
import { contentOf } from '../session/pair.ts'
import { ManualClock } from './clock.ts'
import { HandRotator } from './hand-rotator.ts'
import { EVERYTHING, engine } from './identities.ts'
import { passing, passingUntil } from './passing.ts'
import { collectStatus, TestRealm } from './realm.ts'
import { MINUTE, reparse, verifyAnnouncement } from './statements.ts'
import { until } from './until.ts'

/** A member of the realm that seals what it likes: valid keys and a valid token, and no library that refuses. */
export interface HandAgent {
  readonly identity: Identity
  readonly keys: KeyPair
  readonly hash: Uint8Array
  readonly instance: Uint8Array
}

export interface Sealing {
  readonly content?: Partial<SealedContent>
  readonly sentAtMs?: number
  readonly in?: Epoch
  readonly to?: readonly RecipientKey[]
  readonly messageKey?: Uint8Array
  readonly type?: SealedType
}

export interface HandSessionOptions extends Partial<Handshake> {
  /** Default: the beginning of the epoch. */
  readonly sentAtMs?: number
  readonly in?: Epoch
  readonly to?: readonly RecipientKey[]
}

export interface HandFrame {
  readonly counter?: number
  readonly sentAtMs?: number
  readonly meta?: Partial<FrameMeta>
  readonly payload?: Uint8Array
  /** In place of one payload. */
  readonly payloads?: readonly Uint8Array[]
  readonly messageKey?: Uint8Array
}

/** What a writer can be told, whatever the mode. */
export interface Writing {
  readonly subject?: string
  readonly reply?: string
  readonly inReplyTo?: Uint8Array
  /** The number under which it is replayed or not. */
  readonly number?: number
  readonly sentAtMs?: number
  readonly ttlMs?: number
  readonly payload?: Uint8Array
  /** Many payloads, which only a frame can have. */
  readonly payloads?: readonly Uint8Array[]
  readonly messageKey?: Uint8Array
}

export const HAND_EPOCH_MS = 10 * MINUTE
/** For how long an epoch goes on beside the next. */
const HAND_LEAD_MS = MINUTE
export const HAND_GRACE_MS = 100_000
const MAX_SLEW_MS = 10_000

/** A realm with one agent of the library, bob, who reads orders.new; whoever else is in it is made by hand. */
export class HandRealm {
  readonly clock: ManualClock
  /** The clocks of the machine that bob runs on: those of everybody, unless it is told otherwise. */
  readonly machine: ManualClock
  readonly realm: TestRealm
  readonly hand: HandRotator
  readonly broker: NatsConnection
  readonly epoch: Epoch
  readonly bob: SecureConnection
  readonly toBob: RecipientKey
  /** What bob has read. */
  readonly got: SecureMessage[] = []
  #seq = 0
  /** When bob has sent each ping, by its nonce: on the monotonic clock of his machine. */
  readonly #pingedAt: ReadonlyMap<string, number>

  /** @param machineOf makes the clocks of bob's machine from everybody's. Default: they are the same */
  static async start(
    graceMs = HAND_GRACE_MS,
    machineOf = (clock: ManualClock): ManualClock => clock,
    { serverConfig, log = silentLog }: { readonly serverConfig?: string; readonly log?: Logger } = {},
  ): Promise<HandRealm> {
    const clock = new ManualClock()
    const machine = machineOf(clock)
    const config = serverConfig === undefined ? {} : { serverConfig }
    const realm = await TestRealm.start({
      clock,
      schedule: handSchedule(graceMs),
      rotation: false,
      ...config,
    })
    const broker = await realm.connection()
    const hand = await HandRotator.start(realm)
    const epoch = hand.epoch()
    const over = await realm.connection()
    const pingedAt = notePings(over, machine)
    const bob = await passing(clock, realm.agent('bob', {}, { timeout: 120_000, clock: machine, log, over }))
    await until('bob was heard', () => hand.announcements.length > 0)
    const all = new HandRealm({ clock, machine, realm, hand, broker, epoch, bob, pingedAt })
    bob.subscribe('orders.new', { callback: (_error, m) => all.got.push(m) })
    await bob.flush()
    return all
  }

  private constructor(
    parts: Pick<HandRealm, 'clock' | 'machine' | 'realm' | 'hand' | 'broker' | 'epoch' | 'bob'> & {
      readonly pingedAt: ReadonlyMap<string, number>
    },
  ) {
    this.#pingedAt = parts.pingedAt
    this.clock = parts.clock
    this.machine = parts.machine
    this.realm = parts.realm
    this.hand = parts.hand
    this.broker = parts.broker
    this.epoch = parts.epoch
    this.bob = parts.bob
    this.toBob = this.keyOfBob(this.epoch)
  }

  /** Where bob takes handshakes that are for him alone. */
  get inboxOfBob(): string {
    return this.realm.inboxOf(this.bob)
  }

  /** Announces a fresh instance; messages of an announcement that has not arrived would wait for it. */
  async join(
    who: string | Identity,
    options: {
      readonly permissions?: Permissions
      readonly at?: Epoch
      readonly instance?: Uint8Array
    } = {},
  ): Promise<HandAgent> {
    const { permissions = EVERYTHING, at = this.epoch, instance = engine.randomBytes(8) } = options
    const identity = typeof who === 'string' ? this.realm.identity(who, { permissions }) : who
    const keys = engine.ed25519KeyPair()
    const changes = { instance, messageKey: keys.publicKey }
    const parsed = this.hand.world.announcement(identity, at, changes, { messageKey: keys.secretKey })
    await this.tell(`announce.${identity.name}.${hex(instance)}`, parsed.bytes)
    return { identity, keys, hash: parsed.hash, instance }
  }

  /** Publishes a statement; resolves when bob has taken it in. */
  async tell(subject: string, bytes: Uint8Array): Promise<void> {
    const { hand, realm, bob } = this
    hand.publish(subject, bytes)
    const heard = collectStatus(bob)
    const marker = hand.world.revocation(realm.identity('nobody'), { since: this.clock.now() })
    // Ticks name what bob holds, as those of a real service do.
    hand.revocations = [...hand.revocations, marker, ...(subject === 'revoke' ? [bytes] : [])]
    hand.publish('revoke', marker)
    await until('bob has heard what came before', () => heard.some(({ type }) => type === 'revoked'))
  }

  /** A message of this agent's, sealed to bob unless it is said otherwise. */
  seal(by: HandAgent, options: Sealing = {}): Uint8Array {
    return this.#seal(by, options).bytes
  }

  /** A session of this agent's with bob, and its handshake. */
  session(by: HandAgent, options: HandSessionOptions = {}): HandSession {
    const { mode = SessionMode.signed, sentAtMs = this.epoch.notBefore, to, in: at = this.epoch } = options
    const { maxFrames = 2 ** 20, lifetimeMs = 900_000 } = options
    const payload = encodeHandshake({ mode, maxFrames, lifetimeMs })
    const sealing = { content: { payload }, type: 1 as const, sentAtMs, in: at }
    const sealed = this.#seal(by, to === undefined ? sealing : { ...sealing, to })
    if (sealed.session === undefined) throw new Error('the handshake opens no session')
    return new HandSession(by, {
      handshake: sealed.bytes,
      secrets: sealed.session,
      mode,
      clock: this.clock,
    })
  }

  /** The same, and bob has its handshake before whatever comes next. */
  openSession(by: HandAgent, options: HandSessionOptions = {}): HandSession {
    const session = this.session(by, options)
    this.broker.publish(this.inboxOfBob, session.handshake)
    return session
  }

  /** How an agent writes to bob in one mode: in a session, whose handshake he has by then, or in messages. */
  writer(
    by: HandAgent,
    mode: SealMode,
    options: Pick<HandSessionOptions, 'in' | 'to'> = {},
  ): (what?: Writing) => Uint8Array {
    if (mode === 'message') {
      return ({ number, sentAtMs, messageKey, ...content } = {}) =>
        this.seal(by, {
          ...options,
          content: { ...content, ...(number === undefined ? {} : { seq: number }) },
          ...(sentAtMs === undefined ? {} : { sentAtMs }),
          ...(messageKey === undefined ? {} : { messageKey }),
        })
    }
    const kind = mode === 'channel' ? SessionMode.channel : SessionMode.signed
    const session = this.openSession(by, { ...options, mode: kind })
    return ({ number, payload, payloads, sentAtMs, messageKey, ...meta } = {}) =>
      session.frame({
        meta,
        ...(number === undefined ? {} : { counter: number }),
        ...(payload === undefined ? {} : { payload }),
        ...(payloads === undefined ? {} : { payloads }),
        ...(sentAtMs === undefined ? {} : { sentAtMs }),
        ...(messageKey === undefined ? {} : { messageKey }),
      })
  }

  /**
   * Sets the wall clock of the realm to a time. Where that is more than a slewed clock does, it resolves when bob, and
   * whoever else is named, has made sure that the rotation service is there: what comes next is judged, and not refused as
   * stale.
   */
  async goTo(ms: number, others: readonly SecureConnection[] = []): Promise<void> {
    // What was published before is judged before.
    await this.broker.flush()
    await this.bob.flush()
    const by = ms - this.clock.now()
    const heard = [this.bob, ...others].map(collectStatus)
    this.clock.jump(by)
    if (Math.abs(by) <= MAX_SLEW_MS) return
    this.hand.tick()
    await until('all are fresh', () => heard.every((all) => all.some(({ type }) => type === 'fresh')))
  }

  /** Lets the clocks of everybody and of bob's machine run until bob is fresh after all that has happened. */
  async untilFresh(): Promise<void> {
    const heard = collectStatus(this.bob)
    this.hand.tick()
    await passingUntil(this, 'bob is fresh', () => heard.some(({ type }) => type === 'fresh'))
  }

  /** How long bob stays fresh if nothing more is answered, in ms. */
  get freshForMs(): number {
    const answered = this.hand.pings.filter(({ isAnswered }) => isAnswered)
    const sentAt = answered.map(({ nonce }) => this.#pingedAt.get(hex(nonce)) ?? Number.NEGATIVE_INFINITY)
    return Math.max(...sentAt) + STALE_AFTER_MS - this.machine.monotonic()
  }

  /** Moves the clocks of everybody and of bob's machine on. */
  advance(ms: number): void {
    this.clock.advance(ms)
    if (this.machine !== this.clock) this.machine.advance(ms)
  }

  async expectDelivered(bytes: Uint8Array): Promise<void> {
    const before = this.got.length
    const rejections = this.bob.rejections()
    this.broker.publish('orders.new', bytes)
    await until('it is delivered', () => this.got.length > before || this.rejected > sum(rejections))
    expect(this.bob.rejections()).toEqual(rejections)
    expect(this.got).toHaveLength(before + 1)
  }

  async expectRejected(bytes: Uint8Array, reason: RejectReason, subject = 'orders.new'): Promise<void> {
    const before = this.got.length
    const rejections = this.bob.rejections()
    this.broker.publish(subject, bytes)
    await until('it is judged', () => this.got.length > before || this.rejected > sum(rejections))
    expect(this.bob.rejections()).toEqual({ ...rejections, [reason]: (rejections[reason] ?? 0) + 1 })
    expect(this.got).toHaveLength(before)
  }

  /** How much bob has rejected. */
  get rejected(): number {
    return sum(this.bob.rejections())
  }

  async stop(): Promise<void> {
    await this.realm.stop()
  }

  #seal(by: HandAgent, options: Sealing): Sealed {
    const { content, sentAtMs = this.clock.now(), to = [this.toBob], type = 0 } = options
    const whole: SealedContent = {
      sender: by.hash,
      seq: ++this.#seq,
      subject: 'orders.new',
      reply: undefined,
      inReplyTo: undefined,
      ttlMs: 0,
      headers: [],
      clearHeaders: [],
      payload: new Uint8Array(1),
      ...content,
    }
    return seal(engine, whole, {
      type,
      epoch: (options.in ?? this.epoch).number,
      recipients: to,
      messageKey: options.messageKey ?? by.keys.secretKey,
      sentAtMs,
      padding: 'padme',
    })
  }

  /** The key that bob has announced for an epoch. */
  keyOfBob(epoch: Epoch): RecipientKey {
    const { trust, revocations } = this.hand.world
    const around = { engine, trust, revocations }
    for (const bytes of this.hand.announcements) {
      const parsed = reparse(bytes)
      const judged = { epoch, nowMs: this.clock.now() }
      const key = verifyAnnouncement(around, parsed, judged)?.recipient
      if (parsed.announcement.agent === 'bob' && key !== undefined) return key
    }
    throw new Error('bob has no key')
  }
}

/** One end of a session, without the checks of an honest sender. */
export class HandSession {
  readonly handshake: Uint8Array
  readonly secrets: SessionSecrets
  readonly #by: HandAgent
  readonly #mode: SessionMode
  readonly #clock: ManualClock
  #counter = 0

  constructor(
    by: HandAgent,
    parts: Pick<HandSession, 'handshake' | 'secrets'> & {
      readonly mode: SessionMode
      readonly clock: ManualClock
    },
  ) {
    this.handshake = parts.handshake
    this.secrets = parts.secrets
    this.#by = by
    this.#mode = parts.mode
    this.#clock = parts.clock
  }

  /** A frame, alone in its batch. */
  frame(options: HandFrame = {}): Uint8Array {
    const { counter = this.#counter++, sentAtMs = this.#clock.now(), payload = new Uint8Array(1) } = options
    const { messageKey = this.#by.keys.secretKey } = options
    const { sid, binding } = this.secrets
    const header = headerOf(engine, sid, { counter, sentAtMs })
    const { payloads = [payload] } = options
    const content = contentOf(options.meta ?? {}, ...payloads)
    const leaves = [frameLeaf(engine, header, [content])]
    const signed = this.#mode === SessionMode.signed
    const [auth = CHANNEL_AUTH] = signed ? signBatch(engine, leaves, { messageKey, binding }) : []
    return forgeFrame(engine, this.secrets, { header, auth, content })
  }
}

/** Notes when a client sends which ping from now on. */
function notePings(nc: NatsConnection, machine: ManualClock): ReadonlyMap<string, number> {
  const sentAt = new Map<string, number>()
  const publish = nc.publish.bind(nc)
  nc.publish = (subject, payload, options) => {
    if (subject.includes('.ping.') && payload instanceof Uint8Array)
      sentAt.set(hex(decodeQuery(payload).nonce), machine.monotonic())
    publish(subject, payload, options)
  }
  return sentAt
}

function handSchedule(graceMs: number) {
  return { periodMs: HAND_EPOCH_MS - HAND_LEAD_MS, leadMs: HAND_LEAD_MS, graceMs }
}

function sum(counts: object): number {
  return Object.values(counts).reduce((all: number, count: number) => all + count, 0)
}
