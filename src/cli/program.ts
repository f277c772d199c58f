import { Command } from 'commander'
import { registerAgentAdd } from './commands/agent-add.ts'
import { registerAgentList } from './commands/agent-list.ts'
import { registerAgentRevoke } from './commands/agent-revoke.ts'
import { registerBench } from './commands/bench.ts'
import { registerCompletion } from './commands/completion.ts'
import { type DemoOptions, runDemo } from './commands/demo.ts'
import { registerIdentityNew } from './commands/identity-new.ts'
import { registerIdentityShow } from './commands/identity-show.ts'
import { registerInit } from './commands/init.ts'
import { registerInspect } from './commands/inspect.ts'
import { registerKeys } from './commands/keys.ts'
import { registerPin } from './commands/pin.ts'
import { registerPub } from './commands/pub.ts'
import { registerReply } from './commands/reply.ts'
import { registerRequest } from './commands/request.ts'
import { registerRotate } from './commands/rotate.ts'
import { registerRotator } from './commands/rotator.ts'
import { registerSub } from './commands/sub.ts'
import { registerUse } from './commands/use.ts'
import { registerMcp } from './mcp/mcp.ts'
import { packageVersion } from './package-version.ts'
import { allowOptionsBefore } from './realm/options-before.ts'
import { EXIT_CODES_HELP, EXIT_OK, reportFailure } from './terminal/failure.ts'
import { addExamples } from './terminal/options.ts'
import { reportError, type Terminal } from './terminal/terminal.ts'

/**
 * Runs one command. Data goes to the terminal's standard output, and everything else to its standard error.
 *
 * @param argv the arguments, without the program's own name
 * @returns the exit code: see {@link EXIT_CODES_HELP}
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode = EXIT_OK
  const program = createProgram(terminal, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    return reportFailure(terminal, error)
  }
}

function createProgram(terminal: Terminal, setExitCode: (code: number) => void): Command {
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

  registerInit(program, terminal)
  const agent = program.command('agent').description('add, list and revoke the agents of a realm')
  addExamples(agent, "subrosa agent add billing --sub 'orders.>'", 'subrosa agent list')
  registerAgentAdd(agent, terminal)
  registerAgentList(agent, terminal)
  registerAgentRevoke(agent, terminal)
  registerUse(program, terminal)
  const identity = program.command('identity').description('make identities, and look at keys')
  addExamples(identity, 'subrosa identity show billing.identity', 'subrosa identity new billing')
  registerIdentityNew(identity, terminal)
  registerIdentityShow(identity, terminal)
  registerPin(program, terminal)
  registerKeys(program, terminal)
  registerInspect(program, terminal)
  registerPub(program, terminal)
  registerSub(program, terminal)
  registerRequest(program, terminal)
  registerReply(program, terminal)
  registerMcp(program, terminal)
  registerBench(program, terminal)
  registerRotate(program, terminal)
  registerRotator(program, terminal)
  registerDemo(program, setExitCode)
  registerCompletion(program, terminal)
  pointToHelp(program)
  return program
}

function registerDemo(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('demo')
    .description('show everything on a real broker, in a temporary folder')
    .option('--keep', 'leave it running until interrupted', false)
    .action(async (options: DemoOptions) => setExitCode(await runDemo(options)))
  addExamples(command, 'subrosa demo')
}

/** After a usage error, each command names its own help. */
function pointToHelp(command: Command): void {
  command.showHelpAfterError(`subrosa: hint: see: ${commandPath(command)} --help`)
  for (const child of command.commands) pointToHelp(child)
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`
}
