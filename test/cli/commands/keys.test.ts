import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { fingerprint } from '../../../src/identity/fingerprint.ts'
import { loadIdentity, loadPins } from '../../../src/identity/keyfiles/key-file.ts'
import { readPublicKey } from '../../../src/identity/keyfiles/public-key.ts'
import { encodeNkey, encodeSeed } from '../../../src/identity/nkey.ts'
import { OPENSSH_FINGERPRINT, PASSPHRASE, PKCS8_FINGERPRINT, sample } from '../../identity/sample-keys.ts'
import { temporaryFolder } from '../../setup/running-realm.ts'
import { engine } from '../../support/identities.ts'
import { run, start } from '../run.ts'

const OPENSSH = readPublicKey(sample('openssh.pub'), 'the sample')
const PKCS8 = readPublicKey(sample('pkcs8.pub.pem'), 'the sample')
const newKey = () => encodeNkey('U', engine.ed25519KeyPair().publicKey)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await folder.remove()
})

/** A file of the owner's. */
async function write(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

async function showJson(...argv: string[]) {
  const { code, stdout, stderr } = await run('identity', 'show', ...argv, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

describe('subrosa identity show', () => {
  test.each([
    ['openssh', { format: 'OpenSSH', encrypted: false, identity: OPENSSH, fingerprint: OPENSSH_FINGERPRINT }],
    [
      'openssh-encrypted',
      { format: 'OpenSSH', encrypted: true, identity: OPENSSH, fingerprint: OPENSSH_FINGERPRINT },
    ],
    [
      'pkcs8.pem',
      { format: 'PKCS#8 PEM', encrypted: false, identity: PKCS8, fingerprint: PKCS8_FINGERPRINT },
    ],
  ])('says what the private key in %s is, and not what it holds', async (name, expected) => {
    const path = await write(name, sample(name))
    expect(await showJson(path)).toEqual({ kind: 'private key', ...expected })
    const { stdout } = await run('identity', 'show', `file:${path}`)
    const kind = `private key, ${expected.format}${expected.encrypted ? ', encrypted' : ''}`
    expect(stdout.split('\n').map((line) => line.replace(/\s{2,}/, ': '))).toEqual([
      `kind: ${kind}`,
      `identity: ${expected.identity}`,
      `fingerprint: ${expected.fingerprint}`,
    ])
  })

  test('takes the passphrase of a key that hides its public half', async () => {
    const path = await write('key.pem', sample('pkcs8-encrypted.pem'))
    expect(await run('identity', 'show', path)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/ERR_KEY_PASSPHRASE\]\nsubrosa: hint: .*--passphrase/),
    })
    const passphrase = await write('passphrase', `${PASSPHRASE}\n`)
    expect(await showJson(path, '--passphrase', `file:${passphrase}`)).toMatchObject({
      identity: PKCS8,
      encrypted: true,
    })
    vi.stubEnv('KEY_PASSPHRASE', 'wrong')
    expect(await run('identity', 'show', path, '--passphrase', 'env:KEY_PASSPHRASE')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the passphrase does not open the key'),
    })
  })

  test.each([
    ['an nkey', () => OPENSSH],
    ['a line of OpenSSH', () => sample('openssh.pub').trim()],
    ['a file of OpenSSH that everybody may read', () => write('a.pub', sample('openssh.pub'), 0o644)],
  ])('shows the fingerprint of a public key: %s', async (_, source) => {
    expect(await showJson(await source())).toEqual({
      kind: 'public key',
      identity: OPENSSH,
      fingerprint: OPENSSH_FINGERPRINT,
    })
  })

  test('shows what a variable holds', async () => {
    vi.stubEnv('KEY', encodeSeed('U', new Uint8Array(32)))
    const identity = encodeNkey('U', engine.ed25519KeyPair(new Uint8Array(32)).publicKey)
    expect(await showJson('env:KEY')).toMatchObject({ kind: 'private key', format: 'nkey seed', identity })
    vi.stubEnv('PUBLIC', PKCS8)
    expect(await showJson('env:PUBLIC')).toMatchObject({ kind: 'public key', identity: PKCS8 })
  })

  test('refuses a key that others can read, and one that cannot be an identity', async () => {
    const open = await write('open', sample('openssh'), 0o644)
    expect(await run('identity', 'show', open)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_KEY_FILE_PERMISSIONS'),
    })
    const rsa = await write('rsa', sample('rsa.pem'))
    expect(await run('identity', 'show', rsa)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /is an RSA key: .*\nsubrosa: hint: Ed25519 keys work: .*ssh-keygen -t ed25519/,
      ),
    })
  })

  test('does not repeat a seed that stands on the command line', async () => {
    const seed = encodeSeed('U', new Uint8Array(32))
    for (const argument of [seed, seed.slice(0, 50)]) {
      const { code, stdout, stderr } = await run('identity', 'show', argument)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).not.toContain(seed.slice(0, 20))
      expect(stderr).toContain('replace that key')
    }
  })
})

