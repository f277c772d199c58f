import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fromHex, hex, utf8 } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { openChannel } from '../../src/mcp/session/client.ts'
import {
  encodeMcpAnswer,
  encodeMcpFrame,
  MCP_SESSION_BYTES,
  type McpFrame,
} from '../../src/mcp/session/frames.ts'
import { addressOf } from '../../src/mcp/session/peer.ts'
import { mcpSubjects } from '../../src/mcp/session/subjects.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { EVERYTHING } from '../support/identities.ts'
import type { Tapped } from '../support/realm.ts'
import type { Fate, Tampering } from '../support/tampering.ts'
import { failure, until } from '../support/until.ts'
import {
  type ClientAgent,
  End,
  expectAlive,
  type Replica,
  SERVER,
  SealedWorld,
  type SessionEnds,
} from './sealed-world.ts'

const LOST = 'a frame was lost, repeated or out of order'
const SILENT = 'nothing was heard from the other side'
const subjects = mcpSubjects(SERVER)

let world: SealedWorld
let broker: NatsConnection
let files: Replica
let laptop: ClientAgent
let session: SessionEnds

/** The broker of these tests publishes what it likes, and holds back, repeats and reorders what comes to either side. */
async function start(heartbeat = 60_000): Promise<void> {
  world = await SealedWorld.start()
  broker = await world.realm.connection()
  files = await world.replica({ heartbeat })
  laptop = await world.client('laptop')
}

async function openSession(): Promise<void> {
  session = await world.open(laptop, [files])
}

async function closeSession(): Promise<void> {
  for (const { line } of [files, laptop]) line.decide = () => 'pass'
  for (const { channel } of files.ends) await channel.close()
  files.ends.length = 0
}

const stop = (): Promise<void> => world.stop()

const toServer = (): string => subjects.toServer(files.bus.instance)
const toClient = (): string => subjects.toClient(laptop.bus.instance)
const count = (bus: SecureConnection, reason: RejectReason): number => bus.rejections()[reason] ?? 0
const isFrame = ({ data }: Tapped): boolean => wireType(data) === WireType.frame

