import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { SubrosaError } from '../../../src/base/errors.ts'
import {
  MAX_MCP_ID_LENGTH,
  MAX_MCP_UNANSWERED,
  MCP_INITIALIZE_MS,
  MCP_REOPEN_WAIT_MS,
  MCP_STEADY_MS,
} from '../../../src/base/limits.ts'
import type { MessagePipe } from '../../../src/mcp/pipes/pipe.ts'
import { type ReopeningEvent, ReopeningPipe } from '../../../src/mcp/pipes/reopening-pipe.ts'
import { ManualClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'
import { field, HandPipe, HandSink } from '../pipes.ts'

const INITIALIZE = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25' } }
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' }
const RESULT = { protocolVersion: '2025-11-25', capabilities: {} }
const LOST = new SubrosaError('ERR_MCP_ENDED', 'the MCP session has ended: nothing was heard')

/** A host over sessions whose other ends the test plays. */
class Scene {
  readonly clock = new ManualClock()
  readonly host = new HandSink()
  readonly sessions: HandPipe[] = []
  readonly events: ReopeningEvent[] = []
  /** Dialling fails with it. */
  failure: Error | undefined
  dials = 0
  readonly pipe = new ReopeningPipe({
    clock: this.clock,
    dial: async (): Promise<MessagePipe> => {
      this.dials++
      if (this.failure !== undefined) throw this.failure
      const session = new HandPipe()
      this.sessions.push(session)
      return session
    },
    onEvent: (event) => this.events.push(event),
  })

  /** A host that has begun with the first session as MCP has it. */
  static async begun(): Promise<Scene> {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.say(INITIALIZE)
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, result: RESULT })
    await scene.say(INITIALIZED)
    scene.clock.advance(MCP_STEADY_MS)
    scene.host.messages.length = 0
    return scene
  }

  session(index: number): HandPipe {
    const session = this.sessions[index]
    if (session === undefined) throw new Error(`there is no session ${index}`)
    return session
  }

  say(message: object): Promise<void> {
    return this.pipe.send(utf8(JSON.stringify(message)))
  }

  /** What a session was told. */
  told(index: number): readonly unknown[] {
    return this.session(index).sent
  }

  /** Ends a session from the other end, and has the next one stand, as a server that answers does it. */
  async replace(index: number, result: object = RESULT): Promise<void> {
    await this.session(index).end(LOST)
    await this.nextStands(index + 1, result)
  }

  async nextStands(index: number, result: object = RESULT): Promise<void> {
    await until(`session ${index} is told to begin`, () => (this.sessions[index]?.sent.length ?? 0) > 0)
    await this.session(index).deliver({ jsonrpc: '2.0', id: field(this.told(index), 0, 'id'), result })
    await until('it stands', () => this.events.at(-1)?.type === 'opened')
  }

  /** Lets time pass until a condition holds. */
  async pass(what: string, condition: () => boolean, stepMs = 1000): Promise<void> {
    await until(what, () => {
      if (condition()) return true
      this.clock.advance(stepMs)
      return false
    })
  }
}

