import { join } from 'node:path'
import type { Row } from './list.ts'
import type { ReportedError } from './vitest-report.ts'
import type { VitestRun } from './vitest-run.ts'

/**
 * Why a run with every defence in place does not count, or `undefined`: exactly one test has the name, and it passed,
 * and nothing failed outside of a test.
 */
export function objectionBefore(run: VitestRun, { name }: Pick<Row, 'name'>): string | undefined {
  const found = named(run, name)
  if (typeof found === 'string') return found
  const [error] = found.report.unhandled
  if (error !== undefined)
    return `with the defence in place there is an error outside of a test: ${said(error)}`
  if (found.test.state === 'passed') return undefined
  const [own] = found.test.errors
  return `the test does not pass with the defence in place: ${own === undefined ? found.test.state : said(own)}`
}

/**
 * Why a run without the defence does not show it, or `undefined`: the named test must have failed, and its first error
 * must be an assertion (see {@link isAssertion}).
 *
 * @param folder the copy of the repository in which it ran
 */
export function objectionAfter(
  run: VitestRun,
  { name, test, folder }: Pick<Row, 'name' | 'test'> & { readonly folder: string },
): string | undefined {
  const found = named(run, name)
  if (typeof found === 'string') return found
  if (found.test.state !== 'failed') {
    const [error] = found.report.unhandled
    const beside = error === undefined ? '' : `; the only error is outside of the test: ${said(error)}`
    return `the test ends as ${found.test.state} without the defence${beside}`
  }
  // Those behind the first one are of hooks, which may not come to terms with what the test has left.
  const [first] = found.test.errors
  if (first === undefined) return 'the test fails without an error'
  return isAssertion(first, join(folder, test))
    ? undefined
    : `the test fails, but not by an assertion: ${said(first)}`
}

/**
 * Whether a test failed because it found what it looks for. So it is with
 * - an `AssertionError`: what `expect` and `assert` of vitest and of Node throw;
 * - the failure of a fast-check property that is caused by an assertion, or that returned `false`;
 * - an `Error` that the test file itself made. An error of a subclass is the code's or the engine's; one that was made
 *   in a support file is a wait that ended in vain.
 *
 * A time-out is none of these, whoever reports it.
 *
 * @param testFile absolute path of the test
 */
export function isAssertion(error: ReportedError, testFile: string): boolean {
  if (/^(?:Test|Hook) timed out in /.test(error.message)) return false
  if (error.name === 'AssertionError') return true
  if (error.message === 'Property failed by returning false') return true
  if (/^Property failed after \d+ tests\n/.test(error.message))
    return error.cause !== undefined && isAssertion(error.cause, testFile)
  const [frame = ''] = error.stack.split('\n').filter((line) => /^\s+at /.test(line))
  return (
    error.name === 'Error' && new RegExp(`[ (](?:file://)?${escaped(testFile)}:\\d+:\\d+\\)?$`).test(frame)
  )
}

function named(run: VitestRun, name: string) {
  const { report, output } = run
  if (report === undefined) return `vitest did not come to its end: ${output.trim().slice(-600)}`
  const [error] = report.loadErrors
  if (error !== undefined) return `the test file could not be loaded: ${said(error)}`
  const tests = report.tests.filter((test) => test.name === name)
  const [test] = tests
  if (test === undefined) return 'no test has this name'
  return tests.length === 1 ? { test, report } : `${tests.length} tests have this name`
}

function said({ name, message }: ReportedError): string {
  return `${name}: ${message.split('\n').slice(0, 4).join(' ')}`.slice(0, 300)
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