describe('subrosa identity new', () => {
  const create = (...argv: string[]) => run('identity', 'new', ...argv)
  const out = (name: string) => join(folder.path, name)

  test('makes an identity that is pinned by what it prints', async () => {
    const { code, stdout, stderr } = await create('rotator', '--out', out('rotator.identity'))
    expect(code).toBe(0)
    const { publicKey, claims } = await loadIdentity(`file:${out('rotator.identity')}`)
    expect({ publicKey: stdout, realm: stdout }).toEqual({ publicKey, realm: claims.realm })
    expect(stderr).toContain(`fingerprint ${fingerprint(publicKey)}`)
    expect(stderr).toContain(`subrosa pin --rotator rotator ${publicKey}`)
    expect(stderr).not.toMatch(/S[UAO][A-Z2-7]{56}/)
    const shown = await run('identity', 'show', out('rotator.identity'))
    expect(shown.stdout).toMatch(/^issuer\s+itself, for trust by pins$/m)
    expect(shown.stdout).toMatch(
      new RegExp(`^fingerprint\\s+${fingerprint(publicKey).replaceAll('+', '\\+')}$`, 'm'),
    )
  })

  test('takes a realm in any form, a lifetime, and a key that is there already', async () => {
    const realm = await write('rotator.pub', sample('openssh.pub'), 0o644)
    const key = await write('key.pem', sample('pkcs8-encrypted.pem'))
    vi.stubEnv('KEY_PASSPHRASE', PASSPHRASE)
    const options = ['--key', key, '--passphrase', 'env:KEY_PASSPHRASE', '--expires', '5d']
    const { stdout } = await create('billing', '--realm', realm, '--out', out('billing.identity'), ...options)
    expect(stdout).toBe(PKCS8)
    const { claims } = await loadIdentity(`file:${out('billing.identity')}`)
    expect(claims).toMatchObject({ name: 'billing', realm: OPENSSH, identity: PKCS8 })
    expect(claims.expiresAt - claims.issuedAt).toBe(5 * 86_400)
  })

  test('renews, and never overwrites', async () => {
    const path = out('billing.identity')
    const first = await create('billing', '--realm', OPENSSH, '--out', path)
    expect(await create('billing', '--out', path)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('exists already'),
    })
    const second = await create('billing', '--renew', '--out', path)
    expect(second).toMatchObject({
      code: 0,
      stdout: first.stdout,
      stderr: expect.stringContaining('renewed billing'),
    })
  })
})

