import { base64 } from '@scure/base'
import { damagedKey, type KeyPlace, kindOfNkey } from './key-kinds.ts'

/** The forms in which a private key of an identity comes. */
export type PrivateKeyFormat = 'nkey' | 'pkcs8' | 'encrypted-pkcs8' | 'openssh'

/** What a text turned out to be. */
export type KeyText =
  | {
      readonly found: 'private key'
      readonly format: PrivateKeyFormat
      /** Base64, or the seed `SU…`. It is a secret. */
      readonly body: string
      /** The public nkey that stands beside a seed, where one does. */
      readonly publicKey: string | undefined
    }
  | { readonly found: 'public key'; readonly form: 'nkey' | 'openssh' | 'pem'; readonly body: string }
  /** Something else, and what that is called. `isKey` when it is a key, and of a kind that no identity has. */
  | { readonly found: 'other'; readonly what: string; readonly isKey: boolean }

const PRIVATE_LABELS: ReadonlyMap<string, PrivateKeyFormat> = new Map([
  ['PRIVATE KEY', 'pkcs8'],
  ['ENCRYPTED PRIVATE KEY', 'encrypted-pkcs8'],
  ['OPENSSH PRIVATE KEY', 'openssh'],
])
/** Far above any key, and low enough that looking through it takes no time. */
const MAX_TEXT = 65_536
const SEED = /^S[A-Z2-7]{57}$/
const PUBLIC_NKEY = /^[A-Z][A-Z2-7]{55}$/
const OPENSSH_LINE = /^(?:ssh-|ecdsa-|sk-)\S+\s+\S/
const TOKEN = /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/

/**
 * Tells what the text of a key is, by its labels and its form alone: nothing in it is decoded or checked. Text around
 * a key is passed over, as NATS tools and OpenSSL write it.
 */
export function recogniseKey(text: string): KeyText {
  if (text.length > MAX_TEXT) return other('too large for a key')
  if (/-----BEGIN NATS \w+ JWT-----/.test(text)) return other('a NATS creds file')
  const lines = text.split('\n').map((line) => line.replace('\uFEFF', '').trim())
  const seeds = new Set(lines.filter((line) => SEED.test(line)))
  if (seeds.size > 0)
    return recogniseSeeds(
      [...seeds],
      lines.find((line) => line.startsWith('U') && PUBLIC_NKEY.test(line)),
    )
  const blocks = pemBlocks(text)
  if (blocks.length > 0) return recognisePem(blocks)
  return recogniseLines(lines.filter((line) => line !== ''))
}

/** The bytes of a body in base64, which may be broken into lines. @throws SubrosaError ERR_KEY_FILE */
export function decodeKeyBody(body: string, place: KeyPlace): Uint8Array {
  try {
    return base64.decode(body.replaceAll(/\s+/g, ''))
  } catch {
    // The error underneath may quote the text.
    throw damagedKey(place)
  }
}

function other(what: string, isKey = false): KeyText {
  return { found: 'other', what, isKey }
}

function recogniseSeeds([seed = '', ...others]: readonly string[], publicKey: string | undefined): KeyText {
  if (others.length > 0) return other('a file with more than one nkey seed')
  const kind = seed[1]
  if (kind !== 'U') return other(`an nkey seed ${kindOfNkey(kind)}`, true)
  return { found: 'private key', format: 'nkey', body: seed, publicKey }
}

interface PemBlock {
  readonly label: string
  /** Empty where the end is missing. */
  readonly body: string
}

function pemBlocks(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = []
  const begin = /-----BEGIN ([A-Z0-9 ]{1,40})-----/g
  for (let match = begin.exec(text); match !== null; match = begin.exec(text)) {
    const [{ length }, label = ''] = match
    const start = match.index + length
    const end = text.indexOf(`-----END ${label}-----`, start)
    blocks.push({ label, body: end < 0 ? '' : text.slice(start, end) })
    if (end > 0) begin.lastIndex = end
  }
  return blocks
}

function recognisePem(blocks: readonly PemBlock[]): KeyText {
  const [key, ...others] = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  if (key !== undefined) {
    if (others.length > 0) return other('a file with more than one private key')
    const format = PRIVATE_LABELS.get(key.label)
    return format === undefined
      ? other(namePemKey(key.label), true)
      : { found: 'private key', format, body: key.body, publicKey: undefined }
  }
  const [first] = blocks
  if (first?.label === 'PUBLIC KEY' && blocks.length === 1)
    return { found: 'public key', form: 'pem', body: first.body }
  return namePem(first?.label ?? '')
}

/** What a private key with this label is called. A label that is not known is not repeated. */
function namePemKey(label: string): string {
  const [kind] = /^(?:RSA|DSA)/.exec(label) ?? []
  if (kind !== undefined) return `${kind === 'RSA' ? 'an' : 'a'} ${kind} key`
  if (label.startsWith('EC ')) return 'an EC key'
  return 'a private key in a form that is not known'
}

function namePem(label: string): KeyText {
  if (label === 'RSA PUBLIC KEY') return other('an RSA key', true)
  if (label.includes('CERTIFICATE')) return other('a certificate')
  if (label.startsWith('PGP ')) return other('a file of OpenPGP', true)
  if (label.endsWith('PUBLIC KEY')) return other('a file with more than one key')
  return other('a PEM file of another kind')
}

function recogniseLines(lines: readonly string[]): KeyText {
  const [first = ''] = lines
  if (lines.length === 0) return other('empty')
  if (first.startsWith('PuTTY-User-Key-File'))
    return other('a key of PuTTY (export it there as an OpenSSH key)', true)
  if (first.startsWith('---- BEGIN SSH2'))
    return other('a key in the SSH2 form (convert it: ssh-keygen -i)', true)
  if (first.startsWith('{')) {
    const isJwk = lines.some((line) => line.includes('"kty"'))
    return other(isJwk ? 'a JSON Web Key' : 'JSON', isJwk)
  }
  if (lines.length > 1) return other('a file of another kind')
  if (OPENSSH_LINE.test(first)) return { found: 'public key', form: 'openssh', body: first }
  if (PUBLIC_NKEY.test(first)) return { found: 'public key', form: 'nkey', body: first }
  if (TOKEN.test(first)) return other('a token')
  return other('text of another kind')
}
