import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { type Bundle, formatBundle, parseBundle } from '../../src/setup/bundle.ts'
import { type InstallOptions, installBundle } from '../../src/setup/install.ts'
import {
  type AgentHome,
  chooseDefault,
  defaultAgent,
  findInstalled,
  listInstalled,
} from '../../src/setup/installed.ts'
import { agentPaths, realmLayout } from '../../src/setup/layout.ts'
import { refuseForeign } from '../../src/setup/own-files.ts'
import { findPlan, newestPlan } from '../../src/setup/plan-records.ts'
import { makeNextPlan } from '../../src/setup/plans.ts'
import { openRealm, type Realm } from '../../src/setup/realm.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { failure } from '../support/until.ts'
import { createWholeRealm, temporaryFolder } from './running-realm.ts'

const DAY_MS = 86_400_000

const clock = new ManualClock()
let made: Awaited<ReturnType<typeof temporaryFolder>>
let work: Realm
let club: Realm
let laptop: Bundle
let files: Bundle
let clubLaptop: Bundle
beforeAll(async () => {
  made = await temporaryFolder()
  work = await createWholeRealm({ dir: join(made.path, 'work'), hosts: ['nats.example.com'], clock })
  club = await createWholeRealm({ dir: join(made.path, 'club'), hosts: ['club.example.org'], clock })
  laptop = await bundleOf(work, 'laptop')
  files = await bundleOf(work, 'files')
  clubLaptop = await bundleOf(club, 'laptop')
})
afterAll(() => made.remove())

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let home: AgentHome
beforeEach(async () => {
  folder = await temporaryFolder()
  const config = join(folder.path, '.config')
  home = { root: join(config, 'subrosa'), above: [folder.path, config] }
})
afterEach(() => folder.remove())

async function bundleOf(realm: Realm, name: string, renew = false): Promise<Bundle> {
  await addAgent(realm, { name, renew, clock })
  return parseBundle(await formatBundle(realm, name), 'x')
}

const install = (bundle: Bundle, options: InstallOptions = {}) =>
  installBundle(home, bundle, { clock, ...options })
const dirOf = (realm: Realm) => join(home.root, 'realms', realm.key)

