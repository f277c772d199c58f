import { writeFileSync } from 'node:fs'
import type { Reporter } from 'vitest/node'
import type { ReportedError, VitestReport } from './vitest-report.ts'

/** Environment variable with the path to which the report is written. */
const REPORT = 'SUBROSA_DEFENCES_REPORT'

/**
 * Vitest's outcome as JSON. Vitest's own JSON reporter leaves out what is needed here: the kind of an error and its
 * cause, and errors outside of tests.
 */
export default class DefencesReporter implements Reporter {
  readonly onTestRunEnd: NonNullable<Reporter['onTestRunEnd']> = (modules, unhandled) => {
    const report: VitestReport = {
      loadErrors: modules.flatMap((module) => module.errors().map(reportedError)),
      tests: modules.flatMap((module) =>
        [...module.children.allTests()].map((test) => {
          const titles = [test.name]
          for (let at = test.parent; at.type === 'suite'; at = at.parent) titles.unshift(at.name)
          const { state, errors } = test.result()
          return { name: titles.join(' '), state, errors: (errors ?? []).map(reportedError) }
        }),
      ),
      unhandled: unhandled.map(reportedError),
    }
    writeFileSync(process.env[REPORT] ?? '', JSON.stringify(report))
  }
}

function reportedError(error: unknown): ReportedError {
  const fields = new Map<string, unknown>(Object.entries(Object(error)))
  const text = (name: string) => String(fields.get(name) ?? '')
  const cause = fields.get('cause')
  return {
    name: text('name'),
    message: text('message'),
    stack: text('stack'),
    cause: typeof cause === 'object' && cause !== null ? reportedError(cause) : undefined,
  }
}
