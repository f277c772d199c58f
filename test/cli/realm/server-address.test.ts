import { describe, expect, it } from 'vitest'
import { parseServers } from '../../../src/cli/realm/server-address.ts'
import { failure } from '../../support/until.ts'

describe('parseServers', () => {
  it.each([
    ['nats://127.0.0.1:4222', '127.0.0.1:4222', 'nats', true],
    ['tls://nats.example.com', 'nats.example.com', 'tls', false],
    ['TLS://Nats.Example.com:80', 'Nats.Example.com:80', 'tls', false],
    ['localhost:4222', 'localhost:4222', undefined, true],
    ['example.com:4222', 'example.com:4222', undefined, false],
    ['nats://[::1]:4222', '[::1]:4222', 'nats', true],
    ['127.0.0.1.example.com', '127.0.0.1.example.com', undefined, false],
    ['localhost.example.com:1', 'localhost.example.com:1', undefined, false],
    ['1270.0.0.1', '1270.0.0.1', undefined, false],
    ['nats://host/', 'host', 'nats', false],
  ])('reads %s', (text, host, scheme, isLoopback) => {
    expect(parseServers(text)).toEqual([{ host, scheme, isLoopback, login: undefined }])
  })

  it('reads several', () => {
    expect(parseServers(' tls://a:1, nats://b:2 ,c,').map(({ host }) => host)).toEqual(['a:1', 'b:2', 'c'])
  })

  it('takes the login out of an address', () => {
    const [first, second, third] = parseServers('nats://ann:p%40ss@a:1,tls://token@b:2,u:p@c:3')
    expect(first).toMatchObject({ host: 'a:1', login: { user: 'ann', password: 'p@ss' } })
    expect(second).toMatchObject({ host: 'b:2', login: { user: 'token', password: undefined } })
    expect(third).toMatchObject({ host: 'c:3', login: { user: 'u', password: 'p' } })
  })

  it.each([
    ['', 'no server is named'],
    [' , ', 'no server is named'],
    ['ws://host:80', 'does not connect by WebSocket'],
    ['wss://host', 'does not connect by WebSocket'],
    ['http://host', 'does not begin with http://'],
    ['nats://', 'no address'],
    ['nats://:4222', 'no address'],
    ['nats://host:99999', 'no address'],
    ['nats://host/path', 'no address'],
    ['nats://host?x=1', 'no address'],
    ['a b', 'no address'],
    ['nats://u:%zz@host', 'no address'],
  ])('refuses "%s"', async (text, message) => {
    expect(await failure(() => parseServers(text))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining(message),
      hint: expect.stringContaining('tls://HOST:PORT'),
    })
  })

  it('quotes no login in its errors', async () => {
    const error = await failure(() => parseServers('nats://ann:hunter2@host:4222:1'))
    expect(`${error.message} ${error.hint} ${error.cause}`).not.toContain('hunter2')
  })
})
