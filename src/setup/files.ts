import { randomBytes } from 'node:crypto'
import { link, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SubrosaError } from '../base/errors.ts'

const SECRET_FILE = 0o600
const SECRET_FOLDER = 0o700
const PUBLIC_FILE = 0o644

/** How a file is written. */
export interface WriteOptions {
  /** Whether only its owner may read it. */
  readonly secret: boolean
}

/**
 * Writes a file that must not be there yet, also not as a link. It is on disk when this resolves, and a crash leaves the whole of it
 * or nothing of that name.
 *
 * @throws SubrosaError ERR_SETUP when it is there, or cannot be written
 */
export async function createFile(path: string, text: string, { secret }: WriteOptions): Promise<void> {
  const temporary = temporaryName(path)
  try {
    await write(temporary, text, secret)
    // Fails where something has the name already, which renaming would replace.
    await link(temporary, path)
    await rm(temporary, { force: true })
    await syncFolder(dirname(path))
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {})
    if (hasCode(cause, 'EEXIST')) throw new SubrosaError('ERR_SETUP', `${path} exists already`, { cause })
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, { cause })
  }
}

/**
 * Writes a file whether or not it is there. A crash leaves the old text or the new one, and nothing in between.
 *
 * @throws SubrosaError ERR_SETUP when it cannot be written
 */
export async function replaceFile(path: string, text: string, { secret }: WriteOptions): Promise<void> {
  const temporary = temporaryName(path)
  try {
    await write(temporary, text, secret)
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    // Where nothing could be written there is nothing to remove either.
    await rm(temporary, { force: true }).catch(() => {})
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, { cause })
  }
}

/** Removes a file, where it is there. It is gone from the disk when this resolves. @throws SubrosaError ERR_SETUP */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
    await syncFolder(dirname(path))
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot remove ${path}`, { cause })
  }
}

/** Makes a folder, and those above it, where they are not there. @throws SubrosaError ERR_SETUP */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: SECRET_FOLDER })
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot make the folder ${path}`, { cause })
  }
}

/** The text of a file, or `undefined` where there is none. @throws SubrosaError ERR_SETUP */
export async function readFileIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined
    throw new SubrosaError('ERR_SETUP', `cannot read ${path}`, { cause })
  }
}

/** Whether there is something of this name: a file, a link, or a folder with something in it. @throws SubrosaError ERR_SETUP */
export async function isThere(path: string): Promise<boolean> {
  try {
    return !(await lstat(path)).isDirectory() || (await readdir(path)).length > 0
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return false
    throw new SubrosaError('ERR_SETUP', `cannot look at ${path}`, { cause })
  }
}

/** The names in a folder, sorted; none where there is no folder. @throws SubrosaError ERR_SETUP */
export async function listFolder(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort()
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return []
    throw new SubrosaError('ERR_SETUP', `cannot read the folder ${path}`, { cause })
  }
}

/** No reader takes a file of such a name for anything: one may be left by a crash. */
function temporaryName(path: string): string {
  return `${path}.${randomBytes(4).toString('hex')}.new`
}

/** Brings to the disk which files are in a folder. On Windows no folder is opened as a file. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function write(path: string, text: string, secret: boolean): Promise<void> {
  await makeFolder(dirname(path))
  const file = await open(path, 'wx', secret ? SECRET_FILE : PUBLIC_FILE)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
