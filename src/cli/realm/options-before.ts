import type { Command } from 'commander'
import { addAgentOptions } from './broker-options.ts'

/** Lets the options that say how to connect stand before the command too, as `nats` does. */
export function allowOptionsBefore(program: Command): void {
  const known = new Set(program.options)
  addAgentOptions(program)
  const added = program.options.filter((option) => !known.has(option))
  for (const option of added) option.hideHelp()
  program
    .enablePositionalOptions()
    .addHelpText('after', '\nThe options of a command that say how to connect may stand before it too.')
    .hook('preAction', (_, command) => {
      for (const option of added) {
        const name = option.attributeName()
        if (program.getOptionValueSource(name) !== 'cli' || command.getOptionValueSource(name) === 'cli')
          continue
        if (!command.options.some((other) => other.attributeName() === name))
          command.error(`error: ${command.name()} has no option ${option.long}`)
        command.setOptionValueWithSource(name, program.getOptionValue(name), 'cli')
      }
    })
}
