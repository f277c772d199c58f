import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { clientPermissions, serverPermissions } from '../../src/mcp/session/subjects.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { parseBundle } from '../../src/setup/bundle.ts'
import { openRealm } from '../../src/setup/realm.ts'
import { sample } from '../identity/sample-keys.ts'
import { temporaryFolder } from '../setup/running-realm.ts'
import { run, spawnCli } from './run.ts'

const SECRET = /S[UAO][A-Z2-7]{56}|PRIVATE KEY|IDENTITY SEED|eyJ/

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let dir: string
beforeEach(async () => {
  folder = await temporaryFolder()
  dir = join(folder.path, 'realm')
  await run('init', '--realm', dir, '--host', 'nats.example.com')
})
afterEach(() => folder.remove())

const add = (...argv: string[]) => run('agent', 'add', ...argv, '--realm', dir)
const path = (name: string) => join(folder.path, name)

async function allowed(name: string) {
  const permissions = (await findAgent(await openRealm(dir), name))?.claims.permissions
  return { pub: permissions?.pub.allow, sub: permissions?.sub.allow }
}

describe('agent add --mcp-serve and --mcp-use', () => {
  test('give an agent what a server of its name needs, or a client', async () => {
    await add('files', '--mcp-serve')
    expect(await allowed('files')).toEqual(serverPermissions('files'))
    await add('laptop', '--mcp-use', 'files')
    expect(await allowed('laptop')).toEqual(clientPermissions('files'))
    await add('desk', '--mcp-use', '*')
    expect(await allowed('desk')).toEqual({
      pub: ['mcp.*.open', 'mcp.*.presence', 'mcp.*.to.*'],
      sub: ['mcp.*.from.*'],
    })
  })

  test('add to what --pub and --sub say, each pattern once', async () => {
    await add('both', '--pub', 'orders.>', '--mcp-serve', '--mcp-use', 'files', 'files', 'notes')
    const [server, files, notes] = [
      serverPermissions('both'),
      clientPermissions('files'),
      clientPermissions('notes'),
    ]
    expect(await allowed('both')).toEqual({
      pub: ['orders.>', ...server.pub, ...files.pub, ...notes.pub],
      sub: [...server.sub, ...files.sub, ...notes.sub],
    })
  })

  test('with --renew add to what it had, and stay when they are not given', async () => {
    await add('laptop', '--pub', 'orders.>', '--mcp-use', 'files')
    await add('laptop', '--renew', '--mcp-use', 'notes', 'files')
    const had = { pub: ['orders.>', ...clientPermissions('files').pub], sub: clientPermissions('files').sub }
    const both = {
      pub: [...had.pub, ...clientPermissions('notes').pub],
      sub: [...had.sub, ...clientPermissions('notes').sub],
    }
    expect(await allowed('laptop')).toEqual(both)
    await add('laptop', '--renew', '--expires', '1d')
    expect(await allowed('laptop')).toEqual(both)
  })

  test('with --renew go as every pattern does, where --pub and --sub say all anew', async () => {
    await add('laptop', '--mcp-use', 'files')
    await add('laptop', '--renew', '--pub', 'a', '--sub', 'b', '--mcp-use', 'notes')
    expect(await allowed('laptop')).toEqual({
      pub: ['a', ...clientPermissions('notes').pub],
      sub: ['b', ...clientPermissions('notes').sub],
    })
    await add('laptop', '--renew', '--pub', 'a', '--sub', 'b')
    expect(await allowed('laptop')).toEqual({ pub: ['a'], sub: ['b'] })
  })

  test.each(['a.b', '>', '', 'a*', 'a b'])('take no server called %j', async (name) => {
    expect(await add('laptop', '--mcp-use', name)).toMatchObject({ code: 2, stdout: '' })
  })
})

describe('agent add --bundle', () => {
  test('writes all that the agent needs elsewhere, for the owner alone, and shows no secret', async () => {
    const { code, stdout, stderr } = await add('files', '--mcp-serve', '--bundle', path('files.subrosa'))
    expect(code).toBe(0)
    expect(stdout).toMatch(/^U[A-Z2-7]{55}$/)
    expect(stderr).toContain('there: subrosa use files.subrosa')
    expect(stdout + stderr).not.toMatch(SECRET)
    expect(stderr).not.toContain('warning')
    expect((await stat(path('files.subrosa'))).mode & 0o777).toBe(0o600)
    const bundle = parseBundle(await readFile(path('files.subrosa'), 'utf8'), 'x')
    expect(bundle).toMatchObject({
      server: 'tls://nats.example.com:4222',
      claims: { name: 'files', identity: stdout },
    })
  })

  test('never overwrites a file, and then has added nobody', async () => {
    await writeFile(path('files.subrosa'), 'mine')
    expect(await add('files', '--bundle', path('files.subrosa'))).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining(`${path('files.subrosa')} exists already [ERR_SETUP]`),
    })
    expect(await readFile(path('files.subrosa'), 'utf8')).toBe('mine')
    expect(await findAgent(await openRealm(dir), 'files')).toBeUndefined()
  })

  test('with --renew has the new token', async () => {
    await add('files', '--mcp-serve')
    await add('files', '--renew', '--expires', '1d', '--bundle', path('files.subrosa'))
    const { claims } = parseBundle(await readFile(path('files.subrosa'), 'utf8'), 'x')
    expect(claims.permissions.pub.allow).toEqual(serverPermissions('files').pub)
    expect(claims.expiresAt - claims.issuedAt).toBe(86_400)
  })

  test('with --key has no private key in it', async () => {
    await writeFile(path('key.pub'), sample('openssh.pub'))
    const { code, stderr } = await add('mine', '--key', path('key.pub'), '--bundle', path('mine.subrosa'))
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('kept elsewhere') })
    const text = await readFile(path('mine.subrosa'), 'utf8')
    expect(text).not.toMatch(/IDENTITY SEED|PRIVATE KEY/)
    expect(parseBundle(text, 'x').identity).toBeUndefined()
  })

  test('warns where no other machine reaches the broker', async () => {
    await run('init', '--realm', path('here'))
    const { code, stderr } = await run(
      'agent',
      'add',
      'files',
      '--bundle',
      path('files.subrosa'),
      '--realm',
      path('here'),
    )
    expect(code).toBe(0)
    expect(stderr).toMatch(/warning: .*127\.0\.0\.1:4222.*subrosa init --host NAME/)
  })

  test('keeps it to its owner whatever the umask, as a process of its own', async () => {
    const argv = ['agent', 'add', 'files', '--realm', dir, '--bundle', path('files.subrosa')]
    expect((await spawnCli(argv).outcome).code).toBe(0)
    expect((await stat(path('files.subrosa'))).mode & 0o777).toBe(0o600)
  })
})
