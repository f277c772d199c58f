import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HOST } from '../../src/cli/mcp/hosts.ts'
import { agentHome } from '../../src/cli/realm/agent-home.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { formatBundle, parseBundle } from '../../src/setup/bundle.ts'
import { installBundle } from '../../src/setup/install.ts'
import { createWholeRealm, temporaryFolder } from '../setup/running-realm.ts'
import { start } from './run.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let home: string
beforeEach(async () => {
  folder = await temporaryFolder()
  home = join(folder.path, 'ann')
  await mkdir(home, { mode: 0o700 })
})
afterEach(() => folder.remove())

const config = (argv: readonly string[], env: Record<string, string> = {}) =>
  start(['mcp', 'config', ...argv], { HOME: home, ...env }).outcome

async function snippet(argv: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout } = await config(argv, env)
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

describe('subrosa mcp config', () => {
  test('prints what each host wants', async () => {
    const args = ['-y', 'subrosa', 'mcp', 'connect', 'files']
    const elsewhere = ['-y', '--prefix', home, 'subrosa', 'mcp', 'connect', 'files']
    expect(await snippet(['claude', 'files'])).toEqual({ mcpServers: { files: { command: 'npx', args } } })
    expect(await snippet(['cursor', 'files'])).toEqual({
      mcpServers: { files: { command: 'npx', args: elsewhere } },
    })
    expect(await snippet(['vscode', 'files'])).toEqual({
      servers: { files: { type: 'stdio', command: 'npx', args: elsewhere } },
    })
  })

  test('has an entry for each server, also for one that is called as few are', async () => {
    const { stdout } = await config(['claude', 'files', 'notes', '__proto__', 'files'])
    const { mcpServers } = JSON.parse(stdout)
    expect(Object.keys(mcpServers)).toEqual(['files', 'notes', '__proto__'])
    for (const [name, { args }] of Object.entries<{ args: string[] }>(mcpServers))
      expect(args.at(-1)).toBe(name)
  })

  test('takes the options of connect along', async () => {
    const argv = ['claude', 'files', '--as', 'laptop', '--pin-tools', '--refuse', 'sampling,roots,sampling']
    const { mcpServers } = await snippet(argv)
    expect(mcpServers.files.args.slice(5)).toEqual([
      '--as',
      'laptop',
      '--pin-tools',
      '--refuse',
      'sampling,roots',
    ])
  })

  test('writes down what variables say here: a host does not pass them on', async () => {
    const env = { SUBROSA_REALM: 'here', SUBROSA_AGENT: 'laptop' }
    const { mcpServers } = await snippet(['claude', 'files'], env)
    expect(mcpServers.files.args.slice(5)).toEqual(['--realm', join(process.cwd(), 'here'), '--as', 'laptop'])
    const said = await snippet(['claude', 'files', '--realm', '/r', '--as', 'desk'], env)
    expect(said.mcpServers.files.args.slice(5)).toEqual(['--realm', '/r', '--as', 'desk'])
    const { mcpServers: under } = await snippet(['claude', 'files'], { XDG_CONFIG_HOME: '/c' })
    expect(under.files.env).toEqual({ XDG_CONFIG_HOME: '/c' })
  })

  test('names this program and this Node by their paths with --local', async () => {
    for (const host of ['claude', 'vscode', 'cursor']) {
      const { mcpServers, servers } = await snippet([host, 'files', '--local'])
      expect((mcpServers ?? servers).files).toMatchObject({
        command: process.execPath,
        args: [MAIN, 'mcp', 'connect', 'files'],
      })
    }
    expect(existsSync(MAIN)).toBe(true)
  })

  test('says on standard error where it goes, how to check it, and that nothing is installed', async () => {
    const { stderr } = await config(['claude', 'files'])
    expect(stderr).toContain('the configuration of Claude Desktop: ')
    expect(stderr).toContain('claude_desktop_config.json')
    expect(stderr).toContain('where "mcpServers" is there already, add the entries to it')
    expect(stderr).toContain('to try it here: subrosa mcp ping files')
    expect(stderr).toContain('warning: no agent is installed for this user yet')
    expect((await config(['vscode', 'files'])).stderr).toContain('where "servers" is there already')
    expect((await config(['claude', 'files', '--realm', '/r'])).stderr).not.toContain('warning')
    await installLaptop()
    expect((await config(['claude', 'files'])).stderr).not.toContain('warning')
  })

  test.each([
    [['emacs', 'files'], 'Allowed choices are claude, vscode, cursor'],
    [['claude'], "missing required argument 'server'"],
    [['claude', 'files', 'a.b'], 'Use 1 to 64 letters'],
    [['claude', 'files', '--as', 'a/b'], 'Use 1 to 64 letters'],
    [['claude', 'files', '--refuse', 'sampling,tools'], 'Use some of sampling, elicitation, roots'],
    [['claude', 'files', '--refuse', ''], 'Use some of sampling, elicitation, roots'],
    [['claude', 'files', '--pin-tool'], "unknown option '--pin-tool'"],
    [['claude', 'files', '--http', '127.0.0.1:1'], "unknown option '--http'"],
  ])('prints nothing for %j', async (argv, message) => {
    expect(await config(argv)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
  })
})

describe('where a configuration goes', () => {
  test.each([
    ['claude', 'darwin', '~/Library/Application Support/Claude/claude_desktop_config.json'],
    ['claude', 'win32', '%APPDATA%\\Claude\\claude_desktop_config.json'],
    ['claude', 'linux', '~/.config/Claude/claude_desktop_config.json'],
    ['vscode', 'darwin', '~/Library/Application Support/Code/User/mcp.json, or .vscode/mcp.json of a folder'],
    ['vscode', 'win32', '%APPDATA%\\Code\\User\\mcp.json, or .vscode/mcp.json of a folder'],
    ['vscode', 'linux', '~/.config/Code/User/mcp.json, or .vscode/mcp.json of a folder'],
    ['cursor', 'darwin', '~/.cursor/mcp.json, or .cursor/mcp.json of a folder'],
    ['cursor', 'win32', '%USERPROFILE%\\.cursor\\mcp.json, or .cursor/mcp.json of a folder'],
  ] as const)('for %s on %s is known', (host, platform, place) => {
    expect(HOST[host].places(platform)).toBe(place)
  })
})

describe('what was pasted', () => {
  const run = promisify(execFile)
  const script = (says: string) => `#!/bin/sh\necho ${says} "$@"\n`

  async function write(path: string, text: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
    await chmod(path, 0o755)
  }

  /** Starts it as a host does. */
  async function launch(
    { command, args }: { command: string; args: string[] },
    cwd: string,
  ): Promise<string> {
    // Nothing is fetched: what is not there must not be asked for.
    const { PATH = '' } = process.env
    const env = { HOME: home, LOGNAME: 'ann', PATH, SHELL: '/bin/sh', TERM: 'xterm', USER: 'ann' }
    const { stdout } = await run(command, args, { cwd, env: { ...env, npm_config_offline: 'true' } })
    return stdout.trim()
  }

  test('starts the installed program and not that of the folder in which the host starts it', async () => {
    const repository = join(folder.path, 'repository')
    await write(join(repository, 'package.json'), JSON.stringify({ name: 'x', version: '1.0.0' }))
    await write(join(repository, 'node_modules', '.bin', 'subrosa'), script('evil'))
    await write(join(home, 'node_modules', '.bin', 'subrosa'), script('good'))
    const { servers } = await snippet(['vscode', 'files'])
    expect(await launch(servers.files, repository)).toBe('good mcp connect files')
  })
})

async function installLaptop(): Promise<void> {
  const realm = await createWholeRealm({ dir: join(folder.path, 'realm') })
  await addAgent(realm, { name: 'laptop', mcpUse: ['files'] })
  const bundle = parseBundle(await formatBundle(realm, 'laptop'), 'x')
  await installBundle(agentHome({ HOME: home }), bundle)
}
