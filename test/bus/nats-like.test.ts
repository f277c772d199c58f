import { jetstream as jetstream3 } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { connect as connectNats2 } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import { assertConnection, inboxPrefixOf, type NatsLike } from '../../src/bus/nats-like.ts'
import { secure } from '../../src/bus/secure.ts'
import { connectClient } from '../support/client.ts'
import { TestRealm } from '../support/realm.ts'
import { failure } from '../support/until.ts'

describe('what is passed as a connection', () => {
  let realm: TestRealm
  let nc: NatsConnection
  beforeAll(async () => {
    realm = await TestRealm.start({ rotation: false })
    nc = await realm.connection()
  })
  afterAll(() => realm.stop())

  const refusal = (value: unknown) => failure(() => assertConnection(value as NatsLike))

  it('is refused where it is no object, with what it is instead and with what fits', async () => {
    const wrong: [unknown, string][] = [
      [undefined, 'undefined'],
      [null, 'null'],
      ['nats://127.0.0.1:4222', 'string'],
      ['', 'string'],
      [4222, 'number'],
      [true, 'boolean'],
      [Symbol('nc'), 'symbol'],
      [() => nc, 'function'],
    ]
    for (const [value, kind] of wrong) {
      const error = await refusal(value)
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toMatch(new RegExp(`^nc must be a NATS connection, and is ${kind}: pass what`))
    }
  })

  it('is refused where it is the promise of a connection: somebody forgot to await it', async () => {
    const promise = connectClient({ servers: realm.server.url })
    const error = await refusal(promise)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain('await what connect() returns')
    await (await promise).close()
  })

  it('is refused where methods are missing, and the first of them is named', async () => {
    const { publish, subscribe, flush } = nc
    const wrong: [unknown, string][] = [
      [{}, 'publish'],
      [[], 'publish'],
      [new Map(), 'publish'],
      [{ publish, subscribe, flush }, 'drain'],
      [{ publish: 'orders.new' }, 'publish'],
      [Object.create(null), 'publish'],
      [{ servers: realm.server.url }, 'publish'],
    ]
    for (const [value, method] of wrong) {
      const error = await refusal(value)
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain(`has no method ${method}()`)
    }
  })

  it('is refused where it is a JetStream client of either line', async () => {
    const earlier = await connectNats2({ servers: realm.server.url })
    const current = await realm.connection({ client: '@nats-io' })
    for (const value of [jetstream3(current), earlier.jetstream()]) {
      const error = await refusal(value)
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain('nc must be a NATS connection')
    }
    await earlier.close()
  })

  it('is refused where it is a proxy or a mock that answers every call with nothing', async () => {
    const mock: object = new Proxy({}, { get: () => () => undefined })
    const error = await refusal(mock)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain('does not know whether it is closed')
  })

  it('is refused by secure() before anything is sent', async () => {
    const seen = await realm.tap()
    const identity = realm.identity('x')
    for (const value of [undefined, {}, Promise.resolve(nc)]) {
      const error = await failure(() => secure(value as never, { identity, trust: realm.trust }))
      expect(error).toBeInstanceOf(TypeError)
    }
    await nc.flush()
    expect(seen).toEqual([])
  })

  it('is refused where it is closed, or draining', async () => {
    const closed = await realm.connection()
    await closed.close()
    const draining = await realm.connection()
    draining.subscribe('a')
    const drained = draining.drain()
    const words: [NatsLike, string][] = [
      [draining, 'draining'],
      [closed, 'closed'],
    ]
    for (const [value, word] of words) {
      const error = await refusal(value)
      expect(error).toBeInstanceOf(SubrosaError)
      expect(error.code).toBe('ERR_CONNECTION')
      expect(error.message).toContain(`is ${word}`)
    }
    await drained
    expect((await refusal(draining)).message).toContain('is closed')
  })

  it('is taken where it is a connection of either line, or one behind a proxy', async () => {
    const earlier = await realm.connection({ client: 'nats' })
    const current = await realm.connection({ client: '@nats-io' })
    for (const value of [earlier, current, new Proxy(current, {})]) {
      expect(() => assertConnection(value)).not.toThrow()
    }
  })

  it('tells the prefix of its inboxes, on both lines, where it was made with one', async () => {
    for (const client of ['nats', '@nats-io'] as const) {
      expect(inboxPrefixOf(await realm.connection({ client, inboxPrefix: '_INBOX_alice' }))).toBe(
        '_INBOX_alice',
      )
      expect(inboxPrefixOf(await realm.connection({ client }))).toBeUndefined()
    }
    for (const options of [undefined, null, {}, { inboxPrefix: 7 }]) {
      expect(inboxPrefixOf({ options } as unknown as NatsLike)).toBeUndefined()
    }
  })
})
