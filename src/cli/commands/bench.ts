import type { Command } from 'commander'
import { registerBenchPub } from '../bench/pub.ts'
import { registerBenchRequest } from '../bench/request.ts'
import { registerBenchSub } from '../bench/sub.ts'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** Registers `subrosa bench` with its commands, of which each has a file of its own. */
export function registerBench(program: Command, terminal: Terminal): void {
  const bench = program
    .command('bench')
    .description('measure on your own broker how fast sealed messages are, and plain ones')
  addExamples(
    bench,
    'subrosa bench sub orders.bench --as billing',
    'subrosa bench pub orders.bench --as orders',
    'subrosa bench request orders.bench --as orders',
  )
  registerBenchPub(bench, terminal)
  registerBenchSub(bench, terminal)
  registerBenchRequest(bench, terminal)
}
