import { stat } from 'node:fs/promises'
import { SubrosaError } from '../base/errors.ts'

const WRITE_BY_OTHERS = 0o022
/** In such a folder nobody removes or renames what belongs to another. */
const STICKY = 0o1000
const ROOT = 0

/**
 * Refuses files and folders that somebody else owns or could write: whoever writes them decides whom an agent trusts.
 * What is not there is no danger. Windows has no such bits: there the folder's access list decides.
 *
 * @throws SubrosaError ERR_KEY_FILE_PERMISSIONS, ERR_SETUP when one cannot be looked at
 *
 * @example
 * ```ts
 * await refuseForeign(['/srv/ann/.config', '/srv/ann/.config/subrosa'])
 * ```
 */
export async function refuseForeign(paths: readonly string[]): Promise<void> {
  const me = process.getuid?.()
  if (me === undefined) return
  for (const path of paths) await check(path, me)
}

async function check(path: string, me: number): Promise<void> {
  const found = await look(path)
  if (found === undefined) return
  if (found.uid !== me && found.uid !== ROOT) {
    throw new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `${path} belongs to another user`, {
      hint: 'its owner could decide whom this agent trusts: look at what is in it, and make it your own or remove it',
    })
  }
  const isSticky = found.isDirectory() && (found.mode & STICKY) !== 0
  if ((found.mode & WRITE_BY_OTHERS) === 0 || isSticky) return
  throw new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `others can write ${path}`, {
    hint: `they could decide whom this agent trusts: look at what is in it, and then chmod go-w ${path}`,
  })
}

async function look(path: string) {
  try {
    return await stat(path)
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new SubrosaError('ERR_SETUP', `cannot look at ${path}`, { cause })
  }
}
