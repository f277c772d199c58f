import { connect as connectTcp, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { concat, hex, utf8 } from '../../src/base/bytes.ts'
import { CLOCK_WINDOW_MS, LOOKUP_TIMEOUT_MS } from '../../src/base/limits.ts'
import { ReplayWindows } from '../../src/bus/in/replay.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import { HandRealm, type HandSession } from '../support/hand-agents.ts'
import { engine } from '../support/identities.ts'
import { pass, passingUntil } from '../support/passing.ts'
import { collectStatus } from '../support/realm.ts'
import { MINUTE } from '../support/statements.ts'
import { until } from '../support/until.ts'

let all: HandRealm

beforeEach(async () => {
  all = await HandRealm.start()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await all.stop()
})

const count = (reason: string): number =>
  Object.entries(all.bob.rejections()).find(([name]) => name === reason)?.[1] ?? 0

async function sendHandshake({ handshake }: HandSession): Promise<void> {
  all.broker.publish(all.inboxOfBob, handshake)
  await all.broker.flush()
  await all.bob.flush()
}

describe('a handshake that comes again', () => {
  it('is not opened again, whoever sends it, and one that is not known still is', async () => {
    const mary = await all.join('mary')
    const session = all.openSession(mary)
    await all.expectDelivered(session.frame())
    const another = all.session(mary)
    const agreements = vi.spyOn(engine, 'x25519')
    await sendHandshake(session)
    all.broker.publish('orders.new', session.handshake)
    await all.broker.flush()
    await all.bob.flush()
    expect(agreements).not.toHaveBeenCalled()
    await sendHandshake(another)
    expect(agreements).toHaveBeenCalledTimes(1)
    await all.expectDelivered(session.frame())
    agreements.mockRestore()
  })

  it('with one byte changed is no other session, and does not disturb the one that is there', async () => {
    const mary = await all.join('mary')
    const session = all.openSession(mary)
    await all.expectDelivered(session.frame())
    const changed = new Uint8Array(session.handshake)
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
    await all.expectRejected(changed, 'ciphertext')
    await all.expectRejected(concat(session.handshake, Uint8Array.of(0)), 'malformed')
    await all.expectDelivered(session.frame())
  })

  it('when its session is over opens none', async () => {
    const mary = await all.join('mary')
    const session = all.session(mary, { lifetimeMs: MINUTE })
    await all.goTo(all.clock.now() + MINUTE + CLOCK_WINDOW_MS)
    await sendHandshake(session)
    expect(count('time')).toBe(1)
  })
})

describe('a session that is long over', () => {
  it('leaves no replay windows behind', async () => {
    const mary = await all.join('mary')
    const session = all.openSession(mary, { lifetimeMs: MINUTE })
    await all.expectDelivered(session.frame())
    const forget = vi.spyOn(ReplayWindows.prototype, 'forget')
    const sentAtMs = all.clock.now()
    await passingUntil(all.clock, 'it is forgotten', () => forget.mock.calls.length > 0, 1000)
    expect(forget.mock.calls).toEqual([[[hex(session.secrets.sid)]]])
    expect(all.clock.now() - sentAtMs).toBeGreaterThanOrEqual(MINUTE + CLOCK_WINDOW_MS - 1000)
  })
})

describe('the key of a session that is refused', () => {
  /** Counts how often the key of a session was wiped in this process: the first time, it is where it was derived. */
  function wipes(): (session: HandSession) => number {
    const wiped: string[] = []
    const wipe = engine.wipe.bind(engine)
    vi.spyOn(engine, 'wipe').mockImplementation((...secrets: Uint8Array[]) => {
      for (const secret of secrets) wiped.push(hex(secret))
      wipe(...secrets)
    })
    return ({ secrets }) => wiped.filter((secret) => secret === hex(secrets.key)).length
  }

  it('is kept for one that is accepted', async () => {
    const session = all.session(await all.join('mary'))
    const wipesOf = wipes()
    await sendHandshake(session)
    expect(wipesOf(session)).toBe(1)
  })

  it('is wiped where the signature is false', async () => {
    const mary = await all.join('mary')
    const session = all.session({ ...mary, keys: engine.ed25519KeyPair() })
    const wipesOf = wipes()
    await sendHandshake(session)
    expect(count('signature')).toBe(1)
    expect(wipesOf(session)).toBe(2)
  })

  it('is wiped where the sender is revoked', async () => {
    const mary = await all.join('mary')
    const session = all.session(mary)
    await all.tell('revoke', all.hand.world.revocation(mary.identity, { since: all.clock.now() }))
    const wipesOf = wipes()
    await sendHandshake(session)
    expect(count('revoked')).toBe(1)
    expect(wipesOf(session)).toBe(2)
  })

  it('is wiped where the time is not right, of the session or of its epoch', async () => {
    const mary = await all.join('mary')
    const over = all.session(mary, { lifetimeMs: 0 })
    const early = all.session(mary, { sentAtMs: all.clock.now() + CLOCK_WINDOW_MS + MINUTE })
    const wipesOf = wipes()
    await sendHandshake(early)
    expect(count('time')).toBe(1)
    await all.goTo(all.clock.now() + CLOCK_WINDOW_MS)
    await sendHandshake(over)
    expect(count('time')).toBe(2)
    // One whose time in clear is not right is not opened at all.
    expect([over, early].map(wipesOf)).toEqual([2, 0])
  })

  it('is wiped where its sender stays unknown, and where nobody waits for it any more', async () => {
    const mary = await all.join('mary')
    const stranger = { ...mary, hash: engine.randomBytes(32) }
    const [first, second] = [
      all.session(stranger),
      all.session({ ...stranger, hash: engine.randomBytes(32) }),
    ]
    const wipesOf = wipes()
    await sendHandshake(first)
    await pass(all.clock, LOOKUP_TIMEOUT_MS)
    expect(count('unknown sender')).toBe(1)
    expect(wipesOf(first)).toBe(2)
    await sendHandshake(second)
    expect(wipesOf(second)).toBe(1)
    await all.bob.close()
    expect(wipesOf(second)).toBe(2)
  })
})

/** A connection without a client library: it writes headers that none writes. */
async function rawConnection(url: string): Promise<Socket> {
  const [host = '', port] = url.split(':')
  const socket = connectTcp(Number(port), host)
  const answer = () => new Promise((resolve) => socket.once('data', resolve))
  await answer()
  socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1}\r\nPING\r\n')
  await answer()
  return socket
}

