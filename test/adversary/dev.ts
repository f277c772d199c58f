import fc from 'fast-check'
import { startTestServer } from '../support/server.ts'
import { report } from './report.ts'
import { runSchedule } from './run-schedule.ts'
import { schedules } from './schedule.ts'
import { Tally } from './tally.ts'

const [from, n, side] = process.argv.slice(2).map(Number)
const server = await startTestServer()
const tally = new Tally()
const kinds = new Map<string, number[]>()
const t0 = performance.now()
let next = 0
const c0 = process.cpuUsage()
await Promise.all(
  Array.from({ length: side! }, async () => {
    while (next < n!) {
      const seed = from! + next++
      const [s] = [fc.sample(schedules, { seed, numRuns: 1 })[0]!]
      try {
        await runSchedule(s, server.port, tally)
      } catch (e) {
        for (const line of new Set(
          String((e as Error).message)
            .split('\n')
            .map((l) =>
              l
                .replace(/world\d+\./g, '')
                .replace(/\b0000\d+/g, '#')
                .replace(/(subject) of .*/, '$1'),
            ),
        )) {
          kinds.set(line, [...(kinds.get(line) ?? []), seed])
        }
      }
    }
  }),
)
const c = process.cpuUsage(c0)
await server.stop()
console.log(report({ tally, failure: undefined, complaint: undefined, ms: performance.now() - t0 }, from!))
console.log('cpu ms per schedule', ((c.user + c.system) / 1000 / n!).toFixed(0))
for (const [k, seeds] of [...kinds].sort((a, b) => b[1].length - a[1].length).slice(0, 60))
  console.log(seeds.length, k.slice(0, 200), seeds.slice(0, 5).join(','))
console.log('quiets', (globalThis as any).__q, 'passes', (globalThis as any).__p)
console.log((globalThis as any).__ph)
