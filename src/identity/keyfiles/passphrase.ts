import { utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'

/** OpenSSL takes no more than these, in bytes. */
const MAX_PASSPHRASE_BYTES = 1024

/** Gives the passphrase of an encrypted key. It is called only when a key turns out to be encrypted. */
export type AskPassphrase = () => string | Promise<string>

/**
 * The bytes of a passphrase, for the key in a place.
 *
 * @returns a secret
 * @throws SubrosaError ERR_KEY_PASSPHRASE when there is none, or it is empty or longer than 1024 bytes
 */
export async function askPassphrase(ask: AskPassphrase | undefined, where: string): Promise<Uint8Array> {
  if (ask === undefined) {
    throw new SubrosaError(
      'ERR_KEY_PASSPHRASE',
      `the key in ${where} is encrypted, and no passphrase is given`,
      {
        hint: 'name where the passphrase is: passphrase: "env:NAME" or "file:PATH" (a command: --passphrase)',
      },
    )
  }
  const passphrase = await ask()
  if (typeof passphrase !== 'string') throw new TypeError('passphrase must give a string')
  const bytes = utf8(passphrase)
  if (bytes.length === 0 || bytes.length > MAX_PASSPHRASE_BYTES) {
    throw new SubrosaError(
      'ERR_KEY_PASSPHRASE',
      `the passphrase for ${where} is ${bytes.length === 0 ? 'empty' : `over ${MAX_PASSPHRASE_BYTES} bytes`}`,
    )
  }
  return bytes
}

/** The error for a passphrase that does not fit. */
export function wrongPassphrase(where: string): SubrosaError {
  return new SubrosaError('ERR_KEY_PASSPHRASE', `the passphrase does not open the key in ${where}`, {
    hint: 'try it with the tool that made the key: ssh-keygen -y -f FILE, or openssl pkey -in FILE -noout',
  })
}
