import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import { MessageHeaders } from '../../src/bus/messages/headers.ts'
import { secure } from '../../src/bus/secure.ts'
import { may, newAuthority, newIdentity } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

describe('bad input gets a clear error with a code', () => {
  let realm: TestRealm
  let alice: SecureConnection

  beforeAll(async () => {
    realm = await TestRealm.start({ serverConfig: 'max_payload: 65536' })
    alice = await realm.agent('alice', { permissions: may(['orders.>', 'tools.>'], ['replies.>']) })
  })
  afterAll(() => realm.stop())

  const join = async (options: {
    token?: 'expired' | 'stranger' | 'other realm'
  }): Promise<Error & { code?: string }> => {
    const now = Date.now()
    const authority = options.token === 'stranger' ? newAuthority() : realm.authority
    const { identity } = newIdentity(authority, 'mallory', {
      issuedAtMs: now - 10_000,
      ...(options.token === 'expired' ? { expiresAtMs: now - 1000 } : {}),
      ...(options.token === 'other realm' ? { realm: newAuthority().publicKey } : {}),
    })
    const nc = await realm.connection()
    return failure(() => secure(nc, { identity, trust: realm.trust, state: 'memory' }))
  }

  it('an expired token: ERR_TOKEN_EXPIRED with the time', async () => {
    const error = await join({ token: 'expired' })
    expect(error.code).toBe('ERR_TOKEN_EXPIRED')
    expect(error.message).toMatch(/mallory expired at 20/)
  })

  it('a token of an authority that is not trusted: ERR_UNKNOWN_AUTHORITY', async () => {
    expect((await join({ token: 'stranger' })).code).toBe('ERR_UNKNOWN_AUTHORITY')
  })

  it('a token for another realm: ERR_TOKEN_INVALID', async () => {
    expect((await join({ token: 'other realm' })).code).toBe('ERR_TOKEN_INVALID')
  })

  it('trust without an authority: TypeError that names the option', async () => {
    const nc = await realm.connection()
    const error = await failure(() => secure(nc, { identity: realm.identity('x'), trust: { authority: [] } }))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain('trust.authority')
  })

  it('something that is no connection: TypeError that names the argument', async () => {
    const identity = realm.identity('x')
    for (const nc of [undefined, {}, 'nats://localhost']) {
      const error = await failure(() => secure(nc as never, { identity, trust: realm.trust }))
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain('nc must be')
    }
  })

  it('a connection that is closed: ERR_CONNECTION', async () => {
    const nc = await connect({ servers: realm.server.url })
    await nc.close()
    const identity = realm.identity('x')
    const error = await failure(() => secure(nc, { identity, trust: realm.trust, state: 'memory' }))
    expect(error.code).toBe('ERR_CONNECTION')
  })

  it('no rotation service: ERR_NO_ROTATION_SERVICE with a hint', async () => {
    const silent = await TestRealm.start({ rotation: false })
    const nc = await silent.connection()
    const error = await failure(() =>
      secure(nc, { identity: silent.identity('x'), trust: silent.trust, state: 'memory', timeout: 300 }),
    )
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    expect((error as SubrosaError).hint).toContain('subrosa rotator')
    await silent.stop()
  })

  it('an empty audience: ERR_EMPTY_AUDIENCE says who is missing and why', async () => {
    const deaf = await realm.agent('deaf', { permissions: may([], ['reports.>']) })
    await alice.waitForAudience('orders.nobody', { timeout: 50 }).catch(() => {})
    const error = await failure(() => alice.publish('orders.nobody', 'x'))
    expect(error.code).toBe('ERR_EMPTY_AUDIENCE')
    expect(error.hint).toContain('deaf: its token does not allow it to read this subject')
    await deaf.close()
  })

  it('waiting for an audience that does not come: ERR_TIMEOUT says who is missing', async () => {
    const error = await failure(() => alice.waitForAudience('orders.nobody', { atLeast: 2, timeout: 20 }))
    expect(error.code).toBe('ERR_TIMEOUT')
    expect(error.message).toContain('0 of 2')
  })

  it('a `to` that is not allowed: ERR_RECIPIENT_NOT_ALLOWED names it', async () => {
    const reader = await realm.agent('reader', { permissions: may([], ['orders.>']) })
    await alice.waitForAudience('orders.x')
    for (const name of ['nobody', 'alice']) {
      const error = await failure(() => alice.publish('orders.x', 'x', { to: ['reader', name] }))
      expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
      expect(error.message).toContain(name)
    }
    await reader.close()
  })

  it('a subject outside the permissions: ERR_PUBLISH_DENIED and ERR_SUBSCRIBE_DENIED', async () => {
    expect((await failure(() => alice.publish('payroll.all', 'x'))).code).toBe('ERR_PUBLISH_DENIED')
    expect((await failure(() => alice.subscribe('payroll.>'))).code).toBe('ERR_SUBSCRIBE_DENIED')
  })

  it('a subject that is none: TypeError', async () => {
    for (const subject of ['', 'a..b', 'a b', 'orders.*', 'orders.>', '.a', 'a.', 'a\r\nPUB x 0']) {
      expect(await failure(() => alice.publish(subject, 'x'))).toBeInstanceOf(TypeError)
    }
    for (const pattern of ['', 'a..b', 'a b', '>.a', 'a\tb']) {
      expect(await failure(() => alice.subscribe(pattern))).toBeInstanceOf(TypeError)
    }
  })

  it('a queue group whose name is not valid: TypeError', async () => {
    for (const queue of ['two words', 'q\r\nSUB >', 'q.*', '.q'])
      expect(await failure(() => alice.subscribe('orders.new', { queue }))).toBeInstanceOf(TypeError)
  })

  it('a payload that is none: TypeError', async () => {
    expect(await failure(() => alice.publish('orders.x', 7 as never))).toBeInstanceOf(TypeError)
  })

  it('a message too large after sealing: ERR_MESSAGE_TOO_LARGE with both sizes, and the connection lives on', async () => {
    const reader = await realm.agent('large-reader', { permissions: may([], ['orders.>']) })
    await alice.waitForAudience('orders.x')
    const error = await failure(() => alice.publish('orders.x', new Uint8Array(65_000)))
    expect(error.code).toBe('ERR_MESSAGE_TOO_LARGE')
    expect(error.message).toMatch(/\d{5} bytes sealed to 1, and the server takes 65536/)
    const got: string[] = []
    reader.subscribe('orders.x', { callback: (_error, m) => got.push(m.string()) })
    await reader.flush()
    alice.publish('orders.x', 'small')
    await until('the next is delivered', () => got.length === 1)
    await reader.close()
  })

  it.each(['session', 'channel', 'message'] as const)(
    'a message too large after sealing, in the mode %s, with headers in clear or not: ERR_MESSAGE_TOO_LARGE',
    async (mode) => {
      const reader = await realm.agent(`large-${mode}`, { permissions: may([], ['large.*']) })
      const writer = await realm.agent(
        `wrote-${mode}`,
        { permissions: may(['large.*'], []) },
        { padding: 'none' },
      )
      await writer.waitForAudience('large.x')
      const codeOf = async (bytes: number, options: PublishOptions = {}): Promise<string | undefined> =>
        (await failure(() => writer.publish('large.x', new Uint8Array(bytes), { mode, ...options }))).code
      writer.publish('large.x', new Uint8Array(64_000), { mode })
      // Its text travels twice: sealed, and beside what is sealed.
      const clear = new MessageHeaders([{ name: 'Nats-Msg-Id', value: 'x'.repeat(900) }])
      expect(await codeOf(64_000, { headers: clear })).toBe('ERR_MESSAGE_TOO_LARGE')
      expect(await codeOf(65_500)).toBe('ERR_MESSAGE_TOO_LARGE')
      await writer.close()
      await reader.close()
    },
  )

  it('a header that NATS cannot carry: ERR_HEADER', async () => {
    const reader = await realm.agent('header-reader', { permissions: may([], ['orders.>']) })
    await alice.waitForAudience('orders.x')
    for (const bad of [new Map([['X', ['a\r\nY: b']]]), new Map([['X Y', ['a']]])]) {
      expect((await failure(() => alice.publish('orders.x', 'x', { headers: bad }))).code).toBe('ERR_HEADER')
    }
    await reader.close()
  })

  it('a request that nobody serves: ERR_NO_RESPONDERS', async () => {
    const reader = await realm.agent('idle', { permissions: may(['>'], ['tools.>']) })
    await alice.waitForAudience('tools.none')
    expect((await failure(() => alice.request('tools.none', 'x'))).code).toBe('ERR_NO_RESPONDERS')
    await reader.close()
  })

  it('a request that nobody answers: ERR_TIMEOUT says to whom it was sealed', async () => {
    const reader = await realm.agent('mute', { permissions: may(['>'], ['tools.>']) })
    reader.subscribe('tools.mute', { callback: () => {} })
    await reader.flush()
    await alice.waitForAudience('tools.mute')
    const error = await failure(() => alice.request('tools.mute', 'x', { timeout: 30 }))
    expect(error.code).toBe('ERR_TIMEOUT')
    expect(error.hint).toContain('mute')
    await reader.close()
  })

  it('a worker that the request was not sealed to: ERR_UNADDRESSED', async () => {
    const worker = await realm.agent('worker', { permissions: may(['>'], ['tools.>']) })
    const other = await realm.agent('other', { permissions: may(['>'], ['tools.>']) })
    worker.subscribe('tools.queue', { queue: 'q', callback: (_error, m) => m.respond('x') })
    await worker.flush()
    await alice.waitForAudience('tools.queue', { atLeast: 2 })
    const error = await failure(() => alice.request('tools.queue', 'x', { to: ['other'] }))
    expect(error.code).toBe('ERR_UNADDRESSED')
    await Promise.all([worker.close(), other.close()])
  })

  it('a callback that throws or rejects: reported as an error event, and the subscription goes on', async () => {
    const reader = await realm.agent('thrower', { permissions: may([], ['orders.>']) })
    const events = collectStatus(reader)
    let calls = 0
    reader.subscribe('orders.throw', {
      callback: () => {
        calls++
        if (calls === 1) throw new Error('mine')
        return Promise.reject(new Error('also mine'))
      },
    })
    await reader.flush()
    await alice.waitForAudience('orders.throw')
    alice.publish('orders.throw', '1')
    alice.publish('orders.throw', '2')
    await until('both were reported', () => events.filter(({ type }) => type === 'error').length === 2)
    expect(calls).toBe(2)
    await reader.close()
  })

  it('use after close: ERR_CLOSED', async () => {
    const gone = await realm.agent('gone')
    const sub = gone.subscribe('orders.>')
    await gone.close()
    expect(sub.isClosed()).toBe(true)
    expect((await failure(() => gone.publish('orders.x', 'x'))).code).toBe('ERR_CLOSED')
    expect((await failure(() => gone.subscribe('orders.x'))).code).toBe('ERR_CLOSED')
    expect((await failure(() => gone.request('orders.x', 'x'))).code).toBe('ERR_CLOSED')
    expect(gone.isClosed()).toBe(true)
  })

  it('a subscription that the server refuses: it ends with an error', async () => {
    const guarded = await TestRealm.start({
      serverConfig: `authorization { users: [ { user: a, password: a, permissions: { subscribe: { deny: "secret.>" } } } ] }
no_auth_user: a`,
    })
    const bus = await guarded.agent('reader')
    const errors: Error[] = []
    const sub = bus.subscribe('secret.plans', {
      callback: (error) => error !== undefined && errors.push(error),
    })
    const error = await sub.closed
    expect(error).toBeInstanceOf(SubrosaError)
    expect((error as SubrosaError).code).toBe('ERR_SUBSCRIBE_DENIED')
    expect(errors).toHaveLength(1)
    await guarded.stop()
  })
})

