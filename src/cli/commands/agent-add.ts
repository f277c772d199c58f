import { basename } from 'node:path'
import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import type { Role } from '../../identity/token.ts'
import { type AgentRequest, addAgent, MAX_LIFETIME_MS } from '../../setup/agents.ts'
import { formatBundle } from '../../setup/bundle.ts'
import { createFile, readFileIfAny } from '../../setup/files.ts'
import { agentPaths } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'
import { inLockedRealm } from '../../setup/realm-lock.ts'
import { resolvePublicKey } from '../realm/public-key.ts'
import { revokeAndPublish } from '../realm/revoke.ts'
import { parseServers } from '../realm/server-address.ts'
import {
  addExamples,
  parseCount,
  parseDuration,
  parseName,
  patternsOption,
  realmOption,
  serverOption,
} from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface AgentAddOptions {
  readonly realm: string
  readonly key?: string
  readonly pub?: readonly string[]
  readonly sub?: readonly string[]
  readonly denyPub?: readonly string[]
  readonly denySub?: readonly string[]
  readonly mcpServe?: true
  readonly mcpUse?: readonly string[]
  readonly role?: Role[]
  readonly expires?: number
  readonly maxInstances?: number
  readonly renew?: true
  readonly succeed?: true
  readonly server?: string
  readonly bundle?: string
}

/** Registers `subrosa agent add`. */
export function registerAgentAdd(agent: Command, terminal: Terminal): void {
  const command = agent
    .command('add')
    .description('give an agent an identity and a login to the broker, or renew them')
    .argument('<name>', 'the name that other agents know it by', parseName)
    .option(
      '--key <key>',
      'sign this public key, made elsewhere: U…, a line or file of OpenSSH, or a PEM file',
    )
    .addOption(patternsOption('--pub <pattern...>', 'subjects that it may publish to'))
    .addOption(patternsOption('--sub <pattern...>', 'subjects that it may read'))
    .addOption(patternsOption('--deny-pub <pattern...>', 'subjects that it may not publish to after all'))
    .addOption(patternsOption('--deny-sub <pattern...>', 'subjects that it may not read after all'))
    .option('--mcp-serve', 'let it run the MCP server of its name as well')
    .addOption(
      new Option('--mcp-use <server...>', 'let it use these MCP servers as well; * for every one').argParser(
        collectServers,
      ),
    )
    .addOption(
      new Option('--role <role...>', 'what else it may do for the realm').choices(['rotator', 'revoker']),
    )
    .addOption(
      new Option('--expires <duration>', 'how long it lasts (default: 90d)').argParser(parseDuration),
    )
    .option('--max-instances <number>', 'how many may run at once (default: 16)', parseCount)
    .option('--renew', 'keep the identity key; what is not given stays as it is')
    .addOption(
      new Option(
        '--succeed',
        'revoke the identity that has the name, tell the realm, and give the name to a new one',
      ).conflicts('renew'),
    )
    .addOption(serverOption())
    .option('--bundle <file>', 'write all that it needs on another machine into one file, for `subrosa use`')
    .addOption(realmOption(terminal))
    .action((name: string, options: AgentAddOptions) =>
      inLockedRealm(options.realm, (realm) => add(terminal, realm, { name, options })),
    )
  addExamples(
    command,
    "subrosa agent add billing --pub 'invoices.>' --sub 'orders.*'",
    'subrosa agent add billing --renew --expires 30d',
    "subrosa agent add billing --succeed --sub 'orders.*'",
    "subrosa agent add billing --key billing.pub --sub 'orders.*'",
    'subrosa agent add laptop --mcp-use files --bundle laptop.subrosa',
  )
}

/** One name of an MCP server, added to those before it. @throws InvalidArgumentError */
function collectServers(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text === '*' ? text : parseName(text)]
}

async function add(
  terminal: Terminal,
  realm: Realm,
  { name, options }: { readonly name: string; readonly options: AgentAddOptions },
): Promise<void> {
  const { bundle } = options
  // Before anything is signed: the agent would be there, and its bundle not.
  if (bundle !== undefined && (await readFileIfAny(bundle)) !== undefined)
    throw new SubrosaError('ERR_SETUP', `${bundle} exists already`, {
      hint: 'it is never overwritten: name another file, or remove it',
    })
  const key = options.key === undefined ? undefined : await resolvePublicKey(options.key)
  const succeed = async (): Promise<void> => {
    // As long as any of its tokens lasts that this folder does not know of.
    const request = { name, reason: 'another identity has its name', lastsMs: MAX_LIFETIME_MS }
    await revokeAndPublish(realm, request, { server: options.server })
    note(terminal, `the identity that was ${name} is revoked, and that is confirmed`)
  }
  const { claims, identityPath } = await addAgent(realm, {
    ...toRequest(name, options),
    ...(key && { key }),
    ...(options.succeed && { succeed }),
  })
  const { creds, tokens } = agentPaths(realm.dir, name)
  terminal.data(claims.identity)
  const until = new Date(claims.expiresAt * 1000).toISOString()
  note(terminal, `${options.renew ? 'renewed' : 'added'} ${name} until ${until}`)
  if (identityPath !== undefined) note(terminal, `  ${identityPath}   secret: who it is`)
  note(terminal, `  ${creds}   secret: its login to the broker`)
  note(terminal, `  ${tokens}   public: its token`)
  if (bundle !== undefined) await writeBundle(terminal, realm, { name, path: bundle })
  if (identityPath === undefined) {
    note(
      terminal,
      `its private key is kept elsewhere; compare its fingerprint there: ${fingerprint(claims.identity)}`,
    )
    note(terminal, `the agent loads both: loadIdentity({ key: 'file:KEYFILE', token: 'file:${tokens}' })`)
  }
}

async function writeBundle(
  terminal: Terminal,
  realm: Realm,
  { name, path }: { readonly name: string; readonly path: string },
): Promise<void> {
  await createFile(path, await formatBundle(realm, name), { secret: true })
  note(terminal, `  ${path}   secret: all that it needs elsewhere; there: subrosa use ${basename(path)}`)
  const servers = parseServers(realm.server)
  if (servers.every(({ isLoopback }) => isLoopback)) {
    note(
      terminal,
      `warning: the bundle says that the broker is ${servers.map(({ host }) => host).join(', ')}: no other machine reaches that; a realm for others is made with subrosa init --host NAME`,
    )
  }
}

function toRequest(name: string, options: AgentAddOptions): AgentRequest {
  const { pub, sub, denyPub, denySub, mcpServe, mcpUse, maxInstances, renew } = options
  const { role: roles, expires: expiresInMs } = options
  // What was not given is left out, since a renewal keeps it.
  return {
    name,
    ...(pub && { pub }),
    ...(sub && { sub }),
    ...(denyPub && { denyPub }),
    ...(denySub && { denySub }),
    ...(mcpServe && { mcpServe }),
    ...(mcpUse && { mcpUse }),
    ...(roles && { roles }),
    ...(expiresInMs && { expiresInMs }),
    ...(maxInstances && { maxInstances }),
    ...(renew && { renew }),
  }
}