describe('a new session', () => {
  test('is told what the host has told the former one, and the host hears nothing of it', async () => {
    const scene = await Scene.begun()
    await scene.say({ jsonrpc: '2.0', id: 1, method: 'logging/setLevel', params: { level: 'debug' } })
    await scene.say({ jsonrpc: '2.0', id: 2, method: 'resources/subscribe', params: { uri: 'a:/1' } })
    await scene.say({ jsonrpc: '2.0', id: 3, method: 'resources/subscribe', params: { uri: 'a:/2' } })
    await scene.say({ jsonrpc: '2.0', id: 4, method: 'resources/unsubscribe', params: { uri: 'a:/1' } })
    for (const id of [1, 2, 3, 4]) await scene.session(0).deliver({ jsonrpc: '2.0', id, result: {} })
    scene.host.messages.length = 0
    await scene.replace(0)
    await until('everything was told', () => scene.told(1).length === 4)
    const [initialize, ...then] = scene.told(1)
    expect(initialize).toEqual({ ...INITIALIZE, id: field(initialize, 'id') })
    expect(field(initialize, 'id')).toMatch(/^subrosa-/)
    expect(then.map((message) => field(message, 'method'))).toEqual([
      'notifications/initialized',
      'logging/setLevel',
      'resources/subscribe',
    ])
    expect(field(then, 2, 'params', 'uri')).toBe('a:/2')
    for (const message of then.slice(1))
      await scene.session(1).deliver({ jsonrpc: '2.0', id: field(message, 'id'), result: {} })
    expect(scene.host.messages).toEqual([])
  })

  test('gets what is asked next, and its answers reach the host', async () => {
    const scene = await Scene.begun()
    await scene.replace(0)
    await scene.say({ jsonrpc: '2.0', id: 9, method: 'tools/list' })
    expect(scene.told(1).at(-1)).toEqual({ jsonrpc: '2.0', id: 9, method: 'tools/list' })
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 9, result: { tools: [] } })
    expect(scene.host.messages).toEqual([{ jsonrpc: '2.0', id: 9, result: { tools: [] } }])
  })

  test('that speaks another version is given up', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    const id = field(scene.told(1), 0, 'id')
    await scene
      .session(1)
      .deliver({ jsonrpc: '2.0', id, result: { ...RESULT, protocolVersion: '2024-11-05' } })
    await until('it is given up', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.session(1).isClosed).toBe(true)
    expect(scene.events.at(-1)).toMatchObject({ error: { code: 'ERR_MCP_ENDED' } })
  })

  test('that says of its version what is no text is not taken for the former one', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    const id = field(scene.told(1), 0, 'id')
    await scene.session(1).deliver({ jsonrpc: '2.0', id, result: { protocolVersion: { toString: 1 } } })
    await until('it is given up', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.events.at(-1)).toMatchObject({ error: { code: 'ERR_MCP_ENDED' } })
  })

  test('that does not answer initialize is given up', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    scene.clock.advance(MCP_INITIALIZE_MS)
    await until('it is given up', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.session(1).isClosed).toBe(true)
  })

  test('is not told again what the server has refused', async () => {
    const scene = await Scene.begun()
    await scene.say({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'a:/1' } })
    await scene.say({ jsonrpc: '2.0', id: 2, method: 'resources/subscribe', params: { uri: 'a:/2' } })
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 1, error: { code: -32002, message: 'unknown' } })
    await scene.replace(0)
    await until('everything was told', () => scene.told(1).length === 2)
    expect(scene.told(1).at(-1)).toEqual(INITIALIZED)
  })

  test('is told that the host has begun, also where that came while there was none', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.say(INITIALIZE)
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, result: RESULT })
    scene.failure = new SubrosaError('ERR_NO_RESPONDERS', 'not there')
    await scene.session(0).end(LOST)
    scene.clock.advance(MCP_REOPEN_WAIT_MS)
    await scene.say(INITIALIZED)
    scene.failure = undefined
    await scene.pass('another one is told to begin', () => (scene.sessions[1]?.sent.length ?? 0) > 0, 100)
    await scene.nextStands(1)
    expect(scene.told(1).at(-1)).toEqual(INITIALIZED)
  })

  test('of which nothing can be told is closed, and not left to itself', async () => {
    const scene = await Scene.begun()
    const small = new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'a message of 99 bytes is too long')
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    scene.session(1).failure = small
    const id = field(scene.told(1), 0, 'id')
    await scene.session(1).deliver({ jsonrpc: '2.0', id, result: RESULT })
    await until('it is given up', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.events.at(-1)).toMatchObject({ error: small })
    expect(scene.session(1).isClosed).toBe(true)
  })

  test('that takes nothing is given up when its time is over', async () => {
    const scene = await Scene.begun()
    const dial = scene.sessions.length
    await scene.session(0).end(LOST)
    await until('it was opened', () => scene.sessions.length > dial)
    scene.session(1).taking = new Promise(() => {})
    await scene.pass('it is given up', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.session(1).isClosed).toBe(true)
  })

  test('that ends while it begins is followed by another one', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    await scene.session(1).end(LOST)
    await until('it is said why', () => scene.events.at(-1)?.type === 'failed')
    expect(scene.events.at(-1)).toMatchObject({ error: LOST })
    await scene.pass('another one is told to begin', () => scene.sessions[2]?.sent.length === 1, 100)
    await scene.nextStands(2)
    expect(scene.events.filter(({ type }) => type === 'opened')).toHaveLength(2)
  })

  test('is told nothing where the host has said nothing, as in revisions without initialize', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.say({ jsonrpc: '2.0', id: 'a', method: 'server/discover' })
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 'a', result: {} })
    await scene.session(0).end(LOST)
    const opened = () => scene.events.filter(({ type }) => type === 'opened').length
    await scene.pass('another one stands', () => opened() === 2, 50)
    expect(scene.told(1)).toEqual([])
  })
})

