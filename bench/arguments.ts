import { parseArgs } from 'node:util'

/** How the benchmark was asked to run. */
export interface Arguments {
  readonly quick: boolean
  /** The suites that were asked for; all of them by default. */
  readonly suites: readonly string[]
  /** A file for the record of the run. */
  readonly json: string | undefined
  /** A folder for the charts. */
  readonly charts: string | undefined
  /** A folder for CPU profiles. */
  readonly profile: string | undefined
  /** The commit, branch or tag that the working tree is compared with. */
  readonly against: string | undefined
}

/** Which suites there are. */
export interface Suites {
  /** What `npm run bench` measures. */
  readonly measured: readonly string[]
  /** What `--against` compares. */
  readonly compared: readonly string[]
}

/** A command line that means nothing. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * Reads the command line of `npm run bench`.
 *
 * @throws UsageError that names the option and what would do
 */
export function parseArguments(args: readonly string[], { measured, compared }: Suites): Arguments {
  const { only, ...options } = optionsIn(args)
  const { against } = options
  if (against === '') throw new UsageError('--against needs a commit, a branch or a tag')
  if (against !== undefined)
    for (const name of ['charts', 'profile'] as const)
      if (options[name] !== undefined) throw new UsageError(`--${name} does not go with --against`)
  const known = against === undefined ? measured : compared
  const suites = only?.split(',') ?? known
  const unknown = suites.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    throw new UsageError(
      against === undefined
        ? `there is no suite ${unknown.join(', ')}; there are ${known.join(', ')}`
        : `--against does not compare ${unknown.join(', ')}; it compares ${known.join(', ')}`,
    )
  return { ...options, suites }
}

function optionsIn(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        json: { type: 'string' },
        charts: { type: 'string' },
        profile: { type: 'string' },
        against: { type: 'string' },
      },
    })
    const { quick, only, json, charts, profile, against } = values
    return { quick, only, json, charts, profile, against }
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
