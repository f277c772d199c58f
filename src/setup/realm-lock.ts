import { SubrosaError } from '../base/errors.ts'
import { lockFile } from '../keys/state-folder.ts'
import { realmLayout } from './layout.ts'
import { openRealm, type Realm } from './realm.ts'

/**
 * Opens a realm's folder for one command that makes a plan, revokes, or issues a token, and lets no other such command at the
 * folder until it has ended: what it has read stays true until it has written. The lock ends with the process at
 * the latest.
 *
 * @throws SubrosaError ERR_SETUP when another command has the lock, the folder cannot be locked, or there is no realm in it; and
 *   what the task throws
 *
 * @example
 * ```ts
 * await inLockedRealm('./subrosa-realm', async (realm) => makeNextPlan(realm, {}, { former: await newestPlan(realm) }))
 * ```
 */
export async function inLockedRealm<T>(dir: string, task: (realm: Realm) => Promise<T>): Promise<T> {
  const realm = await openRealm(dir)
  const release = lockRealm(realm)
  try {
    return await task(realm)
  } finally {
    release()
  }
}

function lockRealm({ dir }: Realm): () => void {
  const path = realmLayout(dir).lock
  let release: (() => void) | undefined
  try {
    release = lockFile(path)
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot lock ${path}, and without that nothing is changed`, {
      hint: 'it takes the optional dependency fs-native-extensions, and a disk that can lock files',
      cause,
    })
  }
  if (release !== undefined) return release
  throw new SubrosaError('ERR_SETUP', `another command is changing the realm in ${dir}: nothing was done`, {
    hint: 'repeat this once it has ended; a revocation need not wait: end the other command first, with Ctrl-C',
  })
}
