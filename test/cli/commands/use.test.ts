import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadIdentity } from '../../../src/identity/keyfiles/key-file.ts'
import { readPublicKey } from '../../../src/identity/keyfiles/public-key.ts'
import { addAgent } from '../../../src/setup/agents.ts'
import { formatBundle } from '../../../src/setup/bundle.ts'
import { agentPaths } from '../../../src/setup/layout.ts'
import type { Realm } from '../../../src/setup/realm.ts'
import { OPENSSH_FINGERPRINT, PASSPHRASE, sample } from '../../identity/sample-keys.ts'
import { createWholeRealm, temporaryFolder } from '../../setup/running-realm.ts'
import { spawnCli, start } from '../run.ts'

const SECRET = /S[UAO][A-Z2-7]{56}|PRIVATE KEY|IDENTITY SEED|eyJ/

let made: Awaited<ReturnType<typeof temporaryFolder>>
let work: Realm
let club: Realm
beforeAll(async () => {
  made = await temporaryFolder()
  work = await createWholeRealm({ dir: join(made.path, 'work'), hosts: ['nats.example.com'] })
  club = await createWholeRealm({ dir: join(made.path, 'club'), hosts: ['club.example.org'] })
  for (const name of ['laptop', 'files']) await addAgent(work, { name })
  await addAgent(club, { name: 'laptop' })
  const key = readPublicKey(sample('openssh.pub'), 'the sample')
  await addAgent(work, { name: 'mine', key })
})
afterAll(() => made.remove())

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let bundles: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
  bundles = await temporaryFolder()
})
afterEach(async () => {
  await folder.remove()
  await bundles.remove()
})

const root = () => join(folder.path, '.config', 'subrosa')
const dirOf = (realm: Realm) => join(root(), 'realms', realm.key)
const use = (...argv: readonly string[]) => start(['use', ...argv], { HOME: folder.path }).outcome

async function bundleOf(realm: Realm, name: string, file = `${name}.subrosa`): Promise<string> {
  const path = join(bundles.path, file)
  await writeFile(path, await formatBundle(realm, name), { mode: 0o600 })
  return path
}

