import { type MsgHdrs, headers as makeHeaders } from '@nats-io/transport-node'
import type { CryptoEngine } from '../../dist/crypto/engine.js'
import { keyId, type RecipientKey, wrapContext } from '../../dist/envelope/keys.js'
import { seal } from '../../dist/envelope/seal.js'
import type { ParsedAnnouncement } from '../../dist/keys/announcements.js'
import { FRAME_HEADER_BYTES, FRAME_ID_START, SID_BYTES } from '../../dist/wire/frame.js'
import { encodeHandshake, SessionMode } from '../../dist/wire/handshake.js'
import { WireType } from '../../dist/wire/preamble.js'

/** A kind of bad input: what a broker, or who may publish on the subject, can make without any key of the recipient. */
export interface BadInput {
  readonly name: string
  /** The reasons for which it is refused, any of them. */
  readonly reasons: readonly string[]
  /** Each call makes another message, or the same one again where that is the attack. */
  readonly make: () => Uint8Array
  readonly headers?: MsgHdrs
}

/** What was recorded of honest traffic to the recipient, and what is public of it. */
export interface Recorded {
  readonly message: Uint8Array
  readonly frame: Uint8Array
  readonly announcement: ParsedAnnouncement
  readonly subject: string
}

const SUITE = 1
const JUNK_BYTES = 300
const HEADER_BYTES = 32 * 1024
const COUNTER_BYTES = 8
const FIRST_COUNTER = 100_000

/** All kinds, in the order of the table. */
export function badInput(engine: CryptoEngine, recorded: Recorded): readonly BadInput[] {
  const { message, frame, subject } = recorded
  const signer = engine.ed25519KeyPair()
  let counter = FIRST_COUNTER
  const recipient = recipientOf(engine, recorded)
  const junk = (): Uint8Array => {
    const bytes = engine.randomBytes(JUNK_BYTES)
    bytes[0] = 0x7b
    return bytes
  }
  const sealed = (type: typeof WireType.sealed | typeof WireType.handshake) => (): Uint8Array => {
    const isHandshake = type === WireType.handshake
    const handshake = { mode: SessionMode.signed, maxFrames: 1024, lifetimeMs: 60_000 }
    const content = {
      sender: engine.randomBytes(32),
      seq: 1,
      subject,
      reply: undefined,
      inReplyTo: undefined,
      ttlMs: 0,
      headers: [],
      clearHeaders: [],
      payload: isHandshake ? encodeHandshake(handshake) : engine.randomBytes(32),
    }
    return seal(engine, content, {
      type,
      epoch: recorded.announcement.announcement.epoch,
      recipients: [recipient],
      messageKey: signer.secretKey,
      sentAtMs: Date.now(),
      padding: 'padme',
    }).bytes
  }
  return [
    { name: 'no message of subrosa', reasons: ['plaintext'], make: junk },
    {
      name: 'a message cut short',
      reasons: ['malformed'],
      make: () => message.subarray(0, message.length / 2),
    },
    { name: 'one recorded message, again and again', reasons: ['replay'], make: () => message },
    {
      name: 'a recorded message with 32 KiB of headers',
      reasons: ['headers'],
      make: () => message,
      headers: longHeaders(),
    },
    {
      name: 'junk under a recorded header',
      reasons: ['wrap', 'commitment', 'ciphertext', 'flood'],
      make: () => withJunk(engine, message, message.length / 2),
    },
    {
      name: 'sealed by nobody, each anew',
      reasons: ['unknown sender', 'flood'],
      make: sealed(WireType.sealed),
    },
    {
      name: 'sessions opened by nobody, each anew',
      reasons: ['unknown sender', 'flood'],
      make: sealed(WireType.handshake),
    },
    {
      name: 'frames of sessions that do not exist',
      reasons: ['unknown session'],
      make: () => {
        const copy = frame.slice()
        copy.set(engine.randomBytes(SID_BYTES), FRAME_ID_START)
        return copy
      },
    },
    {
      name: 'junk frames of a session',
      reasons: ['ciphertext', 'session'],
      make: () => {
        // A number that was seen is not even decrypted.
        const junkFrame = withJunk(engine, frame, FRAME_HEADER_BYTES)
        new DataView(junkFrame.buffer).setBigUint64(FRAME_HEADER_BYTES - COUNTER_BYTES, BigInt(++counter))
        return junkFrame
      },
    },
  ]
}

function recipientOf(engine: CryptoEngine, { announcement }: Recorded): RecipientKey {
  const { hash: announcementHash } = announcement
  const { keys, epochHash } = announcement.announcement
  const key = keys.find(({ suite }) => suite === SUITE)
  if (key === undefined) throw new Error('the recipient has announced no key of suite 01')
  return {
    publicKey: key.publicKey,
    kid: keyId(engine, { suite: SUITE, use: 0, announcementHash }),
    context: wrapContext(engine, SUITE, { epochHash, announcementHash }),
  }
}

function withJunk(engine: CryptoEngine, bytes: Uint8Array, from: number): Uint8Array {
  const copy = new Uint8Array(bytes)
  const start = Math.ceil(from)
  copy.set(engine.randomBytes(copy.length - start), start)
  return copy
}

function longHeaders(): MsgHdrs {
  const all = makeHeaders()
  for (let i = 0; i < HEADER_BYTES / 64; i++) all.append(`Long-${i}`, 'x'.repeat(50))
  return all
}
