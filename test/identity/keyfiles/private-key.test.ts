import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import { readPrivateKey, viewPrivateKey } from '../../../src/identity/keyfiles/private-key.ts'
import { readPublicKey } from '../../../src/identity/keyfiles/public-key.ts'
import { encodeNkey, encodeSeed } from '../../../src/identity/nkey.ts'
import { isInstalled, outputOf } from '../../support/tools.ts'
import { failure } from '../../support/until.ts'
import {
  armour,
  der,
  opensshFile,
  PASSPHRASE,
  publicBlobOf,
  publicKeyOf,
  sample,
  secretBlob,
  sshString,
  uint32,
  unarmour,
} from '../sample-keys.ts'
import { engine } from '../tokens.ts'

const seed = Uint8Array.from({ length: 32 }, (_, i) => i + 100)
const publicKey = engine.ed25519KeyPair(seed).publicKey
const nkey = encodeNkey('U', publicKey)
const where = 'file:billing.key'
const read = (text: string, passphrase?: string) =>
  readPrivateKey(text, { where, passphrase: passphrase === undefined ? undefined : () => passphrase })
const never = () => expect.unreachable('no passphrase is needed for this')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-keys-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('a key that was made by ssh-keygen', () => {
  it.each(['openssh', 'openssh-encrypted', 'openssh-aes256-cbc', 'openssh-one-round'])(
    'is read from %s',
    async (name) => {
      expect(await publicKeyOf(sample(name))).toBe(readPublicKey(sample('openssh.pub'), 'the sample'))
    },
  )
})

describe('a key that was made by openssl', () => {
  it.each(['pkcs8.pem', 'pkcs8-encrypted.pem', 'pkcs8-scrypt.pem', 'pkcs8-pbe-3des.pem'])(
    'is read from %s',
    async (name) => {
      expect(await publicKeyOf(sample(name))).toBe(readPublicKey(sample('pkcs8.pub.pem'), 'the sample'))
    },
  )
})

const hasSshKeygen = isInstalled('ssh-keygen')
describe(`a key that ssh-keygen ${hasSshKeygen ? 'makes now' : 'has made: it is not installed here'}`, () => {
  it.each(['', 'a passphrase, ä'])(
    'agrees with its public file, under the passphrase "%s"',
    async (passphrase) => {
      if (!hasSshKeygen) {
        expect(await publicKeyOf(sample('openssh-encrypted'))).toBe(readPublicKey(sample('openssh.pub'), 'x'))
        return
      }
      const path = join(folder, `ssh${passphrase.length}`)
      outputOf('ssh-keygen', '-q', '-t', 'ed25519', '-N', passphrase, '-f', path)
      const text = await readFile(path, 'utf8')
      const expected = readPublicKey(await readFile(`${path}.pub`, 'utf8'), 'the public file')
      expect(await publicKeyOf(text, passphrase)).toBe(expected)
      expect((await viewPrivateKey(text, where)).publicKey).toBe(expected)
    },
  )
})

const hasOpenssl = isInstalled('openssl')
describe(`a key that openssl ${hasOpenssl ? 'makes now' : 'has made: it is not installed here'}`, () => {
  it.each([[[]], [['-aes-256-cbc', '-pass', `pass:${PASSPHRASE}`]]])(
    'agrees with pkey -pubout: %j',
    async (options) => {
      if (!hasOpenssl) {
        expect(await publicKeyOf(sample('pkcs8.pem'))).toBe(readPublicKey(sample('pkcs8.pub.pem'), 'x'))
        return
      }
      const path = join(folder, `openssl${options.length}.pem`)
      outputOf('openssl', 'genpkey', '-algorithm', 'ed25519', ...options, '-out', path)
      const text = await readFile(path, 'utf8')
      const pem = outputOf('openssl', 'pkey', '-in', path, '-passin', `pass:${PASSPHRASE}`, '-pubout')
      expect(await publicKeyOf(text)).toBe(readPublicKey(pem, 'the public key'))
    },
  )
})