describe('installing a bundle', () => {
  test('makes a folder that reads as a realm’s, for its owner alone', async () => {
    const agent = await install(laptop)
    const dir = dirOf(work)
    expect(agent).toEqual({
      name: 'laptop',
      realm: { dir, key: work.key, authority: [work.key], server: 'tls://nats.example.com:4222' },
    })
    expect(await openRealm(dir)).toEqual(agent.realm)
    const identity = await loadIdentity(`file:${agentPaths(dir, 'laptop').identity}`)
    expect(identity.publicKey).toBe(laptop.claims.identity)
    const found = await readdir(home.root, { recursive: true, withFileTypes: true })
    const modes = await Promise.all(
      found.map(async (one) => {
        const path = join(one.parentPath, one.name)
        return [path.slice(dir.length + 1), (await stat(path)).mode & 0o777, one.isDirectory()] as const
      }),
    )
    const names = modes.filter(([name]) => name !== '').map(([name]) => name)
    expect(names).toEqual(
      expect.arrayContaining([
        'realm.json',
        'plans/1.json',
        'tls/ca.crt',
        'agents/laptop.identity',
        'agents/laptop.creds',
        'agents/laptop.jwt',
      ]),
    )
    for (const [name, mode, isFolder] of modes) expect(mode, name).toBe(isFolder ? 0o700 : 0o600)
    expect((await stat(home.root)).mode & 0o777).toBe(0o700)
  })

  describe('with a plan', () => {
    /** The plan that is installed of a realm. */
    const installed = async () => (await findPlan(await openRealm(dirOf(realm))))?.plan
    let realm: Realm
    let first: Bundle
    let second: Bundle
    beforeEach(async () => {
      realm = await createWholeRealm({ dir: join(folder.path, 'made'), clock })
      first = await bundleOf(realm, 'laptop')
      await makeNextPlan(realm, { renewsSalt: true }, { former: await newestPlan(realm), clock })
      second = parseBundle(await formatBundle(realm, 'laptop'), 'x')
    })

    test('that is newer takes it over, and goes by no older one again, whatever is replaced', async () => {
      await install(first)
      expect(await installed()).toMatchObject({ version: 1 })
      await install(second)
      expect(await installed()).toMatchObject({ version: 2 })
      await install(first, { replace: true })
      expect(await installed()).toMatchObject({ version: 2 })
    })

    test('that is another one of the same version is refused, whatever is replaced', async () => {
      // The authority has signed two, as after a backup of its folder was restored.
      await rm(join(realm.dir, 'plans', '2.json'))
      await makeNextPlan(realm, { renewsSalt: true }, { former: await newestPlan(realm), clock })
      await install(second)
      const other = parseBundle(await formatBundle(realm, 'laptop'), 'x')
      for (const replace of [false, true])
        expect(await failure(() => install(other, { replace }))).toMatchObject({
          code: 'ERR_PLAN_CONFLICT',
          message: `the bundle has another plan 2 than is installed of realm ${realm.key}`,
        })
      await install(second)
    })

    test('is not taken from files that somebody else could write', async () => {
      await install(first)
      await chmod(join(dirOf(realm), 'plans'), 0o777)
      expect(await failure(() => findInstalled(home))).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
    })
  })

  test('makes the agent the default, of several the last one', async () => {
    await install(laptop)
    expect(await defaultAgent(home)).toEqual({ realm: work.key, name: 'laptop' })
    await install(files)
    expect(await defaultAgent(home)).toEqual({ realm: work.key, name: 'files' })
    await install(clubLaptop)
    expect(await defaultAgent(home)).toEqual({ realm: club.key, name: 'laptop' })
  })

  test('of another realm touches nothing of the first', async () => {
    await install(laptop)
    const before = await contents(dirOf(work))
    await install(clubLaptop)
    expect(await contents(dirOf(work))).toEqual(before)
    const names = (await listInstalled(home)).map(({ realm, name }) => [realm.key, name])
    expect(names.sort()).toEqual(
      [
        [work.key, 'laptop'],
        [club.key, 'laptop'],
      ].sort(),
    )
  })

  test('again changes nothing, and with a newer token replaces the older', async () => {
    await install(laptop)
    const before = await contents(dirOf(work))
    await install(laptop)
    expect(await contents(dirOf(work))).toEqual(before)
    clock.advance(DAY_MS)
    const newer = await bundleOf(work, 'laptop', true)
    await install(newer)
    expect(await loadIdentity(`file:${agentPaths(dirOf(work), 'laptop').identity}`)).toMatchObject({
      token: newer.token,
      publicKey: laptop.claims.identity,
    })
    expect(await failure(() => install(laptop))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'a newer token of laptop is installed already',
      hint: expect.stringContaining('--replace'),
    })
    expect((await findInstalled(home, 'laptop'))?.name).toBe('laptop')
    expect((await listInstalled(home))[0]?.claims.issuedAt).toBe(newer.claims.issuedAt)
    await install(laptop, { replace: true })
    expect((await listInstalled(home))[0]?.claims.issuedAt).toBe(laptop.claims.issuedAt)
  })

  test('refuses a token that has expired', async () => {
    const later = new ManualClock(laptop.claims.expiresAt * 1000)
    expect(await failure(() => install(laptop, { clock: later }))).toMatchObject({
      code: 'ERR_TOKEN_EXPIRED',
      hint: expect.stringContaining('--renew --bundle'),
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  test.each<[string, (bundle: Bundle) => Bundle]>([
    ['another broker', (bundle) => ({ ...bundle, server: 'tls://evil.example.com:4222' })],
    ['another certificate authority', (bundle) => ({ ...bundle, ca: clubLaptop.ca })],
    ['another authority', (bundle) => ({ ...bundle, authority: [work.key, club.key] })],
  ])('refuses one that names %s for a realm that is there, unless it is asked for', async (what, change) => {
    await install(laptop)
    const before = await contents(home.root)
    for (const bundle of [laptop, files])
      expect(await failure(() => install(change(bundle)))).toMatchObject({
        code: 'ERR_SETUP',
        message: `the bundle names ${what} than what is installed of realm ${work.key}`,
        hint: expect.stringContaining('--replace'),
      })
    expect(await contents(home.root)).toEqual(before)
    await install(change(files), { replace: true })
    expect(await contents(home.root)).not.toEqual(before)
  })

  test('takes the private key that was made elsewhere, and no other', async () => {
    const seed = engine.randomBytes(32)
    const key = encodeNkey('U', engine.ed25519KeyPair(seed).publicKey)
    await addAgent(work, { name: 'mine', key, clock })
    const bundle = parseBundle(await formatBundle(work, 'mine'), 'x')
    expect(await failure(() => install(bundle))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'the private key of mine is not in its bundle',
      hint: expect.stringContaining('--key'),
    })
    expect(await failure(() => install(bundle, { seed: engine.randomBytes(32) }))).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
    })
    expect(await failure(() => install(laptop, { seed }))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('has its private key in it'),
    })
    expect(await readdir(folder.path)).toEqual([])
    await install(bundle, { seed })
    const path = agentPaths(dirOf(work), 'mine').identity
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await loadIdentity(`file:${path}`)).publicKey).toBe(key)
  })

  test('that broke off before the realm was whole is none, and does not stand in the way', async () => {
    await install(laptop)
    await rm(realmLayout(dirOf(work)).description)
    await rm(join(home.root, 'default.json'))
    expect(await listInstalled(home)).toEqual([])
    expect(await findInstalled(home)).toBeUndefined()
    await install(laptop)
    expect((await findInstalled(home))?.name).toBe('laptop')
  })
})

