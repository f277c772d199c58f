import { readFile, stat } from 'node:fs/promises'
import { engineFor } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import { type Identity, parseIdentityFile } from './identity.ts'

const OTHERS = 0o077

/**
 * Loads an agent's identity.
 *
 * @param source `file:PATH`, an identity file that only its owner can read
 * @throws SubrosaError ERR_KEY_FILE (missing or no identity file), ERR_KEY_FILE_PERMISSIONS (others can read it),
 *   ERR_KEY_INVALID, ERR_TOKEN_INVALID
 * @throws TypeError when the source is of no known kind
 *
 * @example
 * ```ts
 * const identity = await loadIdentity('file:billing.identity')
 * ```
 */
export async function loadIdentity(source: string): Promise<Identity> {
  if (!source.startsWith('file:')) throw new TypeError('source must be "file:PATH"')
  return parseIdentityFile(engineFor(), await readSecretFile(source.slice('file:'.length)))
}

/**
 * Reads a file that holds a secret.
 *
 * @throws SubrosaError ERR_KEY_FILE when it cannot be read, ERR_KEY_FILE_PERMISSIONS when group or others can.
 */
export async function readSecretFile(path: string): Promise<string> {
  let mode: number
  let text: string
  try {
    mode = (await stat(path)).mode
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new SubrosaError('ERR_KEY_FILE', `cannot read the key file ${path}`, { cause })
  }
  // Windows has no such bits: there the folder's access list decides.
  if (process.platform !== 'win32' && (mode & OTHERS) !== 0) {
    throw new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `others can read the key file ${path}`, {
      hint: `chmod 600 ${path}, and think about replacing the key`,
    })
  }
  return text
}
