import { type Command, InvalidArgumentError, Option } from 'commander'
import { SERVER_REQUEST_KINDS, type ServerRequestKind } from '../../mcp/policy/client-gate.ts'

/** How a client of an MCP server guards itself. */
export interface ConnectOptions {
  /** Remembers the server's tools, and refuses those that have changed since. */
  readonly pinTools?: true
  /** What the server cannot ask the host for. */
  readonly refuse?: readonly ServerRequestKind[]
}

/** Adds the options of `mcp connect` that `mcp config` writes down for a host. */
export function addConnectOptions(command: Command): Command {
  return command
    .option('--pin-tools', 'remember the tools of the server, and refuse those that change')
    .addOption(
      new Option(
        '--refuse <kinds>',
        `what the server cannot ask for, separated by commas: ${SERVER_REQUEST_KINDS.join(', ')}`,
      ).argParser(parseKinds),
    )
}

/** The words of a command line that say the same. */
export function connectArguments({ pinTools, refuse }: ConnectOptions): readonly string[] {
  return [...(pinTools ? ['--pin-tools'] : []), ...(refuse ? ['--refuse', refuse.join(',')] : [])]
}

function parseKinds(text: string, before: readonly ServerRequestKind[] = []): readonly ServerRequestKind[] {
  const kinds = text.split(',').map((word) => SERVER_REQUEST_KINDS.find((kind) => kind === word.trim()))
  const known = kinds.filter((kind) => kind !== undefined)
  if (known.length < kinds.length)
    throw new InvalidArgumentError(`Use some of ${SERVER_REQUEST_KINDS.join(', ')}, separated by commas.`)
  return [...new Set([...before, ...known])]
}
