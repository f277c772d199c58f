import type { Command } from 'commander'
import { loadIdentity } from '../identity/key-file.ts'
import { addExamples } from './options.ts'
import { formatTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface IdentityShowOptions {
  readonly json?: true
}

/** Registers `subrosa identity`. */
export function registerIdentity(program: Command, terminal: Terminal): void {
  const identity = program.command('identity').description('look at identities')
  addExamples(identity, 'subrosa identity show billing.identity')
  const command = identity
    .command('show')
    .description('show what an identity file says, but for its key')
    .argument('<file>', 'an identity file')
    .option('--json', 'as JSON')
    .action((file: string, options: IdentityShowOptions) => show(terminal, file, options))
  addExamples(
    command,
    'subrosa identity show billing.identity',
    'subrosa identity show billing.identity --json',
  )
}

async function show(terminal: Terminal, file: string, { json }: IdentityShowOptions): Promise<void> {
  const { claims } = await loadIdentity(`file:${file}`)
  const issued = new Date(claims.issuedAt * 1000).toISOString()
  const expires = new Date(claims.expiresAt * 1000).toISOString()
  const { name, identity, realm, issuer, roles, permissions, maxInstances } = claims
  if (json) {
    const shown = { name, identity, realm, issuer, roles, permissions, maxInstances, issued, expires }
    terminal.data(JSON.stringify(shown, null, 2))
    return
  }
  const list = (items: readonly string[]): string => items.join(' ') || '-'
  const isOver = claims.expiresAt * 1000 <= Date.now()
  const rows = [
    ['name', name],
    ['identity', identity],
    ['realm', realm],
    ...(issuer === realm ? [] : [['issuer', issuer]]),
    ['roles', list(roles)],
    ['may publish', list(permissions.pub.allow)],
    ['  but not', list(permissions.pub.deny)],
    ['may read', list(permissions.sub.allow)],
    ['  but not', list(permissions.sub.deny)],
    ['max instances', String(maxInstances)],
    ['issued', issued],
    ['expires', isOver ? `${expires} (expired)` : expires],
  ]
  for (const line of formatTable(rows)) terminal.data(line)
}
