import { readFileSync } from 'node:fs'
import { readPrivateKey } from '../../src/identity/keyfiles/private-key.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { engine } from './tokens.ts'

/** The passphrase of every sample that is encrypted. */
export const PASSPHRASE = 'correct horse'

/** What `ssh-keygen -l` printed for the two sample keys when they were made. */
export const OPENSSH_FINGERPRINT = 'SHA256:++0WfNZYJ9w1isZgKPGfHNc+z93o4L3OSuWS1FQe48s'
export const PKCS8_FINGERPRINT = 'SHA256:xotl2DFFgK1JZs2wKP4vuVyx9KoRuuu2HEnSpP3Etlg'

/** The path of a file that ssh-keygen or openssl has made; SOURCES.md says how. */
function samplePath(name: string): URL {
  return new URL(`../vectors/keys/${name}`, import.meta.url)
}

export function sample(name: string): string {
  return readFileSync(samplePath(name), 'utf8')
}

/** The public nkey of a private key that has this text. */
export async function publicKeyOf(text: string, passphrase: string = PASSPHRASE): Promise<string> {
  const seed = await readPrivateKey(text, { where: 'file:key', passphrase: () => passphrase })
  return encodeNkey('U', engine.ed25519KeyPair(seed).publicKey)
}

/** A string of SSH's wire encoding. */
export function sshString(bytes: Uint8Array | string): Buffer {
  const body = Buffer.from(bytes)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** What {@link opensshFile} can be made with, to be what no tool writes. */
export interface OpensshParts {
  readonly cipher: string
  readonly kdf: string
  readonly kdfOptions: Uint8Array
  readonly count: number
  readonly publicBlob: Uint8Array
  readonly secret: Uint8Array
  readonly trailing: Uint8Array
}

/** A private key in OpenSSH's format, with parts of a test's own. */
export function opensshFile(seed: Uint8Array, parts: Partial<OpensshParts> = {}): string {
  const { publicKey } = engine.ed25519KeyPair(seed)
  const {
    cipher = 'none',
    kdf = 'none',
    kdfOptions = new Uint8Array(),
    count = 1,
    publicBlob = publicBlobOf(publicKey),
    secret = secretBlob(seed, publicKey),
    trailing = new Uint8Array(),
  } = parts
  const body = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...[cipher, kdf, kdfOptions].map(sshString),
    uint32(count),
    sshString(publicBlob),
    sshString(secret),
    trailing,
  ])
  return armour('OPENSSH PRIVATE KEY', body)
}

export function publicBlobOf(publicKey: Uint8Array): Buffer {
  return Buffer.concat([sshString('ssh-ed25519'), sshString(publicKey)])
}

/** What is encrypted in OpenSSH's format. */
export function secretBlob(seed: Uint8Array, publicKey: Uint8Array, type = 'ssh-ed25519'): Buffer {
  // Only Ed25519 keys have the public key once more behind the seed.
  const secret = type === 'ssh-ed25519' ? Buffer.concat([seed, publicKey]) : seed
  const key = Buffer.concat([type, publicKey, secret].map(sshString))
  const unpadded = Buffer.concat([uint32(7), uint32(7), key, sshString('a comment')])
  return Buffer.concat([unpadded, Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, -unpadded.length & 7)])
}

export function armour(label: string, body: Uint8Array): string {
  const lines = Buffer.from(body)
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}

/** The bytes between the armour. */
export function unarmour(text: string): Buffer {
  const [, body = ''] = /-----BEGIN [A-Z ]+-----([^-]+)-----END/.exec(text) ?? []
  return Buffer.from(body, 'base64')
}

/** An element of DER. */
export function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = Buffer.from([body.length >> 8, body.length & 0xff])
  return Buffer.concat([Buffer.from([tag, 0x82]), length, body])
}
