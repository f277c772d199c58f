import type { Msg, SubscriptionOptions } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, utf8 } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { MAX_MCP_MESSAGE_BYTES, MAX_MCP_SESSIONS_PER_AGENT, MAX_MCP_TIME_MS } from '../../src/base/limits.ts'
import type { Channel } from '../../src/mcp/session/channel.ts'
import { openChannel } from '../../src/mcp/session/client.ts'
import { encodeMcpFrame, encodeMcpOpening, MCP_SESSION_BYTES } from '../../src/mcp/session/frames.ts'
import { Listener, type ListenOptions } from '../../src/mcp/session/listener.ts'
import { addressOf } from '../../src/mcp/session/peer.ts'
import { clientPermissions, mcpSubjects, serverPermissions } from '../../src/mcp/session/subjects.ts'
import { ManualClock } from '../support/clock.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { collectStatus } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'
import {
  type ClientAgent,
  End,
  expectAlive,
  type Replica,
  SERVER,
  SealedWorld,
  toPermissions,
} from './sealed-world.ts'

const GONE = 'the other side knows no such session'
const SILENT = 'nothing was heard from the other side'
const UNSENDABLE = 'nothing can be sent to the other side'
const subjects = mcpSubjects(SERVER)
const LONG = 60_000
/** What comes with an error. */
const NO_MESSAGE = undefined as unknown as Msg

/** The error with which no session is opened. */
const refusal = ({ bus }: ClientAgent, timeout = 1000): Promise<Error & { code?: string; hint?: string }> =>
  failure(() => openChannel(bus, { server: SERVER, timeout }))

describe('a session is opened', () => {
  let world: SealedWorld
  let laptop: ClientAgent
  beforeAll(async () => {
    world = await SealedWorld.start()
    laptop = await world.client('laptop')
  })
  afterAll(() => world.stop())

  it('when the server comes to be there, and not before the time is over where it does not', async () => {
    expect(await refusal(laptop, 300)).toMatchObject({
      code: 'ERR_NO_RESPONDERS',
      message: 'the MCP server files is not there',
      hint: expect.stringContaining('subrosa mcp serve files'),
    })
    const opening = openChannel(laptop.bus, { server: SERVER, timeout: 15_000 })
    const files = await world.replica()
    const client = await End.of(await opening)
    const [server] = files.ends
    if (server === undefined) throw new Error('it was not taken')
    await expectAlive({ client, server })
    await files.bus.close()
  })

  it('over one subscription, whatever the number of sessions', async () => {
    const files = await world.replica()
    const sessions = [await world.open(laptop, [files]), await world.open(laptop, [files])]
    for (const session of sessions) await expectAlive(session)
    expect(new Set(sessions.map(({ client }) => client.channel.id)).size).toBe(2)
    await sessions[0]?.client.channel.close()
    const [, second] = sessions
    if (second !== undefined) await expectAlive(second)
    await files.bus.close()
  })

  it('with a peer that is verified, on either side', async () => {
    const files = await world.replica()
    const { client, server } = await world.open(laptop, [files])
    expect(client.channel.peer).toMatchObject({ name: SERVER, instance: files.bus.instance })
    expect(server.channel.peer).toEqual({
      name: 'laptop',
      instance: laptop.bus.instance,
      identity: laptop.identity.publicKey,
      expiresAt: expect.any(Number),
    })
    expect(server.channel.peer.expiresAt * 1000).toBeGreaterThan(Date.now())
    await files.bus.close()
  })
})

