import { readFileSync } from 'node:fs'
import { chooseEngine } from '../../src/crypto/engine.ts'

/** Both engines, under the names by which they are asked for. */
export const engines = [chooseEngine('libsodium'), chooseEngine('noble')] as const

/** The JSON of a file under test/vectors. `T` says what the test relies on; the files are fixed. */
export function readVectors<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${path}`, import.meta.url), 'utf8')) as T
}

/** A file of the Wycheproof project: groups of cases, each group with parameters of its own. */
export interface Wycheproof<Group, Case> {
  readonly numberOfTests: number
  readonly testGroups: readonly (Group & { readonly tests: readonly (Case & WycheproofCase)[] })[]
}

interface WycheproofCase {
  readonly tcId: number
  readonly flags: readonly string[]
  readonly result: 'valid' | 'invalid' | 'acceptable'
}