describe('finding an installed agent', () => {
  test('finds none where nothing is installed', async () => {
    expect(await findInstalled(home)).toBeUndefined()
    expect(await findInstalled(home, 'laptop')).toBeUndefined()
    await mkdir(join(home.root, 'realms', 'lost+found'), { recursive: true })
    expect(await findInstalled(home)).toBeUndefined()
  })

  test('finds the default, or another one by its name, in whichever realm', async () => {
    await install(files)
    await install(clubLaptop)
    expect(await findInstalled(home)).toMatchObject({ name: 'laptop', realm: { key: club.key } })
    expect(await findInstalled(home, 'files')).toMatchObject({ name: 'files', realm: { key: work.key } })
  })

  test('of one name in several realms finds that of the default’s realm, and else asks which', async () => {
    await install(laptop)
    await install(clubLaptop)
    expect(await findInstalled(home, 'laptop')).toMatchObject({ realm: { key: club.key } })
    await chooseDefault(home, { realm: work.key, name: 'laptop' })
    expect(await findInstalled(home, 'laptop')).toMatchObject({ realm: { key: work.key } })
    await rm(join(home.root, 'default.json'))
    expect(await failure(() => findInstalled(home, 'laptop'))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'an agent laptop is installed of several realms',
      hint: expect.stringContaining('--realm'),
    })
    expect(await failure(() => findInstalled(home))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('nothing says which of the agents in'),
    })
  })

  test('names those that there are where one is not', async () => {
    await install(laptop)
    await install(files)
    expect(await failure(() => findInstalled(home, 'notes'))).toMatchObject({
      code: 'ERR_SETUP',
      message: `no agent notes is installed in ${home.root}`,
      hint: expect.stringContaining('there are: files, laptop'),
    })
  })

  test('does not fall back on nothing where the default is gone', async () => {
    await install(laptop)
    await rm(dirOf(work), { recursive: true })
    expect(await failure(() => findInstalled(home))).toMatchObject({ code: 'ERR_SETUP' })
    expect(await failure(() => findInstalled(home, 'laptop'))).toMatchObject({ code: 'ERR_SETUP' })
    await install(laptop)
    const { identity, creds, tokens } = agentPaths(dirOf(work), 'laptop')
    for (const path of [identity, creds, tokens]) await rm(path)
    expect(await failure(() => findInstalled(home))).toMatchObject({ code: 'ERR_SETUP' })
  })

  test.each([
    '',
    'laptop',
    '[]',
    '{}',
    '{"format": 2, "realm": "KEY", "agent": "laptop"}',
    '{"format": 1, "realm": "KEY", "agent": "../laptop"}',
    '{"format": 1, "realm": "../KEY", "agent": "laptop"}',
    '{"format": 1, "realm": "KEY", "agent": "laptop", "agent": "files"}',
  ])('refuses the default %j', async (text) => {
    await install(laptop)
    await writeFile(join(home.root, 'default.json'), text.replace('KEY', work.key))
    expect(await failure(() => findInstalled(home))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('default.json is damaged'),
    })
  })

  test('refuses a realm that stands in the place of another', async () => {
    await install(laptop)
    await install(clubLaptop)
    await rm(dirOf(work), { recursive: true })
    await rename(dirOf(club), dirOf(work))
    await chooseDefault(home, { realm: work.key, name: 'laptop' })
    expect(await failure(() => findInstalled(home))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('is that of another realm'),
    })
  })

  test('refuses an agent whose token the authority has not signed', async () => {
    await install(laptop)
    await writeFile(agentPaths(dirOf(work), 'laptop').tokens, clubLaptop.token)
    expect(await failure(() => findInstalled(home))).toMatchObject({ code: 'ERR_UNKNOWN_AUTHORITY' })
  })
})

