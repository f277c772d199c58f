import type { Stats } from 'node:fs'
import { open } from 'node:fs/promises'
import { SubrosaError } from '../../base/errors.ts'

const ACCESS_BY_OTHERS = 0o077
const WRITE_BY_OTHERS = 0o022
/** A bundle has a realm's list of revocations in it. */
const MAX_FILE_BYTES = 16 * 1024 * 1024

/**
 * Reads a file that holds a secret.
 *
 * @throws SubrosaError ERR_KEY_FILE when it cannot be read, ERR_KEY_FILE_PERMISSIONS when group or others can.
 */
export async function readSecretFile(path: string): Promise<string> {
  return read(path, 'key file', ({ mode }) => {
    if ((mode & ACCESS_BY_OTHERS) === 0) return
    throw new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `others can read the key file ${path}`, {
      hint: `chmod 600 ${path}, and think about replacing the key`,
    })
  })
}

/**
 * Reads a file that is no secret, and that decides whom to trust.
 *
 * @throws SubrosaError ERR_KEY_FILE when it cannot be read, ERR_KEY_FILE_PERMISSIONS when anybody else but root can write it.
 */
export async function readTrustFile(path: string): Promise<string> {
  return read(path, 'file of pins', ({ mode, uid }) => {
    if ((mode & WRITE_BY_OTHERS) === 0 && isOwnOrRoots(uid)) return
    throw new SubrosaError('ERR_KEY_FILE_PERMISSIONS', `others can write the file of pins ${path}`, {
      hint: `make it your own, chmod go-w ${path}, and compare every fingerprint in it again: subrosa pin --file ${path}`,
    })
  })
}

/** Reads a file that is no secret. @throws SubrosaError ERR_KEY_FILE when it cannot be read */
export async function readPublicFile(path: string): Promise<string> {
  return read(path, 'file', () => {})
}

/** Whoever owns a file can change it, whatever its mode says. */
function isOwnOrRoots(uid: number): boolean {
  return uid === 0 || uid === process.getuid?.()
}

async function read(path: string, kind: string, check: (stats: Stats) => void): Promise<string> {
  try {
    const file = await open(path)
    try {
      const stats = await file.stat()
      // Windows has no such bits: there the folder's access list decides. A folder fails when it is read.
      if (process.platform !== 'win32' && !stats.isDirectory()) check(stats)
      if (stats.size > MAX_FILE_BYTES)
        throw new SubrosaError('ERR_KEY_FILE', `the ${kind} ${path} is too large`)
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof SubrosaError) throw cause
    throw new SubrosaError('ERR_KEY_FILE', `cannot read the ${kind} ${path}`, { cause })
  }
}
