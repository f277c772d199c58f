import { printable } from '../../base/printable.ts'

/** What a command talks to. Tests pass their own. */
export interface Terminal {
  /** Writes a line of data to standard output. */
  data(line: string): void
  /**
   * Writes to standard output as it is, and resolves when there is room for more.
   *
   * @throws OutputClosed when nobody reads any more
   */
  write(data: Uint8Array | string): Promise<void>
  /** Whether a person sees the data, and no file or program. */
  readonly showsData: boolean
  /** Writes a line for people to standard error. */
  say(line: string): void
  /** Draws a line at the end of standard error, over the one before; absent where no person sees it. */
  redraw?(line: string): void
  readonly input: Input
  readonly env: Readonly<Record<string, string | undefined>>
  /** Resolves when the user or the system asks this process to end. */
  interrupted(): Promise<void>
}

/** Standard input. */
interface Input {
  /** Whether a person types it. */
  readonly isTyped: boolean
  read(): AsyncIterable<Uint8Array>
}

/** Whoever read the standard output has seen enough, as `head` does. That is no failure. */
export class OutputClosed extends Error {}

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
