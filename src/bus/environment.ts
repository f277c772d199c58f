import { type CryptoEngine, chooseEngine, type EngineName } from '../crypto/engine.ts'

/**
 * The engine that an option asks for, else the one that the environment variable `SUBROSA_ENGINE` names, else the
 * fastest that loads.
 *
 * @throws SubrosaError ERR_ENGINE
 */
export function engineFor(option: EngineName | undefined): CryptoEngine {
  // Browsers have no process.
  const environment = typeof process === 'undefined' ? undefined : process.env['SUBROSA_ENGINE']
  return chooseEngine(option ?? environment)
}
