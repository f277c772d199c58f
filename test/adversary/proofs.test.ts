import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Scratch } from '../../scripts/defences/scratch.ts'
import { PROOFS, prove } from './proofs.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Those that are seen in a few schedules; `npm run adversary -- --prove` does them all. */
const QUICK = PROOFS.filter(({ within }) => within <= 4)

describe('the adversary', () => {
  let scratch: Scratch

  beforeAll(() => {
    scratch = new Scratch(ROOT)
  })

  afterAll(() => scratch.remove())

  it.each(PROOFS)('can be without this defence: $defence', ({ file, takeOut, putIn }) => {
    expect(readFileSync(`${ROOT}/${file}`, 'utf8').split(takeOut)).toHaveLength(2)
    expect(putIn).not.toBe(takeOut)
  })

  it.each(QUICK)(
    'finds out within $within schedules that a defence is missing: $defence',
    (proof) => {
      expect(prove(proof, scratch)).toContain('fails: Violation')
    },
    600_000,
  )
})
