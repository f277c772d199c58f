import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** Every test that the threat table names: `file` and the titles behind it, up to the next file. */
function namedTests(): readonly { readonly file: string; readonly title: string }[] {
  const rows = readFileSync('SECURITY.md', 'utf8').split('\n')
  const table = rows.filter((row) => row.startsWith('| ') && row.includes('`test/'))
  return table.flatMap((row) => {
    const cell = row.split(' | ').at(-1)?.replace(/ \|$/, '') ?? ''
    return cell.split(/(?=`test\/)/).flatMap((reference) => {
      const [, file = '', titles = ''] = /^`(test\/[^`]+)` (.*?);?\s*$/.exec(reference) ?? []
      return titles.split('; ').map((title) => ({ file, title }))
    })
  })
}

describe('the threat table of SECURITY.md', () => {
  it('names tests that exist', () => {
    const named = namedTests()
    expect(named.length).toBeGreaterThan(30)
    const missing = named.filter(
      ({ file, title }) => !existsSync(file) || !readFileSync(file, 'utf8').includes(title),
    )
    expect(missing).toEqual([])
  })

  it('leaves no row without a test', () => {
    const text = readFileSync('SECURITY.md', 'utf8')
    const section = text.slice(text.indexOf('## Threats'), text.indexOf('## What is not protected'))
    const rows = section.split('\n').filter((row) => row.startsWith('|') && !/^\|[-|]+\|$/.test(row))
    for (const row of rows.slice(1)) expect(row).toContain('`test/')
  })
})
