import { describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import { type OwnKey, sessionId } from '../../src/envelope/keys.ts'
import { unseal, verifySender } from '../../src/envelope/open.ts'
import { FrameOpener } from '../../src/session/frame-cipher.ts'
import { IncomingSession } from '../../src/session/incoming.ts'
import { OutgoingSession } from '../../src/session/outgoing.ts'
import { decodeFrameContent, isFrameOf, readFrameHeader } from '../../src/wire/frame.ts'
import { decodeHandshake, decodeSessionRequest } from '../../src/wire/handshake.ts'
import { decodeEpoch, decodeNotice, decodePlan, decodeSignedPlan } from '../../src/wire/plans.ts'
import { decodePage, decodeQuery } from '../../src/wire/queries.ts'
import { decodeRefusal } from '../../src/wire/refusal.ts'
import { decodeContent, decodeSealed, encodeSealed } from '../../src/wire/sealed.ts'
import { decodeOrder, decodeRevocation } from '../../src/wire/statements.ts'
import { decodeSignedTick, decodeTick } from '../../src/wire/ticks.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { keyring } from '../envelope/forge.ts'
import { recipientKey, type SealedVector } from '../envelope/sealed-vectors.ts'
import { malformed } from './packable.ts'

interface Refused {
  readonly name: string
  readonly reason: string
  readonly wire: string
}

interface Negative {
  readonly structures: readonly {
    readonly structure: string
    readonly name: string
    readonly reason: string
    readonly bytes: string
  }[]
  readonly sealed: readonly Refused[]
  readonly frames: readonly (Refused & { readonly session: string })[]
  readonly refusals: readonly (Refused & { readonly session: string })[]
  readonly names: readonly { readonly session: string; readonly name: string; readonly sid: string }[]
}

interface Session {
  readonly name: string
  readonly sid: string
  readonly handshake: Pick<SealedVector, 'input' | 'steps'> & {
    readonly fields: { readonly mode: 0 | 1; readonly max_frames: number; readonly lifetime_ms: number }
  }
}

const negative = readVectors<Negative>('subrosa/negative.json')
const { sessions } = readVectors<{ readonly sessions: readonly Session[] }>('subrosa/sessions.json')
const { messages } = readVectors<{ readonly messages: readonly SealedVector[] }>(
  'subrosa/sealed-message.json',
)

/** What reads each structure. A header is read as that of a whole message. */
const readers: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  handshake: decodeHandshake,
  content: decodeContent,
  'frame content': decodeFrameContent,
  header: (bytes) => decodeSealed(encodeSealed(0, bytes, new Uint8Array(116))),
  plan: decodePlan,
  'signed plan': decodeSignedPlan,
  epoch: decodeEpoch,
  notice: decodeNotice,
  tick: decodeTick,
  'signed tick': decodeSignedTick,
  revocation: decodeRevocation,
  order: decodeOrder,
  query: decodeQuery,
  page: decodePage,
  'session request': decodeSessionRequest,
  refusal: decodeRefusal,
}

function sessionOf(name: string): Session {
  const found = sessions.find((session) => session.name === name)
  if (found === undefined) throw new Error(`no session ${name}`)
  return found
}

it('the negative vectors hold something for each structure and each kind', () => {
  expect(new Set(negative.structures.map(({ structure }) => structure))).toEqual(
    new Set(Object.keys(readers)),
  )
  const { structures, sealed, frames, refusals, names } = negative
  expect([structures, sealed, frames, refusals, names].map(({ length }) => length)).toEqual([
    181, 36, 11, 4, 1,
  ])
})

describe('an encoding that must be refused', () => {
  it.each(negative.structures.map((vector) => [`${vector.structure} with ${vector.name}`, vector] as const))(
    'is a %s',
    (_, { structure, reason, bytes }) => {
      expect(reason).toBe('malformed')
      expect(() => readers[structure]?.(fromHex(bytes))).toThrow(malformed)
    },
  )
})

describe.each(engines)('what must be refused on $name', (engine) => {
  it.each(negative.sealed)('is a sealed message with $name', ({ reason, wire }) => {
    const [first] = messages
    const [recipient] = first?.input.recipients ?? []
    if (first === undefined || recipient === undefined) throw new Error('no recipient')
    const bob: OwnKey = recipientKey(engine, recipient, first.input)
    expect(unseal(engine, fromHex(wire), keyring(bob))).toMatchObject({ outcome: 'failed', failure: reason })
  })

  /** Both ends of a session, of which the first recipient is the receiver. */
  function endsOf({ handshake }: Session) {
    const { input, steps, fields } = handshake
    const [recipient] = input.recipients
    if (recipient === undefined) throw new Error('no recipient')
    const open = () => {
      const own = recipientKey(engine, recipient, input)
      const opened = unseal(engine, fromHex(steps.wire), keyring(own))
      if (opened.outcome !== 'opened' || opened.message.session === undefined) throw new Error('not opened')
      expect(verifySender(engine, opened.message, fromHex(input.message_key.public))).toBe(true)
      return opened.message.session
    }
    const { mode, max_frames: maxFrames, lifetime_ms: lifetimeMs } = fields
    const incoming = new IncomingSession(engine, {
      secrets: open(),
      handshake: { mode, maxFrames, lifetimeMs },
      sentAtMs: input.sent_at_ms,
      messageKey: fromHex(input.message_key.public),
    })
    const outgoing = new OutgoingSession(engine, {
      secrets: open(),
      mode,
      maxFrames,
      expiresAtMs: input.sent_at_ms + lifetimeMs,
      messageKey: engine.ed25519KeyPair(fromHex(input.message_key.seed)).secretKey,
    })
    return { incoming, outgoing, announcementHash: fromHex(recipient.announcement_hash) }
  }

  it.each(negative.frames)('is a frame with $name', ({ session, reason, wire }) => {
    const of = sessionOf(session)
    const bytes = fromHex(wire)
    readFrameHeader(bytes)
    if (!isFrameOf(bytes, fromHex(of.sid))) return expect(reason).toBe('unknown session')
    const { incoming } = endsOf(of)
    expect(incoming.open(new FrameOpener(engine), bytes, (content) => content)).toBe(reason)
  })

  it.each(negative.refusals)('is a refusal with $name', ({ session, reason, wire }) => {
    const { outgoing, announcementHash } = endsOf(sessionOf(session))
    expect(reason).toBe('tag')
    expect(outgoing.isRefusedBy(decodeRefusal(fromHex(wire)), announcementHash)).toBe(false)
  })

  it.each(negative.names)('is the name of a session in $name', ({ session, sid }) => {
    const { handshake, sid: name } = sessionOf(session)
    expect(hex(sessionId(engine, fromHex(handshake.steps.wire)))).toBe(name)
    expect(name).not.toBe(sid)
  })
})
