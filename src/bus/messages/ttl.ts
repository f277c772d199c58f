import { MAX_TTL_MS } from '../../base/limits.ts'

/** @throws RangeError for anything but a whole number of milliseconds that a message can carry, or nothing */
export function assertTtl(ttl: number | undefined): void {
  if (ttl === undefined) return
  if (!Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TTL_MS)
    throw new RangeError(`ttl must be a whole number of milliseconds from 1 to ${MAX_TTL_MS}`)
}
