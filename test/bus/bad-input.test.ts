import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { headers, type MsgHdrs } from '@nats-io/nats-core'
import { MsgHdrsImpl } from '@nats-io/nats-core/internal'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { MAX_CLEAR_HEADER_BYTES, MAX_FREE_HASH_BYTES } from '../../src/base/limits.ts'
import { paddedLength } from '../../src/crypto/padding.ts'
import { contentKeys, headerHash } from '../../src/envelope/keys.ts'
import { encodeSealed } from '../../src/wire/sealed.ts'
import { lookInto, newRecipient } from '../envelope/forge.ts'
import { type HandAgent, HandRealm } from '../support/hand-agents.ts'
import { engine } from '../support/identities.ts'
import { keptLog } from '../support/kept-log.ts'
import { collectStatus } from '../support/realm.ts'
import { until } from '../support/until.ts'

const MIB = 2 ** 20
/** As large as a server can be set to take. */
const MAX_PAYLOAD = 64 * MIB
const COUNT = 1000
/** Openings that come to nothing in a second, where each takes a millisecond. */
const OPENED = 50

/** A client that writes what it likes. */
async function rawClient(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'data')
  socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1}\r\n')
  return socket
}

const { log, lines } = keptLog()
let all: HandRealm
let alice: HandAgent

beforeAll(async () => {
  const serverConfig = `max_payload: ${MAX_PAYLOAD}\nmax_pending: ${4 * MAX_PAYLOAD}`
  all = await HandRealm.start(undefined, undefined, { serverConfig, log })
  alice = await all.join('alice')
})
afterAll(() => all.stop())
afterEach(() => {
  vi.restoreAllMocks()
  all.clock.workMs = 0
  all.clock.advance(5000)
  lines.length = 0
})

/** Publishes them; resolves with what was refused, by reason, when so many are. */
async function refused(
  wires: readonly Uint8Array[],
  { count = wires.length, clear }: { readonly count?: number; readonly clear?: MsgHdrs } = {},
): Promise<Record<string, number>> {
  const before = new Map(Object.entries(all.bob.rejections()))
  const events = collectStatus(all.bob)
  const start = all.rejected
  for (const wire of wires)
    all.broker.publish('orders.new', wire, clear === undefined ? {} : { headers: clear })
  await all.broker.flush()
  await until('they are judged', () => all.rejected - start >= count)
  expect(events.filter(({ type }) => type === 'error')).toEqual([])
  const after = Object.entries(all.bob.rejections())
  const more = after.map(([reason, now]) => [reason, now - (before.get(reason) ?? 0)] as const)
  return Object.fromEntries(more.filter(([, n]) => n > 0))
}

/** What the log says of rejections: the reasons, and how many a line stands for. */
function logged(): readonly unknown[] {
  return lines.filter(({ event }) => event === 'rejected').map(({ reason, count }) => [reason, count])
}

function junkUnder(wire: Uint8Array, from: number): Uint8Array {
  return concat(wire.subarray(0, from), engine.randomBytes(wire.length - from))
}