describe('what others could write', () => {
  const PLACES = [
    '../..',
    '..',
    '.',
    'default.json',
    'realms',
    'realms/KEY',
    'realms/KEY/realm.json',
    'realms/KEY/tls',
    'realms/KEY/tls/ca.crt',
    'realms/KEY/agents',
    'realms/KEY/agents/laptop.jwt',
    'realms/KEY/agents/laptop.identity',
    'realms/KEY/agents/laptop.creds',
  ]
  const place = (name: string) => join(home.root, name.replace('KEY', work.key))

  test.each(PLACES)('is not believed: %s', async (name) => {
    await install(laptop)
    for (const bits of [0o020, 0o002]) {
      const { mode } = await stat(place(name))
      await chmod(place(name), mode | bits)
      for (const who of [undefined, 'laptop'])
        expect(await failure(() => findInstalled(home, who))).toMatchObject({
          code: 'ERR_KEY_FILE_PERMISSIONS',
          message: `others can write ${place(name)}`,
          hint: expect.stringContaining(`chmod go-w ${place(name)}`),
        })
      await chmod(place(name), mode)
    }
    expect((await findInstalled(home))?.name).toBe('laptop')
  })

  test.each(PLACES.slice(0, -3))('is not installed into: %s', async (name) => {
    await install(laptop)
    const before = await contents(home.root)
    const { mode } = await stat(place(name))
    await chmod(place(name), mode | 0o020)
    // The default is looked at by who says what it was.
    const task = name === 'default.json' ? () => defaultAgent(home) : () => install(files)
    expect(await failure(task)).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
    expect(await contents(home.root)).toEqual(before)
  })

  test('may be a folder in which nobody removes what is not their own', async () => {
    await install(laptop)
    await chmod(folder.path, 0o1777)
    expect((await findInstalled(home))?.name).toBe('laptop')
  })

  test('may be behind a link, which is followed to what is judged', async () => {
    await install(laptop)
    const elsewhere = join(folder.path, 'elsewhere')
    await rename(home.root, elsewhere)
    await symlink(elsewhere, home.root)
    expect((await findInstalled(home))?.name).toBe('laptop')
    await chmod(elsewhere, 0o770)
    expect(await failure(() => findInstalled(home))).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
  })

  test.runIf(process.getuid?.() === 0).each(PLACES)('is not of another user: %s', async (name) => {
    await install(laptop)
    await chown(place(name), 12_345, 12_345)
    expect(await failure(() => findInstalled(home))).toMatchObject({
      code: 'ERR_KEY_FILE_PERMISSIONS',
      message: `${place(name)} belongs to another user`,
    })
  })

  test('that cannot be looked at is not taken for absent', async () => {
    await writeFile(join(folder.path, 'file'), '')
    expect(await failure(() => refuseForeign([join(folder.path, 'file', 'x')]))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('cannot look at'),
    })
  })
})

/** Every file below a folder, with what is in it. */
async function contents(dir: string): Promise<Map<string, string>> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true })
  const paths = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
  return new Map(
    await Promise.all(paths.sort().map(async (path) => [path, await readFile(path, 'utf8')] as const)),
  )
}
