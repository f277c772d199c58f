import { spawn } from 'node:child_process'
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { mcpOptions } from '../../src/cli/mcp/mcp-options.ts'
import { agentHome } from '../../src/cli/realm/agent-home.ts'
import { trustOf } from '../../src/cli/realm/broker.ts'
import { type BrokerOptions, givenOptions } from '../../src/cli/realm/broker-options.ts'
import { findRealm } from '../../src/cli/realm/find-realm.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { formatBundle, parseBundle } from '../../src/setup/bundle.ts'
import { installBundle } from '../../src/setup/install.ts'
import type { Realm } from '../../src/setup/realm.ts'
import { createWholeRealm, freePort, temporaryFolder } from '../setup/running-realm.ts'
import { failure, until } from '../support/until.ts'
import { DailyRealm } from './daily-realm.ts'
import { type Outcome, start, terminalThat } from './run.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

let daily: DailyRealm
/** A realm that somebody else has made, and into whose folder the user has come. */
let evil: Realm
let repository: string
let evilFolder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  daily = await DailyRealm.start()
  evilFolder = await temporaryFolder()
  repository = join(evilFolder.path, 'repository')
  evil = await createWholeRealm({ dir: join(repository, 'subrosa-realm'), port: await freePort() })
  for (const name of ['billing', 'orders', 'files']) await addAgent(evil, { name })
})
afterAll(async () => {
  await daily.stop()
  await evilFolder.remove()
})

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

const evilAddress = () => evil.server.replace('tls://', '')
const root = () => join(folder.path, '.config', 'subrosa')
const installedDir = () => join(root(), 'realms', daily.running.realm.key)

/** Installs agents of the real realm; the last one is the default. */
const install = (...names: readonly string[]) => installAt(folder.path, names)

async function installAt(HOME: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const bundle = parseBundle(await formatBundle(daily.running.realm, name), 'x')
    await installBundle(agentHome({ HOME }), bundle)
  }
}

/** The variables that a host passes on, and no others. */
const hostEnv = (HOME: string) => {
  const { PATH = '' } = process.env
  return { HOME, LOGNAME: 'ann', PATH, SHELL: '/bin/sh', TERM: 'xterm', USER: 'ann' }
}

/** Runs the program in a folder as a host does. */
function runIn(cwd: string, ...argv: readonly string[]): Promise<Outcome> {
  const env = hostEnv(folder.path)
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr }))
  })
}

describe('a command with HOME and no other variable of its own', () => {
  test('finds realm, broker and agent, whatever the folder', async () => {
    await install('billing', 'orders')
    const billing = await daily.join('billing')
    const heard: string[] = []
    billing.subscribe('orders.>', {
      callback: (_error, message) => heard.push(`${message.sender.name}: ${message.string()}`),
    })
    await billing.flush()
    const { code, stderr } = await runIn('/', 'pub', 'orders.new', 'hello')
    expect({ code, stderr }).toMatchObject({ code: 0 })
    await until('it is heard', () => heard.length > 0)
    expect(heard).toEqual(['orders: hello'])
    // What it must not forget is under HOME too.
    expect(await readdir(join(folder.path, '.local', 'state', 'subrosa'))).toEqual([daily.running.realm.key])
  })

  test('finds another agent that is installed by --as', async () => {
    await install('billing', 'orders')
    expect(await runIn('/', 'pub', 'orders.new', 'x', '--as', 'audit')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no agent audit is installed .*\n.*there are: billing, orders/),
    })
    const { code, stdout } = await runIn('/', 'keys', '--as', 'billing', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout).realm).toBe(daily.running.realm.key)
  })

  test('says what to do where nothing is installed', async () => {
    for (const argv of [['keys'], ['mcp', 'ls'], ['pub', 'orders.new', 'x', '--as', 'orders']])
      expect(await runIn(folder.path, ...argv)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(/\[ERR_SETUP\]\nsubrosa: hint: .*subrosa use FILE/),
      })
  })

  test('refuses what others could write', async () => {
    await install('orders')
    await chmod(join(installedDir(), 'realm.json'), 0o666)
    for (const argv of [['keys'], ['mcp', 'ls'], ['pub', 'orders.new', 'x'], ['use']])
      expect(await runIn('/', ...argv)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(
          /others can write .*realm\.json \[ERR_KEY_FILE_PERMISSIONS\]\n.*chmod go-w/,
        ),
      })
  })
})

