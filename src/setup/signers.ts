import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { readSecretFile } from '../identity/keyfiles/key-file.ts'
import { type SigningKey, signingKeyFromSeed } from '../identity/signing-key.ts'
import { realmLayout } from './layout.ts'
import type { Realm } from './realm.ts'

/**
 * The realm's authority, which signs identity tokens and revocations.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_INVALID, ERR_SETUP when it is another's
 */
export async function loadAuthority(realm: Realm): Promise<SigningKey> {
  const path = realmLayout(realm.dir).authoritySeed
  const key = await load(path)
  if (!realm.authority.includes(key.publicKey))
    throw new SubrosaError('ERR_SETUP', `${path} is the seed of another realm's authority`)
  return key
}

/**
 * The account that signs logins to the broker.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_INVALID
 */
export async function loadAccount(realm: Realm): Promise<SigningKey> {
  return load(realmLayout(realm.dir).accountSeed)
}

async function load(path: string): Promise<SigningKey> {
  return signingKeyFromSeed(engineFor(), 'A', await readSecretFile(path))
}
