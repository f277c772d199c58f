import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkDefences } from '../../scripts/defences/check.ts'
import { runCommand } from '../../scripts/defences/command.ts'
import { readList } from '../../scripts/defences/list.ts'
import { shuffled } from '../../scripts/defences/shuffled.ts'
import { writeTable } from '../../scripts/defences/table.ts'
import { isAssertion } from '../../scripts/defences/verdict.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))

const SOURCE = `export function take(value: number): number {
  if (value < 0) throw new RangeError('negative')
  return value
}

export function first(): number {
  const one = 1
  return one
}

export const limit = 5
export const word: string = 'word'

export function settle(): Promise<void> {
  return Promise.resolve()
}

export function stray(): void {
  // nothing strays
}
`

const TEST = `import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { first, limit, settle, stray, take, word } from '../src/code.ts'

describe('the code', () => {
  afterEach(() => {
    if (limit > 7) throw new TypeError('not left in order')
  })
  it('refuses what is negative (all of it)', () => expect(() => take(-1)).toThrow(RangeError))
  it('takes a number', () => expect(take(1)).toBe(1))
  it('settles', () => settle())
  it('has a name twice', () => expect(limit).toBe(5))
  it('has a name twice', () => expect(limit).toBe(5))
  it.fails('fails', () => expect(limit).toBe(5))
  it('is broken', () => expect(limit).toBe(6))
  it('throws what the code throws', () => void take(1))
  it('holds for every number', () => fc.assert(fc.property(fc.nat(), () => { expect(limit).toBe(5) })))
  it('throws an error of its own', () => {
    if (word !== 'word') throw new Error('another word')
  })
  it('is left in order', () => expect(limit).toBe(5))
  it('sees nothing stray', async () => {
    stray()
    await new Promise((resolve) => setTimeout(resolve, 20))
  })
})
`

const CONFIG = `export default {
  test: {
    testTimeout: 400,
    projects: [{ extends: true, test: { name: 'together', include: ['test/**/*.test.ts'] } }],
  },
}
`

/** Each run of the command starts vitest several times. */
const SLOW = { timeout: 240_000 }

const REFUSES = 'the code refuses what is negative (all of it)'
const CHECK = "  if (value < 0) throw new RangeError('negative')\n"

/** A project with one source, one test, and a list of what is given. */
class TinyProject {
  readonly root = mkdtempSync(join(tmpdir(), 'subrosa-tiny-'))

  constructor() {
    symlinkSync(join(repository, 'node_modules'), join(this.root, 'node_modules'), 'dir')
    this.write('package.json', '{ "type": "module" }')
    this.write('tsconfig.json', readFileSync(join(repository, 'tsconfig.json'), 'utf8'))
    this.write('tsconfig.build.json', readFileSync(join(repository, 'tsconfig.build.json'), 'utf8'))
    this.write('vitest.config.ts', CONFIG)
    this.write('src/code.ts', SOURCE)
    this.write('test/code.test.ts', TEST)
    this.write(
      'SECURITY.md',
      '<!-- The threats, from test/defences: npm run defences -- --table -->\n\n<!-- End of the threats. -->\n',
    )
    this.write('test/defences/threats.json', '[]')
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true })
    writeFileSync(join(this.root, path), text)
  }

  /** Replaces the list by these rows; what they do not say is that of a row which is shown. */
  list(rows: readonly Readonly<Record<string, string>>[]): void {
    const whole = { file: 'src/code.ts', takeOut: CHECK, putIn: '', test: 'test/code.test.ts', name: REFUSES }
    this.write('test/defences/rows.json', JSON.stringify(rows.map((row) => ({ ...whole, ...row }))))
  }

  /** Runs the command. */
  async run(choice: Partial<Parameters<typeof runCommand>[1]> = {}) {
    const lines: string[] = []
    const isShown = await runCommand(this.root, { seed: 1, ...choice }, (line) => lines.push(line))
    return { isShown, said: lines.join('\n') }
  }

  remove(): void {
    rmSync(this.root, { recursive: true })
  }
}

