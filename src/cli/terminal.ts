import { printable } from './printable.ts'

/** What a command talks to. Tests pass their own. */
export interface Terminal {
  /** Writes a line of data to standard output. */
  data(line: string): void
  /** Writes a line for people to standard error. */
  say(line: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Resolves when the user or the system asks this process to end. */
  interrupted(): Promise<void>
}

const PROGRAM = 'subrosa'

/** Says what is going on. */
export function note(terminal: Terminal, message: string): void {
  sayLines(terminal, '', message)
}

/** Says what went wrong. */
export function reportError(terminal: Terminal, message: string): void {
  sayLines(terminal, 'error: ', message)
}

/** Says what to do about it. */
export function reportHint(terminal: Terminal, message: string): void {
  sayLines(terminal, 'hint: ', message)
}

function sayLines(terminal: Terminal, kind: string, message: string): void {
  for (const line of message.split('\n')) terminal.say(`${PROGRAM}: ${kind}${printable(line)}`)
}
