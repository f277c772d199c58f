import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { parseArguments, UsageError } from '../../bench/arguments.ts'

const SUITES = { measured: ['pipe', 'seal', 'mcp'], compared: ['pipe', 'seal'] }
const parse = (...args: readonly string[]) => parseArguments(args, SUITES)

describe('the command line of the benchmark', () => {
  it('asks for every suite by default', () => {
    expect(parse()).toEqual({ quick: false, suites: ['pipe', 'seal', 'mcp'] })
  })

  it('takes all of its options', () => {
    expect(parse('--quick', '--only', 'seal,mcp', '--json', 'a', '--charts', 'b', '--profile', 'c')).toEqual({
      quick: true,
      suites: ['seal', 'mcp'],
      json: 'a',
      charts: 'b',
      profile: 'c',
    })
  })

  it('compares with a commit, in the suites that can be compared', () => {
    expect(parse('--against', 'main~2', '--quick')).toEqual({
      against: 'main~2',
      quick: true,
      suites: ['pipe', 'seal'],
    })
    expect(parse('--against=main', '--only', 'seal')).toMatchObject({ against: 'main', suites: ['seal'] })
  })

  it.each([
    {
      name: 'a suite that is not there',
      args: ['--only', 'pipe,nothing'],
      says: 'there is no suite nothing; there are pipe, seal, mcp',
    },
    {
      name: 'a suite that cannot be compared',
      args: ['--against', 'main', '--only', 'mcp'],
      says: '--against does not compare mcp; it compares pipe, seal',
    },
    { name: 'no commit', args: ['--against'], says: '--against' },
    { name: 'an option in place of the commit', args: ['--against', '--quick'], says: '--against' },
    { name: 'an empty commit', args: ['--against='], says: '--against needs a commit, a branch or a tag' },
    {
      name: 'charts of a comparison',
      args: ['--against', 'main', '--charts', 'x'],
      says: '--charts does not go with --against',
    },
    {
      name: 'profiles of a comparison',
      args: ['--against', 'main', '--profile', 'x'],
      says: '--profile does not go with --against',
    },
    { name: 'an unknown option', args: ['--fast'], says: '--fast' },
    { name: 'a word that belongs to no option', args: ['main'], says: 'main' },
  ])('refuses $name', ({ args, says }) => {
    expect(() => parse(...args)).toThrow(UsageError)
    expect(() => parse(...args)).toThrow(says)
  })
})

describe('npm run bench -- --against', () => {
  it('says which commit it does not know, and what git says', { timeout: 60_000 }, () => {
    const args = ['--import', 'tsx', 'bench/run.ts', '--against', 'no-such-branch']
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(stderr).toMatch(
      /^bench: error: no-such-branch is not a commit, branch or tag of this repository: /,
    )
    expect(stderr).toMatch(/\nfatal: /)
    expect(stdout).not.toContain('sitting')
    expect(status).toBe(1)
  })
})
