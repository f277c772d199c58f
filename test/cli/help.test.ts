import { describe, expect, test } from 'vitest'
import { run } from './run.ts'

const COMMANDS = [
  [],
  ['init'],
  ['agent'],
  ['agent', 'add'],
  ['agent', 'list'],
  ['agent', 'revoke'],
  ['use'],
  ['identity'],
  ['identity', 'new'],
  ['identity', 'show'],
  ['pin'],
  ['keys'],
  ['inspect'],
  ['pub'],
  ['sub'],
  ['request'],
  ['reply'],
  ['mcp'],
  ['mcp', 'serve'],
  ['mcp', 'connect'],
  ['mcp', 'tools'],
  ['mcp', 'ls'],
  ['mcp', 'ping'],
  ['mcp', 'config'],
  ['bench'],
  ['bench', 'pub'],
  ['bench', 'sub'],
  ['bench', 'request'],
  ['plan'],
  ['plan', 'show'],
  ['plan', 'renew'],
  ['plan', 'set'],
  ['plan', 'replace-rotator'],
  ['plan', 'publish'],
  ['rotate'],
  ['rotate', 'now'],
  ['rotate', 'status'],
  ['rotator'],
  ['rotator', 'begin'],
  ['demo'],
  ['completion'],
]

describe('help', () => {
  test.each(COMMANDS)('of "%s %s" is data, and has an example that names the command', async (...command) => {
    const { code, stdout, stderr } = await run(...command, '--help')
    expect(code).toBe(0)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/\nExamples?:\n {2}\$ subrosa/)
    expect(stdout).toContain(`$ ${['subrosa', ...command].join(' ')}`)
  })

  test('covers every command that the program lists', async () => {
    const listed = async (...command: string[]) => {
      const { stdout } = await run(...command, '--help')
      const [, section = ''] = stdout.split('Commands:\n')
      const names = section.split('\n\n')[0]?.matchAll(/^ {2}([a-z-]+)/gm) ?? []
      return [...names].map(([, name = '']) => [...command, name]).filter((path) => path.at(-1) !== 'help')
    }
    const groups = await Promise.all(
      [[], ['agent'], ['identity'], ['mcp'], ['bench'], ['plan'], ['rotate'], ['rotator']].map((group) =>
        listed(...group),
      ),
    )
    const found = groups.flat()
    expect(found.map(String).sort()).toEqual(
      COMMANDS.filter((command) => command.length > 0)
        .map(String)
        .sort(),
    )
  })

  test('is that of the command that stands first, by its other name too, whatever other words are names of commands', async () => {
    const { stdout: all } = await run('--help')
    const aliases = [...all.matchAll(/^ {2}([a-z]+)\|([a-z]+)/gm)].flatMap(([, name = '', alias = '']) => [
      [name, alias],
    ])
    expect(aliases.length).toBe(3)
    for (const [name = '', alias = ''] of aliases)
      expect((await run(alias, 'keys', 'demo', '--help')).stdout).toContain(
        `Usage: subrosa ${name}|${alias} `,
      )
  })

  test('says the version', async () => {
    expect((await run('--version')).stdout).toMatch(/^\d+\.\d+\.\d+/)
  })
})

describe('a usage error', () => {
  test.each([
    [['bogus'], 'subrosa --help'],
    [['init', '--bogus'], 'subrosa init --help'],
    [['init', '--port', '70000'], 'subrosa init --help'],
    [['init', '--port', 'x'], 'subrosa init --help'],
    [['agent', 'add'], 'subrosa agent add --help'],
    [['agent', 'add', 'a.b'], 'subrosa agent add --help'],
    [['agent', 'add', '_'], 'subrosa agent add --help'],
    [['agent', 'add', 'x', '--pub', 'a b'], 'subrosa agent add --help'],
    [['agent', 'add', 'x', '--role', 'king'], 'subrosa agent add --help'],
    [['agent', 'add', 'x', '--expires', '90'], 'subrosa agent add --help'],
    [['agent', 'add', 'x', '--max-instances', '0'], 'subrosa agent add --help'],
    [['agent', 'add', 'x', '--mcp-use', 'a.b'], 'subrosa agent add --help'],
    [['agent', 'revoke'], 'subrosa agent revoke --help'],
    [['identity', 'show'], 'subrosa identity show --help'],
    [['identity', 'show', 'x', '--passphrase', 'secret'], 'subrosa identity show --help'],
    [['identity', 'new'], 'subrosa identity new --help'],
    [['identity', 'new', 'a.b'], 'subrosa identity new --help'],
    [['identity', 'new', 'x', '--renew', '--key', 'file:x'], 'subrosa identity new --help'],
    [['pin', 'x'], 'subrosa pin --help'],
    [['pin', 'a.b', 'U'], 'subrosa pin --help'],
    [['pin', 'x', 'U', '--sub', 'a b'], 'subrosa pin --help'],
    [['keys', 'a.b'], 'subrosa keys --help'],
    [['keys', '--subject', 'orders.*'], 'subrosa keys --help'],
    [['inspect', 'a', 'b'], 'subrosa inspect --help'],
    [['bench', 'pub', 'orders.*'], 'subrosa bench pub --help'],
    [['bench', 'sub', 'orders.x', '--wait', 'x'], 'subrosa bench sub --help'],
    [['bench', 'request', 'x', '--size', '1XB'], 'subrosa bench request --help'],
    [['use', 'a', 'b'], 'subrosa use --help'],
    [['mcp', 'config', 'emacs', 'files'], 'subrosa mcp config --help'],
    [['mcp', 'config', 'claude'], 'subrosa mcp config --help'],
    [['mcp', 'config', 'claude', 'a.b'], 'subrosa mcp config --help'],
    [['mcp', 'config', 'claude', 'files', '--refuse', 'tools'], 'subrosa mcp config --help'],
    [['rotate', 'status', '--timeout', 'soon'], 'subrosa rotate status --help'],
    [['rotator', '--as', 'a.b'], 'subrosa rotator --help'],
    [['rotator', '--epoch', '1h'], 'subrosa rotator --help'],
    [['rotator', 'begin', '--as', 'a.b'], 'subrosa rotator begin --help'],
    [['init', '--rotators', '0'], 'subrosa init --help'],
    [['init', '--epoch', 'soon'], 'subrosa init --help'],
    [['agent', 'revoke', 'x', '--timeout', 'soon'], 'subrosa agent revoke --help'],
    [['plan', 'replace-rotator'], 'subrosa plan replace-rotator --help'],
    [['plan', 'renew', '--plan-for', 'long'], 'subrosa plan renew --help'],
    [['plan', 'publish', '--timeout', 'soon'], 'subrosa plan publish --help'],
    [['rotate', 'now', '--timeout', 'soon'], 'subrosa rotate now --help'],
  ])('as in %j ends with 2, on standard error alone', async (argv, help) => {
    const { code, stdout, stderr } = await run(...argv)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^subrosa: error: .+\nsubrosa: hint: see: .+$/)
    expect(stderr).toContain(`see: ${help}`)
  })

  test.each([[[]], [['agent']], [['identity']], [['mcp']], [['bench']], [['plan']], [['rotate']]])(
    'as in %j without a command shows the help',
    async (argv) => {
      const { code, stdout, stderr } = await run(...argv)
      expect(code).toBe(2)
      expect(stdout).toBe('')
      expect(stderr).toContain('Commands:')
    },
  )
})