describe('subrosa pin', () => {
  let file: string
  beforeEach(() => {
    file = join(folder.path, 'pins.json')
  })
  const pin = (...argv: string[]) => run('pin', ...argv, '--file', file)

  test('prints the fingerprint, and asks to compare it', async () => {
    const { code, stdout, stderr } = await pin('--rotator', 'rotator', OPENSSH)
    expect({ code, stdout }).toEqual({ code: 0, stdout: OPENSSH_FINGERPRINT })
    expect(stderr).toMatch(/compare the fingerprint .* with its owner/)
    const key = await write('billing.pub', sample('pkcs8.pub.pem'), 0o644)
    expect(await pin('billing', key, '--sub', 'orders.>', '--deny-sub', 'orders.old')).toMatchObject({
      code: 0,
    })
    expect(await loadPins(file)).toEqual({
      realm: OPENSSH,
      pins: {
        billing: {
          key: PKCS8,
          pub: { allow: [], deny: [] },
          sub: { allow: ['orders.>'], deny: ['orders.old'] },
        },
        rotator: { key: OPENSSH },
      },
    })
  })

  test('lists what is pinned', async () => {
    expect(await pin()).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('--rotator') })
    await pin('--rotator', 'rotator', OPENSSH)
    await pin('orders', PKCS8)
    await pin('billing', newKey(), '--sub', 'orders.>', '--deny-sub', 'orders.old')
    const { stdout, stderr } = await pin()
    expect(stderr).toBe('')
    expect(stdout.split('\n').map((line) => line.split(/\s{2,}/).slice(0, 4))).toEqual([
      ['NAME', 'ROLE', 'MAY PUBLISH', 'MAY READ'],
      ['billing', '-', '-', 'orders.> but not orders.old'],
      ['orders', '-', '>', '>'],
      ['rotator', 'rotator', '-', '-'],
    ])
    expect(stdout).toContain(PKCS8_FINGERPRINT)
    const { realm, pins } = JSON.parse((await pin('--json')).stdout)
    expect(realm).toBe(OPENSSH)
    expect(pins).toContainEqual({
      name: 'orders',
      key: PKCS8,
      fingerprint: PKCS8_FINGERPRINT,
      rotator: false,
      pub: { allow: ['>'] },
      sub: { allow: ['>'] },
    })
  })

  test('shows both fingerprints of a pin that does not match, and how to replace it', async () => {
    await pin('billing', OPENSSH)
    const { code, stdout, stderr } = await pin('billing', PKCS8)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(OPENSSH_FINGERPRINT)
    expect(stderr).toContain(PKCS8_FINGERPRINT)
    expect(stderr).toMatch(/ERR_PIN_MISMATCH\]\nsubrosa: hint: .*after comparing.*--replace/)
    expect(await pin('billing', PKCS8, '--replace')).toMatchObject({ code: 0, stdout: PKCS8_FINGERPRINT })
  })

  test('takes its file from SUBROSA_PINS', async () => {
    expect(await start(['pin', 'billing', OPENSSH], { SUBROSA_PINS: file }).outcome).toMatchObject({
      code: 0,
    })
    expect((await pin()).stdout).toContain('billing')
  })

  test.each([
    [
      'a private key',
      async () => write('key', sample('openssh')),
      /is a private key: one public key is needed/,
    ],
    [
      'an RSA key',
      async () => write('rsa.pub', sample('rsa.pub.pem'), 0o644),
      /is an RSA key: it cannot be an identity/,
    ],
    [
      'the key of an authority',
      async () => encodeNkey('A', new Uint8Array(32)),
      /of an account or authority/,
    ],
    ['a file that is not there', async () => join(folder.path, 'nothing'), /cannot read the file .*ENOENT/],
    ['a folder', async () => folder.path, /cannot read the file .*EISDIR/],
  ])('refuses %s', async (_, key, message) => {
    const { code, stdout, stderr } = await pin('billing', await key())
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(message)
  })

  test('refuses a file that others can write', async () => {
    await pin('billing', OPENSSH)
    await chmod(file, 0o666)
    expect(await pin()).toMatchObject({ code: 1, stderr: expect.stringMatching(/chmod go-w .*compare/) })
  })
})

describe('subrosa agent add --key', () => {
  let dir: string
  beforeEach(async () => {
    dir = join(folder.path, 'realm')
    await run('init', '--realm', dir)
  })
  const add = (...argv: string[]) => run('agent', 'add', ...argv, '--realm', dir)

  test('signs a key made elsewhere, and says what the agent does next', async () => {
    const key = await write('billing.pub', sample('openssh.pub'), 0o644)
    const { code, stdout, stderr } = await add('billing', '--key', key, '--sub', 'orders.>')
    expect({ code, stdout }).toEqual({ code: 0, stdout: OPENSSH })
    const files = (await readdir(join(dir, 'agents'))).filter((name) => name.startsWith('billing'))
    expect(files).toEqual(['billing.creds', 'billing.jwt'])
    expect(stderr).toContain(`compare its fingerprint there: ${OPENSSH_FINGERPRINT}`)
    expect(stderr).toMatch(/loadIdentity\(\{ key: 'file:KEYFILE', token: 'file:.*billing\.jwt' \}\)/)
    expect(stderr).not.toContain('secret: who it is')
    const token = `file:${join(dir, 'agents', 'billing.jwt')}`
    const identity = await loadIdentity({ key: `file:${await write('key', sample('openssh'))}`, token })
    expect(identity).toMatchObject({ name: 'billing', publicKey: OPENSSH })
  })

  test('is renewed without its private key', async () => {
    await add('billing', '--key', PKCS8)
    const before = await readFile(join(dir, 'agents', 'billing.jwt'), 'utf8')
    expect(await add('billing', '--renew', '--expires', '30d')).toMatchObject({
      code: 0,
      stdout: PKCS8,
      stderr: expect.stringContaining('its private key is kept elsewhere'),
    })
    const after = await readFile(join(dir, 'agents', 'billing.jwt'), 'utf8')
    expect(after.endsWith(before)).toBe(true)
    expect(after).not.toBe(before)
  })

  test('refuses a private key, and another key for a name that is taken', async () => {
    const key = await write('key', sample('openssh'))
    expect(await add('billing', '--key', key)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is a private key: .*\nsubrosa: hint: .*ssh-keygen -y -f FILE/),
    })
    await add('billing', '--key', OPENSSH)
    const other = newKey()
    const { code, stderr } = await add('billing', '--renew', '--key', other)
    expect(code).toBe(1)
    expect(stderr).toContain(OPENSSH_FINGERPRINT)
    expect(stderr).toContain(fingerprint(other))
  })
})
