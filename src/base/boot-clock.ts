import { uptime } from 'node:os'

const MS_PER_SECOND = 1000

/**
 * Milliseconds since the machine started, counting the time in which it was suspended, in steps of 10 ms. A call costs
 * 6 µs. `undefined` on systems other than Linux: there nobody has seen whether it goes on in a suspended machine.
 */
export function bootMs(): number | undefined {
  return process.platform === 'linux' ? uptime() * MS_PER_SECOND : undefined
}