describe('an nkey seed', () => {
  const text = encodeSeed('U', seed)

  it.each([
    ['alone', text],
    ['with white space', `\n  ${text}\r\n`],
    ['with a byte order mark', `\uFEFF${text}\n`],
    ['with its public key, as nk prints both', `${text}\n${nkey}\n`],
    [
      'in the armour of NATS',
      `-----BEGIN USER NKEY SEED-----\n${text}\n------END USER NKEY SEED------\n\n*** IMPORTANT ***\nNKEYs are sensitive.\n`,
    ],
    ['twice', `${text}\n${text}\n`],
  ])('is read %s', async (_, file) => {
    expect(await read(file)).toEqual(seed)
    expect(await viewPrivateKey(file, where)).toEqual({ format: 'nkey', isEncrypted: false, publicKey: nkey })
  })

  it.each([
    ['SA', 'an nkey seed of an account or authority'],
    ['SO', 'an nkey seed of an operator'],
    ['SN', 'an nkey seed of a server'],
    ['SC', 'an nkey seed of a cluster'],
    ['SX', 'an nkey seed for X25519'],
  ])('of the kind %s is refused by its name', async (kind, name) => {
    const error = await failure(() => read(`${kind}${text.slice(2)}`))
    expect(error).toMatchObject({
      code: 'ERR_KEY_INVALID',
      message: expect.stringContaining(`${where} is ${name}`),
    })
  })

  it('is refused with a letter that is wrong, with another beside it, and with a public key that does not fit', async () => {
    const damaged = `${text.slice(0, -1)}${text.endsWith('A') ? 'B' : 'A'}`
    expect(await failure(() => read(damaged))).toMatchObject({ code: 'ERR_KEY_FILE' })
    const other = encodeSeed('U', engine.randomBytes(32))
    expect(await failure(() => read(`${text}\n${other}\n`))).toMatchObject({
      message: `${where} is a file with more than one nkey seed: one private key is needed`,
    })
    const stranger = encodeNkey('U', engine.ed25519KeyPair(engine.randomBytes(32)).publicKey)
    expect(await failure(() => read(`${text}\n${stranger}\n`))).toMatchObject({
      code: 'ERR_KEY_INVALID',
      message: `the private key in ${where} does not fit the public one there`,
    })
  })
})

describe('what is no Ed25519 private key is refused by its name, with the kinds that work', () => {
  const hint = expect.stringMatching(
    /Ed25519.*openssl genpkey -algorithm ed25519.*ssh-keygen -t ed25519.*SU…/,
  )
  const jwk = JSON.stringify({ kty: 'OKP', crv: 'Ed25519', d: 'x', x: 'y' }, null, 2)
  const creds = `-----BEGIN NATS USER JWT-----\ne30.e30.e30\n------END NATS USER JWT------\n${encodeSeed('U', seed)}\n`

  it.each([
    ['an RSA key', 'rsa.pem'],
    ['an RSA key', 'rsa-pkcs1.pem'],
    ['an RSA key', 'rsa-pkcs1-encrypted.pem'],
    ['an RSA key', 'rsa-encrypted.pem'],
    ['an RSA key', 'openssh-rsa'],
    ['an EC key', 'ec.pem'],
    ['an EC key', 'ec-sec1.pem'],
    ['an EC key', 'openssh-ecdsa'],
    ['a DSA key', 'dsa.pem'],
    ['a DSA key', 'openssh-dsa'],
    ['an X25519 key', 'x25519.pem'],
    ['an Ed448 key', 'ed448.pem'],
  ])('%s in %s', async (what, name) => {
    const error = await failure(() => read(sample(name), PASSPHRASE))
    expect(error).toMatchObject({ code: 'ERR_KEY_INVALID', hint })
    expect(error.message).toMatch(new RegExp(`^${where} is ${what}\\b.*: it cannot be an identity$`))
  })

  it.each([
    ['a certificate', sample('certificate.pem')],
    ['a public key', sample('pkcs8.pub.pem')],
    ['a public key', sample('openssh.pub')],
    ['a public key', nkey],
    ['a NATS creds file', creds],
    ['a token', 'eyJ0.e30.c2ln'],
    ['JSON', '{"name": "billing"}'],
    ['empty', ' \n'],
    ['a PEM file of another kind', armour('SOMETHING', seed)],
    ['a file with more than one private key', sample('pkcs8.pem') + sample('rsa.pem')],
    ['text of another kind', 'hello'],
    ['a file of another kind', 'hello\nworld'],
    ['too large for a key', 'x'.repeat(70_000)],
  ])('%s', async (what, text) => {
    expect(await failure(() => read(text))).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `${where} is ${what}: one private key is needed`,
      hint,
    })
  })

  it.each([
    ['a JSON Web Key', jwk],
    ['a key of PuTTY', 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n'],
    ['a key in the SSH2 form', '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nx\n'],
    ['a file of OpenPGP', '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nx\n-----END PGP PRIVATE KEY BLOCK-----'],
    ['a private key in a form that is not known', armour('ANY PRIVATE KEY', seed)],
    ['a key that stays in a security key', withType('sk-ssh-ed25519@openssh.com')],
    ['a certificate of OpenSSH', withType('ssh-ed25519-cert-v01@openssh.com')],
    ['a key of another kind', withType('\u001b[31mssh-new')],
    ['a key of another kind', armour('PRIVATE KEY', pkcs8(seed, { oid: [42, 3, 4] }))],
  ])('%s', async (what, text) => {
    const error = await failure(() => read(text))
    expect(error).toMatchObject({ code: 'ERR_KEY_INVALID', hint })
    expect(error.message).toContain(`${where} is ${what}`)
  })
})