describe('subrosa use FILE', () => {
  test('installs it, prints the folder, and says what holds now', async () => {
    const path = await bundleOf(work, 'laptop')
    const { code, stdout, stderr } = await use(path)
    expect({ code, stdout }).toEqual({ code: 0, stdout: dirOf(work) })
    expect(stderr).toContain(`installed laptop of realm ${work.key} until `)
    expect(stderr).toContain('its broker is nats.example.com:4222')
    expect(stderr).toContain('commands are laptop now where nothing else is said')
    expect(stderr).not.toContain('before it')
    expect(stderr).toContain(`delete ${path}: it is a secret`)
    expect(stdout + stderr).not.toMatch(SECRET)
    expect((await loadIdentity(`file:${agentPaths(dirOf(work), 'laptop').identity}`)).name).toBe('laptop')
  })

  test('says which agent was the default before', async () => {
    await use(await bundleOf(work, 'laptop'))
    expect((await use(await bundleOf(work, 'files'))).stderr).toContain(
      'commands are files now where nothing else is said; before it was laptop',
    )
  })

  test('writes a damaged default anew', async () => {
    const path = await bundleOf(work, 'laptop')
    await use(path)
    await writeFile(join(root(), 'default.json'), 'damaged')
    expect((await use()).code).toBe(1)
    expect(await use(path)).toMatchObject({ code: 0 })
    expect(await use()).toMatchObject({ code: 0 })
  })

  test('keeps everything to its owner whatever the umask, under HOME alone, as a process of its own', async () => {
    const path = await bundleOf(work, 'laptop')
    const { code, stdout } = await spawnCli(['use', path], { HOME: folder.path }).outcome
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${dirOf(work)}\n` })
    for (const { parentPath, name } of await readdir(folder.path, { recursive: true, withFileTypes: true }))
      expect((await stat(join(parentPath, name))).mode & 0o077, name).toBe(0)
  })

  test('installs under XDG_CONFIG_HOME where it is set, and is a path', async () => {
    const path = await bundleOf(work, 'laptop')
    const config = join(folder.path, 'config')
    const { stdout } = await start(['use', path], { HOME: folder.path, XDG_CONFIG_HOME: config }).outcome
    expect(stdout).toBe(join(config, 'subrosa', 'realms', work.key))
    expect(await readdir(folder.path)).toEqual(['config'])
    for (const XDG_CONFIG_HOME of ['', 'relative']) {
      const env = { HOME: folder.path, XDG_CONFIG_HOME }
      expect((await start(['use', path], env).outcome).stdout).toBe(dirOf(work))
    }
  })

  test('refuses a file that others can read', async () => {
    const path = await bundleOf(work, 'laptop')
    await chmod(path, 0o644)
    expect(await use(path)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/ERR_KEY_FILE_PERMISSIONS\]\nsubrosa: hint: chmod 600/),
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  test.each([
    ['a file that is not there', './nothing.subrosa', undefined, /cannot read .*ENOENT.*ERR_KEY_FILE/],
    ['a name that nobody has', 'nobody', undefined, /no file nobody, and no agent of this name/],
    ['a file of another kind', './x.subrosa', 'hello', /is no bundle, or it is damaged \[ERR_SETUP\]/],
    [
      'one of a newer version',
      './x.subrosa',
      '{"type":"subrosa bundle","version":2}',
      /another version than 1/,
    ],
  ])('refuses %s', async (_what, name, text, message) => {
    const path = name.startsWith('.') ? join(bundles.path, name) : name
    if (text !== undefined) await writeFile(path, text, { mode: 0o600 })
    const { code, stdout, stderr } = await use(path)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(message)
    expect(await readdir(folder.path)).toEqual([])
  })

  test('refuses one whose broker has no address, and shows no login that is written into one', async () => {
    const path = await bundleOf(work, 'laptop')
    const fields = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...fields, server: 'http://example.com' }))
    expect(await use(path)).toMatchObject({ code: 1, stderr: expect.stringContaining('ERR_CONNECTION') })
    expect(await readdir(folder.path)).toEqual([])
    await writeFile(path, JSON.stringify({ ...fields, server: 'tls://ann:hunter2@example.com:4222' }))
    const shown = [await use(path), await use()]
    for (const { code, stdout, stderr } of shown) {
      expect(code).toBe(0)
      expect(stdout + stderr).toContain('example.com:4222')
      expect(stdout + stderr).not.toContain('hunter2')
    }
  })

  test('refuses another broker for a realm that is there, unless --replace says so', async () => {
    const path = await bundleOf(work, 'laptop')
    await use(path)
    const fields = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...fields, server: 'tls://evil.example.com:4222' }))
    expect(await use(path)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('names another broker'),
    })
    expect((await use()).stdout).toContain(' nats.example.com:4222 ')
    expect(await use(path, '--replace')).toMatchObject({ code: 0 })
    expect((await use()).stdout).toContain(' evil.example.com:4222 ')
  })

  test('takes a private key that was made elsewhere, with its passphrase', async () => {
    const path = await bundleOf(work, 'mine')
    const key = join(bundles.path, 'key')
    const secret = join(bundles.path, 'passphrase')
    await writeFile(key, sample('openssh-encrypted'), { mode: 0o600 })
    await writeFile(secret, `${PASSPHRASE}\n`, { mode: 0o600 })
    expect(await use(path)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('hint: it was made elsewhere'),
    })
    expect(await use(path, '--key', key)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_KEY_PASSPHRASE'),
    })
    expect(await readdir(folder.path)).toEqual([])
    const { code, stderr } = await use(path, '--key', key, '--passphrase', `file:${secret}`)
    expect(code).toBe(0)
    expect(stderr).toContain('a copy of its private key is among them')
    expect(stderr).not.toMatch(SECRET)
    const shown = await start(['identity', 'show', agentPaths(dirOf(work), 'mine').identity]).outcome
    expect(shown.stdout).toContain(OPENSSH_FINGERPRINT)
    // The key of another, and one where there is one already.
    await writeFile(key, sample('pkcs8.pem'), { mode: 0o600 })
    expect(await use(path, '--key', key)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_TOKEN_INVALID'),
    })
    expect(await use(await bundleOf(work, 'laptop'), '--key', key)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has its private key in it'),
    })
  })

  test('may be told of which realm it has to be', async () => {
    const path = await bundleOf(work, 'laptop')
    expect(await use(path, '--realm', club.key)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`is of another realm: ${work.key}`),
    })
    expect(await use(path, '--realm', work.key)).toMatchObject({ code: 0 })
  })
})

describe('subrosa use', () => {
  test('says how to install one where there is none', async () => {
    expect(await use()).toEqual({
      code: 0,
      stdout: '',
      stderr: `subrosa: no agent is installed in ${root()}; install one with: subrosa use FILE`,
    })
  })

  test('lists what is installed, and the default', async () => {
    for (const path of [await bundleOf(work, 'laptop'), await bundleOf(work, 'files')]) await use(path)
    await use(await bundleOf(club, 'laptop'))
    const { code, stdout } = await use()
    expect(code).toBe(0)
    const [head = '', ...lines] = stdout.split('\n')
    expect(head.split(/\s+/)).toEqual(['AGENT', 'DEFAULT', 'EXPIRES', 'BROKER', 'REALM'])
    const rows = lines
      .map((line) => line.split(/\s+/))
      .map(([name, is, , broker, key]) => [name, is, broker, key])
    expect(rows.sort()).toEqual([
      ['files', '-', 'nats.example.com:4222', work.key],
      ...[
        ['laptop', '-', 'nats.example.com:4222', work.key],
        ['laptop', 'yes', 'club.example.org:4222', club.key],
      ].sort(),
    ])
    expect(stdout).not.toMatch(SECRET)
  })
})

describe('subrosa use NAME', () => {
  test('makes an installed agent the default', async () => {
    for (const name of ['laptop', 'files']) await use(await bundleOf(work, name))
    expect(await use('laptop')).toEqual({
      code: 0,
      stdout: dirOf(work),
      stderr: 'subrosa: commands are laptop now where nothing else is said; before it was files',
    })
    expect((await use()).stdout).toMatch(/^laptop\s+yes/m)
  })

  test('asks which realm is meant, and takes how its key begins', async () => {
    await use(await bundleOf(work, 'laptop'))
    await use(await bundleOf(club, 'laptop'))
    for (const argv of [[], ['--realm', 'A'], ['--realm', 'B']])
      expect(await use('laptop', ...argv)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('--realm must name one of the realms'),
      })
    expect((await use('laptop', '--realm', work.key.slice(0, 20))).stdout).toBe(dirOf(work))
    expect((await use('laptop', '--realm', club.key)).stdout).toBe(dirOf(club))
  })

  test('is not what a path is, also of a file with such a name', async () => {
    await use(await bundleOf(work, 'laptop'))
    const path = await bundleOf(club, 'laptop', 'laptop')
    expect((await use(path)).stdout).toBe(dirOf(club))
  })
})
