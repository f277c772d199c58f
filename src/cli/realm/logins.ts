import {
  type Authenticator,
  credsAuthenticator,
  jwtAuthenticator,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from '@nats-io/transport-node'
import { utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { readSecretFile } from '../../identity/keyfiles/key-file.ts'
import { decodeSeed } from '../../identity/nkey.ts'
import { isCreds } from '../../setup/broker-login.ts'

/** What a person may log in with. Of several the first one counts, in the order in which they stand here. */
export interface LoginParts {
  readonly user?: string | undefined
  readonly password?: string | undefined
  /** Path of a creds file. */
  readonly creds?: string | undefined
  /** Path of a file with an nkey seed. */
  readonly nkey?: string | undefined
  readonly jwt?: string | undefined
  readonly seed?: string | undefined
  readonly token?: string | undefined
}

/**
 * How to log in, or `undefined` where nothing says it. A user without a password is a token, as to `nats`.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_INVALID; no message quotes a secret
 */
export async function loginOf(parts: LoginParts): Promise<Authenticator | undefined> {
  const { user, password, creds, nkey, jwt, seed, token } = parts
  if (user) return password ? usernamePasswordAuthenticator(user, password) : tokenAuthenticator(user)
  if (creds) return credsAuthenticator(utf8(await readCreds(creds)))
  if (nkey) return nkeyAuthenticator(utf8(await readSeed(nkey)))
  if (jwt) return jwtAuthenticator(jwt, seed === undefined ? undefined : utf8(checkedSeed(seed)))
  return token ? tokenAuthenticator(token) : undefined
}

async function readCreds(path: string): Promise<string> {
  const text = await readSecretFile(path)
  if (isCreds(text)) return text
  throw new SubrosaError('ERR_KEY_FILE', `${path} is no NATS creds file`, {
    hint: text.includes('SUBROSA IDENTITY')
      ? 'this is an identity file: it says who an agent is, and never logs in; its creds file stands beside it'
      : 'make one with: subrosa agent add NAME; or with nsc generate creds',
  })
}

async function readSeed(path: string): Promise<string> {
  const lines = (await readSecretFile(path)).split('\n').map((line) => line.trim())
  const seed = lines.find((line) => line.startsWith('SU'))
  if (seed === undefined) throw new SubrosaError('ERR_KEY_FILE', `${path} holds no nkey seed of a user (SU…)`)
  return checkedSeed(seed)
}

function checkedSeed(text: string): string {
  decodeSeed('U', text)
  return text
}