describe('an encrypted key', () => {
  it.each(['openssh-encrypted', 'openssh-aes256-cbc', 'pkcs8-encrypted.pem', 'pkcs8-pbe-3des.pem'])(
    'in %s needs its passphrase, and no other',
    async (name) => {
      const text = sample(name)
      expect(await failure(() => read(text))).toMatchObject({
        code: 'ERR_KEY_PASSPHRASE',
        message: `the key in ${where} is encrypted, and no passphrase is given`,
        hint: expect.stringMatching(/env:NAME.*file:PATH/),
      })
      expect(await failure(() => read(text, `${PASSPHRASE} `))).toMatchObject({
        code: 'ERR_KEY_PASSPHRASE',
        message: `the passphrase does not open the key in ${where}`,
      })
    },
  )

  it.each([
    ['empty', ''],
    ['over 1024 bytes', 'ä'.repeat(513)],
  ])('refuses a passphrase that is %s', async (what, passphrase) => {
    for (const name of ['openssh-encrypted', 'pkcs8-encrypted.pem']) {
      expect(await failure(() => read(sample(name), passphrase))).toMatchObject({
        code: 'ERR_KEY_PASSPHRASE',
        message: `the passphrase for ${where} is ${what}`,
      })
    }
  })

  it('asks for a passphrase, and a plain key does not', async () => {
    for (const name of ['openssh', 'pkcs8.pem'])
      await readPrivateKey(sample(name), { where, passphrase: never })
    const passphrase = () => Promise.resolve(PASSPHRASE)
    expect(await readPrivateKey(sample('pkcs8-encrypted.pem'), { where, passphrase })).toHaveLength(32)
    const refusal = new Error('nobody is there')
    const error = failure(() =>
      readPrivateKey(sample('openssh-encrypted'), { where, passphrase: () => Promise.reject(refusal) }),
    )
    expect(await error).toBe(refusal)
  })

  it('shows its public key without its passphrase, where that stands in the clear', async () => {
    const openssh = readPublicKey(sample('openssh.pub'), 'the sample')
    expect(await viewPrivateKey(sample('openssh-encrypted'), where)).toEqual({
      format: 'openssh',
      isEncrypted: true,
      publicKey: openssh,
    })
    expect(await viewPrivateKey(sample('pkcs8-encrypted.pem'), where)).toEqual({
      format: 'encrypted-pkcs8',
      isEncrypted: true,
      publicKey: undefined,
    })
  })

  it.each(['openssh-aes256-gcm', 'openssh-chacha20-poly1305'])(
    'in %s is refused, with the command that mends it',
    async (name) => {
      expect(await failure(() => readPrivateKey(sample(name), { where, passphrase: never }))).toMatchObject({
        code: 'ERR_KEY_FILE',
        message: `the key in ${where} is encrypted in a way that is not supported`,
        hint: expect.stringContaining('ssh-keygen -p -Z aes256-ctr'),
      })
    },
  )
})