describe('requests in flight', () => {
  test('of the host are answered with an error when the session ends, and are not made again', async () => {
    const scene = await Scene.begun()
    await scene.say({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'pay' } })
    await scene.say({ jsonrpc: '2.0', id: '1', method: 'tools/call', params: { name: 'pay' } })
    await scene.replace(0)
    expect(
      scene.host.messages.map((message) => [field(message, 'id'), field(message, 'error', 'code')]),
    ).toEqual([
      [1, -32000],
      ['1', -32000],
    ])
    expect(scene.told(1).some((message) => field(message, 'method') === 'tools/call')).toBe(false)
  })

  test('that were answered get no second answer', async () => {
    const scene = await Scene.begun()
    await scene.say({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 1, result: {} })
    await scene.replace(0)
    expect(scene.host.messages).toHaveLength(1)
  })

  test('in a batch are answered one by one', async () => {
    const scene = await Scene.begun()
    await scene.pipe.send(
      utf8(
        JSON.stringify([
          { jsonrpc: '2.0', id: 1, method: 'tools/list' },
          { jsonrpc: '2.0', id: 2, method: 'prompts/list' },
        ]),
      ),
    )
    await scene.session(0).deliver([{ jsonrpc: '2.0', id: 2, result: {} }])
    await scene.session(0).end(LOST)
    expect(scene.host.messages.slice(1)).toMatchObject([{ id: 1, error: { code: -32000 } }])
  })

  test('in a batch with what begins are not made again', async () => {
    const scene = await Scene.begun()
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'pay' } }
    await scene.pipe.send(utf8(JSON.stringify([INITIALIZED, call])))
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 1, result: {} })
    await scene.replace(0)
    await until('everything was told', () => scene.told(1).length === 2)
    expect(scene.told(1).at(-1)).toEqual(INITIALIZED)
  })

  test('that come in the turn in which the session ends are answered too', async () => {
    const scene = await Scene.begun()
    scene.session(0).failure = LOST
    const ended = scene.session(0).end(LOST)
    await Promise.all([ended, scene.say({ jsonrpc: '2.0', id: 1, method: 'tools/list' })])
    expect(scene.host.messages).toMatchObject([{ id: 1, error: { code: -32000 } }])
  })

  test('an initialize that was refused is not made again', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.say(INITIALIZE)
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, error: { code: -32602, message: 'no' } })
    await scene.session(0).end(LOST)
    const opened = () => scene.events.filter(({ type }) => type === 'opened').length
    await scene.pass('another one stands', () => opened() === 2, 50)
    expect(scene.told(1)).toEqual([])
  })

  test('an initialize that is too long for the server is answered once', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await until('a session is there', () => scene.events.at(-1)?.type === 'opened')
    scene.session(0).failure = new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'a message of 99 bytes is too long')
    await scene.say(INITIALIZE)
    await scene.session(0).end(LOST)
    const opened = () => scene.events.filter(({ type }) => type === 'opened').length
    await scene.pass('another one stands', () => opened() === 2, 50)
    expect(scene.told(1)).toEqual([])
    expect(scene.host.messages).toMatchObject([{ id: 0, error: { code: -32000 } }])
  })

  test('an initialize without an answer is sent again under its own id', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.say(INITIALIZE)
    await scene.session(0).end(LOST)
    await scene.pass('it was sent again', () => scene.sessions[1]?.sent.length === 1, 50)
    expect(scene.told(1)).toEqual([INITIALIZE])
    expect(scene.host.messages).toEqual([])
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 0, result: RESULT })
    expect(scene.host.messages).toEqual([{ jsonrpc: '2.0', id: 0, result: RESULT }])
  })

  test('an initialize that waited for the first session is sent once', async () => {
    const scene = new Scene()
    scene.failure = new SubrosaError('ERR_NO_RESPONDERS', 'not there')
    await scene.pipe.open(scene.host)
    const said = scene.say(INITIALIZE)
    await until('it was tried', () => scene.dials === 1)
    scene.failure = undefined
    await scene.pass('a session stands', () => scene.sessions.length === 1, 100)
    await said
    expect(scene.told(0)).toEqual([INITIALIZE])
  })

  test('of the server are taken back, and what the host answers nevertheless reaches no other session', async () => {
    const scene = await Scene.begun()
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, method: 'sampling/createMessage' })
    await scene.replace(0)
    expect(scene.host.messages[1]).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: 0 },
    })
    const before = scene.told(1).length
    await scene.say({ jsonrpc: '2.0', id: 0, result: { secret: 'for the former one' } })
    expect(scene.told(1)).toHaveLength(before)
    // Once: the next answer to this id is to a new request.
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 0, method: 'roots/list' })
    await scene.say({ jsonrpc: '2.0', id: 0, result: { roots: [] } })
    expect(scene.told(1).at(-1)).toEqual({ jsonrpc: '2.0', id: 0, result: { roots: [] } })
  })

  test('of the server are taken back, and answers in a batch reach no other session either', async () => {
    const scene = await Scene.begun()
    const asked = [0, 1].map((id) => ({ jsonrpc: '2.0', id, method: 'sampling/createMessage' }))
    await scene.session(0).deliver(asked)
    await scene.replace(0)
    const before = scene.told(1).length
    const answers = [0, 1].map((id) => ({ jsonrpc: '2.0', id, result: { secret: 'for the former one' } }))
    await scene.pipe.send(utf8(JSON.stringify(answers)))
    expect(scene.told(1)).toHaveLength(before)
  })

  test('of a server with which no session came to stand are taken back too', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 7, method: 'sampling/createMessage' })
    await scene.session(1).end(LOST)
    await scene.pass('another one is told to begin', () => scene.sessions[2]?.sent.length === 1, 100)
    await scene.nextStands(2)
    expect(scene.host.messages.at(-1)).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: 7 },
    })
    const before = scene.told(2).length
    await scene.say({ jsonrpc: '2.0', id: 7, result: { secret: 'for the former one' } })
    expect(scene.told(2)).toHaveLength(before)
  })

  test('of the server are not remembered without end, and no longer than it wants an answer', async () => {
    const scene = await Scene.begun()
    const ask = (id: number | string) => scene.session(0).deliver({ jsonrpc: '2.0', id, method: 'ping' })
    for (let id = 0; id < 2 * MAX_MCP_UNANSWERED; id++) {
      await ask(id)
      const params = { requestId: id }
      await scene.session(0).deliver({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
    }
    const before = scene.told(0).length
    await scene.say({ jsonrpc: '2.0', id: 2 * MAX_MCP_UNANSWERED - 1, result: {} })
    expect(scene.told(0)).toHaveLength(before)
    await scene.say({ jsonrpc: '2.0', id: 0, result: {} })
    expect(scene.told(0)).toHaveLength(before + 1)
    for (let id = 0; id < MAX_MCP_UNANSWERED; id++) await ask(`next ${id}`)
    await expect(ask('one more')).rejects.toMatchObject({ code: 'ERR_MCP_ENDED' })
  })

  test('of the server with an endless id end the session', async () => {
    const scene = await Scene.begun()
    const long = { jsonrpc: '2.0', id: 'x'.repeat(MAX_MCP_ID_LENGTH), method: 'ping' }
    await expect(scene.session(0).deliver(long)).rejects.toMatchObject({ code: 'ERR_MCP_ENDED' })
  })

  test('of the server with an id that is none are not taken back, however deep it is', async () => {
    const scene = await Scene.begun()
    // The deepest of them can be read, and not be written.
    for (const depth of [1, 1000, 3000, 4000, 5000, 10_000]) {
      const id = '['.repeat(depth) + ']'.repeat(depth)
      await scene
        .session(0)
        .deliver(`{"jsonrpc":"2.0","id":${id},"method":"sampling/createMessage"}`)
        .catch(() => {})
    }
    scene.host.messages.length = 0
    await scene.replace(0)
    expect(scene.host.messages).toEqual([])
  })

  test("of a later server get another id where the host still has the former one's", async () => {
    const scene = await Scene.begun()
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, method: 'sampling/createMessage' })
    await scene.replace(0)
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 0, method: 'roots/list' })
    const asked = scene.host.messages.at(-1)
    const id = field(asked, 'id')
    expect(field(asked, 'method')).toBe('roots/list')
    expect(id).not.toBe(0)
    await scene.say({ jsonrpc: '2.0', id: 0, result: { secret: 'for the former one' } })
    await scene.say({ jsonrpc: '2.0', id, result: { roots: [] } })
    expect(scene.told(1).at(-1)).toEqual({ jsonrpc: '2.0', id: 0, result: { roots: [] } })
    expect(JSON.stringify(scene.told(1))).not.toContain('secret')
  })

  test('that such a server takes back are known to the host by the other id', async () => {
    const scene = await Scene.begun()
    await scene.session(0).deliver({ jsonrpc: '2.0', id: 0, method: 'sampling/createMessage' })
    await scene.replace(0)
    await scene.session(1).deliver({ jsonrpc: '2.0', id: 0, method: 'roots/list' })
    const id = field(scene.host.messages.at(-1), 'id')
    const params = { requestId: 0, reason: 'enough' }
    await scene.session(1).deliver({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
    expect(field(scene.host.messages.at(-1), 'params')).toEqual({ requestId: id, reason: 'enough' })
  })
})

