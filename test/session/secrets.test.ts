import { inspect } from 'node:util'
import { beforeEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
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

describe.each(engines)('the plaintexts of frames, on $name', (engine) => {
  /** Memory from which was encrypted, and into which was decrypted. */
  let seen: Uint8Array[]
  const watched: CryptoEngine = {
    ...engine,
    xaeadSeal(input, out) {
      seen.push(input.data)
      return engine.xaeadSeal(input, out)
    },
    xaeadOpen(input, out) {
      if (out !== undefined) seen.push(out)
      return engine.xaeadOpen(input, out)
    },
  }
  beforeEach(() => {
    seen = []
  })

  it.each([20, 3000, 5000, 100_000])('of %i bytes are left in no memory but what is handed on', (size) => {
    const pair = new Pair(watched)
    const payload = utf8('swordfish '.repeat(size / 10))
    const opened = pair.open(pair.sealOne(payload))
    const data = typeof opened === 'string' ? undefined : opened.payloads[0]
    expect(Buffer.compare(data ?? new Uint8Array(0), payload)).toBe(0)
    expect(seen).toHaveLength(2)
    const elsewhere = seen.filter(({ buffer }) => buffer !== data?.buffer)
    expect(elsewhere.map((memory) => memory.every((byte) => byte === 0))).toEqual(elsewhere.map(() => true))
  })

  it('of frames that are refused, or have many payloads, are left nowhere', () => {
    const pair = new Pair(watched, { mode: SessionMode.channel })
    const refused = forgeFrame(engine, pair.secrets(), {
      header: headerOf(engine, pair.secrets().sid, { counter: 0 }),
      auth: Uint8Array.of(9),
      content: contentOf({}, utf8('swordfish')),
    })
    const many = contentOf({}, utf8('swordfish '.repeat(400)), utf8('swordfish '.repeat(400)))
    const frame = { ...pair.outgoing.takeNumber(SENT_AT_MS), content: [many] }
    expect(pair.open(refused)).toBe('signature')
    const opened = pair.outgoing.seal(pair.sealer, [frame]).map((sealed) => pair.open(sealed))
    expect(opened).toMatchObject([{ payloads: [{ length: 4000 }, { length: 4000 }] }])
    expect(seen.map((memory) => memory.some((byte) => byte !== 0))).toEqual(seen.map(() => false))
  })

  it('of more than 4 KiB have memory of their own, also where the process has a large pool for short ones', () => {
    const { poolSize } = Buffer
    Buffer.poolSize = 1024 * 1024
    try {
      const pair = new Pair(engine)
      const payloads = Array.from({ length: 3 }, () => utf8('swordfish '.repeat(700)))
      const handedOn = pair.seal(payloads).flatMap((frame) => {
        const opened = pair.open(frame)
        return typeof opened === 'string' ? [] : opened.payloads
      })
      expect(new Set(handedOn.map(({ buffer }) => buffer)).size).toBe(3)
      expect(handedOn.filter(({ buffer }) => buffer.byteLength > 10_000)).toEqual([])
    } finally {
      Buffer.poolSize = poolSize
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