describe('work without end is refused before it begins', () => {
  it.each([1025, 2 ** 31, 2 ** 32 - 1])('as %i rounds of bcrypt', async (rounds) => {
    const text = opensshFile(seed, bcrypt({ rounds }))
    expect(await failure(() => readPrivateKey(text, { where, passphrase: never }))).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `the key in ${where} asks for ${rounds} rounds of bcrypt, and more than 1024 are refused`,
      hint: expect.stringContaining('ssh-keygen -p'),
    })
  })

  it.each([
    ['0 rounds', bcrypt({ rounds: 0 })],
    ['no salt', bcrypt({ salt: 0 })],
    ['a salt of 64 KiB', bcrypt({ salt: 30_000 })],
    ['no options of bcrypt', { ...bcrypt({}), kdfOptions: new Uint8Array() }],
  ])('or makes no sense, as %s', async (_, parts) => {
    const text = opensshFile(seed, parts)
    expect(await failure(() => readPrivateKey(text, { where, passphrase: never }))).toMatchObject({
      message: `the private key in ${where} is damaged`,
    })
  })

  it('as a hundred million iterations of PBKDF2', async () => {
    const error = await failure(() => read(armour('ENCRYPTED PRIVATE KEY', pbkdf2(100_000_000)), PASSPHRASE))
    expect(error).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `the key in ${where} asks for 100000000 iterations, and more than 10000000 are refused`,
      hint: expect.stringContaining('openssl pkcs8 -topk8'),
    })
  })

  it('as parameters that are nested without end', async () => {
    let nested: Buffer = Buffer.alloc(0)
    for (let depth = 0; depth < 5000; depth++) nested = der(0x30, nested)
    const text = armour('ENCRYPTED PRIVATE KEY', der(0x30, nested, der(0x04, seed)))
    expect(await failure(() => read(text, PASSPHRASE))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })
})

describe('a key in OpenSSH format of no tool', () => {
  it('is read, with zeros at the front of its seed too', async () => {
    for (const each of [
      seed,
      new Uint8Array(32),
      Uint8Array.from({ length: 32 }, (_, i) => (i < 9 ? 0 : i)),
    ]) {
      expect(await read(opensshFile(each))).toEqual(each)
    }
  })

  const stranger = engine.ed25519KeyPair(engine.randomBytes(32)).publicKey
  it.each([
    ['another public key in the clear', { publicBlob: publicBlobOf(stranger) }],
    ['another public key inside', { secret: secretBlob(seed, stranger) }],
    [
      'check numbers that differ',
      { secret: Buffer.concat([uint32(8), secretBlob(seed, publicKey).subarray(4)]) },
    ],
    ['two keys', { count: 2 }],
    ['bytes behind its end', { trailing: Uint8Array.of(0) }],
    ['a seed that is cut off', { secret: secretBlob(seed, publicKey).subarray(0, 100) }],
    ['a public key of 31 bytes', { publicBlob: publicBlobOf(publicKey.subarray(1)) }],
    [
      'an RSA key inside',
      { secret: Buffer.concat([uint32(7), uint32(7), sshString('ssh-rsa'), sshString(seed)]) },
    ],
    ['a key for X25519 inside', { secret: secretBlob(seed, publicKey, 'ssh-curve25519') }],
    ['no cipher and a derivation', { kdf: 'bcrypt' }],
    ['an unknown derivation', { ...bcrypt({}), kdf: 'argon2' }],
    ['an unknown cipher', { ...bcrypt({}), cipher: 'rot13' }],
    ['a cipher that would fail later', { ...bcrypt({}), cipher: 'blowfish-cbc' }],
    ['an encrypted part of 17 bytes', { ...bcrypt({}), secret: new Uint8Array(17) }],
    [
      'the same for CBC, which a stream reports later',
      { ...bcrypt({}), cipher: 'aes256-cbc', secret: new Uint8Array(17) },
    ],
  ])('is refused with %s', async (_, parts) => {
    const error = await failure(() => read(opensshFile(seed, parts), PASSPHRASE))
    expect(error).toBeInstanceOf(SubrosaError)
    expect(error.code).toBe('ERR_KEY_FILE')
  })
})