describe('while there is no session', () => {
  test('what the host asks waits for the next one', async () => {
    const scene = await Scene.begun()
    scene.failure = new SubrosaError('ERR_NO_RESPONDERS', 'not there')
    await scene.session(0).end(LOST)
    const said = scene.say({ jsonrpc: '2.0', id: 5, method: 'tools/list' })
    scene.failure = undefined
    await scene.pass('another one is told to begin', () => (scene.sessions[1]?.sent.length ?? 0) > 0, 100)
    await scene.nextStands(1)
    await said
    expect(scene.told(1).at(-1)).toEqual({ jsonrpc: '2.0', id: 5, method: 'tools/list' })
  })

  test('for too long, it is answered with an error that says why', async () => {
    const scene = await Scene.begun()
    scene.failure = new SubrosaError('ERR_NO_RESPONDERS', 'the MCP server files is not there', {
      hint: 'start it',
    })
    await scene.session(0).end(LOST)
    const said = scene.say({ jsonrpc: '2.0', id: 5, method: 'tools/list' })
    await until('it was tried', () => scene.dials === 2)
    scene.clock.advance(MCP_REOPEN_WAIT_MS)
    await said
    expect(scene.host.messages).toMatchObject([{ id: 5, error: { code: -32000 } }])
    expect(field(scene.host.messages[0], 'error', 'message')).toBe(
      'there is no session with the server: the MCP server files is not there (start it)',
    )
    // And what follows need not wait as long again.
    await scene.say({ jsonrpc: '2.0', id: 6, method: 'tools/list' })
    expect(scene.host.messages).toHaveLength(2)
  })

  test('it is tried again with growing pauses, without end', async () => {
    const scene = await Scene.begun()
    scene.failure = new SubrosaError('ERR_CONNECTION', 'no broker')
    await scene.session(0).end(LOST)
    const at: number[] = []
    for (let seen = scene.dials; at.length < 12; ) {
      await scene.pass('it is tried again', () => scene.dials > seen, 50)
      seen = scene.dials
      at.push(scene.clock.monotonic())
    }
    const pauses = at.slice(1).map((time, i) => time - (at[i] ?? 0))
    expect(pauses[0]).toBeLessThanOrEqual(600)
    expect(Math.max(...pauses)).toBeLessThanOrEqual(10_100)
    expect(pauses.at(-1)).toBeGreaterThanOrEqual(4_900)
  })

  test('a server that falls over as soon as it is spoken to is not asked in a hurry', async () => {
    const scene = await Scene.begun()
    for (let i = 0; i < 6; i++) {
      await scene.session(i).end(LOST)
      await scene.pass(
        'another one is told to begin',
        () => (scene.sessions[i + 1]?.sent.length ?? 0) > 0,
        50,
      )
      await scene.nextStands(i + 1)
    }
    expect(scene.clock.monotonic()).toBeGreaterThan(2000)
  })
})

