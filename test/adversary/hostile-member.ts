import type { KeyPair } from '../../src/crypto/engine.ts'
import { engineFor } from '../../src/crypto/engine.ts'
import {
  KeyUse,
  keyId,
  type OwnKey,
  type RecipientKey,
  type SessionSecrets,
  SUITE_X25519,
  wrapContext,
} from '../../src/envelope/keys.ts'
import { unseal } from '../../src/envelope/open.ts'
import { seal } from '../../src/envelope/seal.ts'
import { type ParsedAnnouncement, parseAnnouncement } from '../../src/keys/announcements.ts'
import { CHANNEL_AUTH, frameLeaf, signBatch } from '../../src/session/session-auth.ts'
import { FRAME_HEADER_BYTES, FRAME_ID_START, type FrameMeta } from '../../src/wire/frame.ts'
import { encodeHandshake, SessionMode } from '../../src/wire/handshake.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { decodeSealed, type SealedContent } from '../../src/wire/sealed.ts'
import { forgeFrame, headerOf } from '../session/forge-frame.ts'
import { contentOf } from '../session/pair.ts'
import type { HostileLine } from '../support/hostile-line/hostile-line.ts'
import type { LineConnection } from '../support/hostile-line/line-connection.ts'
import { isMessage, type PubOp } from '../support/hostile-line/nats-op.ts'
import type { Crossing } from '../support/hostile-line/verdicts.ts'
import type { AgentName } from './cast.ts'

/** What a member does that has keys and a token, and keeps to nothing. None of it may ever reach a handler. */
export const MISDEEDS = [
  /** Publishes where its token does not let it. */
  'not permitted',
  'not permitted in a session',
  /** Writes in the name of another. */
  'forged message',
  'forged handshake',
  /** As a recipient of a session, it has the key of it. */
  'forged frame',
  /** The broker shows it a request that it was not asked. */
  'unasked answer',
  /** Its message travels with other headers than it sealed. */
  'other headers',
  /** What it seals is too old already. */
  'late message',
  'late frame',
  'past its ttl',
] as const
export type Misdeed = (typeof MISDEEDS)[number]

/** Whom it deceives, and where this one listens to what the liar may publish and to what it may not. */
const VICTIM: AgentName = 'bob'
const FORBIDDEN = 'payments.approve'
const ALLOWED = 'chat.room'
/** In whose name it writes: one who may publish on both. */
const FRAMED: AgentName = 'alice'

const LATE_MS = 125_000
const TTL_MS = 1000
const LIFETIME_MS = 600_000
const MAX_FRAMES = 2 ** 20
/** Its numbers in sessions of others: far enough ahead that no honest frame has them. */
const FAR_COUNTER = 10_000
const SEQ = 1_000_000
/** Of the sessions that it can read, the latest: one may be over, or known to nobody. */
const SESSIONS_TRIED = 4

/** What it works with. */
export interface HostileMemberParts {
  readonly name: AgentName
  readonly line: HostileLine
  readonly prefix: string
  readonly root: string
  readonly inboxOf: (name: string, instance: Uint8Array) => string
  /** Every key pair that its agent has made. */
  readonly keyPairs: readonly KeyPair[]
  readonly nowMs: () => number
}

/** Its own keys of an epoch. */
interface Own {
  readonly announcement: ParsedAnnouncement
  readonly messageKey: Uint8Array
  readonly recipient: OwnKey
}

/** A session that it can read. */
interface ReadSession {
  readonly secrets: SessionSecrets
  readonly epoch: number
}

/**
 * A member of the realm that attacks from inside, together with the broker: what it knows is what its own agent has made,
 * and what has crossed the line.
 */
export class HostileMember {
  readonly #engine = engineFor()
  readonly #parts: HostileMemberParts
  readonly #announcements: (ParsedAnnouncement & { readonly by: string })[] = []
  readonly #sessions: ReadSession[] = []
  #recordRead = 0
  #lies = 0
  #isAnswering = false