describe('an encrypted key of which only the public half is read', () => {
  it.each([
    ['two keys', { count: 2 }],
    ['bytes behind its end', { trailing: new Uint8Array(16) }],
    ['half a block', { secret: new Uint8Array(24) }],
  ])('is refused with %s', async (_, parts) => {
    expect((await viewPrivateKey(opensshFile(seed, bcrypt({})), where)).publicKey).toBe(nkey)
    const text = opensshFile(seed, { ...bcrypt({}), ...parts })
    expect(await failure(() => viewPrivateKey(text, where))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })
})

describe('a key in PKCS#8 of other tools', () => {
  const bits = Buffer.concat([Uint8Array.of(0), publicKey])

  it.each([
    ['attributes', pkcs8(seed, { options: [der(0xa0, der(0x30))] })],
    ['its public key', pkcs8(seed, { version: 1, options: [der(0x81, bits)] })],
    ['its public key in a wrapping', pkcs8(seed, { version: 1, options: [der(0xa1, der(0x03, bits))] })],
  ])('is read with %s', async (_, body) => {
    expect(await read(armour('PRIVATE KEY', body))).toEqual(seed)
  })

  const stranger = Buffer.concat([Uint8Array.of(0), engine.ed25519KeyPair(engine.randomBytes(32)).publicKey])
  it.each([
    ['another public key', pkcs8(seed, { version: 1, options: [der(0x81, stranger)] }), 'ERR_KEY_INVALID'],
    [
      'half a public key',
      pkcs8(seed, { version: 1, options: [der(0x81, bits.subarray(1))] }),
      'ERR_KEY_FILE',
    ],
    ['an unknown part', pkcs8(seed, { options: [der(0x04, bits)] }), 'ERR_KEY_FILE'],
    ['a seed of 31 bytes', pkcs8(seed.subarray(1)), 'ERR_KEY_FILE'],
    ['bytes behind its end', Buffer.concat([pkcs8(seed), Uint8Array.of(0)]), 'ERR_KEY_FILE'],
    ['a length without end', Buffer.from([0x30, 0x80, 0x02, 0x01, 0x00]), 'ERR_KEY_FILE'],
    [
      'no algorithm',
      der(0x30, der(0x02, Uint8Array.of(0)), der(0x04), der(0x04, der(0x04, seed))),
      'ERR_KEY_FILE',
    ],
    ['nothing in it', Buffer.alloc(0), 'ERR_KEY_FILE'],
  ])('is refused with %s', async (_, body, code) => {
    expect(await failure(() => read(armour('PRIVATE KEY', body)))).toMatchObject({ code })
  })

  it('is refused when its base64 is none, or its end is missing', async () => {
    const text = armour('PRIVATE KEY', pkcs8(seed))
    for (const broken of [text.replace('MC', '*C'), text.slice(0, 60), text.replace('END', 'BEGIN')]) {
      expect(await failure(() => read(broken))).toMatchObject({ code: 'ERR_KEY_FILE' })
    }
  })
})

describe('a file that was damaged', () => {
  const plain = [opensshFile(seed), armour('PRIVATE KEY', pkcs8(seed)), encodeSeed('U', seed)]
  const slow = [sample('openssh-one-round'), sample('pkcs8-encrypted.pem')]
  /** Changes to one text: where, and what stands there then. */
  const changes = fc.array(
    fc.record({ at: fc.nat(2000), remove: fc.nat(40), insert: fc.string({ unit: 'binary', maxLength: 8 }) }),
    { minLength: 1, maxLength: 3 },
  )

  /** Bytes rather than text: the number of rounds must stay what it is, since each takes its time. */
  const byteChanges = fc.array(fc.record({ at: fc.nat(400), to: fc.nat(255) }), {
    minLength: 1,
    maxLength: 3,
  })

  it('gives an error of ours, or the key that it held, and never quotes it', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...plain), changes, async (text, edits) => {
        let damaged = text
        for (const { at, remove, insert } of edits) {
          const place = at % damaged.length
          damaged = damaged.slice(0, place) + insert + damaged.slice(place + remove)
        }
        await check(damaged)
      }),
      { numRuns: 3000, seed: 7 },
    )
  })

  it.each(slow)('gives an error of ours under a passphrase too', { timeout: 60_000 }, async (text) => {
    const [, label = ''] = /BEGIN ([A-Z ]+)-/.exec(text) ?? []
    const body = unarmour(text)
    const rounds = body.indexOf('bcrypt') + 6 + 4 + 4 + 16
    await fc.assert(
      fc.asyncProperty(byteChanges, async (edits) => {
        const damaged = Buffer.from(body)
        for (const { at, to } of edits) {
          const place = at % damaged.length
          if (place < rounds || place > rounds + 3) damaged[place] = to
        }
        await check(armour(label, damaged))
      }),
      { numRuns: 150, seed: 7 },
    )
  })

  async function check(text: string): Promise<void> {
    try {
      expect(await read(text, PASSPHRASE)).toHaveLength(32)
    } catch (error) {
      if (!(error instanceof SubrosaError)) throw error
      const rendered = inspect(error, { depth: 9, showHidden: true })
      for (const secret of [
        encodeSeed('U', seed).slice(5, 25),
        Buffer.from(seed).toString('base64').slice(4, 24),
      ]) {
        expect(rendered).not.toContain(secret)
      }
    }
  }
})

