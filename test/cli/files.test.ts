import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../setup/running-realm.ts'
import { run, spawnCli, start } from './run.ts'

const SECRET = /S[UAO][A-Z2-7]{56}|PRIVATE KEY|IDENTITY SEED/

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let dir: string
beforeEach(async () => {
  folder = await temporaryFolder()
  dir = join(folder.path, 'realm')
})
afterEach(() => folder.remove())

const add = (...argv: string[]) => run('agent', 'add', ...argv, '--realm', dir)

describe('subrosa init', () => {
  test('prints the realm key, and says what to do next on standard error', async () => {
    const { code, stdout, stderr } = await run('init', '--realm', dir, '--port', '4555')
    expect(code).toBe(0)
    expect(stdout).toBe(JSON.parse(await readFile(join(dir, 'realm.json'), 'utf8')).realm)
    expect(stderr).toContain(`nats-server -c ${join(dir, 'nats-server.conf')}`)
    expect(stderr.split('\n').every((line) => line.startsWith('subrosa: '))).toBe(true)
    expect(stdout + stderr).not.toMatch(SECRET)
  })

  test('makes the identity of the rotation service', async () => {
    await run('init', '--realm', dir)
    const { stdout } = await run('identity', 'show', join(dir, 'agents', 'rotator.identity'), '--json')
    expect(JSON.parse(stdout)).toMatchObject({ name: 'rotator', roles: ['rotator'], maxInstances: 1 })
  })

  test('makes several rotation services, and a plan of which epochs and end are as they are asked for', async () => {
    const argv = [
      '--rotators',
      '3',
      '--threshold',
      '3',
      '--epoch',
      '25m',
      '--lead',
      '5m',
      '--plan-for',
      '90d',
    ]
    const { code, stderr } = await run('init', '--realm', dir, ...argv)
    expect(code).toBe(0)
    expect(stderr).toContain('3 of 3 rotation services must answer')
    for (const name of ['rotator-1', 'rotator-2', 'rotator-3'])
      expect(stderr).toContain(`subrosa rotator begin --as ${name} --realm ${dir}`)
    const shown = JSON.parse((await run('plan', 'show', '--realm', dir, '--json')).stdout)
    expect(shown).toMatchObject({
      version: 1,
      threshold: 3,
      schedules: [{ periodMs: 1_500_000, leadMs: 300_000 }],
    })
    expect(shown.leftMs / 86_400_000).toBeCloseTo(90, 1)
    // Whoever writes them by hand may read what they say.
    expect((await stat(join(dir, 'plans', '1.json'))).mode & 0o777).toBe(0o644)
  })

  test.each([
    [['--rotators', '8'], 'a plan has 1 to 7 rotation services'],
    [['--rotators', '4', '--threshold', '2'], 'of 4 rotation services 3 to 4 must answer'],
    [['--lead', '999ms'], 'the lead must be at least 1s'],
    [['--plan-for', '401d'], 'a plan lasts at most 400d'],
  ])('with %j makes no realm', async (argv, message) => {
    const { code, stdout, stderr } = await run('init', '--realm', dir, ...argv)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    await expect(readdir(dir)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('says that short epochs are for demonstrations', async () => {
    const { stderr } = await run('init', '--realm', dir, '--epoch', '2s', '--lead', '1s')
    expect(stderr).toContain('warning: a lead below a minute is for demonstrations')
  })

  test('refuses to overwrite a realm', async () => {
    await run('init', '--realm', dir)
    expect(await run('init', '--realm', dir)).toEqual({
      code: 1,
      stdout: '',
      stderr: `subrosa: error: there is a realm in ${dir} already [ERR_SETUP]\nsubrosa: hint: it is never overwritten: choose another folder with --realm`,
    })
  })

  test('takes the folder from SUBROSA_REALM', async () => {
    const { code } = await start(['init'], { SUBROSA_REALM: dir }).outcome
    expect(code).toBe(0)
    expect(await readdir(dir)).toContain('realm.json')
  })

  test('refuses what is no host', async () => {
    const { code, stderr } = await run('init', '--realm', dir, '--host', 'a b')
    expect(code).toBe(2)
    expect(stderr).toBe('subrosa: error: a b is no host name or address')
  })

  test('keeps secrets to their owner whatever the umask, as a process of its own', async () => {
    const { code, stdout, stderr } = await spawnCli(['init', '--realm', dir]).outcome
    expect(code).toBe(0)
    expect(stdout).toMatch(/^A[A-Z2-7]{55}\n$/)
    expect(stderr).not.toMatch(SECRET)
    const files = ['authority.seed', 'tls/ca.key', 'agents/rotator.identity', 'agents/rotator.creds']
    for (const file of files) expect((await stat(join(dir, file))).mode & 0o777, file).toBe(0o600)
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
  })
})

describe('subrosa agent add', () => {
  test('prints the public identity key, and no secret', async () => {
    await run('init', '--realm', dir)
    const argv = [
      'billing',
      '--pub',
      'bills.>',
      'paid',
      '--pub',
      'x',
      '--sub',
      'orders.*',
      '--deny-sub',
      'orders.old',
    ]
    const { code, stdout, stderr } = await add(...argv, '--expires', '10d', '--max-instances', '2')
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('added billing until'),
    })
    expect(stdout).toMatch(/^U[A-Z2-7]{55}$/)
    expect(stdout + stderr).not.toMatch(SECRET)
    const shown = JSON.parse(
      (await run('identity', 'show', join(dir, 'agents', 'billing.identity'), '--json')).stdout,
    )
    expect(shown).toMatchObject({
      name: 'billing',
      identity: stdout,
      roles: [],
      permissions: {
        pub: { allow: ['bills.>', 'paid', 'x'], deny: [] },
        sub: { allow: ['orders.*'], deny: ['orders.old'] },
      },
      maxInstances: 2,
    })
    expect(Date.parse(shown.expires) - Date.parse(shown.issued)).toBe(10 * 86_400_000)
  })

  test('renews, and keeps what is not given', async () => {
    await run('init', '--realm', dir)
    const first = await add('billing', '--pub', 'bills.>', '--role', 'revoker')
    const second = await add('billing', '--renew', '--sub', 'orders.*')
    expect(second).toMatchObject({ code: 0, stdout: first.stdout })
    const { stdout } = await run('identity', 'show', join(dir, 'agents', 'billing.identity'))
    expect(stdout).toMatch(/^may publish\s+bills\.>$/m)
    expect(stdout).toMatch(/^may read\s+orders\.\*$/m)
    expect(stdout).toMatch(/^roles\s+revoker$/m)
    expect(await add('billing')).toMatchObject({ code: 1, stderr: expect.stringContaining('--renew') })
    expect(await add('orders', '--renew')).toMatchObject({ code: 1 })
  })

  test('says how to make a realm where there is none', async () => {
    expect(await add('billing')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /^subrosa: error: there is no realm in .+\nsubrosa: hint: .+subrosa init/,
      ),
    })
  })

  test('refuses an authority that others can read', async () => {
    await run('init', '--realm', dir)
    await chmod(join(dir, 'authority.seed'), 0o640)
    expect(await add('billing')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ERR_KEY_FILE_PERMISSIONS.*\nsubrosa: hint: chmod 600/),
    })
  })
})