describe('in a folder that somebody else has filled', () => {
  test('MCP commands go on as the installed agent', async () => {
    await install('orders')
    const { code, stdout, stderr } = await runIn(repository, 'mcp', 'ls', '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual([])
  })

  test('MCP commands come to it where it is named, or nothing is installed', async () => {
    const named = ['--realm', 'subrosa-realm', '--as', 'files']
    const toEvil = {
      code: 1,
      stderr: expect.stringContaining(`cannot connect to ${evilAddress()}: nothing listens there`),
    }
    expect(await runIn(repository, 'mcp', 'ls', '--as', 'files')).toMatchObject(toEvil)
    await install('orders')
    expect(await runIn(repository, 'mcp', 'ls', ...named)).toMatchObject(toEvil)
    // An agent that is not installed is not looked for there.
    expect(await runIn(repository, 'mcp', 'ls', '--as', 'files')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no agent files is installed'),
    })
  })

  test('MCP commands do not come to it where what is installed is damaged', async () => {
    await install('orders')
    await writeFile(join(root(), 'default.json'), '{}')
    expect(await runIn(repository, 'mcp', 'ls', '--as', 'files')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('default.json is damaged'),
    })
  })

  test('other commands are for the realm of the folder, as they always were', async () => {
    await install('orders')
    expect(await runIn(repository, 'keys', '--as', 'billing')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(evilAddress()),
    })
    // The installed agent is none of that realm.
    expect(await runIn(repository, 'pub', 'orders.new', 'x')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nothing says which agent this is'),
    })
  })
})

describe('what mcp config prints', () => {
  // A server that says what it was asked, and where it is not: the host's request reaches it and nobody else.
  const SERVER = `require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, params } = JSON.parse(line)
    if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { heard: params } }))
  })`

  test('connects a host to a server of another user, sealed, also in that folder', async () => {
    const { realm } = daily.running
    await addAgent(realm, { name: 'files', mcpServe: true })
    await addAgent(realm, { name: 'laptop', mcpUse: ['files'] })
    const there = await temporaryFolder()
    await installAt(there.path, ['files'])
    await install('laptop')
    const serve = spawn(
      process.execPath,
      [MAIN, 'mcp', 'serve', 'files', '--', process.execPath, '-e', SERVER],
      {
        cwd: repository,
        env: hostEnv(there.path),
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    const printed = await start(['mcp', 'config', 'claude', 'files', '--local'], { HOME: folder.path })
      .outcome
    const { command, args } = JSON.parse(printed.stdout).mcpServers.files
    const host = spawn(command, args, { cwd: repository, env: hostEnv(folder.path), stdio: 'pipe' })
    try {
      let said = ''
      let answer = ''
      for (const errors of [serve.stderr, host.stderr])
        errors.on('data', (chunk: Buffer) => {
          said += chunk.toString()
        })
      host.stdout.on('data', (chunk: Buffer) => {
        answer += chunk.toString()
      })
      const params = {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'x', version: '1' },
      }
      host.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params })}\n`)
      await until('it answers', () => answer.endsWith('\n')).catch((cause) => {
        throw new Error(`${cause.message}: ${said}`)
      })
      expect(JSON.parse(answer)).toEqual({ jsonrpc: '2.0', id: 1, result: { heard: params } })
      const ended = new Promise((resolve) => host.once('exit', resolve))
      host.stdin.end()
      expect(await ended).toBe(0)
    } finally {
      host.kill('SIGKILL')
      const ended = new Promise((resolve) => serve.once('exit', resolve))
      serve.kill('SIGTERM')
      await ended
      await there.remove()
    }
  })
})

describe('mcpOptions', () => {
  const complete = (options: BrokerOptions, env: Record<string, string> = {}, as?: string) =>
    mcpOptions(terminalThat({ env: { HOME: folder.path, ...env } }), options, { ...(as && { as }) })

  test('adds the installed realm and the default agent', async () => {
    await install('billing', 'orders')
    expect(await complete({ timeout: 1000 })).toEqual({ timeout: 1000, realm: installedDir(), as: 'orders' })
  })

  test('takes the agent that is said, that of the environment, and then the one that is meant', async () => {
    await install('orders', 'billing', 'audit')
    expect(await complete({ as: 'orders' }, { SUBROSA_AGENT: 'billing' }, 'audit')).toMatchObject({
      as: 'orders',
    })
    expect(await complete({}, { SUBROSA_AGENT: 'billing' }, 'orders')).toMatchObject({ as: 'billing' })
    expect(await complete({}, {}, 'orders')).toEqual({ realm: installedDir(), as: 'orders' })
    expect(await failure(() => complete({}, {}, 'files'))).toMatchObject({ code: 'ERR_SETUP' })
  })

  test('leaves alone a realm that is said, also by the environment', async () => {
    await install('orders')
    expect(await complete({ realm: '/x' })).toEqual({ realm: '/x' })
    expect(await complete({ realm: '/x' }, {}, 'files')).toEqual({ realm: '/x', as: 'files' })
    expect(await complete({}, { SUBROSA_REALM: '/x' }, 'files')).toEqual({ as: 'files' })
  })

  test('takes no installed agent for who has a key of its own', async () => {
    await install('orders')
    expect(await complete({ identity: 'x' }, {}, 'files')).toEqual({ identity: 'x', realm: installedDir() })
    for (const trust of [{ authority: 'A' }, { pins: 'p' }])
      expect(await complete({ identity: 'x', ...trust }, {}, 'files')).toEqual({ identity: 'x', ...trust })
    // Whose own key it is not is an agent of a folder, and that is not the one in which it happens to be.
    expect(await complete({ authority: 'A' })).toEqual({
      authority: 'A',
      realm: installedDir(),
      as: 'orders',
    })
  })

  test('does without where nothing is installed', async () => {
    expect(await complete({})).toEqual({})
    expect(await complete({}, {}, 'files')).toEqual({ as: 'files' })
  })

  test('makes a context that is only selected count for nothing', async () => {
    await install('orders')
    const contexts = join(folder.path, '.config', 'nats')
    await mkdir(join(contexts, 'context'), { recursive: true })
    await writeFile(join(contexts, 'context', 'dev.json'), JSON.stringify({ url: `nats://${evilAddress()}` }))
    await writeFile(join(contexts, 'context.txt'), 'dev')
    expect((await runIn('/', 'mcp', 'ls')).code).toBe(0)
    expect(await runIn('/', 'mcp', 'ls', '--context', 'dev')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(evilAddress()),
    })
  })
})

