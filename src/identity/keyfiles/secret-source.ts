import { base64 } from '@scure/base'
import { fromUtf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { AskPassphrase } from './passphrase.ts'
import { readPrivateKey } from './private-key.ts'
import { readPublicFile, readSecretFile } from './text-file.ts'

const FILE = 'file:'
const ENVIRONMENT = 'env:'
const ARMOUR = '-----BEGIN '

/** Whether a text names a file or an environment variable: `file:PATH` or `env:NAME`. */
export function isSource(text: string): boolean {
  return [FILE, ENVIRONMENT].some((kind) => text.startsWith(kind) && text.length > kind.length)
}

/**
 * The secret text of `file:PATH` or `env:NAME`, as it is.
 *
 * @param argument what the source is called, for messages: the source itself may be the secret
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 * @throws TypeError when the source is of no known kind
 */
async function readSecret(source: string, argument: string): Promise<string> {
  return readSource(source, argument, readSecretFile)
}

/**
 * The text of a key or an identity file in `file:PATH` or `env:NAME`. Secret stores put a file into one line, with
 * `\n` for its line ends or in base64: in a variable both are undone.
 *
 * @throws as {@link readSecret}
 */
export async function readKeyText(source: string, argument: string): Promise<string> {
  const text = await readSecret(source, argument)
  return source.startsWith(ENVIRONMENT) ? unfold(text) : text
}

/** The text of `file:PATH` or `env:NAME` that is no secret. @throws as {@link readSecret}, but for permissions */
export async function readPublicText(source: string, argument: string): Promise<string> {
  return readSource(source, argument, readPublicFile)
}

/**
 * Reads the private key in `file:PATH` or `env:NAME`, in any format of {@link readPrivateKey}.
 *
 * @param passphrase `file:PATH`, `env:NAME` or a function; it is asked only for an encrypted key
 * @returns the seed, 32 bytes and a secret, which the caller wipes
 * @throws as {@link readPrivateKey} and {@link readSecret}
 */
export async function readKey(source: string, passphrase?: string | AskPassphrase): Promise<Uint8Array> {
  const ask = passphrase === undefined ? undefined : toAsk(passphrase)
  return readPrivateKey(await readKeyText(source, 'key'), { where: source, passphrase: ask })
}

function toAsk(passphrase: string | AskPassphrase): AskPassphrase {
  if (typeof passphrase === 'function') return passphrase
  // A passphrase that is given as it is must not be taken for the name of a file, and stands in no message.
  if (typeof passphrase !== 'string' || !isSource(passphrase))
    throw new TypeError('passphrase must be "file:PATH", "env:NAME" or a function')
  return async () => (await readSecret(passphrase, 'passphrase')).replace(/\r?\n$/, '')
}

async function readSource(
  source: string,
  argument: string,
  readFile: (path: string) => Promise<string>,
): Promise<string> {
  if (!isSource(source)) throw new TypeError(`${argument} must be "file:PATH" or "env:NAME"`)
  if (source.startsWith(FILE)) return readFile(source.slice(FILE.length))
  const name = source.slice(ENVIRONMENT.length)
  const text = process.env[name]
  if (text === undefined || text === '') {
    throw new SubrosaError('ERR_KEY_FILE', `the environment variable ${name} is not set`)
  }
  return text
}

function unfold(text: string): string {
  if (!text.includes('\n') && text.includes('\\n')) return text.replaceAll('\\r', '').replaceAll('\\n', '\n')
  if (text.includes(ARMOUR)) return text
  const decoded = decodeText(text)
  return decoded?.includes(ARMOUR) ? decoded : text
}

function decodeText(text: string): string | undefined {
  try {
    return fromUtf8(base64.decode(text.replaceAll(/\s+/g, '')))
  } catch {
    return undefined
  }
}
