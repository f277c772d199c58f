import { SubrosaError } from '../../base/errors.ts'
import { readPublicKey } from '../../identity/keyfiles/public-key.ts'
import { isSource, readPublicText } from '../../identity/keyfiles/secret-source.ts'

/** What begins like a key is one: nobody names a file so, and a secret must not come out as the name of one. */
const INLINE = /^(?:[A-Z][A-Z2-7]{40,}$|(?:ssh|ecdsa|sk)-\S+\s|-----BEGIN )/

/** What a public key is called in messages when it stands on the command line. */
const ARGUMENT = 'the key on the command line'

/** Whether an argument is a key itself, and not the name of a file. */
export function isInlineKey(argument: string): boolean {
  return INLINE.test(argument)
}

/**
 * The public key that a person names: `U…`, a line of OpenSSH, or a file that holds one of these or PEM.
 *
 * @param argument the key, a path, `file:PATH` or `env:NAME`
 * @returns the public nkey, `U…`
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_INVALID
 */
export async function resolvePublicKey(argument: string): Promise<string> {
  if (isInlineKey(argument)) return readInline(argument)
  const source = toSource(argument)
  return readPublicKey(await readPublicText(source, 'the key'), source)
}

/** What a person means by a path, `file:PATH` or `env:NAME`. */
export function toSource(argument: string): string {
  return isSource(argument) ? argument : `file:${argument}`
}

function readInline(argument: string): string {
  // Its prefix tells a seed from a public key, which never begins with S.
  if (argument.startsWith('S')) {
    throw new SubrosaError('ERR_KEY_INVALID', `${ARGUMENT} is the seed of a private key`, {
      hint: 'others on this machine can see it, and the shell remembers it: replace that key, and give a public one',
    })
  }
  return readPublicKey(argument, ARGUMENT)
}