/** Frames of the session in both directions as they are on the wire: two of the client's, two of the server's. */
async function captured(): Promise<{ readonly byClient: Uint8Array[]; readonly byServer: Uint8Array[] }> {
  const seen = await world.realm.tap('mcp.>')
  for (const text of ['one', 'two']) {
    await Promise.all([session.client.send(text), session.server.send(text)])
    // A turn each: else both go in one frame.
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until('all have come', () => session.client.got.length === 2 && session.server.got.length === 2)
  await world.realm.settled()
  const on = (subject: string): Uint8Array[] =>
    seen.filter((message) => message.subject === subject && isFrame(message)).map(({ data }) => data)
  return { byClient: on(toServer()), byServer: on(toClient()) }
}

/** Does this to the n-th frame that comes on a subject, and lets all others pass. */
function onFrame(line: Tampering, subject: string, n: number, fate: Fate): void {
  let seen = 0
  line.decide = (message: Msg) =>
    message.subject === subject && wireType(message.data) === WireType.frame && seen++ === n ? fate : 'pass'
}

/** What a session was handed is the beginning of what was sent to it, and it has ended at both ends. */
async function expectEnded(why: string, sent: readonly string[]): Promise<void> {
  const { client, server } = session
  await until('both ends have ended', () => client.isOver && server.isOver)
  expect([client.why, server.why]).toEqual([why, why])
  for (const { got } of [client, server]) expect(got).toEqual(sent.slice(0, got.length))
  expect([client.closed.length, server.closed.length, files.listener.sessions]).toEqual([1, 1, 0])
  for (const end of [client, server])
    expect((await failure(() => end.send('late'))).code).toBe('ERR_MCP_ENDED')
}

describe('a broker between the two ends of a session', () => {
  beforeAll(() => start())
  afterAll(stop)
  beforeEach(openSession)
  afterEach(closeSession)

  it('reads no word of what they say, nor how many messages they are', async () => {
    const canary = 'canary-tool-7f3a'
    const seen = await world.realm.tap('>')
    const another = await world.open(laptop, [files])
    const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: canary } })
    for (const { client, server } of [session, another]) {
      await Promise.all([client.send(call), server.send(`${canary} is the answer`)])
      await until('both have come', () => client.got.length === 1 && server.got.length === 1)
    }
    await another.client.channel.close()
    await until('it has ended', () => another.server.isOver)
    await world.realm.settled()
    expect(seen.filter(({ subject }) => subject.startsWith('mcp.')).length).toBeGreaterThanOrEqual(4)
    const secrets = [canary, 'tools/call', session.client.channel.id, another.client.channel.id]
    for (const { subject, reply, data } of seen) {
      const text = `${subject} ${reply} ${Buffer.from(data).toString('latin1')}`
      for (const secret of secrets) expect(text.includes(secret)).toBe(false)
      for (const { channel } of [session.client, another.client])
        expect(hex(data).includes(channel.id)).toBe(false)
    }
  })

  it.each(['toServer', 'toClient'] as const)('that drops a frame %s ends it, at both ends', async (way) => {
    const [from, line, subject] =
      way === 'toServer'
        ? [session.client, files.line, toServer()]
        : [session.server, laptop.line, toClient()]
    onFrame(line, subject, 1, 'drop')
    const sent = ['a', 'b', 'c', 'd']
    for (const text of sent) {
      await from.send(text)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await expectEnded(LOST, sent)
  })

  it.each(['toServer', 'toClient'] as const)(
    'that changes the order %s ends it, at both ends',
    async (way) => {
      const [from, line, subject] =
        way === 'toServer'
          ? [session.client, files.line, toServer()]
          : [session.server, laptop.line, toClient()]
      const sent = ['a', 'b', 'c']
      let isHeld = 0
      line.decide = (message) => (message.subject === subject && isHeld++ < 3 ? 'hold' : 'pass')
      for (const text of sent) {
        await from.send(text)
        await new Promise((resolve) => setImmediate(resolve))
      }
      await until('they are held', () => line.held === 3)
      line.release((held) => [...held].reverse())
      await expectEnded(LOST, sent)
    },
  )

  it('that delivers frames twice changes nothing', async () => {
    files.line.decide = laptop.line.decide = ({ subject }) => (subject.startsWith('mcp.') ? 'twice' : 'pass')
    await expectAlive(session)
    await expectAlive(session)
    expect(session.client.got).toHaveLength(2)
    expect(session.server.got).toHaveLength(2)
    expect(count(files.bus, 'replay')).toBeGreaterThanOrEqual(2)
  })

  it('that plays frames again changes nothing, also those of the opening', async () => {
    const openings = await world.realm.tap(subjects.open)
    const { byClient, byServer } = await captured()
    await world.open(laptop, [files])
    await until('the opening was seen', () => openings.length > 0)
    const before = count(files.bus, 'replay')
    for (const data of byClient) broker.publish(toServer(), data)
    for (const data of byServer) broker.publish(toClient(), data)
    for (const { data } of openings) broker.publish(subjects.open, data, { reply: '_INBOX.broker' })
    await broker.flush()
    await expectAlive(session)
    await until('they were rejected', () => count(files.bus, 'replay') >= before + 2)
    expect(session.server.got).toHaveLength(3)
    expect(session.client.got).toHaveLength(3)
    expect(files.listener.sessions).toBe(2)
  })

  it('that sends frames of its own, and junk, changes nothing', async () => {
    const forged = encodeMcpFrame(
      { session: fromHex(session.client.channel.id), number: 0 },
      { kind: 'message', content: utf8('forged') },
    )
    const { byClient } = await captured()
    const altered = Uint8Array.from(byClient[0] ?? [], (byte, i) => (i === 60 ? byte ^ 1 : byte))
    for (const subject of [toServer(), toClient(), subjects.open, subjects.presence])
      for (const data of [forged, altered, new Uint8Array(0), utf8('{"jsonrpc":"2.0"}')])
        broker.publish(subject, data, { reply: '_INBOX.broker' })
    await broker.flush()
    await expectAlive(session)
    expect([session.client.got.length, session.server.got.length]).toEqual([3, 3])
    expect(files.listener.sessions).toBe(1)
  })

  it('that alters one bit of a frame ends it, at both ends', async () => {
    files.line.decide = ({ subject, data }) => {
      if (subject === toServer()) data[data.length - 1] = (data.at(-1) ?? 0) ^ 0x80
      return 'pass'
    }
    const before = count(files.bus, 'ciphertext')
    await session.client.send('altered')
    await until('it is rejected', () => count(files.bus, 'ciphertext') > before)
    files.line.decide = () => 'pass'
    await session.client.send('whole')
    await expectEnded(LOST, [])
  })

  it('that moves frames to other places of the same server changes nothing', async () => {
    const desk = await world.client('desk')
    const [replica, others] = [await world.replica(), [files]]
    others.push(replica)
    const theirs = await world.open(desk, others)
    const { byClient, byServer } = await captured()
    const elsewhere = [
      toServer(),
      toClient(),
      subjects.toServer(replica.bus.instance),
      subjects.toClient(desk.bus.instance),
      subjects.open,
      subjects.presence,
    ]
    const buses = [files.bus, laptop.bus, replica.bus, desk.bus]
    for (const data of [...byClient, ...byServer])
      for (const subject of elsewhere) broker.publish(subject, data, { reply: '_INBOX.broker' })
    await broker.flush()
    await expectAlive(session)
    await expectAlive(theirs)
    expect([session.client.got.length, session.server.got.length]).toEqual([3, 3])
    expect([theirs.client.got.length, theirs.server.got.length]).toEqual([1, 1])
    // At home they are old, with the wrong sender's key they are not opened, elsewhere they do not belong.
    const reasons = new Set(buses.flatMap((bus) => Object.keys(bus.rejections())))
    expect(reasons).toContain('replay')
    expect(reasons).toContain('subject')
    await replica.bus.close()
  })

  it('that hands frames held back to another session of the same two delivers nothing there', async () => {
    const another = await world.open(laptop, [files])
    let isHolding = true
    files.line.decide = ({ subject }) => (subject === toServer() && isHolding ? 'hold' : 'pass')
    await session.client.send('for the first')
    await until('it is held', () => files.line.held > 0)
    isHolding = false
    await expectAlive(another)
    files.line.release()
    await until('it has come', () => session.server.got.length === 1 || another.server.isOver)
    expect(session.server.got).toEqual(['for the first'])
    expect(another.server.got).toHaveLength(1)
    await expectAlive(session)
  })
})

