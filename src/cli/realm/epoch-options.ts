import { type Command, Option } from 'commander'
import type { EpochTimes } from '../../keys/schedules.ts'
import { parseDuration } from '../terminal/options.ts'

/** What the command line says of epochs, and of how long the plan lasts. */
export interface EpochOptions {
  readonly epoch?: number
  readonly lead?: number
  readonly grace?: number
  readonly planFor?: number
}

/**
 * Adds the options of {@link EpochOptions}.
 *
 * @param byDefault what holds where an option is not given, for each of them
 */
export function addEpochOptions(
  command: Command,
  byDefault: { readonly [option in keyof EpochOptions]-?: string },
): Command {
  const add = (flag: string, description: string, standard: string): void => {
    command.addOption(
      new Option(`${flag} <duration>`, `${description} (default: ${standard})`).argParser(parseDuration),
    )
  }
  add('--epoch', 'how often an epoch begins, and with it fresh keys', byDefault.epoch)
  add('--lead', 'how long an epoch goes on beside the next one', byDefault.lead)
  add('--grace', 'how late messages of an epoch may arrive after its end', byDefault.grace)
  add('--plan-for', 'how long the plan lasts, at most 400d', byDefault.planFor)
  return command
}

/** The times of epochs that are given. */
export function timesOf({
  epoch: periodMs,
  lead: leadMs,
  grace: graceMs,
}: EpochOptions): Partial<EpochTimes> {
  return {
    ...(periodMs !== undefined && { periodMs }),
    ...(leadMs !== undefined && { leadMs }),
    ...(graceMs !== undefined && { graceMs }),
  }
}
