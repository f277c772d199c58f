import type { Command } from 'commander'
import { printable, printableJson } from '../../base/printable.ts'
import { engineFor } from '../../crypto/engine.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { type Identity, isIdentityFile, publicIdentityKey } from '../../identity/identity.ts'
import { loadIdentity } from '../../identity/keyfiles/key-file.ts'
import { type PrivateKeyFormat, recogniseKey } from '../../identity/keyfiles/key-text.ts'
import { viewPrivateKey } from '../../identity/keyfiles/private-key.ts'
import { readKey, readKeyText, readPublicText } from '../../identity/keyfiles/secret-source.ts'
import { isInlineKey, resolvePublicKey, toSource } from '../realm/public-key.ts'
import { addExamples, passphraseOption } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

const FORMATS: Readonly<Record<PrivateKeyFormat, string>> = {
  nkey: 'nkey seed',
  pkcs8: 'PKCS#8 PEM',
  'encrypted-pkcs8': 'PKCS#8 PEM',
  openssh: 'OpenSSH',
}

interface IdentityShowOptions {
  readonly json?: true
  readonly passphrase?: string
}

/** What is shown: as JSON, and as the rows of a table. */
interface Shown {
  readonly json: object
  readonly rows: readonly (readonly string[])[]
}

/** Registers `subrosa identity show`. */
export function registerIdentityShow(identity: Command, terminal: Terminal): void {
  const command = identity
    .command('show')
    .description('show what an identity, a private or a public key is, and its fingerprint; never a secret')
    .argument('<source>', 'an identity file, a key file, env:NAME, or a public key')
    .option('--json', 'as JSON')
    .addOption(passphraseOption())
    .action((source: string, options: IdentityShowOptions) => show(terminal, source, options))
  addExamples(
    command,
    'subrosa identity show billing.identity',
    'subrosa identity show ~/.ssh/id_ed25519.pub',
    'subrosa identity show billing.identity --json',
  )
}

async function show(terminal: Terminal, source: string, options: IdentityShowOptions): Promise<void> {
  const { json, rows } = await describe(source, options.passphrase)
  if (options.json) terminal.data(printableJson(json))
  else for (const line of formatTable(rows)) terminal.data(printable(line))
}

async function describe(argument: string, passphrase: string | undefined): Promise<Shown> {
  const source = toSource(argument)
  if (isInlineKey(argument) || (await holdsPublicKey(source)))
    return describePublicKey(await resolvePublicKey(argument))
  const text = await readKeyText(source, 'source')
  const key = recogniseKey(text)
  const isKey = key.found === 'private key' || (key.found === 'other' && key.isKey)
  if (isKey && !isIdentityFile(text)) return describePrivateKey(text, source, passphrase)
  return describeIdentity(await loadIdentity(source))
}

/** Files of public keys may be read by everybody. */
async function holdsPublicKey(source: string): Promise<boolean> {
  return recogniseKey(await readPublicText(source, 'source')).found === 'public key'
}

function describePublicKey(publicKey: string): Shown {
  return describeKey({ kind: 'public key', identity: publicKey })
}

async function describePrivateKey(
  text: string,
  source: string,
  passphrase: string | undefined,
): Promise<Shown> {
  const { format, isEncrypted, publicKey } = await viewPrivateKey(text, source)
  return describeKey({
    kind: 'private key',
    format: FORMATS[format],
    encrypted: isEncrypted,
    identity: publicKey ?? (await publicKeyOf(source, passphrase)),
  })
}

interface DescribedKey {
  readonly kind: string
  readonly format?: string
  readonly encrypted?: boolean
  readonly identity: string
}

function describeKey(key: DescribedKey): Shown {
  const print = fingerprint(key.identity)
  const format = key.format === undefined ? [] : [key.format]
  const encrypted = key.encrypted ? ['encrypted'] : []
  return {
    json: { ...key, fingerprint: print },
    rows: [
      ['kind', [key.kind, ...format, ...encrypted].join(', ')],
      ['identity', key.identity],
      ['fingerprint', print],
    ],
  }
}

async function publicKeyOf(source: string, passphrase: string | undefined): Promise<string> {
  const engine = engineFor()
  const seed = await readKey(source, passphrase)
  try {
    return publicIdentityKey(engine, seed)
  } finally {
    engine.wipe(seed)
  }
}

function describeIdentity({ claims }: Identity): Shown {
  const issued = whenShown(claims.issuedAt * 1000)
  const expires = whenShown(claims.expiresAt * 1000)
  const { name, identity, realm, issuer, roles, permissions, maxInstances } = claims
  const print = fingerprint(identity)
  const isSelfSigned = issuer === identity
  const list = (items: readonly string[]): string => items.join(' ') || '-'
  const isOver = claims.expiresAt * 1000 <= Date.now()
  // Under pins a token grants nothing: what it may do is up to those who have pinned its key.
  const rights = isSelfSigned
    ? []
    : [
        ['roles', list(roles)],
        ['may publish', list(permissions.pub.allow)],
        ['  but not', list(permissions.pub.deny)],
        ['may read', list(permissions.sub.allow)],
        ['  but not', list(permissions.sub.deny)],
        ['max instances', String(maxInstances)],
      ]
  return {
    json: {
      kind: 'identity',
      name,
      identity,
      fingerprint: print,
      realm,
      issuer,
      roles,
      permissions,
      maxInstances,
      issued,
      expires,
    },
    rows: [
      ['name', name],
      ['identity', identity],
      ['fingerprint', print],
      ['realm', realm],
      ...(isSelfSigned ? [['issuer', 'itself, for trust by pins']] : []),
      ...(isSelfSigned || issuer === realm ? [] : [['issuer', issuer]]),
      ...rights,
      ['issued', issued],
      ['expires', isOver ? `${expires} (expired)` : expires],
    ],
  }
}
