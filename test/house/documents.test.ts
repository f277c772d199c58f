import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as limits from '../../src/base/limits.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const DOCUMENTS = [
  'SPEC.md',
  'README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'docs/operate.md',
  'bench/README.md',
]

const read = (path: string): string => readFileSync(join(repository, path), 'utf8')

describe('SPEC', () => {
  const table = read('SPEC.md').split('### Protocol limits\n')[1]?.split('\n### ')[0] ?? ''
  const rows = [...table.matchAll(/^\| `([A-Z_]+)` \| ([\d,]+) \|/gm)].map(([, name = '', value = '']) => ({
    name,
    value: Number(value.replaceAll(',', '')),
  }))

  it('states each limit as the code has it', () => {
    expect(rows.length).toBeGreaterThan(80)
    const known = new Map<string, unknown>(Object.entries(limits))
    expect(rows.map(({ name, value }) => [name, value])).toEqual(
      rows.map(({ name }) => [name, known.get(name)]),
    )
  })

  it('names no limit that it does not state, but those of MCP', () => {
    const names = new Set(rows.map(({ name }) => name))
    const named = read('SPEC.md').matchAll(
      /`((?:MAX|MIN|DEFAULT)_[A-Z_]+|[A-Z]+(?:_[A-Z]+)*_(?:MS|BYTES|PER_SECOND))`/g,
    )
    const unknown = [...named]
      .map(([, name = '']) => name)
      .filter((name) => !names.has(name) && !name.includes('MCP'))
    expect([...new Set(unknown)]).toEqual([])
  })
})

describe.each(DOCUMENTS)('the links of %s', (path) => {
  it('lead to files and headings that are there', () => {
    const links = [...read(path).matchAll(/\]\((?!https?:)([^)\s#]*)(#[^)\s]+)?\)/g)]
    const broken = links.flatMap(([link, file = '', anchor]) => {
      const target = file === '' ? path : join(dirname(path), file)
      if (!existsSync(join(repository, target))) return [link]
      return anchor === undefined || anchorsOf(read(target)).has(anchor) ? [] : [link]
    })
    expect(broken).toEqual([])
  })
})

/** The anchors of headings, as code hosts make them. */
function anchorsOf(text: string): ReadonlySet<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
      const words = heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      return `#${words.replaceAll(' ', '-')}`
    }),
  )
}