describe('a broker that says nothing any more', () => {
  beforeAll(() => start(200))
  afterAll(stop)
  beforeEach(openSession)
  afterEach(closeSession)

  it('to the server ends the session at both ends', async () => {
    files.line.decide = ({ subject }) => (subject.startsWith('mcp.') ? 'drop' : 'pass')
    await expectEnded(SILENT, [])
  })

  it('to either side ends it at each of them', async () => {
    files.line.decide = laptop.line.decide = ({ subject }) => (subject.startsWith('mcp.') ? 'drop' : 'pass')
    await expectEnded(SILENT, [])
  })

  it('of the opening leaves nothing behind', async () => {
    laptop.line.decide = () => 'drop'
    const opened = files.ends.length
    const opening = openChannel(laptop.bus, { server: SERVER, timeout: 500 })
    expect((await failure(() => opening)).code).toBe('ERR_TIMEOUT')
    await until('the server has a session that nobody uses', () => files.ends.length > opened)
    await until('and gives it up', () => files.listener.sessions === 0)
    expect(files.ends[1]?.why).toBe(SILENT)
  })
})

describe('a member with all permissions', () => {
  beforeAll(() => start())
  afterAll(stop)
  beforeEach(openSession)
  afterEach(closeSession)

  const frames: readonly McpFrame[] = [
    { kind: 'message', content: utf8('forged') },
    { kind: 'first', total: 100, content: utf8('forged') },
    { kind: 'credit', limit: 2 ** 48 - 1 },
    { kind: 'heartbeat' },
    { kind: 'end', reason: 0 },
    { kind: 'end', reason: 6 },
  ]

  /** Sends frames of every kind and number with the id of the session, to both of its ends. */
  async function attack(bus: SecureConnection): Promise<void> {
    const id = fromHex(session.client.channel.id)
    for (const [subject, to] of [
      [toServer(), files.bus],
      [toClient(), laptop.bus],
    ] as const)
      for (const frame of frames)
        for (const number of [0, 1, 2])
          for (const mode of ['channel', 'session', 'message'] as const) {
            const bytes = encodeMcpFrame({ session: id, number }, frame)
            try {
              bus.publish(subject, bytes, { to: [addressOf(to)], mode })
            } catch (error) {
              // Not every attacker may publish here.
              expect(error).toMatchObject({ code: 'ERR_PUBLISH_DENIED' })
            }
          }
    await bus.flush()
  }

  it('that knows the id of a session gets nothing into it', async () => {
    const mallory = await world.realm.agent('mallory', { permissions: EVERYTHING })
    await mallory.waitForAudience(toServer())
    const opened = files.bus.stats().opened
    await attack(mallory)
    await until(
      'they have come to the server',
      () => files.bus.stats().opened >= opened + 3 * 3 * frames.length,
    )
    await expectAlive(session)
    expect([session.client.got.length, session.server.got.length]).toEqual([1, 1])
    expect(files.listener.sessions).toBe(1)
  })

  it('answers an opening: it is not accepted', async () => {
    const eve = await world.realm.agent('eve', { permissions: EVERYTHING })
    const asked = await world.realm.tap(subjects.open)
    files.line.decide = ({ subject }) => (subject === subjects.open ? 'drop' : 'pass')
    // One that others may write to on every subject.
    const { bus } = await world.client(world.realm.identity('wide', { permissions: EVERYTHING }))
    await eve.waitForAudience('any.subject')
    const refused = failure(() => openChannel(bus, { server: SERVER, timeout: 1000 }))
    await until('it was asked', () => asked.some(({ reply }) => reply !== undefined && reply !== ''))
    const { reply = '' } = asked.find((message) => message.reply !== '') ?? {}
    const answer = encodeMcpAnswer({
      accepted: true,
      credit: 1 << 20,
      maxMessage: 1 << 20,
      heartbeatMs: 1000,
      leaseMs: 1000,
    })
    for (const mode of ['session', 'message'] as const)
      eve.publish(reply, answer, { to: [addressOf(bus)], mode })
    expect((await refused).code).toBe('ERR_TIMEOUT')
    expect(count(bus, 'not a response')).toBe(2)
  })
})

