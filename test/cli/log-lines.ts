/** A line of `--log json`. */
export interface LogLine {
  readonly level: string
  readonly event: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** The log lines of a standard error, each of which must be JSON, and what the command itself has said. */
export function readStderr(stderr: string): {
  readonly log: readonly LogLine[]
  readonly said: readonly string[]
} {
  const lines = stderr.split('\n').filter((line) => line !== '')
  const isLog = (line: string): boolean => !line.startsWith('subrosa: ')
  return {
    log: lines.filter(isLog).map((line) => JSON.parse(line) as LogLine),
    said: lines.filter((line) => !isLog(line)),
  }
}

/** Whether a log has a line of this event, with these fields, in what was said so far. The last line may be cut. */
export function hasLogged(said: readonly string[], event: string, fields: object = {}): boolean {
  const { log } = readStderr(
    said
      .join('\n')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .join('\n'),
  )
  return log.some(
    (line) => line.event === event && Object.entries(fields).every(([name, value]) => line[name] === value),
  )
}