/** A key file whose public half says that it is of this type. */
function withType(type: string): string {
  return opensshFile(seed, { publicBlob: Buffer.concat([sshString(type), sshString(publicKey)]) })
}

/** Parts of an encrypted key: what is encrypted makes no sense. */
function bcrypt({ rounds = 16, salt = 16 }: { readonly rounds?: number; readonly salt?: number }) {
  const kdfOptions = Buffer.concat([sshString(Buffer.alloc(salt, 1)), uint32(rounds)])
  return { cipher: 'aes256-ctr', kdf: 'bcrypt', kdfOptions, secret: new Uint8Array(160) }
}

interface Pkcs8Parts {
  readonly version?: number
  readonly oid?: readonly number[]
  readonly options?: readonly Uint8Array[]
}

function pkcs8(
  key: Uint8Array,
  { version = 0, oid = [0x2b, 0x65, 0x70], options = [] }: Pkcs8Parts = {},
): Buffer {
  const algorithm = der(0x30, der(0x06, Uint8Array.from(oid)))
  return der(0x30, der(0x02, Uint8Array.of(version)), algorithm, der(0x04, der(0x04, key)), ...options)
}

/** An encrypted key whose passphrase costs this many iterations. */
function pbkdf2(iterations: number): Buffer {
  const oid = (...bytes: readonly number[]) => der(0x06, Uint8Array.from(bytes))
  const count = Buffer.alloc(5)
  count.writeUInt32BE(iterations, 1)
  const salt = der(0x04, Buffer.alloc(8, 1))
  const derivation = der(0x30, oid(42, 134, 72, 134, 247, 13, 1, 5, 12), der(0x30, salt, der(0x02, count)))
  const cipher = der(0x30, oid(96, 134, 72, 1, 101, 3, 4, 1, 42), der(0x04, Buffer.alloc(16)))
  const scheme = der(0x30, oid(42, 134, 72, 134, 247, 13, 1, 5, 13), der(0x30, derivation, cipher))
  return der(0x30, scheme, der(0x04, Buffer.alloc(64)))
}
