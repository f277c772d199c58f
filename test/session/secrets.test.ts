import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { IncomingSession } from '../../src/session/incoming.ts'
import { OutgoingSession } from '../../src/session/outgoing.ts'
import { SessionMode } from '../../src/wire/handshake.ts'
import { engines } from '../crypto/vectors.ts'
import { SENT_AT_MS } from '../envelope/forge.ts'
import { forgeFrame, headerOf } from './forge-frame.ts'
import { contentOf, Pair } from './pair.ts'

const ZEROS = new Uint8Array(32)

describe.each(engines)('the key of a session that has ended, on $name', (engine) => {
  it('is wiped, and seals nothing more', () => {
    const pair = new Pair(engine)
    const secrets = pair.secrets()
    const outgoing = new OutgoingSession(engine, {
      secrets,
      mode: SessionMode.signed,
      maxFrames: 9,
      expiresAtMs: SENT_AT_MS + 1000,
      messageKey: pair.sender.secretKey,
    })
    const content = [contentOf({}, utf8('x'))]
    const frame = { ...outgoing.takeNumber(SENT_AT_MS), content }
    expect(secrets.key).not.toEqual(ZEROS)
    outgoing.end()
    expect(secrets.key).toEqual(ZEROS)
    expect(outgoing.isOpen(SENT_AT_MS)).toBe(false)
    expect(() => outgoing.seal(pair.sealer, [frame])).toThrow(RangeError)
    expect(() => outgoing.takeNumber(SENT_AT_MS)).toThrow(RangeError)
  })

  it('is wiped at the other end too, where nobody gets anything in with a key of zeros', () => {
    for (const mode of [SessionMode.signed, SessionMode.channel]) {
      const pair = new Pair(engine, { mode })
      const secrets = pair.secrets()
      const incoming = new IncomingSession(engine, {
        secrets,
        handshake: pair.handshake,
        sentAtMs: SENT_AT_MS,
        messageKey: pair.sender.publicKey,
      })
      const frame = pair.sealOne(utf8('genuine'))
      incoming.end()
      pair.incoming.end()
      expect(secrets.key).toEqual(ZEROS)
      expect(pair.fateOf(frame)).toBe('session')
      const zeroed = { ...pair.secrets(), key: ZEROS }
      const content = contentOf({}, utf8('anybody'))
      const header = headerOf(engine, zeroed.sid, { counter: 0 })
      const forged = forgeFrame(engine, zeroed, { header, auth: new Uint8Array(1), content })
      expect(pair.fateOf(forged)).toBe('session')
    }
  })
})

describe('a session that is looked at', () => {
  it.each(engines)('shows its name, and never its key, on $name', (engine) => {
    const pair = new Pair(engine)
    const { key, sid } = pair.secrets()
    pair.open(pair.sealOne(utf8('x')))
    for (const session of [pair.outgoing, pair.incoming]) {
      const texts = [
        JSON.stringify(session),
        JSON.stringify({ session }),
        String(session),
        inspect(session, { depth: 9, showHidden: true }),
        inspect({ deep: { session } }, { depth: 9 }),
      ]
      for (const text of texts) {
        for (const secret of [key, pair.sender.secretKey]) {
          expect(text).not.toContain(hex(secret).slice(0, 16))
          expect(text).not.toContain([...secret.subarray(0, 6)].join(', '))
          expect(text).not.toContain([...secret.subarray(0, 6)].join(','))
        }
      }
      expect(JSON.parse(JSON.stringify(session))).toEqual({ sid: hex(sid) })
      expect(inspect(session)).toContain('key: [secret]')
    }
  })
})