/** Opens a session whose id is not drawn at random. */
async function withId<T>(id: string, open: () => Promise<T>): Promise<T> {
  const getRandomValues = crypto.getRandomValues
  crypto.getRandomValues = (array) => {
    if (array instanceof Uint8Array && array.length === MCP_SESSION_BYTES) array.set(fromHex(id))
    return array
  }
  try {
    return await open()
  } finally {
    crypto.getRandomValues = getRandomValues
  }
}

describe('the id of a session', () => {
  beforeAll(() => start())
  afterAll(stop)
  beforeEach(openSession)
  afterEach(closeSession)

  it('is worth nothing to another client of the same server', async () => {
    const thief = await world.client('thief')
    const theirs = await world.open(thief, [files])
    const id = fromHex(session.client.channel.id)
    const opened = files.bus.stats().opened
    for (const number of [0, 1])
      for (const frame of [
        { kind: 'message', content: utf8('stolen') },
        { kind: 'end', reason: 0 },
      ] as const) {
        const bytes = encodeMcpFrame({ session: id, number }, frame)
        thief.bus.publish(toServer(), bytes, { to: [addressOf(files.bus)], mode: 'channel' })
      }
    await until('they have come', () => files.bus.stats().opened >= opened + 4)
    await expectAlive(session)
    await expectAlive(theirs)
    expect([session.server.got.length, theirs.server.got.length]).toEqual([1, 1])
  })

  it('is worth nothing to another instance of the same client', async () => {
    const twin = await world.client(laptop.identity)
    await twin.bus.waitForAudience(toServer())
    const id = fromHex(session.client.channel.id)
    const opened = files.bus.stats().opened
    const bytes = encodeMcpFrame({ session: id, number: 0 }, { kind: 'message', content: utf8('stolen') })
    twin.bus.publish(toServer(), bytes, { to: [addressOf(files.bus)], mode: 'channel' })
    await until('it has come', () => files.bus.stats().opened > opened)
    await expectAlive(session)
    expect(session.server.got).toHaveLength(1)
  })

  it('lets nothing in before the answer to its opening is there', async () => {
    const mallory = await world.realm.agent('early', { permissions: EVERYTHING })
    await mallory.waitForAudience(toClient())
    const id = 'c0'.repeat(MCP_SESSION_BYTES)
    files.line.decide = ({ subject }) => (subject === subjects.open ? 'hold' : 'pass')
    const opening = withId(id, () => openChannel(laptop.bus, { server: SERVER }))
    await until('it is asked', () => files.line.held > 0)
    const { opened } = laptop.bus.stats()
    const content = utf8('forged')
    for (const frame of [
      { kind: 'message', content },
      { kind: 'end', reason: 0 },
    ] as const)
      mallory.publish(toClient(), encodeMcpFrame({ session: fromHex(id), number: 0 }, frame), {
        to: [addressOf(laptop.bus)],
        mode: 'channel',
      })
    await until('they have come', () => laptop.bus.stats().opened === opened + 2)
    files.line.decide = () => 'pass'
    files.line.release()
    const client = await End.of(await opening)
    const server = files.ends.at(-1)
    if (server === undefined) throw new Error('it was not taken')
    await expectAlive({ client, server })
    expect([client.channel.id, client.got.length]).toEqual([id, 1])
  })

  it('opens no second session where it is in use, and one of its own for somebody else', async () => {
    const id = session.client.channel.id
    const twin = await world.client('twin')
    expect(await failure(() => withId(id, () => openChannel(laptop.bus, { server: SERVER })))).toMatchObject({
      code: 'ERR_MCP_REFUSED',
      message: expect.stringContaining('there is such a session'),
    })
    const other = await withId(id, () => openChannel(twin.bus, { server: SERVER }))
    expect(other.id).toBe(id)
    await other.send(utf8('of the twin'))
    await until('it has come', () => files.ends[1]?.got.length === 1)
    await expectAlive(session)
    expect(session.server.got).toHaveLength(1)
    expect(files.ends.map(({ channel }) => channel.peer.name)).toEqual(['laptop', 'twin'])
  })
})
