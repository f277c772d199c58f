import { type Command, Option } from 'commander'
import type { Role } from '../identity/token.ts'
import { type AgentRequest, addAgent } from '../setup/agents.ts'
import { agentPaths } from '../setup/layout.ts'
import { openRealm } from '../setup/realm.ts'
import { addExamples, collectPatterns, parseCount, parseDuration, parseName, realmOption } from './options.ts'
import { note, type Terminal } from './terminal.ts'

interface AgentAddOptions {
  readonly realm: string
  readonly pub?: readonly string[]
  readonly sub?: readonly string[]
  readonly denyPub?: readonly string[]
  readonly denySub?: readonly string[]
  readonly role?: Role[]
  readonly expires?: number
  readonly maxInstances?: number
  readonly renew?: true
}

/** Registers `subrosa agent add`. */
export function registerAgentAdd(agent: Command, terminal: Terminal): void {
  const command = agent
    .command('add')
    .description('give an agent an identity and a login to the broker, or renew them')
    .argument('<name>', 'the name that other agents know it by', parseName)
    .addOption(patternsOption('--pub <pattern...>', 'subjects that it may publish to'))
    .addOption(patternsOption('--sub <pattern...>', 'subjects that it may read'))
    .addOption(patternsOption('--deny-pub <pattern...>', 'subjects that it may not publish to after all'))
    .addOption(patternsOption('--deny-sub <pattern...>', 'subjects that it may not read after all'))
    .addOption(
      new Option('--role <role...>', 'what else it may do for the realm').choices(['rotator', 'revoker']),
    )
    .addOption(
      new Option('--expires <duration>', 'how long it lasts (default: 90d)').argParser(parseDuration),
    )
    .option('--max-instances <number>', 'how many may run at once (default: 16)', parseCount)
    .option('--renew', 'keep the identity key; what is not given stays as it is')
    .addOption(realmOption(terminal))
    .action((name: string, options: AgentAddOptions) => add(terminal, name, options))
  addExamples(
    command,
    "subrosa agent add billing --pub 'invoices.>' --sub 'orders.*'",
    'subrosa agent add billing --renew --expires 30d',
  )
}

function patternsOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser(collectPatterns)
}

async function add(terminal: Terminal, name: string, options: AgentAddOptions): Promise<void> {
  const realm = await openRealm(options.realm)
  const agent = await addAgent(realm, toRequest(name, options))
  const { identity, creds, tokens } = agentPaths(realm.dir, name)
  terminal.data(agent.claims.identity)
  const until = new Date(agent.claims.expiresAt * 1000).toISOString()
  note(terminal, `${options.renew ? 'renewed' : 'added'} ${name} until ${until}`)
  note(terminal, `  ${identity}   secret: who it is`)
  note(terminal, `  ${creds}   secret: its login to the broker`)
  note(terminal, `  ${tokens}   public: its token`)
}

function toRequest(name: string, options: AgentAddOptions): AgentRequest {
  const { pub, sub, denyPub, denySub, role: roles, expires: expiresInMs, maxInstances, renew } = options
  // What was not given is left out, since a renewal keeps it.
  return {
    name,
    ...(pub && { pub }),
    ...(sub && { sub }),
    ...(denyPub && { denyPub }),
    ...(denySub && { denySub }),
    ...(roles && { roles }),
    ...(expiresInMs && { expiresInMs }),
    ...(maxInstances && { maxInstances }),
    ...(renew && { renew }),
  }
}