describe('a subscription counts and times messages that were opened', () => {
  it('is not used up by junk, and times out when nothing valid comes', async () => {
    const realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await alice.waitForAudience('a.b')
    const broker = await realm.connection()
    const two = bob.subscribe('a.b', { max: 2 })
    const late = bob.subscribe('a.c', { timeout: 150 })
    await bob.flush()
    for (let i = 0; i < 5; i++) broker.publish('a.b', 'junk')
    broker.publish('a.c', 'junk')
    await broker.flush()
    alice.publish('a.b', '1')
    alice.publish('a.b', '2')
    const seen: string[] = []
    for await (const m of two) seen.push(m.string())
    expect(seen).toEqual(['1', '2'])
    const error = await failure(async () => {
      for await (const _ of late) throw new Error('nothing valid was sent')
    })
    expect(error.code).toBe('ERR_TIMEOUT')
    await realm.stop()
  })
})

describe('the connection underneath', () => {
  it('comes back after the server was away: the agents still exchange messages', async () => {
    const realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await alice.waitForAudience('a.b')
    const got: string[] = []
    bob.subscribe('a.b', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    const events = [collectStatus(alice), collectStatus(bob)]
    await realm.server.kill()
    const again = await realm.server.restart()
    await until('both are back', () =>
      events.every((list) =>
        list.some((event) => event.type === 'nats' && event.status.type === 'reconnect'),
      ),
    )
    await until('a message passes again', () => {
      alice.publish('a.b', 'again')
      return got.length > 0
    })
    await realm.stop()
    await again.stop()
  })

  it('drain delivers what is under way, answers it, and closes the connection', async () => {
    const realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await alice.waitForAudience('work.do')
    bob.subscribe('work.do', { callback: (_error, m) => m.respond(`done ${m.string()}`) })
    await bob.flush()
    const replies = Array.from({ length: 20 }, (_, i) =>
      alice.request('work.do', String(i), { timeout: 5000, to: ['bob'] }),
    )
    await alice.flush()
    await bob.drain()
    const answers = (await Promise.all(replies)).map((m) => m.string())
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `done ${i}`))
    expect(bob.isClosed()).toBe(true)
    await until('bob left the audience', () => {
      return alice.audience('work.do').every(({ name }) => name !== 'bob')
    })
    await realm.stop()
  })

  it('close leaves the connection to its owner', async () => {
    const realm = await TestRealm.start()
    const nc = await realm.connection()
    const bus = await secure(nc, { identity: realm.identity('x'), trust: realm.trust, state: 'memory' })
    await bus.close()
    expect(nc.isClosed()).toBe(false)
    await nc.flush()
    await realm.stop()
  })
})