describe('npm run defences', () => {
  const project = new TinyProject()
  let said = ''
  let isShown = true

  /** What the command said of one row. */
  function saidOf(row: string): string {
    const lines = said.split('\n')
    const at = lines.findIndex((line) => line.includes(`rows: ${row} (`))
    const isOne = lines[at]?.startsWith('shown') ?? true
    return lines.slice(at, isOne ? at + 1 : at + 3).join('\n')
  }

  beforeAll(async () => {
    project.write('test/unloadable.test.ts', "import '../src/nowhere.ts'\n")
    project.write(
      'test/support/wait.ts',
      "export const wait = () => {\n  throw new Error('waited in vain')\n}\n",
    )
    project.write(
      'test/waits.test.ts',
      "import { it } from 'vitest'\nimport { limit } from '../src/code.ts'\nimport { wait } from './support/wait.ts'\nit('waits', () => {\n  if (limit !== 5) wait()\n})\n",
    )
    project.list([
      { row: 'a check' },
      {
        row: 'a property',
        takeOut: 'limit = 5',
        putIn: 'limit = 7',
        name: 'the code holds for every number',
      },
      {
        row: 'a word',
        takeOut: "'word'",
        putIn: "'other'",
        name: 'the code throws an error of its own',
      },
      {
        row: 'a limit, whose loss a hook finds too,',
        takeOut: 'limit = 5',
        putIn: 'limit = 8',
        name: 'the code is left in order',
      },
      {
        row: 'a test that only a hook fails',
        takeOut: 'limit = 5',
        putIn: 'limit = 8',
        name: 'the code takes a number',
      },
      { row: 'an anchor that occurs twice', takeOut: 'one' },
      { row: 'an anchor that does not occur', takeOut: 'nowhere' },
      { row: 'a replacement that changes nothing', putIn: CHECK },
      { row: 'a test that does not look', name: 'the code takes a number' },
      {
        row: 'a test that hangs',
        takeOut: 'return Promise.resolve()',
        putIn: 'return new Promise(() => undefined)',
        name: 'the code settles',
      },
      {
        row: 'a replacement with an error of types',
        takeOut: 'limit = 5',
        putIn: "limit: number = 'x'",
        name: 'the code holds for every number',
      },
      {
        row: 'a replacement that cannot be parsed',
        takeOut: 'limit = 5',
        putIn: 'limit = (',
        name: 'the code holds for every number',
      },
      {
        row: 'a source that cannot be loaded',
        takeOut: 'limit = 5',
        putIn: "limit = 5\nif (limit === 5) throw new Error('not today')",
      },
      { row: 'a test that is not there', name: 'the code refuses' },
      { row: 'a name of two tests', name: 'the code has a name twice' },
      { row: 'a test that never passes', name: 'the code is broken' },
      {
        row: 'an error of the code',
        takeOut: 'return value',
        putIn: "throw new TypeError('of the code')",
        name: 'the code throws what the code throws',
      },
      {
        row: 'an error beside the test',
        takeOut: '// nothing strays',
        putIn: "void Promise.reject(new Error('stray'))",
        name: 'the code sees nothing stray',
      },
      { row: 'a file that cannot be loaded', test: 'test/unloadable.test.ts' },
      {
        row: 'a wait in vain',
        takeOut: 'limit = 5',
        putIn: 'limit = 7',
        test: 'test/waits.test.ts',
        name: 'waits',
      },
    ])
    const result = await project.run()
    said = result.said
    isShown = result.isShown
  }, SLOW.timeout)

  afterAll(() => project.remove())

  it.each(['a check', 'a property', 'a word', 'a limit, whose loss a hook finds too,'])(
    'shows %s whose test fails by an assertion without it',
    (row) => {
      expect(saidOf(row)).toMatch(/^shown/)
    },
  )

  it.each([
    ['an anchor that occurs twice', 'occurs 2 times in src/code.ts; it must occur exactly once'],
    ['an anchor that does not occur', 'occurs 0 times in src/code.ts'],
    ['a replacement that changes nothing', 'the replacement is the text that it replaces'],
    ['a test that does not look', 'the test ends as passed without the defence'],
    ['a test that only a hook fails', 'not by an assertion: TypeError: not left in order'],
    ['a test that hangs', 'not by an assertion: Error: Test timed out in 400ms'],
    ['a replacement with an error of types', 'it does not compile without the defence: TS2322'],
    ['a replacement that cannot be parsed', 'it does not compile without the defence: TS1109'],
    ['a source that cannot be loaded', 'the test file could not be loaded: Error: not today'],
    ['a test that is not there', 'no test has this name'],
    ['a name of two tests', '2 tests have this name'],
    ['a test that never passes', 'the test does not pass with the defence in place: AssertionError'],
    ['an error of the code', 'not by an assertion: TypeError: of the code'],
    ['an error beside the test', 'the only error is outside of the test: Error: stray'],
    ['a file that cannot be loaded', 'the test file could not be loaded'],
    ['a wait in vain', 'not by an assertion: Error: waited in vain'],
  ])('does not accept %s', (row, reason) => {
    expect(saidOf(row)).toMatch(/^NOT SHOWN/)
    expect(saidOf(row)).toContain(reason)
  })

  it('fails when one row is not shown, and counts those that are', () => {
    expect(isShown).toBe(false)
    expect(said).toContain('defences: 4 of 20 shown')
  })

  it('changes nothing in the repository but the file of what was seen', () => {
    expect(readFileSync(join(project.root, 'src/code.ts'), 'utf8')).toBe(SOURCE)
    const seen = JSON.parse(readFileSync(join(project.root, 'test/defences/seen.json'), 'utf8'))
    expect(Object.keys(seen)).toHaveLength(4)
  })

  it('runs again only the rows of which the source, the test or the row has changed', SLOW, async () => {
    const { said: first } = await project.run({ row: 'a check' })
    expect(first).toContain('1 of 1 shown')
    project.list([
      { row: 'a check in other words' },
      { row: 'a new row', putIn: '  if (value < 0) return 0\n' },
    ])
    expect((await project.run()).said).toMatch(
      /^1 of 2 rows .*\nshown {5}rows: a new row.*\n\ndefences: 1 of 1 shown$/,
    )
    expect((await project.run()).said).toMatch(/^0 of 2 rows/)
    project.write('test/code.test.ts', `${TEST}\n`)
    const late = await project.run({ ci: true, ciLimitMs: 0 })
    expect(late).toMatchObject({ isShown: false })
    expect(late.said).toContain('2 rows did not fit into the time, 2 of them changed')
  })

  it('writes for CI nothing down, and prints the seed of what it takes at random', SLOW, async () => {
    project.list([{ row: 'a check' }])
    await project.run()
    const path = join(project.root, 'test/defences/seen.json')
    const before = readFileSync(path, 'utf8')
    project.list([{ row: 'a check' }, { row: 'a false one', name: 'the code takes a number' }])
    const { isShown: isAllShown, said: output } = await project.run({ ci: true, seed: 7 })
    expect(isAllShown).toBe(false)
    expect(output).toMatch(
      /^1 of 2 rows.*\nand 10 at random, --seed 7\nNOT SHOWN rows: a false one(?:.*\n)*shown {5}rows: a check/,
    )
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  it('refuses a text that no row has', async () => {
    await expect(project.run({ row: 'nothing of the kind' })).rejects.toThrow(
      'no row of test/defences has the text',
    )
  })
})

describe('what counts as an assertion', () => {
  const test = '/copy/test/a.test.ts'
  const error = {
    name: 'Error',
    message: 'no',
    stack: `Error: no\n    at ${test}:3:9\n    at /copy/src/b.ts:1:1`,
  }

  it.each([
    { what: 'what expect throws', given: { ...error, name: 'AssertionError' }, expected: true },
    { what: 'an error that the test itself made', given: error, expected: true },
    {
      what: 'an error that a function of the test made',
      given: { ...error, stack: `Error: no\n    at look (file://${test}:3:9)` },
      expected: true,
    },
    { what: 'an error of the engine in the test', given: { ...error, name: 'TypeError' }, expected: false },
    {
      what: 'an error of the code',
      given: { ...error, stack: 'Error: no\n    at /copy/src/b.ts:1:1' },
      expected: false,
    },
    {
      what: 'an error of another test file',
      given: { ...error, stack: 'Error: no\n    at /copy/test/a.test.ts.ts:1:1' },
      expected: false,
    },
    {
      what: 'a time-out of the test',
      given: { ...error, message: 'Test timed out in 5000ms.' },
      expected: false,
    },
    {
      what: 'a time-out of a hook',
      given: { ...error, message: 'Hook timed out in 5000ms.' },
      expected: false,
    },
    {
      what: 'a property that an assertion ended',
      given: {
        ...error,
        stack: '',
        message: 'Property failed after 3 tests\n{ seed: 1 }',
        cause: { ...error, name: 'AssertionError' },
      },
      expected: true,
    },
    {
      what: 'a property that an error of the code ended',
      given: {
        ...error,
        stack: '',
        message: 'Property failed after 3 tests\n{ seed: 1 }',
        cause: { ...error, name: 'SubrosaError' },
      },
      expected: false,
    },
    {
      what: 'a property that returned false',
      given: {
        ...error,
        stack: '',
        message: 'Property failed after 3 tests\n{ seed: 1 }',
        cause: { ...error, stack: '', message: 'Property failed by returning false' },
      },
      expected: true,
    },
    {
      what: 'a property that was interrupted',
      given: { ...error, stack: '', message: 'Property interrupted after 3 tests\n{ seed: 1 }' },
      expected: false,
    },
  ])('decides of $what: $expected', ({ given, expected }) => {
    expect(isAssertion(given, test)).toBe(expected)
  })
})

describe('the table of threats', () => {
  const project = new TinyProject()
  const threat = { id: 'negative', attacker: 'Caller', attack: 'takes | less', answer: 'it throws' }

  afterAll(() => project.remove())

  it('links to the tests of each threat, and names what is only argued and what answers none', () => {
    project.write(
      'test/defences/threats.json',
      JSON.stringify([threat, { ...threat, id: 'other', attack: 'asks', argued: 'nobody answers' }]),
    )
    project.list([
      { row: 'a check', threat: 'negative' },
      { row: 'a check of its own', putIn: '  void value\n' },
    ])
    const lines: string[] = []
    expect(checkDefences(project.root, (line) => lines.push(line))).toBe(false)
    expect(lines.join()).toMatch(/^SECURITY.md: the table is not what the list says/)
    writeTable(project.root, readList(project.root))
    expect(checkDefences(project.root, (line) => lines.push(line))).toBe(true)
    expect(lines.at(-1)).toBe('2 threats, 2 defences')
    expect(
      readFileSync(join(project.root, 'SECURITY.md'), 'utf8'),
    ).toBe(`<!-- The threats, from test/defences: npm run defences -- --table -->

### Caller

| Attack | What happens | Shown by |
| --- | --- | --- |
| takes \\| less | it throws | [code](test/code.test.ts) |
| asks | it throws | argued, not shown: nobody answers |

### Further defences

| Defence | Shown by |
| --- | --- |
| a check of its own | [code](test/code.test.ts) |

<!-- End of the threats. -->
`)
  })

  it.each([
    { what: 'a threat that nothing shows', rows: [], says: 'nothing shows negative' },
    {
      what: 'a threat that is not there',
      rows: [{ threat: 'negative' }, { threat: 'other', putIn: ';' }],
      says: 'threats.json has no threat other',
    },
    {
      what: 'an anchor that is gone',
      rows: [{ threat: 'negative', takeOut: 'gone' }],
      says: 'occurs 0 times',
    },
    {
      what: 'a test file that is gone',
      rows: [{ threat: 'negative', test: 'test/gone.test.ts' }],
      says: 'test/gone.test.ts does not exist',
    },
    {
      what: 'a row that is there twice',
      rows: [{ threat: 'negative' }, {}],
      says: 'one row occurs more than once',
    },
  ])('is not believed with $what', ({ rows, says }) => {
    project.write('test/defences/threats.json', JSON.stringify([threat]))
    project.list(rows.map((row) => ({ row: 'a check', ...row })))
    const lines: string[] = []
    expect(checkDefences(project.root, (line) => lines.push(line))).toBe(false)
    expect(lines.join('\n')).toContain(says)
  })

  it('is refused where a row has a field that nobody knows, lacks one, or looks outside of src', () => {
    const refusal = (row: Readonly<Record<string, string>>) => {
      project.list([{ row: 'a check', ...row }])
      return () => readList(project.root)
    }
    expect(refusal({ puts: '' })).toThrow('rows.json, entry 1 has an unknown field "puts"')
    expect(refusal({ row: '' })).toThrow('rows.json, entry 1: "row" is empty')
    expect(refusal({ file: 'test/code.test.ts' })).toThrow('"file" is not below src/')
  })
})

describe('rows at random', () => {
  it('are the same for the same seed and others for another', () => {
    const values = Array.from({ length: 100 }, (_, i) => i)
    const orders = [1, 1, 2, 0].map((seed) => shuffled(values, seed).join())
    expect(orders[0]).toBe(orders[1])
    expect(new Set(orders).size).toBe(3)
    expect([...shuffled(values, 3)].sort((a, b) => a - b)).toEqual(values)
  })
})
