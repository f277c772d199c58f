import { rm } from 'node:fs/promises'
import { SubrosaError } from '../base/errors.ts'
import { lockFile } from '../keys/state-folder.ts'
import { isThere, makeFolder } from './files.ts'
import { realmLayout } from './layout.ts'

/** A realm that is made. */
export interface RealmMaking<T> {
  /** The folder that it is made in. */
  readonly dir: string
  /** The files and folders that the task writes, but for the description. */
  readonly parts: readonly string[]
  /** Writes the parts, and the description last. */
  readonly task: () => Promise<T>
}

/**
 * Makes a realm as a whole: when the task fails nothing of it is left, and what a crash leaves is removed by the next one that makes
 * a realm there. The file `unfinished` says that the parts are of a realm that nobody has used: it is there before the first
 * part, is locked by the one that makes them, and goes after the description has come.
 *
 * @throws SubrosaError ERR_SETUP when there is a realm already, a part is in the way, or another command makes one; and what the
 *   task throws
 */
export async function makeWhole<T>({ dir, parts, task }: RealmMaking<T>): Promise<T> {
  const { description, unfinished } = realmLayout(dir)
  const isLeftOver = await isThere(unfinished)
  if (!isLeftOver) await refuseParts(dir, parts)
  await makeFolder(dir)
  const release = lockUnfinished(dir, unfinished)
  try {
    if (await isThere(description)) {
      await rm(unfinished, { force: true })
      throw existing(dir)
    }
    // What was locked may be the file of another command, which has ended since.
    if (!(await isThere(unfinished))) throw underWay(dir)
    if (isLeftOver) await remove(parts)
    const made = await task().catch(async (error: unknown) => {
      await remove([...parts, description, unfinished])
      throw error
    })
    await rm(unfinished, { force: true })
    return made
  } finally {
    release()
  }
}

async function refuseParts(dir: string, parts: readonly string[]): Promise<void> {
  const { description, authoritySeed } = realmLayout(dir)
  for (const path of [description, authoritySeed]) if (await isThere(path)) throw existing(dir)
  for (const path of parts)
    if (await isThere(path))
      throw new SubrosaError('ERR_SETUP', `${path} exists already`, {
        hint: 'a realm is made where nothing of its own is: choose another folder with --realm',
      })
}

function lockUnfinished(dir: string, path: string): () => void {
  let release: (() => void) | undefined
  try {
    release = lockFile(path)
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot lock ${path}, and without that no realm is made`, {
      hint: 'it takes the optional dependency fs-native-extensions, and a disk that can be written and can lock files',
      cause,
    })
  }
  if (release === undefined) throw underWay(dir)
  return release
}

async function remove(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true, recursive: true })
}

function existing(dir: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `there is a realm in ${dir} already`, {
    hint: 'it is never overwritten: choose another folder with --realm',
  })
}

function underWay(dir: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `another command makes a realm in ${dir}`, {
    hint: 'let it end, or end it with Ctrl-C, and repeat this',
  })
}
