import { X509Certificate } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { realmLayout } from '../../src/setup/layout.ts'
import { createRealm, openRealm } from '../../src/setup/realm.ts'
import { failure } from '../support/until.ts'
import { temporaryFolder } from './running-realm.ts'

const NOW = Date.UTC(2026, 0, 1)
const DAY_MS = 86_400_000
const SECRETS = ['authority.seed', 'operator.seed', 'account.seed', 'tls/ca.key', 'tls/server.key']
const PUBLIC = ['realm.json', 'nats-server.conf', 'tls/ca.crt', 'tls/server.crt']

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let dir: string
beforeEach(async () => {
  folder = await temporaryFolder()
  dir = join(folder.path, 'realm')
})
afterEach(() => folder.remove())

const clockAt = (now: number) => ({ now: () => now, monotonic: () => 0, after: () => () => {} })
const read = (...path: string[]) => readFile(join(dir, ...path), 'utf8')

describe('createRealm', () => {
  test('writes everything that a realm needs, secrets for their owner only', async () => {
    await createRealm({ dir })
    for (const file of SECRETS) expect((await stat(join(dir, file))).mode & 0o777, file).toBe(0o600)
    for (const file of PUBLIC) expect((await stat(join(dir, file))).mode & 0o777, file).toBe(0o644)
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    const written = await readdir(dir, { recursive: true, withFileTypes: true })
    expect(written.filter((entry) => entry.isFile())).toHaveLength(SECRETS.length + PUBLIC.length)
  })

  test('puts no secret into a public file', async () => {
    await createRealm({ dir })
    const secrets = await Promise.all(SECRETS.map((file) => read(file)))
    for (const file of PUBLIC) {
      const text = await read(file)
      for (const secret of secrets) expect(text).not.toContain(secret.trim())
      expect(text).not.toMatch(/S[UAO][A-Z2-7]{56}|PRIVATE KEY/)
    }
  })

  test('names the realm by its authority, which is not the account of the broker', async () => {
    const realm = await createRealm({ dir, port: 4333 })
    expect(realm.key).toMatch(/^A[A-Z2-7]{55}$/)
    expect(JSON.parse(await read('realm.json'))).toEqual({
      format: 1,
      realm: realm.key,
      authority: [realm.key],
      server: 'tls://127.0.0.1:4333',
    })
    expect(await read('nats-server.conf')).not.toContain(realm.key)
    expect(await read('account.seed')).not.toBe(await read('authority.seed'))
  })

  test('listens on the loopback interface alone, unless other hosts are named', async () => {
    await createRealm({ dir, hosts: ['localhost', '::1'] })
    expect(await read('nats-server.conf')).toContain('listen: "127.0.0.1:4222"')
    const open = await createRealm({
      dir: join(folder.path, 'open'),
      hosts: ['localhost', 'nats.example.com'],
    })
    expect(open.server).toBe('tls://nats.example.com:4222')
    const config = await readFile(realmLayout(open.dir).serverConfig, 'utf8')
    expect(config).toContain('listen: "0.0.0.0:4222"')
  })

  test('has JetStream keep what it keeps in the folder of the broker', async () => {
    await createRealm({ dir })
    expect(await read('nats-server.conf')).toContain(`store_dir: "${join(dir, 'jetstream')}"`)
    const brokerDir = '/srv/broker'
    const other = await createRealm({ dir: join(folder.path, 'elsewhere'), brokerDir })
    const config = await readFile(realmLayout(other.dir).serverConfig, 'utf8')
    expect(config).toContain('store_dir: "/srv/broker/jetstream"')
  })

  test('makes a certificate authority for ten years that signs servers only', async () => {
    await createRealm({ dir, clock: clockAt(NOW) })
    const ca = new X509Certificate(await read('tls', 'ca.crt'))
    expect(ca.ca).toBe(true)
    expect(ca.verify(ca.publicKey)).toBe(true)
    expect(Date.parse(ca.validTo)).toBeGreaterThan(NOW + 3650 * DAY_MS)
    expect(ca.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  })

  test('makes a server certificate for one year, for loopback and every host', async () => {
    await createRealm({ dir, hosts: ['nats.example.com', '10.1.2.3'], clock: clockAt(NOW) })
    const ca = new X509Certificate(await read('tls', 'ca.crt'))
    const server = new X509Certificate(await read('tls', 'server.crt'))
    expect(server.ca).toBe(false)
    expect(server.checkIssued(ca) && server.verify(ca.publicKey)).toBe(true)
    for (const host of ['localhost', 'nats.example.com']) expect(server.checkHost(host)).toBe(host)
    for (const ip of ['127.0.0.1', '::1', '10.1.2.3']) expect(server.checkIP(ip), ip).toBe(ip)
    expect(server.checkHost('example.com')).toBeUndefined()
    expect(Date.parse(server.validTo)).toBe(NOW + 365 * DAY_MS)
    expect(server.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  })

  test('never overwrites a realm, nor half of one', async () => {
    await createRealm({ dir })
    const seed = await read('authority.seed')
    expect(await failure(() => createRealm({ dir }))).toMatchObject({
      code: 'ERR_SETUP',
      message: `there is a realm in ${dir} already`,
    })
    expect(await read('authority.seed')).toBe(seed)
    const half = join(folder.path, 'half')
    await mkdir(half)
    await writeFile(join(half, 'authority.seed'), 'mine')
    expect(await failure(() => createRealm({ dir: half }))).toMatchObject({ code: 'ERR_SETUP' })
    expect(await readFile(join(half, 'authority.seed'), 'utf8')).toBe('mine')
  })

  test('leaves nothing of its own behind when a file is in the way', async () => {
    await mkdir(dir)
    await writeFile(join(dir, 'nats-server.conf'), 'mine')
    const error = await failure(() => createRealm({ dir }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', message: expect.stringContaining('exists already') })
    expect(await readdir(dir)).toEqual(['nats-server.conf'])
    expect(await read('nats-server.conf')).toBe('mine')
  })

  test('replaces what an interrupted one has left, and nothing once it was whole', async () => {
    await createRealm({ dir })
    const lost = await read('authority.seed')
    // As a kill leaves it before the last file.
    await rm(join(dir, 'realm.json'))
    await writeFile(join(dir, 'unfinished'), '')
    await writeFile(join(dir, 'nats-server.conf'), 'half')
    const realm = await createRealm({ dir }).catch((error: unknown) => error)
    expect(realm).toEqual(await openRealm(dir).catch(() => 'no realm'))
    expect(await read('authority.seed')).not.toBe(lost)
    expect(await readdir(dir)).not.toContain('unfinished')

    // As a kill leaves it after the last file.
    await writeFile(join(dir, 'unfinished'), '')
    const seed = await read('authority.seed')
    expect(await failure(() => createRealm({ dir }))).toMatchObject({
      message: `there is a realm in ${dir} already`,
    })
    expect(await read('authority.seed')).toBe(seed)
  })

  test('leaves nothing behind that stands in the way of the next one when making fails', async () => {
    const furnish = () => Promise.reject(new Error('the disk is full'))
    expect(await failure(() => createRealm({ dir, furnish }))).toMatchObject({ message: 'the disk is full' })
    expect(await readdir(dir)).toEqual(['tls'])
    expect(await openRealm((await createRealm({ dir })).dir)).toMatchObject({ dir })
  })

  test('is made by one of two that make it at once', async () => {
    let other: unknown
    const furnish = async () => {
      other = await failure(() => createRealm({ dir }))
    }
    const realm = await createRealm({ dir, furnish })
    expect(other).toMatchObject({ code: 'ERR_SETUP', message: `another command makes a realm in ${dir}` })
    expect(await openRealm(dir)).toEqual(realm)
  })

  test.each([0, 65_536, 1.5, Number.NaN])('refuses the port %s', async (port) => {
    expect(await failure(() => createRealm({ dir, port }))).toBeInstanceOf(RangeError)
  })

  test.each(['', 'a b', '-a', 'a..b', 'tls://host', '*'])('refuses the host "%s"', async (host) => {
    expect(await failure(() => createRealm({ dir, hosts: [host] }))).toBeInstanceOf(RangeError)
  })
})

describe('openRealm', () => {
  test('finds what createRealm made, and reads no secret', async () => {
    const realm = await createRealm({ dir })
    for (const file of SECRETS) await chmod(join(dir, file), 0)
    expect(await openRealm(dir)).toEqual(realm)
  })

  test('says how to make a realm where there is none', async () => {
    expect(await failure(() => openRealm(dir))).toMatchObject({
      code: 'ERR_SETUP',
      message: `there is no realm in ${dir}`,
      hint: expect.stringContaining('subrosa init'),
    })
  })

  test.each(['', '{}', '{"format":2}', 'null', '{"format":1,"realm":"A","authority":["A"],"server":"x"}'])(
    'refuses the damaged description %s',
    async (text) => {
      await createRealm({ dir })
      await writeFile(join(dir, 'realm.json'), text)
      expect(await failure(() => openRealm(dir))).toMatchObject({ code: 'ERR_SETUP' })
    },
  )
})
