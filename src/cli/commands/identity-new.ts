import { type Command, Option } from 'commander'
import { fingerprint } from '../../identity/fingerprint.ts'
import { readKey } from '../../identity/keyfiles/secret-source.ts'
import { createIdentity, renewIdentity } from '../../setup/identities.ts'
import { resolvePublicKey, toSource } from '../realm/public-key.ts'
import { addExamples, parseDuration, parseName, passphraseOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface IdentityNewOptions {
  readonly realm?: string
  readonly out?: string
  readonly key?: string
  readonly passphrase?: string
  readonly expires?: number
  readonly renew?: true
}

/** Registers `subrosa identity new`. */
export function registerIdentityNew(identity: Command, terminal: Terminal): void {
  const command = identity
    .command('new')
    .description('make an identity for trust by pins, with a token that it signs itself')
    .argument('<name>', 'the name by which others pin it', parseName)
    .option('--realm <key>', "the rotation service's public key (default: its own, as that service needs it)")
    .option('--out <file>', 'the identity file (default: NAME.identity)')
    .addOption(
      new Option('--key <source>', 'a private key that is there already: a file or env:NAME').conflicts(
        'renew',
      ),
    )
    .addOption(passphraseOption())
    .addOption(
      new Option('--expires <duration>', 'how long the token lasts (default: 90d)').argParser(parseDuration),
    )
    .option('--renew', 'give the identity file that is there a new token; its key stays')
    .action((name: string, options: IdentityNewOptions) => create(terminal, name, options))
  addExamples(
    command,
    'subrosa identity new rotator',
    'subrosa identity new billing --realm rotator.pub',
    'subrosa identity new billing --renew',
  )
}

async function create(terminal: Terminal, name: string, options: IdentityNewOptions): Promise<void> {
  const { out: path = `${name}.identity`, key, passphrase, expires: expiresInMs, renew } = options
  const realm = options.realm === undefined ? undefined : await resolvePublicKey(options.realm)
  const request = { path, name, ...(realm && { realm }), ...(expiresInMs && { expiresInMs }) }
  const seed = key === undefined ? undefined : await readKey(toSource(key), passphrase)
  const identity = renew
    ? await renewIdentity(request)
    : await createIdentity({ ...request, ...(seed && { seed }) })
  const { publicKey, claims } = identity
  terminal.data(publicKey)
  const until = new Date(claims.expiresAt * 1000).toISOString()
  note(terminal, `${renew ? 'renewed' : 'made'} ${name} until ${until}`)
  note(terminal, `  ${path}   secret: who it is, without a passphrase`)
  note(terminal, `  fingerprint ${fingerprint(publicKey)}`)
  note(terminal, 'whoever trusts it pins its key, and compares the fingerprint with you:')
  note(terminal, `  subrosa pin ${claims.realm === publicKey ? '--rotator ' : ''}${name} ${publicKey}`)
}
