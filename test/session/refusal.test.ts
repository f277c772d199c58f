import { describe, expect, it } from 'vitest'
import { refusalTag } from '../../src/session/refusal.ts'
import { SessionMode } from '../../src/wire/handshake.ts'
import { decodeRefusal, encodeRefusal, type Refusal, RefusalReason } from '../../src/wire/refusal.ts'
import { engines } from '../crypto/vectors.ts'
import { newRecipient } from '../envelope/forge.ts'
import { Pair } from './pair.ts'

describe.each(engines)('the refusal of a session on $name', (engine) => {
  const announcementHash = engine.randomBytes(32)
  const own = newRecipient(engine, { announcementHash })

  function refusalOf(pair: Pair, changes: Partial<Refusal> = {}): Refusal {
    const reason = RefusalReason.noRoom
    const tag = pair.incoming.refusalTag(reason, announcementHash)
    return { sid: pair.secrets().sid, kid: own.kid, reason, tag, ...changes }
  }

  it('is believed by the sender of the session, from the recipient that it names, for the reason that it gives', () => {
    for (const mode of Object.values(SessionMode)) {
      for (const reason of Object.values(RefusalReason)) {
        const pair = new Pair(engine, { mode, recipients: [own] })
        const tag = pair.incoming.refusalTag(reason, announcementHash)
        const wire = encodeRefusal(refusalOf(pair, { reason, tag }))
        expect(pair.outgoing.isRefusedBy(decodeRefusal(wire), announcementHash)).toBe(true)
      }
    }
  })

  it('is not believed with another session, recipient, reason or tag', () => {
    const sender = engine.ed25519KeyPair()
    const pair = new Pair(engine, { sender, recipients: [own] })
    const other = new Pair(engine, { sender, recipients: [own] })
    const genuine = refusalOf(pair)
    expect(pair.outgoing.isRefusedBy(genuine, announcementHash)).toBe(true)
    expect(pair.outgoing.isRefusedBy(genuine, engine.randomBytes(32))).toBe(false)
    expect(other.outgoing.isRefusedBy(genuine, announcementHash)).toBe(false)
    expect(other.outgoing.isRefusedBy({ ...genuine, sid: other.secrets().sid }, announcementHash)).toBe(false)
    expect(pair.outgoing.isRefusedBy({ ...genuine, sid: other.secrets().sid }, announcementHash)).toBe(false)
    expect(pair.outgoing.isRefusedBy({ ...genuine, reason: RefusalReason.ended }, announcementHash)).toBe(
      false,
    )
    for (let at = 0; at < 16; at++) {
      const tag = genuine.tag.with(at, (genuine.tag[at] ?? 0) ^ 1)
      expect(pair.outgoing.isRefusedBy({ ...genuine, tag }, announcementHash)).toBe(false)
    }
  })

  it('cannot be made by a stranger, who has no key of the session', () => {
    const pair = new Pair(engine, { recipients: [own] })
    const { sid } = pair.secrets()
    for (const key of [new Uint8Array(32), sid, announcementHash]) {
      const tag = refusalTag(engine, { sid, key }, { reason: RefusalReason.noRoom, announcementHash })
      expect(pair.outgoing.isRefusedBy(refusalOf(pair, { tag }), announcementHash)).toBe(false)
    }
  })

  it('is neither made nor believed once the session has ended: its key is zeros then, which anybody has', () => {
    const pair = new Pair(engine, { recipients: [own] })
    const { sid } = pair.secrets()
    const genuine = refusalOf(pair)
    pair.outgoing.end()
    pair.incoming.end()
    const by = { reason: RefusalReason.noRoom, announcementHash }
    const tag = refusalTag(engine, { sid, key: new Uint8Array(32) }, by)
    expect(pair.outgoing.isRefusedBy({ ...genuine, tag }, announcementHash)).toBe(false)
    expect(pair.outgoing.isRefusedBy(genuine, announcementHash)).toBe(false)
    expect(() => pair.incoming.refusalTag(RefusalReason.ended, announcementHash)).toThrow(RangeError)
  })
})
