import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addAgent } from '../../../src/setup/agents.ts'
import { createRealm } from '../../../src/setup/realm.ts'
import { temporaryFolder } from '../../setup/running-realm.ts'
import { run, start } from '../run.ts'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let env: Record<string, string>
beforeAll(async () => {
  folder = await temporaryFolder()
  const dir = join(folder.path, 'realm')
  env = { HOME: folder.path, SUBROSA_REALM: dir }
  const realm = await createRealm({ dir })
  for (const name of ['billing', 'bob', 'orders']) await addAgent(realm, { name })
  await addAgent(await createRealm({ dir: join(folder.path, 'other') }), { name: 'stranger' })
  const contexts = join(folder.path, '.config', 'nats', 'context')
  await mkdir(contexts, { recursive: true })
  for (const name of ['dev', 'prod.eu', '$(touch x)', 'a b'])
    await writeFile(join(contexts, `${name}.json`), '{}')
})
afterAll(() => folder.remove())

/** What the last word could be. */
async function complete(...words: readonly string[]): Promise<readonly string[]> {
  const { code, stdout, stderr } = await start(['__complete', '--', ...words], env).outcome
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout === '' ? [] : stdout.split('\n')
}

describe('completion', () => {
  it('knows the commands, and not those that are hidden', async () => {
    expect(await complete('re')).toEqual(['request', 'reply'])
    expect(await complete('')).toEqual(expect.arrayContaining(['init', 'agent', 'pub', 'sub', 'completion']))
    expect(await complete('__')).toEqual([])
    expect(await complete('agent', 'l')).toEqual(['list'])
    expect(await complete('bench', 're')).toEqual(['request'])
  })

  it('knows the options of a command, also by its other name', async () => {
    expect(await complete('pub', '--to')).toEqual(['--to', '--token'])
    expect(await complete('subscribe', 'orders.>', '--raw', '--de')).toEqual(['--delta-time'])
    expect(await complete('agent', 'list', '--')).toEqual(
      expect.arrayContaining(['--json', '--realm', '--help']),
    )
    expect(await complete('init', '--as')).toEqual([])
  })

  it('knows contexts, but none whose name a shell could take for something else', async () => {
    expect(await complete('sub', 'x', '--context', '')).toEqual(['dev', 'prod.eu'])
    expect(await complete('sub', '--context=p')).toEqual(['--context=prod.eu'])
    // As bash splits it.
    expect(await complete('sub', '--context', '=', 'p')).toEqual(['prod.eu'])
    expect(await complete('sub', '--context', '=')).toEqual(['dev', 'prod.eu'])
  })

  it('knows the agents of the realm, of the folder that the line names', async () => {
    expect(await complete('pub', 'orders.new', '--as', 'b')).toEqual(['billing', 'bob'])
    expect(await complete('pub', 'orders.new', '--to', 'o')).toEqual(['orders'])
    expect(await complete('agent', 'revoke', 'o')).toEqual(['orders'])
    const other = join(folder.path, 'other')
    expect(await complete('sub', '--realm', other, '--as', '')).toEqual(['stranger'])
    expect(await complete('sub', `--realm=${other}`, '--as', '')).toEqual(['stranger'])
    expect(await complete('sub', '--realm', join(folder.path, 'none'), '--as', '')).toEqual([])
  })

  it('knows the choices of an option and of an argument', async () => {
    expect(await complete('pub', '--send-on', '')).toEqual(['eof', 'newline'])
    expect(await complete('bench', 'pub', '--mode', '')).toEqual(['session', 'channel', 'message'])
    expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish'])
    expect(await complete('completion', 'zsh', '')).toEqual([])
  })

  it('leaves to the shell what is a file, a number or a subject', async () => {
    for (const words of [
      ['pub', '--creds', ''],
      ['pub', '--count', ''],
      ['pub', ''],
      ['inspect', ''],
    ])
      expect(await complete(...words)).toEqual([])
  })

  it('knows options before the command', async () => {
    expect(await complete('--realm', join(folder.path, 'other'), 'su')).toEqual(['sub'])
    expect(await complete('--as', 'bi')).toEqual(['billing'])
  })

  it('takes no strange line amiss', async () => {
    for (const words of [
      [],
      ['nothing', 'x', ''],
      ['pub', '--bogus', ''],
      ['=', '=', '='],
      ['--', '--', '-'],
    ])
      expect(Array.isArray(await complete(...words))).toBe(true)
  })
})

describe('the script', () => {
  const inBash = (script: string): string =>
    execFileSync('bash', ['--norc', '-c', script], {
      env: { ...env, PATH: `${join(folder.path, 'bin')}:${process.env['PATH']}` },
    }).toString()

  beforeAll(async () => {
    const bin = join(folder.path, 'bin')
    await mkdir(bin)
    await writeFile(join(bin, 'subrosa'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, {
      mode: 0o755,
    })
  })

  it.each([
    [['subrosa', 'pu'], 'pub\n'],
    [['subrosa', 'pub', 'orders.new', '--as', 'b'], 'billing\nbob\n'],
    [['subrosa', 'sub', '--context', ''], 'dev\nprod.eu\n'],
    [['subrosa', 'agent', 'revoke', 'or'], 'orders\n'],
  ])('completes %j in bash', (words, found) => {
    const quoted = words.map((word) => `'${word}'`).join(' ')
    const script = `source <(subrosa completion bash)
      complete -p subrosa >/dev/null || exit 1
      COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}
      _subrosa
      printf '%s\\n' "\${COMPREPLY[@]}"`
    expect(inBash(script)).toBe(found)
  })

  it('leaves files to bash where there is nothing to complete', () => {
    const script = `source <(subrosa completion bash)
      COMP_WORDS=(subrosa pub --creds '') COMP_CWORD=3
      _subrosa
      echo "\${#COMPREPLY[@]}"
      complete -p subrosa`
    expect(inBash(script)).toBe('0\ncomplete -o default -F _subrosa subrosa\n')
  })

  it.each(['bash', 'zsh', 'fish'])('for %s is data, and asks this program', async (shell) => {
    const { code, stdout, stderr } = await run('completion', shell)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('__complete -- ')
  })

  it('is there for no other shell', async () => {
    expect(await run('completion', 'csh')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Allowed choices are bash, zsh, fish'),
    })
  })
})