describe('a session is refused', () => {
  let world: SealedWorld
  let laptop: ClientAgent
  let files: Replica['bus']
  let listener: Listener | undefined
  const errors: unknown[] = []
  let accept: (channel: Channel) => Promise<void>
  beforeAll(async () => {
    world = await SealedWorld.start()
    laptop = await world.client('laptop')
    files = await world.realm.agent(SERVER, { permissions: toPermissions(serverPermissions(SERVER)) })
  })
  afterAll(() => world.stop())
  afterEach(() => {
    listener?.close()
    errors.length = 0
  })

  async function listen(options: ListenOptions = {}): Promise<Listener> {
    const onError = (error: unknown): void => void errors.push(error)
    listener = await Listener.start(files, (channel) => accept(channel), { onError, ...options })
    return listener
  }

  it('by the policy of the server, before anything is begun for it', async () => {
    let accepted = 0
    accept = async () => void accepted++
    await listen({ admits: ({ name }) => name !== 'laptop' })
    expect(await refusal(laptop)).toMatchObject({
      code: 'ERR_MCP_REFUSED',
      message: 'files refuses the session: its policy does not admit laptop',
    })
    expect(accepted).toBe(0)
  })

  it('with the reason of an error of this package, of which nothing can steer a terminal', async () => {
    accept = () => Promise.reject(new SubrosaError('ERR_SETUP', `\u001b[2J no ${'é'.repeat(2000)}`))
    const { sessions } = await listen()
    const error = await refusal(laptop)
    expect(error.code).toBe('ERR_MCP_REFUSED')
    expect(error.message).toMatch(/^files refuses the session: \?\[2J no \?+$/)
    expect([sessions, errors.length]).toEqual([0, 1])
  })

  it('without the words of any other error: they may be a secret', async () => {
    accept = () => Promise.reject(new Error('password 1234'))
    const taken = await listen()
    expect((await refusal(laptop)).message).toBe('files refuses the session: it cannot begin a session')
    expect(errors).toEqual([new Error('password 1234')])
    await until('nothing is left', () => taken.sessions === 0)
  })

  it('where the server ends it at once', async () => {
    accept = (channel) => channel.close()
    await listen()
    expect((await refusal(laptop)).message).toBe(
      'files refuses the session: it has ended the session at once',
    )
  })

  it('where the server stops while it is begun', async () => {
    let begun = false
    let goOn: () => void = () => {}
    accept = () => {
      begun = true
      return new Promise((resolve) => {
        goOn = resolve
      })
    }
    const taken = await listen()
    const refused = refusal(laptop, 15_000)
    await until('it is begun', () => begun)
    taken.close()
    goOn()
    expect((await refused).code).toBe('ERR_MCP_REFUSED')
  })

  it('by a server that has as many as it takes, or as many of one agent', async () => {
    const ends: End[] = []
    accept = async (channel) => void ends.push(await End.of(channel))
    await listen({ maxSessions: 1 })
    const first = await openChannel(laptop.bus, { server: SERVER })
    expect((await refusal(laptop)).message).toContain('it has as many sessions as it takes')
    await first.close()
    await until('there is room again', () => ends[0]?.isOver === true)
    const second = await openChannel(laptop.bus, { server: SERVER })
    await second.close()
    listener?.close()
    const taken = await listen({ maxSessions: 100 })
    const twin = await world.client(laptop.identity)
    for (let i = 0; i < MAX_MCP_SESSIONS_PER_AGENT; i++)
      await openChannel(i % 2 === 0 ? laptop.bus : twin.bus, { server: SERVER })
    for (const client of [laptop, twin])
      expect((await refusal(client)).message).toContain('it has as many sessions as it takes')
    const other = await world.client('other')
    await openChannel(other.bus, { server: SERVER })
    expect(taken.sessions).toBe(MAX_MCP_SESSIONS_PER_AGENT + 1)
  })

  it('in another version than this one', async () => {
    accept = async () => {}
    await listen()
    const newer = encodeMcpOpening({ session: new Uint8Array(MCP_SESSION_BYTES), credit: 0, maxMessage: 0 })
    newer[1] = 2
    const { data } = await laptop.bus.request(subjects.open, newer, { to: [SERVER] })
    expect(Buffer.from(data).toString('latin1')).toContain('makes no sense to this version')
  })

  it('without a word where nobody waits for one, and nothing is begun', async () => {
    let accepted = 0
    accept = async () => void accepted++
    const taken = await listen()
    const opening = encodeMcpOpening({ session: new Uint8Array(MCP_SESSION_BYTES), credit: 0, maxMessage: 0 })
    const before = files.stats().opened
    laptop.bus.publish(subjects.open, opening, { to: [SERVER] })
    await until('it has come', () => files.stats().opened > before)
    expect([accepted, taken.sessions]).toEqual([0, 0])
  })

  it('by the client itself to what is no server, and for options that are none', async () => {
    const { bus } = laptop
    const wrong: readonly [Partial<Parameters<typeof openChannel>[1]>, string][] = [
      [{ server: 'a.b' }, 'server must be the name of an agent'],
      [{ server: '' }, 'server must be the name of an agent'],
      [{ maxMessage: 0 }, 'maxMessage must be'],
      [{ maxMessage: 1.5 }, 'maxMessage must be'],
      [{ maxMessage: MAX_MCP_MESSAGE_BYTES + 1 }, 'maxMessage must be'],
      [{ timeout: Number.NaN }, 'timeout must be'],
      [{ timeout: -1 }, 'timeout must be'],
    ]
    for (const [options, why] of wrong)
      expect((await failure(() => openChannel(bus, { server: SERVER, ...options }))).message).toContain(why)
    const listening: readonly ListenOptions[] = [
      { heartbeat: 0 },
      { heartbeat: 0.5 },
      { heartbeat: MAX_MCP_TIME_MS + 1 },
      { lease: 0 },
      { lease: Number.POSITIVE_INFINITY },
      { maxMessage: 0 },
      { maxSessions: 0 },
    ]
    accept = async () => {}
    for (const options of listening) {
      const [name = ''] = Object.keys(options)
      const error = await failure(() => listen(options))
      expect([error instanceof RangeError, error.message.includes(name)]).toEqual([true, true])
    }
  })
})

describe('who may not by the broker', () => {
  let world: SealedWorld
  beforeAll(async () => {
    const narrow =
      '{user: narrow, password: narrow, permissions: {subscribe: {deny: ["mcp.files.from.>", "mcp.files.to.>"]}}}'
    const deaf = '{user: deaf, password: deaf, permissions: {subscribe: {deny: "mcp.files.open"}}}'
    const users = `{user: any, password: any}, ${narrow}, ${deaf}`
    const config = `authorization { users = [ ${users} ] }\nno_auth_user: any`
    world = await SealedWorld.start({ serverConfig: config })
  })
  afterAll(() => world.stop())

  it('serve or use a server is told at once', async () => {
    const login = (user: string) => world.realm.connection({ user, pass: user })
    const { serving } = world
    const client = await world.realm.agent(
      'laptop',
      { permissions: toPermissions(clientPermissions(SERVER)) },
      { over: await login('narrow') },
    )
    const servers = [
      await world.realm.agent(serving, {}, { over: await login('narrow') }),
      await world.realm.agent(serving, {}, { over: await login('deaf') }),
    ]
    const errors = [
      await failure(() => openChannel(client, { server: SERVER })),
      await failure(() => openChannel(client, { server: SERVER })),
    ]
    for (const server of servers) errors.push(await failure(() => Listener.start(server, async () => {})))
    expect(errors.map(({ code }) => code)).toEqual(errors.map(() => 'ERR_SUBSCRIBE_DENIED'))
  })

  it('use a server, and then may, can do so over the same connection', async () => {
    const nc = await world.realm.connection()
    let isRefused = true
    // The server's word that it refuses a subscription, as either client line hands it on.
    const over = new Proxy(nc, {
      get(target, name) {
        if (name !== 'subscribe') {
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        }
        return (subject: string, options: SubscriptionOptions = {}) => {
          const { callback } = options
          const refuse = isRefused && subject.startsWith('mcp.')
          if (refuse) queueMicrotask(() => callback?.(new Error('permissions violation'), NO_MESSAGE))
          return target.subscribe(subject, options)
        }
      },
    })
    const identity = world.realm.identity('later', { permissions: toPermissions(clientPermissions(SERVER)) })
    const bus = await world.realm.agent(identity, {}, { over })
    expect((await failure(() => openChannel(bus, { server: SERVER }))).code).toBe('ERR_SUBSCRIBE_DENIED')
    isRefused = false
    const files = await world.replica()
    const client = await End.of(await openChannel(bus, { server: SERVER }))
    const [server] = files.ends
    if (server === undefined) throw new Error('it was not taken')
    await expectAlive({ client, server })
  })

  it('by its token is told so too', async () => {
    const { bus } = await world.client('desk')
    expect((await failure(() => openChannel(bus, { server: 'other' }))).code).toBe('ERR_SUBSCRIBE_DENIED')
    expect((await failure(() => Listener.start(bus, async () => {}))).code).toBe('ERR_SUBSCRIBE_DENIED')
  })
})

describe('a session that stands', () => {
  let world: SealedWorld
  let laptop: ClientAgent
  beforeAll(async () => {
    world = await SealedWorld.start()
    laptop = await world.client('laptop')
  })
  afterAll(() => world.stop())

  it('has what the server sends while it takes it', async () => {
    const bus = await world.realm.agent('eager', { permissions: toPermissions(serverPermissions('eager')) })
    const many = Array.from({ length: 300 }, (_, i) => `${i}`.padEnd(i, ' '))
    const listener = await Listener.start(bus, async (channel) => {
      for (const text of many) await channel.send(utf8(text))
      if (listener.sessions > 1) await channel.close()
    })
    const { bus: desk } = await world.client(
      world.realm.identity('desk', { permissions: toPermissions(clientPermissions('eager')) }),
    )
    const client = await End.of(await openChannel(desk, { server: 'eager', timeout: 10_000 }))
    await until('all has come', () => client.got.length === many.length)
    expect(client.got).toEqual(many)
    listener.close()
    await until('it has ended', () => client.isOver)
    expect(client.closed).toEqual([undefined])
  })

  it('is not missed while the server takes its time to take it', async () => {
    const bus = await world.realm.agent('slow', { permissions: toPermissions(serverPermissions('slow')) })
    const clock = new ManualClock()
    const heartbeat = 1000
    let server: End | undefined
    await Listener.start(
      bus,
      async (channel) => {
        clock.advance(100 * heartbeat)
        server = await End.of(channel)
      },
      { heartbeat, clock },
    )
    const { bus: desk } = await world.client(
      world.realm.identity('other', { permissions: toPermissions(clientPermissions('slow')) }),
    )
    const client = await End.of(await openChannel(desk, { server: 'slow' }))
    if (server === undefined) throw new Error('it was not taken')
    await expectAlive({ client, server })
  })

  it('ends for both when the server stops to take any', async () => {
    const files = await world.replica()
    const { client } = await world.open(laptop, [files])
    files.listener.close()
    files.listener.close()
    await until('the client knows', () => client.isOver)
    expect(client.closed).toEqual([undefined])
    expect((await refusal(laptop, 300)).code).toBe('ERR_NO_RESPONDERS')
    await files.bus.close()
  })

  it('that is over at the server, of which the client has not heard, ends when it speaks', async () => {
    const files = await world.replica({ heartbeat: LONG })
    const { client, server } = await world.open(laptop, [files])
    await expectAlive({ client, server })
    laptop.line.decide = ({ subject }) => (subject.startsWith('mcp.') ? 'drop' : 'pass')
    await server.channel.close()
    await files.bus.flush()
    await laptop.bus.flush()
    laptop.line.decide = () => 'pass'
    await client.send('is anybody there?')
    await until('the client knows', () => client.isOver)
    expect(client.why).toBe(GONE)
    await files.bus.close()
  })

  it('that never was is answered, but not without end, and an end is not answered at all', async () => {
    const files = await world.replica()
    const seen = await world.realm.tapMessages(subjects.toClient(laptop.bus.instance))
    await laptop.bus.waitForAudience(subjects.toServer(files.bus.instance))
    const say = (frame: Parameters<typeof encodeMcpFrame>[1]): void => {
      const bytes = encodeMcpFrame({ session: fromHex('ab'.repeat(MCP_SESSION_BYTES)), number: 0 }, frame)
      laptop.bus.publish(subjects.toServer(files.bus.instance), bytes, {
        to: [addressOf(files.bus)],
        mode: 'channel',
      })
    }
    const { opened } = files.bus.stats()
    for (let i = 0; i < 100; i++) say({ kind: 'end', reason: 0 })
    await until('all have come', () => files.bus.stats().opened === opened + 100)
    const answered = laptop.bus.stats().opened
    for (let i = 0; i < 1000; i++) say({ kind: 'heartbeat' })
    await until('all of these too', () => files.bus.stats().opened === opened + 1100)
    await files.bus.flush()
    await world.realm.settled()
    expect(seen.length).toBeGreaterThan(0)
    // What is answered within one second, and a little more for a slow machine.
    expect(laptop.bus.stats().opened - answered).toBeLessThan(200)
    await files.bus.close()
  })

  it('ends here when the sealed connection is closed, and there by silence', async () => {
    const files = await world.replica({ heartbeat: 100 })
    const desk = await world.client('closing')
    const { client, server } = await world.open(desk, [files])
    await desk.bus.close()
    await until('both know', () => client.isOver && server.isOver)
    expect(client.closed[0]).toMatchObject({
      code: 'ERR_MCP_ENDED',
      message: 'the MCP session has ended: the subscription to its frames has ended',
      hint: 'the sealed connection is closed',
    })
    // A retired instance cannot be sealed to: that may be noticed before the silence.
    expect([SILENT, UNSENDABLE]).toContain(server.why)
    expect((await failure(() => openChannel(desk.bus, { server: SERVER }))).code).toBe('ERR_CLOSED')
    await files.bus.close()
  })

  it('lives on while the broker is away for a moment, or ends: it never loses a message in between', async () => {
    const other = await SealedWorld.start()
    const files = await other.replica({ heartbeat: 500 })
    const session = await other.open(await other.client('laptop'), [files])
    const sent: string[] = []
    const say = async (): Promise<void> => {
      sent.push(`${sent.length}`)
      await session.client.send(sent.at(-1) ?? '').catch(() => {})
    }
    for (let i = 0; i < 100; i++) await say()
    await other.realm.server.kill()
    for (let i = 0; i < 100; i++) await say()
    const server = await other.realm.server.restart()
    try {
      await until('it is back', () => {
        void say()
        return session.client.isOver || session.server.got.length === sent.length
      })
      expect(session.server.got).toEqual(sent.slice(0, session.server.got.length))
    } finally {
      await other.stop()
      await server.stop()
    }
  })
})

describe('a session over a server that takes little at once', () => {
  let world: SealedWorld
  afterEach(() => world.stop())

  it.each([16_384, 32_768])(
    'carries messages of any length both ways where max_payload is %i: it sends smaller parts',
    async (maxPayload) => {
      world = await SealedWorld.start({ serverConfig: `max_payload: ${maxPayload}` })
      const files = await world.replica()
      const ends = await world.open(await world.client('laptop'), [files])
      const text = 'long '.repeat(60_000)
      const sent = await Promise.allSettled([ends.client.send(text), ends.server.send(text)])
      expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
      await until('it has come at both ends', () => ends.client.got.length > 0 && ends.server.got.length > 0)
      expect([ends.client.got, ends.server.got]).toEqual([[text], [text]])
      await expectAlive(ends)
    },
  )
})

describe('a session with somebody who is revoked', () => {
  let world: SealedWorld
  let files: Replica
  let laptop: ClientAgent
  afterEach(() => world.stop())

  async function start(heartbeat: number): Promise<void> {
    world = await SealedWorld.start()
    files = await world.replica({ heartbeat })
    laptop = await world.client('laptop')
  }

  it('ends at once at both ends, and those with others go on', async () => {
    await start(LONG)
    const session = await world.open(laptop, [files])
    const desk = await world.open(await world.client('desk'), [files])
    await expectAlive(session)
    await world.revoke(laptop.identity)
    await until('both have ended', () => session.client.isOver && session.server.isOver)
    for (const end of [session.client, session.server]) {
      expect(end.why).toBe(UNSENDABLE)
      expect(end.closed[0]).toMatchObject({ hint: 'one of the two sides is not trusted any more' })
    }
    await expectAlive(desk)
    expect(files.listener.sessions).toBe(1)
    expect((await refusal(laptop)).code).toBe('ERR_REVOKED')
  })

  it('ends with the next sign of life where the broker drowns the word of it in junk', async () => {
    await start(300)
    const session = await world.open(laptop, [files])
    const broker = await world.realm.connection()
    const events = collectStatus(files.bus)
    const flood = new Uint8Array(8)
    for (let i = 0; i < 3000; i++) broker.publish(subjects.presence, flood)
    await world.revoke(laptop.identity)
    for (let i = 0; i < 3000; i++) broker.publish(subjects.presence, flood)
    await until('it has ended', () => session.server.isOver)
    await until('it was told', () => events.length > 0)
    expect(session.server.why).toBe(UNSENDABLE)
  })
})

it('word of a revocation that comes when there is no epoch any more ends the session, and breaks nothing', async () => {
  const clock = new ManualClock()
  const HOUR = 3_600_000
  const world = await SealedWorld.start({
    clock,
    schedule: { periodMs: HOUR / 2, leadMs: 60_000, graceMs: 60_000 },
  })
  try {
    const files = await passing(clock, world.replica({ heartbeat: 10 * HOUR, clock }))
    const laptop = await passing(clock, world.client('laptop'))
    const { server } = await passing(clock, world.open(laptop, [files], { clock, timeout: HOUR / 4 }))
    files.line.decide = ({ subject }) => (subject.endsWith('.revoke') ? 'pass' : 'drop')
    await passingUntil(
      clock,
      'the epoch is over',
      () => {
        try {
          return files.bus.audience(subjects.open).length < 0
        } catch {
          return true
        }
      },
      10_000,
    )
    expect(server.isOver).toBe(false)
    await world.revoke(laptop.identity)
    await until('it has ended', () => server.isOver)
    expect(server.why).toBe(UNSENDABLE)
  } finally {
    await world.stop()
  }
})