describe('findRealm', () => {
  const find = (options: BrokerOptions, env: Record<string, string> = {}) => {
    const terminal = terminalThat({ env: { HOME: folder.path, ...env } })
    return findRealm(terminal, givenOptions(terminal, options))
  }

  test('finds the installed realm and its default agent', async () => {
    await install('orders')
    const { realm, agent } = (await find({})) ?? {}
    expect({ dir: realm?.dir, agent }).toEqual({ dir: installedDir(), agent: 'orders' })
    expect(await trustOf(terminalThat({ env: { HOME: folder.path } }), {})).toEqual({
      authority: [daily.running.realm.key],
    })
  })

  test('leaves who brings a key of its own to log in by itself', async () => {
    await install('orders')
    const { realm, agent } = (await find({ identity: 'x' })) ?? {}
    expect({ dir: realm?.dir, agent }).toEqual({ dir: installedDir(), agent: undefined })
  })

  test('finds none where something else says whom to trust, and no agent is named', async () => {
    await install('orders')
    expect(await find({ authority: 'A' })).toBeUndefined()
    expect(await find({}, { SUBROSA_PINS: 'p' })).toBeUndefined()
    expect(await find({ authority: 'A', as: 'orders' })).toMatchObject({ agent: 'orders' })
  })

  test('comes after a realm that is named', async () => {
    await install('orders')
    expect(await find({ realm: evil.dir })).toMatchObject({ realm: { key: evil.key }, agent: undefined })
    expect(await find({}, { SUBROSA_REALM: evil.dir })).toMatchObject({ realm: { key: evil.key } })
    expect(await failure(() => find({ realm: join(folder.path, 'none') }))).toMatchObject({
      code: 'ERR_SETUP',
    })
  })
})

describe('agentHome', () => {
  test('is under XDG_CONFIG_HOME, or else under HOME', () => {
    expect(agentHome({ HOME: '/h', XDG_CONFIG_HOME: '/c' })).toEqual({ root: '/c/subrosa', above: ['/c'] })
    const underHome = { root: '/h/.config/subrosa', above: ['/h', '/h/.config'] }
    for (const XDG_CONFIG_HOME of [undefined, '', 'c', './c'])
      expect(agentHome({ HOME: '/h', XDG_CONFIG_HOME })).toEqual(underHome)
  })

  test('is under the home folder that the system knows where no variable is set', () => {
    expect(agentHome({}).root).toBe(join(homedir(), '.config', 'subrosa'))
    expect(agentHome({ HOME: '' }).root).toBe(join(homedir(), '.config', 'subrosa'))
  })
})

describe('completion', () => {
  const complete = async (...words: readonly string[]) =>
    (await start(['__complete', '--', ...words], { HOME: folder.path }).outcome).stdout.split('\n')

  test('knows the installed agents', async () => {
    expect(await complete('use', '')).toEqual([''])
    await install('orders', 'billing')
    expect(await complete('use', '')).toEqual(['billing', 'orders'])
    expect(await complete('pub', 'orders.new', '--as', 'o')).toEqual(['orders'])
    expect(await complete('mcp', 'config', 'c')).toEqual(['claude', 'cursor'])
  })
})
