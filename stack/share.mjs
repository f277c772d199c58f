import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SubrosaError } from 'subrosa'
import { DESCRIPTION, isSecret, NEWEST_PLAN } from './shares.mjs'

/**
 * Gives a volume its files of the realm. Those that it has already stay untouched.
 *
 * @param {string} realm the realm's folder
 * @param {string} folder the volume
 * @param {readonly string[]} files
 * @returns {readonly string[]} what has changed, for people
 * @throws {SubrosaError} ERR_SETUP
 */
export function share(realm, folder, files) {
  // The description first: whatever happens next, the volume belongs to this realm.
  return [DESCRIPTION, ...files]
    .map((file) => (file === NEWEST_PLAN ? newestPlan(realm) : file))
    .flatMap((file) => writeIfOther(folder, file, read(join(realm, file))))
}

/**
 * Writes a file where it is missing or has another text. A crash leaves the old text or the new one.
 *
 * @param {string} folder
 * @param {string} file
 * @param {string} text
 * @returns {readonly string[]} what has changed, for people
 * @throws {SubrosaError} ERR_SETUP
 */
export function writeIfOther(folder, file, text) {
  const path = join(folder, file)
  try {
    if (textOf(path) === text) return []
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(`${path}.new`, text, { mode: isSecret(file) ? 0o600 : 0o644, flush: true })
    renameSync(`${path}.new`, path)
    return [`wrote ${path}`]
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, {
      cause,
      hint: 'every volume belongs to the user of this container: remove one that does not',
    })
  }
}

/** @param {string} realm */
function newestPlan(realm) {
  const folder = join(realm, dirname(NEWEST_PLAN))
  const files = existsSync(folder) ? readdirSync(folder) : []
  const versions = files.filter((file) => /^\d+\.json$/.test(file)).map((file) => Number.parseInt(file, 10))
  return NEWEST_PLAN.replace('*', String(Math.max(1, ...versions)))
}

/** @param {string} path */
function read(path) {
  const text = textOf(path)
  if (text !== undefined) return text
  throw new SubrosaError('ERR_SETUP', `${path} is missing`, {
    hint: 'bring the volume realm back from a backup',
  })
}

/** @param {string} path */
function textOf(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw cause
  }
}