describe('subrosa agent list', () => {
  test('lists agents as a table, or as JSON', async () => {
    await run('init', '--realm', dir)
    await add('billing', '--sub', 'orders.>')
    const table = (await run('agent', 'list', '--realm', dir)).stdout.split('\n')
    expect(table.map((line) => line.split(/\s+/).slice(0, 3))).toEqual([
      ['NAME', 'STATUS', 'ROLES'],
      ['billing', 'active', '-'],
      ['rotator', 'active', 'rotator'],
    ])
    const { stdout } = await run('agent', 'list', '--realm', dir, '--json')
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'billing', status: 'active' }, { name: 'rotator' }])
    expect(stdout).not.toMatch(SECRET)
  })
})

describe('subrosa identity show', () => {
  test('shows everything but the key', async () => {
    await run('init', '--realm', dir)
    await add('billing', '--sub', 'orders.>')
    for (const json of [[], ['--json']]) {
      const { stdout } = await run('identity', 'show', join(dir, 'agents', 'billing.identity'), ...json)
      expect(stdout).toContain('orders.>')
      expect(stdout).not.toMatch(SECRET)
    }
  })

  test.each([
    ['nothing', undefined, /cannot read the file .+ \(ENOENT\) \[ERR_KEY_FILE\]/],
    ['a file of another kind', 'hello', /this is no identity file \[ERR_KEY_FILE\]/],
  ])('refuses %s', async (_what, text, message) => {
    const path = join(folder.path, 'x.identity')
    if (text !== undefined) await writeFile(path, text, { mode: 0o600 })
    const { code, stdout, stderr } = await run('identity', 'show', path)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(message)
  })

  test('tells a login from an identity', async () => {
    await run('init', '--realm', dir)
    const { code, stderr } = await run('identity', 'show', join(dir, 'agents', 'rotator.creds'))
    expect(code).toBe(1)
    expect(stderr).toContain('subrosa: hint: this is a NATS creds file')
    expect(stderr).not.toMatch(SECRET)
  })
})
