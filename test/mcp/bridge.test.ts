import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { BridgeRealm, type Command, type Host } from './bridge-realm.ts'
import { untilGone } from './processes.ts'

let realm: BridgeRealm
const running: Command[] = []

beforeAll(async () => {
  realm = await BridgeRealm.start()
})

afterEach(async () => {
  for (const command of running) command.kill('SIGTERM')
  await Promise.all(running.map(({ exited }) => exited))
  running.length = 0
})

afterAll(() => realm.stop())

async function serve(...given: Parameters<BridgeRealm['serve']>): Promise<Command> {
  const command = await realm.serve(...given)
  running.push(command)
  return command
}

/** A host in session. */
async function hostOf(agent?: string, ...options: readonly string[]): Promise<Host> {
  const host = realm.connect(agent, ...options)
  running.push(host)
  await host.initialize()
  return host
}

describe('a bridge', () => {
  test('carries messages of every size up to its limit, and each client has a server of its own', async () => {
    await serve()
    const [laptop, desk] = await Promise.all([hostOf('laptop'), hostOf('desk')])
    expect(await laptop.call('echo', { message: 'grüße 🌍' })).toBe('grüße 🌍')
    expect((await laptop.call('size', { bytes: 5_000_000 })).length).toBe(5_000_000)
    const long = 'y'.repeat(3_000_000)
    expect(await desk.call('echo', { message: long })).toBe(long)
    expect(await laptop.pids()).not.toEqual(await desk.pids())
  })

  test('answers a result above the limit of a message with an error, or ends the session, and goes on', async () => {
    await serve()
    const host = await hostOf()
    const { error } = await host.answer(
      host.ask('tools/call', { name: 'size', arguments: { bytes: 11 * 1024 * 1024 } }),
    )
    expect(error).toBeDefined()
    expect(await host.call('echo', { message: 'still here' })).toBe('still here')
  })

  test('hands on the variables that are named, and no others', async () => {
    const env = { API_KEY: 'for the server', OTHER_KEY: 'for nobody', NATS_PASSWORD: 'never' }
    await serve({ options: ['--env', 'API_KEY'], env })
    const host = await hostOf()
    expect(await host.call('variable', { name: 'API_KEY' })).toBe('for the server')
    expect(await host.call('variable', { name: 'OTHER_KEY' })).toBe('')
    expect(await host.call('variable', { name: 'NATS_PASSWORD' })).toBe('')
  })

  test('applies the policy to the verified sender', async () => {
    const policy = join(realm.folder, 'policy.json')
    await writeFile(policy, JSON.stringify({ agents: { laptop: { tools: ['echo'] } } }))
    await serve({ options: ['--policy', policy] })
    const host = await hostOf('laptop')
    const { result } = await host.answer(host.ask('tools/list'))
    expect(result).toMatchObject({ tools: [{ name: 'echo' }] })
    expect((result as { tools: unknown[] }).tools).toHaveLength(1)
    expect(await host.call('echo', { message: 'allowed' })).toBe('allowed')
    await expect(host.call('pids')).rejects.toThrow('not available')
    const stranger = realm.connect('desk')
    running.push(stranger)
    await stranger.says('its policy does not admit desk')
  })

  test('takes no session in the place of one whose server is not gone yet', async () => {
    const server = await serve({ options: ['--sessions', '1'] }, 'stubborn')
    const first = await hostOf()
    const [pid = 0] = await first.pids()
    first.hangUp()
    await first.exited
    const second = realm.connect('desk')
    running.push(second)
    await second.says('refuses the session: the servers of sessions that have ended are not gone yet')
    process.kill(pid, 'SIGKILL')
    await second.says('in session with files')
    // Its stubborn server would keep it for a while.
    server.kill()
  })

  test('says what is wrong with a server that cannot be started', async () => {
    const server = realm.command([
      ...['mcp', 'serve', 'files', '--realm', realm.running.realm.dir, '--as', 'files', '--state', 'memory'],
      ...['--', join(realm.folder, 'no-such-program'), 'secret-argument'],
    ])
    running.push(server)
    await server.says('serving files')
    const host = realm.connect()
    running.push(host)
    await host.says('refuses the session')
    expect(server.said).toContain('no-such-program')
    expect(server.said + host.said).not.toContain('secret-argument')
  })
})

describe('nothing is left behind', () => {
  test('when the host hangs up', async () => {
    await serve()
    const host = await hostOf()
    const pids = await host.pids()
    host.hangUp()
    expect(await host.exited).toBe(0)
    await untilGone(...pids)
  })

  test('when connect is asked to end', async () => {
    await serve()
    const host = await hostOf()
    const pids = await host.pids()
    host.kill('SIGTERM')
    await host.exited
    await untilGone(...pids)
  })

  test('when connect is killed', async () => {
    await serve({}, 'parent')
    const host = await hostOf()
    const pids = await host.pids()
    expect(pids).toHaveLength(2)
    host.kill('SIGKILL')
    await untilGone(...pids)
  })

  test('when serve is asked to end, and then the host gets an answer to what it has asked', async () => {
    const server = await serve({}, 'parent')
    const host = await hostOf()
    const pids = await host.pids()
    const asked = host.ask('tools/call', { name: 'never' })
    await host.call('echo', { message: 'so that it has arrived' })
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    await untilGone(...pids)
    expect(await host.answer(asked)).toMatchObject({ error: { code: -32000 } })
    expect(host.isRunning).toBe(true)
  })

  test('when serve is killed, not even by a server that wants to stay', async () => {
    const server = await serve({}, 'stubborn', 'parent')
    const host = await hostOf()
    const pids = await host.pids()
    expect(pids).toHaveLength(2)
    server.kill('SIGKILL')
    await untilGone(...pids)
  })
})

describe('connect outlives', () => {
  test('a server that dies, and says what became of the call', async () => {
    await serve()
    const host = await hostOf()
    const before = await host.pids()
    const asked = host.ask('tools/call', { name: 'die' })
    expect(await host.answer(asked)).toMatchObject({ error: { code: -32000 } })
    expect(await host.pids()).not.toEqual(before)
  })

  test('serve that is killed: another one takes its place', async () => {
    const server = await serve()
    const host = await hostOf()
    const asked = host.ask('tools/call', { name: 'never' })
    await host.call('echo', { message: 'so that it has arrived' })
    server.kill('SIGKILL')
    await serve()
    expect(await host.answer(asked)).toMatchObject({ error: { code: -32000 } })
    expect(await host.call('echo', { message: 'again' })).toBe('again')
  })

  test('one of two replicas', async () => {
    const servers = await Promise.all([serve(), serve()])
    const host = await hostOf()
    await until('one has the session', () => servers.some(({ said }) => said.includes('session of')))
    const [holder] = servers.filter(({ said }) => said.includes('session of'))
    holder?.kill('SIGKILL')
    await host.says('again in session')
    expect(await host.call('echo', { message: 'the other one' })).toBe('the other one')
  })

  test('a broker that is gone for a while', async () => {
    await serve()
    const host = await hostOf()
    await realm.running.stopServer()
    await host.says('the connection to the broker is lost')
    const asked = host.ask('tools/call', { name: 'echo', arguments: { message: 'meanwhile' } })
    await realm.running.startServer()
    await host.answer(asked)
    await host.says('again in session')
    expect(await host.call('echo', { message: 'back' })).toBe('back')
    expect(host.isRunning).toBe(true)
  })

  test('a server that is not there yet', async () => {
    const host = realm.connect()
    running.push(host)
    const initialized = host.initialize()
    await serve()
    await initialized
    expect(await host.call('echo', { message: 'late' })).toBe('late')
  })
})
