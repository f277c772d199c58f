import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { spawnCli } from '../cli/run.ts'

const ROTATORS = ['rotator-1', 'rotator-2', 'rotator-3']
const VOLUMES = ['realm', 'broker', 'jetstream', ...ROTATORS, 'orders', 'billing']
const SHARES = VOLUMES.slice(1)
const OTHER = `A${'B'.repeat(55)}`

interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

let folder: string
let volumes: string
/** The volumes as setup has left them, to begin each test with: making a realm takes time. */
let saved: string
let first: Run

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-test-setup-'))
  volumes = join(folder, 'volumes')
  saved = join(folder, 'saved')
  for (const volume of VOLUMES) await mkdir(join(volumes, volume), { recursive: true })
  first = await setup()
  await cp(volumes, saved, { recursive: true, preserveTimestamps: true })
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))
beforeEach(async () => {
  await rm(volumes, { recursive: true, force: true })
  await cp(saved, volumes, { recursive: true, preserveTimestamps: true })
})

/** Runs the one-shot container's command as a process. */
async function setup(env: Record<string, string> = {}): Promise<Run> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env['PATH'], STACK_VOLUMES: volumes, ...env } }
    execFile(process.execPath, ['stack/setup.mjs'], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** Every file with its text, its mode and its time. */
async function snapshot(where: string): Promise<Record<string, string>> {
  const entries = await readdir(where, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  const shown = files.map(async (path) => {
    const { mode, mtimeMs } = await stat(path)
    return [relative(where, path), `${(mode & 0o777).toString(8)} ${mtimeMs} ${await readFile(path, 'utf8')}`]
  })
  return Object.fromEntries(await Promise.all(shown))
}

async function filesIn(where: string): Promise<readonly string[]> {
  return Object.keys(await snapshot(where)).sort()
}

async function realmKey(): Promise<string> {
  return JSON.parse(await readFile(join(saved, 'realm', 'realm.json'), 'utf8')).realm
}

/** Has a volume belong to another realm, as one that was kept from an earlier stack does. */
async function belongToAnother(volume: string): Promise<void> {
  await writeFile(
    join(volumes, volume, 'realm.json'),
    JSON.stringify({ format: 1, realm: OTHER, authority: [OTHER], server: 'tls://nats:4222' }),
  )
}

async function expectRefusal(env: Record<string, string>, ...parts: readonly string[]): Promise<void> {
  const before = await snapshot(volumes)
  const { code, stdout, stderr } = await setup(env)
  expect(code).toBe(1)
  expect(stdout).toBe('')
  for (const part of parts) expect(stderr).toContain(part)
  expect(stderr).toMatch(/^setup: error: .* \[ERR_SETUP\]\nsetup: hint: .+\n$/)
  expect(await snapshot(volumes)).toEqual(before)
}

describe('the setup of the stack', () => {
  test('makes a realm, and prints its key alone on standard output', async () => {
    expect(first).toMatchObject({ code: 0, stdout: `${await realmKey()}\n` })
    expect(first.stderr).not.toContain('error')
    expect(await readdir(join(volumes, 'realm', 'agents'))).toEqual(
      ['billing', 'orders', ...ROTATORS].flatMap((name) =>
        ['creds', 'identity', 'jwt'].map((kind) => `${name}.${kind}`),
      ),
    )
  })

  test('gives each volume what its container needs, and no more', async () => {
    const login = (agent: string) => [
      `agents/${agent}.creds`,
      `agents/${agent}.identity`,
      'plans/1.json',
      'realm.json',
      'tls/ca.crt',
    ]
    const record = (rotator: string) => [`rotation/${rotator}/lock`, `rotation/${rotator}/revocations`]
    expect(await filesIn(join(volumes, 'broker'))).toEqual([
      'broker.conf',
      'nats-server.conf',
      'realm.json',
      'tls/server.crt',
      'tls/server.key',
    ])
    expect(await filesIn(join(volumes, 'jetstream'))).toEqual(['realm.json'])
    for (const rotator of ROTATORS)
      expect(await filesIn(join(volumes, rotator))).toEqual([...login(rotator), ...record(rotator)].sort())
    expect(await filesIn(join(volumes, 'orders'))).toEqual(login('orders'))
    expect(await filesIn(join(volumes, 'billing'))).toEqual(login('billing'))
  })

  test('writes secrets for their owner only, and none into a public file or its own output', async () => {
    for (const [path, shown] of Object.entries(await snapshot(volumes))) {
      const isSecret = /\.(seed|key|identity|creds)$|\/rotation\//.test(path)
      // Who may not write there has no command wait for him.
      expect(shown.slice(0, 3), path).toBe(isSecret || path === 'realm/lock' ? '600' : '644')
      if (!isSecret) expect(shown, path).not.toMatch(/\bS[UAO][A-Z2-7]{56}\b|PRIVATE KEY/)
    }
    expect(first.stdout + first.stderr).not.toMatch(/\bS[UAO][A-Z2-7]{56}\b|PRIVATE KEY/)
  })

  test('writes a configuration that the broker takes, with the paths of its own volume', async () => {
    const { command, args } = await findNatsServer()
    const path = join(volumes, 'broker', 'broker.conf')
    const { stderr } = await promisify(execFile)(command, [...args, '-t', '-c', path])
    expect(stderr).toContain('is valid')
    const config = await readFile(join(volumes, 'broker', 'nats-server.conf'), 'utf8')
    expect(config).toContain(JSON.stringify(join(volumes, 'broker', 'tls', 'server.key')))
    expect(config).toContain('listen: "0.0.0.0:4222"')
    expect(config).not.toContain(join(volumes, 'realm'))
  })

  test('changes nothing on volumes that are as they should be', async () => {
    const before = await snapshot(volumes)
    const { code, stdout, stderr } = await setup({ SUBROSA_REALM_KEY: await realmKey() })
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `${await realmKey()}\n`,
      stderr: 'setup: everything was there already: nothing has changed\n',
    })
    expect(await snapshot(volumes)).toEqual(before)
  })

  test('writes anew what a volume has lost', async () => {
    const before = await filesIn(volumes)
    await rm(join(volumes, 'billing'), { recursive: true })
    await mkdir(join(volumes, 'billing'))
    await rm(join(volumes, 'broker', 'tls', 'server.key'))
    expect(await setup()).toMatchObject({ code: 0 })
    expect(await filesIn(volumes)).toEqual(before)
  })

  test('finishes what an earlier run was cut short in', async () => {
    const key = await realmKey()
    await rm(join(volumes, 'realm', 'agents', 'orders.creds'))
    for (const kind of ['jwt', 'identity', 'creds'])
      await rm(join(volumes, 'realm', 'agents', `billing.${kind}`))
    expect(await setup()).toMatchObject({ code: 0, stdout: `${key}\n` })
    for (const name of ['orders', 'billing'])
      for (const kind of ['identity', 'creds'])
        expect(await readFile(join(volumes, name, 'agents', `${name}.${kind}`), 'utf8')).toBe(
          await readFile(join(volumes, 'realm', 'agents', `${name}.${kind}`), 'utf8'),
        )
  })

  test('hands a renewed login over to its agent, and to no other', async () => {
    const before = await snapshot(volumes)
    const renewal = spawnCli(['agent', 'add', 'orders', '--renew'], { SUBROSA_REALM: join(volumes, 'realm') })
    expect((await renewal.outcome).code).toBe(0)
    expect(await setup()).toMatchObject({ code: 0 })
    const after = await snapshot(volumes)
    const changed = Object.keys(after).filter((path) => after[path] !== before[path])
    expect(changed.filter((path) => !path.startsWith('realm/')).sort()).toEqual([
      'orders/agents/orders.creds',
      'orders/agents/orders.identity',
    ])
  })

  test('makes a plan of all rotation services, of which two must answer', async () => {
    const shown = await spawnCli(['plan', 'show', '--json'], { SUBROSA_REALM: join(volumes, 'realm') })
      .outcome
    const { version, threshold, rotators } = JSON.parse(shown.stdout)
    expect({ version, threshold }).toEqual({ version: 1, threshold: 2 })
    expect(rotators.map(({ name }: { readonly name: string }) => name).sort()).toEqual(ROTATORS)
  })

  test('hands a newer plan to everybody who goes by one', async () => {
    const renewal = spawnCli(['plan', 'renew', '--lost', '--timeout', '1s'], {
      SUBROSA_REALM: join(volumes, 'realm'),
    })
    // No broker runs: the plan is made, and not published.
    expect((await renewal.outcome).stderr).toContain('plan 2 is recorded in')
    expect(await setup()).toMatchObject({ code: 0 })
    const plan = await readFile(join(volumes, 'realm', 'plans', '2.json'), 'utf8')
    for (const name of [...ROTATORS, 'orders', 'billing'])
      expect(await readFile(join(volumes, name, 'plans', '2.json'), 'utf8'), name).toBe(plan)
  })

  test('does not begin the record of a rotation service again that has lost it', async () => {
    await rm(join(volumes, 'rotator-2'), { recursive: true })
    await mkdir(join(volumes, 'rotator-2'))
    const { code, stderr } = await setup()
    expect(code).toBe(0)
    expect(stderr).not.toContain('began the record')
    expect(await filesIn(join(volumes, 'rotator-2'))).not.toContain('rotation/rotator-2/revocations')
  })

  test('notes a record that was begun when it was cut short', async () => {
    await rm(join(volumes, 'realm', 'begun', 'rotator-3'))
    expect((await setup()).stderr).toContain('began the record of rotator-3')
    expect((await setup()).stderr).toContain('nothing has changed')
  })

  describe('refuses, and writes nothing,', () => {
    test.each(SHARES)('a volume %s of another realm', async (volume) => {
      await belongToAnother(volume)
      await expectRefusal(
        {},
        `the volume ${volume} belongs to the realm ${OTHER}`,
        await realmKey(),
        'docker volume rm',
      )
    })

    test('an empty volume of the realm beside volumes that belong to one', async () => {
      await rm(join(volumes, 'realm'), { recursive: true })
      await mkdir(join(volumes, 'realm'))
      await expectRefusal(
        {},
        'the volume realm is empty',
        `belongs to the realm ${await realmKey()}`,
        '--volumes',
      )
    })

    test('a volume of the realm that is of another one', async () => {
      await belongToAnother('realm')
      await expectRefusal({}, await realmKey(), OTHER)
    })

    test('a realm that is not the expected one', async () => {
      await expectRefusal(
        { SUBROSA_REALM_KEY: OTHER },
        `the volume realm holds the realm ${await realmKey()}, and SUBROSA_REALM_KEY is ${OTHER}`,
        'leave SUBROSA_REALM_KEY unset',
      )
    })

    test('to make a new realm where a certain one is expected', async () => {
      for (const volume of VOLUMES) {
        await rm(join(volumes, volume), { recursive: true })
        await mkdir(join(volumes, volume))
      }
      await expectRefusal({ SUBROSA_REALM_KEY: OTHER }, 'the volume realm is empty', OTHER)
    })

    test.each(['billing', 'A', `A${'b'.repeat(55)}`, `U${'B'.repeat(55)}`])(
      'the key %s, which is none of a realm',
      async (key) => {
        await expectRefusal({ SUBROSA_REALM_KEY: key }, 'SUBROSA_REALM_KEY is no key of a realm')
      },
    )

    test.each(['', '{', '{}', '{"realm":"A"}', '[]', 'null', '{"realm":7}'])(
      'a description of a realm that is damaged: %s',
      async (text) => {
        for (const volume of ['realm', 'orders']) {
          const path = join(volumes, volume, 'realm.json')
          const whole = await readFile(path, 'utf8')
          await writeFile(path, text)
          await expectRefusal({}, `${path} is damaged`)
          await writeFile(path, whole)
        }
      },
    )

    test('a volume that is no folder', async () => {
      await rm(join(volumes, 'orders'), { recursive: true })
      await writeFile(join(volumes, 'orders'), '')
      await expectRefusal({}, `cannot read ${join(volumes, 'orders', 'realm.json')} (ENOTDIR)`)
    })

    test('what is left of a realm that was cut short while it was made', async () => {
      for (const volume of SHARES) {
        await rm(join(volumes, volume), { recursive: true })
        await mkdir(join(volumes, volume))
      }
      await rm(join(volumes, 'realm', 'realm.json'))
      await expectRefusal({}, 'has a seed of an authority, and no realm.json', 'backup')
    })

    test('a realm that has lost a file that others need', async () => {
      await rm(join(volumes, 'realm', 'tls', 'ca.crt'))
      await expectRefusal({}, `${join(volumes, 'realm', 'tls', 'ca.crt')} is missing`, 'backup')
    })
  })
})
