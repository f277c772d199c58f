import type { Argument, Command, Option } from 'commander'

/** The command that the shells ask. */
export const COMPLETE = '__complete'

/** What could stand somewhere, by the name of an option or of an argument, such as `context` or `as`. */
export type WordSource = (name: string, words: readonly string[]) => Promise<readonly string[]>

/** How far a command line has been read. */
interface Place {
  readonly command: Command
  /** The option that the next word belongs to. */
  readonly option: Option | undefined
  /** How many arguments there are already. */
  readonly argumentCount: number
}

/**
 * What the last word of a command line could be, by the tree of commands.
 *
 * @param words those after the program's name, the last of which is being written
 */
export async function completionsOf(
  program: Command,
  words: readonly string[],
  source: WordSource,
): Promise<readonly string[]> {
  const written = joinEquals(words)
  const current = written.at(-1) ?? ''
  const place = read(program, written.slice(0, -1))
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(current) ?? []
  const option = flag === undefined ? place.option : findOption(place.command, flag)
  if (option !== undefined) {
    const values = matching(
      await valuesOf(option, { name: option.attributeName(), words, source }),
      value ?? current,
    )
    return flag === undefined ? values : values.map((found) => `${flag}=${found}`)
  }
  if (current.startsWith('-')) return matching(flagsOf(place.command), current)
  const { command, argumentCount } = place
  const argument = command.registeredArguments[argumentCount] ?? command.registeredArguments.at(-1)
  const isOpen = argumentCount < command.registeredArguments.length || argument?.variadic === true
  const values =
    argument === undefined || !isOpen
      ? []
      : await valuesOf(argument, { name: argument.name(), words, source })
  return matching([...(argumentCount === 0 ? namesOf(command) : []), ...values], current)
}

/** A shell may take `--to=x` apart. */
function joinEquals(words: readonly string[]): readonly string[] {
  const isCut = words.at(-1) === '='
  return [...words.filter((word) => word !== '='), ...(isCut ? [''] : [])]
}

function read(program: Command, words: readonly string[]): Place {
  let place: Place = { command: program, option: undefined, argumentCount: 0 }
  for (const word of words) place = next(place, word)
  return place
}

function next({ command, option, argumentCount }: Place, word: string): Place {
  const after = { command, option: undefined, argumentCount }
  if (option !== undefined) return after
  if (word.startsWith('-')) {
    const found = word.includes('=') ? undefined : findOption(command, word)
    return { ...after, option: found?.required || found?.optional ? found : undefined }
  }
  const child = command.commands.find((other) => other.name() === word || other.aliases().includes(word))
  if (child !== undefined && argumentCount === 0)
    return { command: child, option: undefined, argumentCount: 0 }
  return { ...after, argumentCount: argumentCount + 1 }
}

function findOption(command: Command, flag: string): Option | undefined {
  return command.options.find((option) => option.long === flag || option.short === flag)
}

async function valuesOf(
  { argChoices }: Option | Argument,
  {
    name,
    words,
    source,
  }: { readonly name: string; readonly words: readonly string[]; readonly source: WordSource },
): Promise<readonly string[]> {
  return argChoices ?? source(name, words)
}

function flagsOf(command: Command): readonly string[] {
  const visible = command.createHelp().visibleOptions(command)
  return visible.flatMap(({ long }) => (long === undefined ? [] : [long]))
}

function namesOf(command: Command): readonly string[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((child) => child.name())
}

function matching(found: readonly string[], begun: string): readonly string[] {
  return found.filter((word) => word.startsWith(begun))
}
