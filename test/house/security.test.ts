import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { checkDefences } from '../../scripts/defences/check.ts'
import { readList } from '../../scripts/defences/list.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))

describe('the threat table of SECURITY.md', () => {
  it('is the one of the list of defences, in which every text to take out occurs once', () => {
    const lines: string[] = []
    checkDefences(repository, (line) => lines.push(line))
    expect(lines).toEqual([expect.stringMatching(/^\d+ threats, \d+ defences$/)])
  })

  it('shows nearly every threat by a test, and argues the others', () => {
    const { threats, rows } = readList(repository)
    const shown = threats.filter(({ id }) => rows.some(({ threat }) => threat === id))
    expect(threats.length).toBeGreaterThan(60)
    expect(threats.length - shown.length).toBeLessThan(5)
  })
})
