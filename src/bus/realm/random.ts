import type { CryptoEngine } from '../../crypto/engine.ts'

const STEPS = 2 ** 16

/** A random time from 0 up to `spreadMs`, in ms, so that not all agents of a realm do at once what all have a reason for. */
export function randomDelay(engine: Pick<CryptoEngine, 'randomBytes'>, spreadMs: number): number {
  const [high = 0, low = 0] = engine.randomBytes(2)
  return Math.floor((spreadMs * (high * 256 + low)) / STEPS)
}