  constructor(parts: HostileMemberParts) {
    this.#parts = parts
  }

  /** @returns whether it knows enough to do that now */
  attempt(misdeed: Misdeed): boolean {
    this.#readRecord()
    const connection = this.#connection(this.#parts.name)
    const own = this.#own()
    if (connection === undefined || own === undefined) return false
    switch (misdeed) {
      case 'not permitted':
        return this.#message(own, { subject: FORBIDDEN })
      case 'not permitted in a session':
        return this.#session(own, { subject: FORBIDDEN })
      case 'forged message':
        return this.#message(own, { subject: ALLOWED, sender: this.#hashOf(FRAMED) })
      case 'forged handshake':
        return this.#session(own, {
          subject: ALLOWED,
          sender: this.#hashOf(FRAMED),
          mode: SessionMode.channel,
        })
      case 'forged frame':
        return this.#frameOfAnother(own)
      case 'unasked answer':
        this.#isAnswering = true
        return true
      case 'other headers':
        return this.#message(own, { subject: ALLOWED, clearHeaders: [{ name: 'Nats-Msg-Id', value: 'one' }] })
      case 'late message':
        return this.#message(own, { subject: ALLOWED, agoMs: LATE_MS })
      case 'late frame':
        return this.#session(own, { subject: ALLOWED, agoMs: LATE_MS })
      case 'past its ttl':
        return this.#message(own, { subject: ALLOWED, agoMs: 2 * TTL_MS, ttlMs: TTL_MS })
    }
  }

  /** What the broker shows it: it answers a request of somebody else, once for each time that it has set its mind on it. */
  see({ connection, op }: Crossing): void {
    if (!this.#isAnswering || op.kind !== 'PUB' || op.reply === undefined) return
    if (connection.name === this.#parts.name || !op.subject.startsWith(`${this.#parts.prefix}.tools.`)) return
    this.#readRecord()
    const own = this.#own()
    const inReplyTo = nameOf(op)
    const to = this.#keyOf(connection.name, own?.announcement.announcement.epoch)
    if (own === undefined || inReplyTo === undefined || to === undefined) return
    this.#isAnswering = false
    const content = { ...this.#content(own), subject: op.reply, inReplyTo }
    const payload = this.#seal(own, content, { to, sentAtMs: this.#parts.nowMs() }).bytes
    this.#publish(op.reply, payload)
  }

  #message(own: Own, lie: Lie): boolean {
    const { sender = own.announcement.hash, subject, agoMs = 0, ttlMs = 0, clearHeaders = [] } = lie
    const to = this.#keyOf(VICTIM, own.announcement.announcement.epoch)
    if (to === undefined || ('sender' in lie && lie.sender === undefined)) return false
    const whole = `${this.#parts.prefix}.${subject}`
    const content = { ...this.#content(own), sender, subject: whole, ttlMs, clearHeaders }
    const sentAtMs = this.#parts.nowMs() - agoMs
    this.#publish(whole, this.#seal(own, content, { to, sentAtMs }).bytes)
    return true
  }

  #session(own: Own, lie: Lie): boolean {
    const { sender = own.announcement.hash, subject, agoMs = 0, mode = SessionMode.signed } = lie
    const to = this.#keyOf(VICTIM, own.announcement.announcement.epoch)
    if (to === undefined || ('sender' in lie && lie.sender === undefined)) return false
    const sentAtMs = this.#parts.nowMs() - agoMs
    const payload = encodeHandshake({ mode, maxFrames: MAX_FRAMES, lifetimeMs: LIFETIME_MS })
    const content = { ...this.#content(own), sender, payload }
    const { bytes, session } = this.#seal(own, content, { to, sentAtMs, type: WireType.handshake })
    const victim = this.#latest(VICTIM)
    if (session === undefined || victim === undefined) return false
    const { instance } = victim.announcement
    this.#publish(this.#parts.inboxOf(VICTIM, instance), bytes)
    this.#frame(own, session, { subject, mode, sentAtMs, counter: 0 })
    return true
  }

  #frameOfAnother(own: Own): boolean {
    const { epoch } = own.announcement.announcement
    const sessions = this.#sessions.filter((one) => one.epoch === epoch).slice(-SESSIONS_TRIED)
    for (const { secrets } of sessions) {
      const counter = FAR_COUNTER + this.#lies
      this.#frame(own, secrets, { subject: ALLOWED, sentAtMs: this.#parts.nowMs(), counter })
    }
    return sessions.length > 0
  }

  #frame(
    own: Own,
    session: SessionSecrets,
    lie: {
      readonly subject: string
      readonly mode?: SessionMode
      readonly sentAtMs: number
      readonly counter: number
    },
  ): void {
    const { subject, mode = SessionMode.signed, sentAtMs, counter } = lie
    const whole = `${this.#parts.prefix}.${subject}`
    const header = headerOf(this.#engine, session.sid, { counter, sentAtMs })
    const meta: Partial<FrameMeta> = { subject: whole }
    const content = contentOf(meta, this.#newLie())
    const leaves = [frameLeaf(this.#engine, header, [content])]
    const by = { messageKey: own.messageKey, binding: session.binding }
    const [auth = CHANNEL_AUTH] =
      mode === SessionMode.channel ? [CHANNEL_AUTH] : signBatch(this.#engine, leaves, by)
    this.#publish(whole, forgeFrame(this.#engine, session, { header, auth, content }))
  }

  #content(own: Own): SealedContent {
    return {
      sender: own.announcement.hash,
      seq: SEQ + ++this.#lies,
      subject: '',
      reply: undefined,
      inReplyTo: undefined,
      ttlMs: 0,
      headers: [],
      clearHeaders: [],
      payload: this.#newLie(),
    }
  }

  #newLie(): Uint8Array {
    return Buffer.from(`a lie of ${this.#parts.name}, number ${++this.#lies}`)
  }

  #seal(
    own: Own,
    content: SealedContent,
    options: {
      readonly to: RecipientKey
      readonly sentAtMs: number
      readonly type?: typeof WireType.sealed | typeof WireType.handshake
    },
  ): ReturnType<typeof seal> {
    const { to, sentAtMs, type = WireType.sealed } = options
    return seal(this.#engine, content, {
      type,
      epoch: own.announcement.announcement.epoch,
      recipients: [to],
      messageKey: own.messageKey,
      sentAtMs,
      padding: 'padme',
    })
  }

  #publish(subject: string, payload: Uint8Array): void {
    const connection = this.#connection(this.#parts.name)
    if (connection === undefined) return
    const op: PubOp = {
      kind: 'PUB',
      subject,
      reply: undefined,
      headers: undefined,
      payload: Buffer.from(payload),
    }
    this.#parts.line.inject(connection, 'to server', op)
  }

  #connection(name: string): LineConnection | undefined {
    return this.#parts.line.connections.findLast((one) => one.name === name)
  }

  #latest(name: string, epoch?: number): ParsedAnnouncement | undefined {
    return this.#announcements.findLast(
      ({ by, announcement }) =>
        by === name &&
        announcement.keys.length > 0 &&
        announcement.notBefore <= this.#parts.nowMs() &&
        (epoch === undefined || announcement.epoch === epoch),
    )
  }

  #hashOf(name: string): Uint8Array | undefined {
    return this.#latest(name)?.hash
  }

  /** The key of an agent's latest instance in an epoch, as far as the broker has seen it announced. */
  keyOf(name: string, epoch: number | undefined): RecipientKey | undefined {
    this.#readRecord()
    return this.#keyOf(name, epoch)
  }

  #keyOf(name: string, epoch: number | undefined): RecipientKey | undefined {
    const parsed = this.#latest(name, epoch)
    return parsed && recipientKey(parsed)
  }

  #own(): Own | undefined {
    const announcement = this.#latest(this.#parts.name)
    return announcement && this.#keysOf(announcement)
  }

  #keysOf(parsed: ParsedAnnouncement): Own | undefined {
    const { messageKey, epoch, epochHash } = parsed.announcement
    const secretOf = (publicKey: Uint8Array): Uint8Array | undefined =>
      this.#parts.keyPairs.find((pair) => Buffer.compare(pair.publicKey, publicKey) === 0)?.secretKey
    const key = recipientKey(parsed)
    const secretKey = key && secretOf(key.publicKey)
    const message = secretOf(messageKey)
    if (key === undefined || secretKey === undefined || message === undefined) return undefined
    const recipient = { ...key, secretKey, suite: SUITE_X25519, epoch, epochHash }
    return { announcement: parsed, messageKey: message, recipient }
  }

  #readRecord(): void {
    const { line, name, root } = this.#parts
    const fresh = line.record.slice(this.#recordRead)
    this.#recordRead = line.record.length
    for (const { op, connection } of fresh) {
      if (!isMessage(op)) continue
      if (op.kind === 'PUB' && op.subject.startsWith(`${root}.announce.`))
        this.#noteAnnouncement(connection.name, op.payload)
      if (op.kind === 'MSG' && connection.name === name && wireType(op.payload) === WireType.handshake)
        this.#noteHandshake(op.payload)
    }
  }

  #noteAnnouncement(by: string, payload: Buffer): void {
    const parsed = parseAnnouncement(this.#engine, payload)
    // Others pass announcements on too.
    if (parsed.announcement.agent === by) this.#announcements.push({ ...parsed, by })
  }

  #noteHandshake(payload: Buffer): void {
    const mine = this.#announcements.filter(({ by }) => by === this.#parts.name)
    const ownKeys = mine.flatMap((parsed) => this.#keysOf(parsed)?.recipient ?? [])
    const opening = unseal(this.#engine, payload, { ownKeys: () => ownKeys })
    if (opening.outcome !== 'opened' || opening.message.session === undefined) return
    const { session: secrets, epoch, recipients, content } = opening.message
    // An agent is in its own audience: what it writes in its own session is no lie.
    const isOwn = mine.some(({ hash }) => Buffer.compare(hash, content.sender) === 0)
    // With nobody else in it there is nobody to deceive.
    if (recipients > 1 && !isOwn) this.#sessions.push({ secrets, epoch })
  }
}

/** What differs from an honest message. */
interface Lie {
  readonly subject: string
  /** In whose name; nothing comes of it where that is not known. */
  readonly sender?: Uint8Array | undefined
  readonly agoMs?: number
  readonly ttlMs?: number
  readonly clearHeaders?: SealedContent['clearHeaders']
  readonly mode?: SessionMode
}

function recipientKey({ hash, announcement }: ParsedAnnouncement): RecipientKey | undefined {
  const engine = engineFor()
  const { epochHash, keys } = announcement
  const key = keys.find(({ suite, use }) => suite === SUITE_X25519 && use === KeyUse.live)
  if (key === undefined) return undefined
  return {
    publicKey: key.publicKey,
    kid: keyId(engine, { suite: SUITE_X25519, use: KeyUse.live, announcementHash: hash }),
    context: wrapContext(engine, SUITE_X25519, { epochHash, announcementHash: hash }),
  }
}

/** What a response to a message names it by. */
function nameOf({ payload }: PubOp): Uint8Array | undefined {
  switch (wireType(payload)) {
    case WireType.sealed:
      return decodeSealed(payload).header.mid
    case WireType.frame:
      return payload.subarray(FRAME_ID_START, FRAME_HEADER_BYTES)
    default:
      return undefined
  }
}