function withHeaders(subject: string, headers: string, data: Uint8Array): Uint8Array {
  const block = utf8(`NATS/1.0\r\n${headers}\r\n\r\n`)
  const line = utf8(`HPUB ${subject} ${block.length} ${block.length + data.length}\r\n`)
  return concat(line, block, data, utf8('\r\n'))
}

describe('headers that do not parse', () => {
  // Both client lines throw for the name when the headers are read.
  const MALFORMED = 'a b: c'
  let raw: Socket
  beforeEach(async () => {
    raw = await rawConnection(all.realm.server.url)
  })
  afterEach(() => void raw.destroy())

  it.each(['message', 'session', 'channel'] satisfies SealMode[])(
    'are not those that were sealed, and the message is counted, in mode %s',
    async (mode) => {
      const write = all.writer(await all.join('mary'), mode)
      const bytes = write({ number: 7 })
      const events = collectStatus(all.bob)
      raw.write(withHeaders('orders.new', MALFORMED, bytes))
      await until('it is judged', () => all.rejected === 1)
      expect([count('headers'), all.got.length]).toEqual([1, 0])
      expect(events.map(({ type }) => type)).not.toContain('error')
      // It has used up nothing.
      await all.expectDelivered(bytes)
    },
  )

  it('take none of the messages with them that wait behind it', async () => {
    const session = all.session(await all.join('mary'))
    const frames = Array.from({ length: 10 }, () => session.frame())
    const [first = new Uint8Array(0)] = frames
    const asked = await all.realm.tap(`${all.realm.root}.session.*`)
    raw.write(withHeaders('orders.new', MALFORMED, first))
    await until('it waits for its handshake', () => asked.length === 1)
    for (const frame of frames) all.broker.publish('orders.new', frame)
    await all.broker.flush()
    await sendHandshake(session)
    await until('all have come', () => all.got.length === 10)
    expect(Object.keys(all.bob.rejections()).filter((reason) => reason !== 'headers')).toEqual([])
  })
})