describe('bad input', () => {
  it('that is not of this protocol is counted, and logged once in ten seconds', async () => {
    lines.length = 0
    const junk = Array.from({ length: COUNT }, (_, i) => concat(utf8('no'), engine.randomBytes(i)))
    expect(await refused(junk)).toEqual({ plaintext: COUNT })
    expect(logged()).toEqual([['plaintext', 1]])
  })

  it('under copied key ids is opened from the budget alone, and what waits is bounded', async () => {
    const genuine = all.seal(alice)
    const agreements = vi.spyOn(engine, 'x25519')
    all.clock.workMs = 1
    const copies = Array.from({ length: COUNT }, () => junkUnder(genuine, genuine.length - 100))
    lines.length = 0
    const { flood = 0, ...others } = await refused(copies, { count: COUNT - 64 })
    expect([others, flood]).toEqual([{ ciphertext: OPENED }, COUNT - OPENED - 64])
    expect(agreements).toHaveBeenCalledTimes(OPENED)
    expect(logged()).toEqual([
      ['ciphertext', 1],
      ['flood', 1],
    ])
  })

  it('in the form of one handshake, again and again, changes nothing and has no key agreement made', async () => {
    const session = all.openSession(alice)
    await all.expectDelivered(session.frame())
    const agreements = vi.spyOn(engine, 'x25519')
    for (let i = 0; i < COUNT; i++) all.broker.publish('orders.new', session.handshake)
    await all.expectDelivered(session.frame())
    expect(agreements).not.toHaveBeenCalled()
  })

  it('in a session that is refused has nothing decrypted, and one refusal published in a second', async () => {
    const dora = await all.join('dora')
    const session = all.openSession(dora)
    await all.expectDelivered(session.frame())
    await all.tell('revoke', all.hand.world.revocation(dora.identity, { since: all.clock.now() }))
    expect(await refused([session.frame()])).toEqual({ revoked: 1 })
    const heard = await all.realm.tap(`${all.realm.root}.session.>`)
    const decryptions = vi.spyOn(engine, 'xaeadOpen')
    const frames = Array.from({ length: COUNT }, () => session.frame())
    expect(await refused(frames)).toEqual({ session: COUNT })
    await all.realm.settled()
    expect([decryptions.mock.calls.length, heard.length]).toEqual([0, 1])
  })

  it('of 64 MiB is read no further than its first mistake, and opened once where there is none', async () => {
    const mary = { ...newRecipient(engine, { epochHash: all.epoch.hash }), epoch: all.epoch.number }
    const genuine = all.seal(alice, { to: [all.toBob, mary] })
    const agreements = vi.spyOn(engine, 'x25519')
    const zeros = new Uint8Array(MAX_PAYLOAD - genuine.length - 64)
    // Without a header that can be read, and with one that was copied.
    const cut = concat(genuine.subarray(0, 20), zeros)
    expect(await refused([cut])).toEqual({ malformed: 1 })
    expect(agreements).not.toHaveBeenCalled()
    const { headerBytes, commitment } = lookInto(engine, genuine, mary)
    const copied = encodeSealed(0, headerBytes, concat(commitment, zeros.subarray(64)))
    agreements.mockClear()
    expect(await refused([copied])).toEqual({ ciphertext: 1 })
    expect(agreements).toHaveBeenCalledTimes(1)
    await all.expectDelivered(genuine)
  })

  it('with 32 KiB of headers is refused before anybody parses them', async () => {
    const clear = headers()
    for (let i = 0; i < 2000; i++) clear.append(`A-${i}`, 'v')
    const parsed = vi.spyOn(MsgHdrsImpl, 'decode')
    expect(clear.toString().length).toBeGreaterThan(16 * MAX_CLEAR_HEADER_BYTES)
    const wires = [all.seal(alice), engine.randomBytes(10), all.openSession(alice).frame()]
    expect(await refused(wires, { clear })).toEqual({ headers: 3 })
    expect(parsed).not.toHaveBeenCalled()
  })

  it.each(['reply subject', 'subject'])(
    'with 8 KiB of headers is refused before anybody parses them, also where bytes of its %s are no UTF-8',
    async (where) => {
      const subscription = all.bob.subscribe('raw.>', { callback: () => undefined })
      await all.bob.flush()
      const clear = headers()
      for (let i = 0; i < 500; i++) clear.append(`A-${i}`, 'v')
      const encoded = Buffer.from((clear as MsgHdrsImpl).encode())
      // A client that decodes them makes three bytes of each.
      const broken = Buffer.alloc(2048, 0xff)
      const [subject, reply] = where === 'subject' ? [broken, 'answers'] : ['new', broken]
      const wire = all.openSession(alice).frame()
      const parsed = vi.spyOn(MsgHdrsImpl, 'decode')
      const { rejected } = all
      const before = all.bob.rejections().headers ?? 0
      const socket = await rawClient(all.realm.server.port)
      for (const part of [
        'HPUB raw.',
        subject,
        ' ',
        reply,
        ` ${encoded.length} ${encoded.length + wire.length}\r\n`,
      ])
        socket.write(part)
      for (const part of [encoded, wire, '\r\n']) socket.write(part)
      await until('it is judged', () => all.rejected > rejected)
      expect([all.bob.rejections().headers, parsed.mock.calls.length]).toEqual([before + 1, 0])
      socket.destroy()
      subscription.unsubscribe()
    },
  )

  it.each([100, MAX_FREE_HASH_BYTES + 1])(
    'of a co-recipient, under the header and commitment of a message of %i bytes, keeps that one away from nobody',
    async (bytes) => {
      const mary = { ...newRecipient(engine, { epochHash: all.epoch.hash }), epoch: all.epoch.number }
      const payload = engine.randomBytes(bytes)
      const genuine = all.seal(alice, { to: [all.toBob, mary], content: { payload } })
      const { headerBytes, contentSecret, commitment } = lookInto(engine, genuine, mary)
      const aad = headerHash(engine, headerBytes)
      const { key } = contentKeys(engine, contentSecret, aad)
      const data = new Uint8Array(paddedLength(bytes + 200, 'padme'))
      const body = engine.aeadSeal({ key, nonce: new Uint8Array(12), aad, data })
      const forged = encodeSealed(0, headerBytes, concat(commitment, body))
      expect(Object.keys(await refused([forged]))).toEqual(['padding'])
      await all.expectDelivered(genuine)
      await all.expectRejected(genuine, 'replay')
    },
  )

  it('with other headers in clear, of a genuine message, keeps that one away from nobody, and is not known itself', async () => {
    const genuine = all.seal(alice)
    const clear = headers()
    clear.append('Nats-Msg-Id', 'of the broker')
    expect(await refused([genuine, genuine], { clear })).toEqual({ headers: 2 })
    await all.expectDelivered(genuine)
    expect(await refused([genuine], { clear })).toEqual({ replay: 1 })
  })
})
