import { COMPARED, compareAgainst } from './against/against.ts'
import { Unprepared } from './against/checkouts.ts'
import { type Arguments, parseArguments, UsageError } from './arguments.ts'
import { MEASURED, measureSuites } from './suites/all.ts'

/** `npm run bench`: what encryption costs. bench/README.md says what is measured and how to read it. */

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const

try {
  const options = parseArguments(process.argv.slice(2), { measured: MEASURED, compared: COMPARED })
  if (options.against === undefined) await measureSuites(options)
  else await untilInterrupted(options.against, options)
} catch (error) {
  if (!(error instanceof UsageError || error instanceof Unprepared)) throw error
  console.error(`bench: error: ${error.message}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}

/** Ctrl-C stops a comparison in good order: processes end, and its folder is removed. A second one ends it at once. */
async function untilInterrupted(ref: string, options: Arguments): Promise<void> {
  const interruption = new AbortController()
  for (const [name, status] of Object.entries(SIGNALS))
    process.on(name, () => {
      if (interruption.signal.aborted) process.exit(status)
      process.exitCode = status
      interruption.abort()
    })
  try {
    await compareAgainst(ref, options, interruption.signal)
  } catch (error) {
    // What is interrupted fails in its own way.
    if (!interruption.signal.aborted) throw error
    console.error('bench: interrupted')
    process.exit()
  }
}
