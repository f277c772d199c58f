/** An error as vitest reports it. */
export type ReportedError = {
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly cause?: ReportedError | undefined
}

/** One test of the file, also those that did not run. */
type ReportedTest = {
  /** Titles of its `describe` blocks and its own, joined by spaces. */
  readonly name: string
  readonly state: 'passed' | 'failed' | 'skipped' | 'pending'
  readonly errors: readonly ReportedError[]
}

/** What a run of vitest found in one test file. */
export type VitestReport = {
  /** Why the file could not be loaded: a failed import or transform, an error outside of its tests while they were collected. */
  readonly loadErrors: readonly ReportedError[]
  readonly tests: readonly ReportedTest[]
  /** Errors that vitest could not assign to a test. */
  readonly unhandled: readonly ReportedError[]
}
