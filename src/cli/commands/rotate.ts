import type { Command } from 'commander'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { registerRotateNow } from './rotate-now.ts'
import { registerRotateStatus } from './rotate-status.ts'

/** Registers `subrosa rotate` with its commands, of which each has a file of its own. */
export function registerRotate(program: Command, terminal: Terminal): void {
  const rotate = program.command('rotate').description('the epochs of a realm')
  addExamples(rotate, 'subrosa rotate status', 'subrosa rotate now')
  registerRotateNow(rotate, terminal)
  registerRotateStatus(rotate, terminal)
}
