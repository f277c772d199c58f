import { join } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { engineFor } from '../crypto/engine.ts'
import { AGENT_NAME_RULE, isAgentName } from '../identity/token.ts'
import { issueCreds } from './broker-login.ts'
import { FULL_ACCESS } from './broker-permissions.ts'
import { replaceFile } from './files.ts'
import { realmLayout } from './layout.ts'
import type { Realm } from './realm.ts'
import { loadAccount } from './signers.ts'

const DEFAULT_LIFETIME_MS = 90 * 86_400_000

/** How long a login lasts. */
export interface BrokerUserOptions {
  /** Default 90 days. */
  readonly expiresInMs?: number
  readonly clock?: Clock
}

/**
 * Writes a login to the broker that may do everything there, as an administrator's. It is no agent: it opens nothing.
 *
 * @returns the path of the creds file
 * @throws SubrosaError ERR_SETUP, ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 * @throws TypeError when the name is none
 */
export async function addBrokerUser(
  realm: Realm,
  name: string,
  options: BrokerUserOptions = {},
): Promise<string> {
  if (!isAgentName(name)) throw new TypeError(`name must be ${AGENT_NAME_RULE}`)
  const path = join(realmLayout(realm.dir).brokerUsers, `${name}.creds`)
  await replaceFile(path, await issueBrokerUser(realm, name, options), { secret: true })
  return path
}

/**
 * A login as of {@link addBrokerUser} that is not written anywhere.
 *
 * @returns the text of a creds file. It is a secret.
 */
export async function issueBrokerUser(
  realm: Realm,
  name: string,
  options: BrokerUserOptions = {},
): Promise<string> {
  const { expiresInMs = DEFAULT_LIFETIME_MS, clock = systemClock } = options
  const issuedAtMs = clock.now()
  return issueCreds(
    engineFor(),
    { name, permissions: FULL_ACCESS, expiresAtMs: issuedAtMs + expiresInMs },
    { signer: await loadAccount(realm), issuedAtMs },
  )
}
