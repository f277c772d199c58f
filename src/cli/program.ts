import { Command } from 'commander'
import type { DemoOptions } from './commands/demo.ts'
import { packageVersion } from './package-version.ts'
import { allowOptionsBefore } from './realm/options-before.ts'
import { COMPLETE } from './terminal/completion-words.ts'
import { EXIT_CODES_HELP, EXIT_OK, reportFailure } from './terminal/failure.ts'
import { addExamples } from './terminal/options.ts'
import { reportError, type Terminal } from './terminal/terminal.ts'

/** What adds a command to the program. */
type Register = (program: Command, terminal: Terminal, setExitCode: (code: number) => void) => void

/** A command of the program, and how it is loaded. */
interface Loaded {
  readonly name: string
  /** Its other name. */
  readonly alias?: string
  readonly load: () => Promise<Register>
}

/** In the order of the help. */
const COMMANDS: readonly Loaded[] = [
  { name: 'init', load: async () => (await import('./commands/init.ts')).registerInit },
  { name: 'agent', load: loadAgent },
  { name: 'use', load: async () => (await import('./commands/use.ts')).registerUse },
  { name: 'identity', load: loadIdentity },
  { name: 'pin', load: async () => (await import('./commands/pin.ts')).registerPin },
  { name: 'keys', load: async () => (await import('./commands/keys.ts')).registerKeys },
  { name: 'inspect', load: async () => (await import('./commands/inspect.ts')).registerInspect },
  { name: 'pub', alias: 'publish', load: async () => (await import('./commands/pub.ts')).registerPub },
  { name: 'sub', alias: 'subscribe', load: async () => (await import('./commands/sub.ts')).registerSub },
  {
    name: 'request',
    alias: 'req',
    load: async () => (await import('./commands/request.ts')).registerRequest,
  },
  { name: 'reply', load: async () => (await import('./commands/reply.ts')).registerReply },
  { name: 'mcp', load: async () => (await import('./mcp/mcp.ts')).registerMcp },
  { name: 'bench', load: async () => (await import('./commands/bench.ts')).registerBench },
  { name: 'plan', load: async () => (await import('./commands/plan.ts')).registerPlan },
  { name: 'rotate', load: async () => (await import('./commands/rotate.ts')).registerRotate },
  { name: 'rotator', load: async () => (await import('./commands/rotator.ts')).registerRotator },
  { name: 'demo', load: loadDemo },
  { name: 'completion', load: async () => (await import('./commands/completion.ts')).registerCompletion },
]

/**
 * Runs one command. Data goes to the terminal's standard output, and everything else to its standard error.
 *
 * @param argv the arguments, without the program's own name
 * @returns the exit code: see {@link EXIT_CODES_HELP}
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode = EXIT_OK
  try {
    const program = await createProgram(argv, terminal, (code) => {
      exitCode = code
    })
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    return reportFailure(terminal, error)
  }
}

async function createProgram(
  argv: readonly string[],
  terminal: Terminal,
  setExitCode: (code: number) => void,
): Promise<Command> {
  const program = new Command('subrosa')
    .description('end-to-end encryption for NATS')
    .version(packageVersion(), '--version', 'show the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.data(text.trimEnd()),
      writeErr: (text) => terminal.say(text.trimEnd()),
      outputError: (text) => reportError(terminal, text.trim().replace(/^error: /, '')),
    })
  addExamples(program, 'subrosa init', "subrosa agent add billing --sub 'orders.>'", 'subrosa rotator')
  allowOptionsBefore(program)
  program.addHelpText('after', EXIT_CODES_HELP)

  for (const register of await Promise.all(commandsFor(argv).map(({ load }) => load())))
    register(program, terminal, setExitCode)
  pointToHelp(program)
  return program
}

/**
 * The commands that are named among the arguments: together they take half a second to load. All of them where none is
 * named, as for the help, and for what shells ask to complete words.
 */
function commandsFor(argv: readonly string[]): readonly Loaded[] {
  const named = COMMANDS.filter(({ name, alias = name }) => argv.includes(name) || argv.includes(alias))
  return named.length === 0 || argv.includes(COMPLETE) ? COMMANDS : named
}

async function loadAgent(): Promise<Register> {
  const [{ registerAgentAdd }, { registerAgentList }, { registerAgentRevoke }] = await Promise.all([
    import('./commands/agent-add.ts'),
    import('./commands/agent-list.ts'),
    import('./commands/agent-revoke.ts'),
  ])
  return (program, terminal) => {
    const agent = program.command('agent').description('add, list and revoke the agents of a realm')
    addExamples(agent, "subrosa agent add billing --sub 'orders.>'", 'subrosa agent list')
    registerAgentAdd(agent, terminal)
    registerAgentList(agent, terminal)
    registerAgentRevoke(agent, terminal)
  }
}

async function loadIdentity(): Promise<Register> {
  const [{ registerIdentityNew }, { registerIdentityShow }] = await Promise.all([
    import('./commands/identity-new.ts'),
    import('./commands/identity-show.ts'),
  ])
  return (program, terminal) => {
    const identity = program.command('identity').description('make identities, and look at keys')
    addExamples(identity, 'subrosa identity show billing.identity', 'subrosa identity new billing')
    registerIdentityNew(identity, terminal)
    registerIdentityShow(identity, terminal)
  }
}

async function loadDemo(): Promise<Register> {
  const { runDemo } = await import('./commands/demo.ts')
  return (program, _terminal, setExitCode) => {
    const command = program
      .command('demo')
      .description('show everything on a real broker, in a temporary folder')
      .option('--keep', 'leave it running until interrupted', false)
      .action(async (options: DemoOptions) => setExitCode(await runDemo(options)))
    addExamples(command, 'subrosa demo')
  }
}

/** After a usage error, each command names its own help. */
function pointToHelp(command: Command): void {
  command.showHelpAfterError(`subrosa: hint: see: ${commandPath(command)} --help`)
  for (const child of command.commands) pointToHelp(child)
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`
}