describe('the end', () => {
  test('closes the session and tells the host once', async () => {
    const scene = await Scene.begun()
    await scene.pipe.close()
    await scene.pipe.close()
    expect(scene.session(0).isClosed).toBe(true)
    expect(scene.host.ends).toEqual([undefined])
    expect(scene.dials).toBe(1)
  })

  test('while a session is being opened closes that one too', async () => {
    const scene = new Scene()
    await scene.pipe.open(scene.host)
    await scene.pipe.close()
    await until('it was opened', () => scene.sessions.length === 1)
    await until('it was closed', () => scene.session(0).isClosed)
    scene.clock.advance(60_000)
    expect(scene.dials).toBe(1)
  })

  test('while a session begins closes that one at once', async () => {
    const scene = await Scene.begun()
    await scene.session(0).end(LOST)
    await until('it is told to begin', () => scene.sessions[1]?.sent.length === 1)
    await scene.pipe.close()
    expect(scene.session(1).isClosed).toBe(true)
    expect(scene.events.at(-1)?.type).toBe('lost')
  })

  test('lets nothing be sent any more', async () => {
    const scene = await Scene.begun()
    await scene.pipe.close()
    await expect(scene.say({ jsonrpc: '2.0', id: 1, method: 'ping' })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    })
  })

  test('a message that is too long for the server is answered, and the session goes on', async () => {
    const scene = await Scene.begun()
    scene.session(0).failure = new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'a message of 9 bytes is too long')
    await scene.say({ jsonrpc: '2.0', id: 1, method: 'tools/call' })
    expect(scene.host.messages).toMatchObject([{ id: 1, error: { code: -32000 } }])
    expect(scene.events.at(-1)?.type).toBe('opened')
  })
})
