import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import { fingerprint } from '../../../src/identity/fingerprint.ts'
import { readPublicKey } from '../../../src/identity/keyfiles/public-key.ts'
import { decodeNkey, encodeNkey, encodeSeed } from '../../../src/identity/nkey.ts'
import { isInstalled, outputOf } from '../../support/tools.ts'
import { failure } from '../../support/until.ts'
import {
  armour,
  OPENSSH_FINGERPRINT,
  PKCS8_FINGERPRINT,
  publicBlobOf,
  sample,
  sshString,
} from '../sample-keys.ts'
import { engine } from '../tokens.ts'

const publicKey = engine.ed25519KeyPair(Uint8Array.from({ length: 32 }, (_, i) => i)).publicKey
const nkey = encodeNkey('U', publicKey)
const where = 'file:billing.pub'
const read = (text: string) => readPublicKey(text, where)
const line = (type: string, blob: Uint8Array) =>
  `${type} ${Buffer.from(blob).toString('base64')} billing@host`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-public-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('a fingerprint', () => {
  it.each([
    ['openssh.pub', OPENSSH_FINGERPRINT],
    ['pkcs8.pub', PKCS8_FINGERPRINT],
    ['pkcs8.pub.pem', PKCS8_FINGERPRINT],
  ])('of the key in %s is the one that ssh-keygen gave it', (name, expected) => {
    expect(fingerprint(read(sample(name)))).toBe(expected)
  })

  const hasSshKeygen = isInstalled('ssh-keygen')
  it(`is what ssh-keygen ${hasSshKeygen ? 'prints now' : 'printed: it is not installed here'}`, async () => {
    expect(fingerprint(read(sample('openssh.pub')))).toBe(OPENSSH_FINGERPRINT)
    if (!hasSshKeygen) return
    for (let i = 0; i < 8; i++) {
      const key = engine.ed25519KeyPair().publicKey
      const path = join(folder, `${i}.pub`)
      await writeFile(path, line('ssh-ed25519', publicBlobOf(key)))
      const [, printed] = outputOf('ssh-keygen', '-l', '-f', path).split(' ')
      expect(fingerprint(encodeNkey('U', key))).toBe(printed)
    }
  })

  it('is of an identity key alone', async () => {
    for (const text of ['', 'hello', encodeNkey('A', publicKey), sample('openssh.pub')])
      expect(await failure(() => fingerprint(text))).toMatchObject({ code: 'ERR_KEY_INVALID' })
  })
})

describe('a public key', () => {
  it.each([
    ['an nkey', nkey],
    ['an nkey on a line', `  ${nkey}\r\n`],
    ['a line of OpenSSH', line('ssh-ed25519', publicBlobOf(publicKey))],
    [
      'a line of OpenSSH without a comment',
      `${line('ssh-ed25519', publicBlobOf(publicKey)).split(' billing')[0]}\n`,
    ],
    ['PEM', armour('PUBLIC KEY', spki(publicKey))],
    ['PEM with notes', `the key of billing\n${armour('PUBLIC KEY', spki(publicKey))}\nend\n`],
  ])('is read from %s', (_, text) => {
    expect(read(text)).toBe(nkey)
  })

  it('is the same in each form', () => {
    expect(decodeNkey('U', read(sample('pkcs8.pub')))).toEqual(decodeNkey('U', read(sample('pkcs8.pub.pem'))))
  })

  const hint = expect.stringMatching(/Ed25519.*U….*ssh-keygen -y.*openssl pkey -pubout/)
  it.each([
    ['a private key', sample('openssh')],
    ['a private key', sample('pkcs8-encrypted.pem')],
    ['a private key', encodeSeed('U', engine.randomBytes(32))],
    ['a certificate', sample('certificate.pem')],
    ['empty', ''],
    ['text of another kind', 'billing'],
    ['a file of another kind', `${sample('openssh.pub')}${sample('openssh.pub')}`],
    ['a file with more than one key', sample('pkcs8.pub.pem') + sample('rsa.pub.pem')],
  ])('is not %s', async (what, text) => {
    expect(await failure(() => read(text))).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `${where} is ${what}: one public key is needed`,
      hint,
    })
  })

  it.each([
    ['an RSA key', sample('rsa.pub.pem')],
    ['an RSA key', line('ssh-rsa', Buffer.concat([sshString('ssh-rsa'), sshString(publicKey)]))],
    ['an EC key', sample('openssh-ecdsa.pub')],
    ['a certificate of OpenSSH', sample('openssh-certificate.pub')],
    ['a public nkey of an account or authority', encodeNkey('A', publicKey)],
    ['a public nkey of an operator', encodeNkey('O', publicKey)],
    ['an nkey seed of an account or authority', encodeSeed('A', publicKey)],
  ])('is not %s', async (what, text) => {
    expect(await failure(() => read(text))).toMatchObject({
      code: 'ERR_KEY_INVALID',
      message: `${where} is ${what}: it cannot be an identity`,
      hint,
    })
  })

  it.each([
    ['a letter that is wrong', `${nkey.slice(0, -1)}${nkey.endsWith('A') ? 'B' : 'A'}`],
    ['a line of another type than its key', line('ssh-rsa', publicBlobOf(publicKey))],
    ['a key of 31 bytes', line('ssh-ed25519', publicBlobOf(publicKey.subarray(1)))],
    ['bytes behind the key', line('ssh-ed25519', Buffer.concat([publicBlobOf(publicKey), Uint8Array.of(0)]))],
    ['no base64', 'ssh-ed25519 *** billing'],
    ['a PEM key of 31 bytes', armour('PUBLIC KEY', spki(publicKey.subarray(1)))],
    ['a part too many', armour('PUBLIC KEY', spki(publicKey, '0500'))],
    ['bytes behind PEM', armour('PUBLIC KEY', Buffer.concat([spki(publicKey), Uint8Array.of(0)]))],
  ])('is refused with %s', async (_, text) => {
    expect(await failure(() => read(text))).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `the public key in ${where} is damaged`,
    })
  })

  it('is a key or an error of ours, whatever the text', () => {
    const texts = [nkey, sample('openssh.pub'), sample('pkcs8.pub.pem')]
    const edit = fc.record({
      at: fc.nat(200),
      remove: fc.nat(9),
      insert: fc.string({ unit: 'binary', maxLength: 5 }),
    })
    const check = (text: string) => {
      try {
        expect(read(text)).toMatch(/^U[A-Z2-7]{55}$/)
      } catch (error) {
        if (!(error instanceof SubrosaError)) throw error
      }
    }
    fc.assert(
      fc.property(fc.constantFrom(...texts), edit, (text, { at, remove, insert }) => {
        const place = at % text.length
        check(text.slice(0, place) + insert + text.slice(place + remove))
      }),
      { numRuns: 2000, seed: 7 },
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check), { numRuns: 500, seed: 7 })
  })
})

/** A public key as PEM holds it. */
function spki(key: Uint8Array, surplus = ''): Buffer {
  const bits = Buffer.concat([Buffer.from([0x03, key.length + 1, 0]), key])
  const body = Buffer.concat([Buffer.from('300506032b6570', 'hex'), bits, Buffer.from(surplus, 'hex')])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}
