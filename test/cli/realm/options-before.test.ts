import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addAgent } from '../../../src/setup/agents.ts'
import { createRealm } from '../../../src/setup/realm.ts'
import { temporaryFolder } from '../../setup/running-realm.ts'
import { run, start } from '../run.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let dir: string
beforeAll(async () => {
  folder = await temporaryFolder()
  dir = join(folder.path, 'realm')
  await addAgent(await createRealm({ dir, port: 1 }), { name: 'billing' })
})
afterAll(() => folder.remove())

describe('options before the command', () => {
  it('count as those after it', async () => {
    const expected = expect.stringContaining('cannot connect to 127.0.0.1:1: nothing listens there')
    for (const argv of [
      ['--realm', dir, '--as', 'billing', 'sub', 'x'],
      ['--realm', dir, 'sub', 'x', '--as', 'billing'],
      ['sub', '--realm', dir, '--as', 'billing', 'x'],
      [`--realm=${dir}`, '-s', 'tls://127.0.0.1:1', 'sub', '--as', 'billing', 'x'],
    ])
      expect(await run(...argv)).toMatchObject({ code: 1, stderr: expected })
    expect((await run('--realm', dir, 'agent', 'list', '--json')).stdout).toContain('"billing"')
  })

  it('give way to those after it', async () => {
    const { stderr } = await run(
      '-s',
      'tls://127.0.0.1:2',
      'sub',
      'x',
      '--realm',
      dir,
      '--as',
      'billing',
      '-s',
      'tls://127.0.0.1:3',
    )
    expect(stderr).toContain('cannot connect to 127.0.0.1:3')
  })

  it('come before the environment', async () => {
    const argv = ['--realm', dir, 'agent', 'list', '--json']
    expect(await start(argv, { SUBROSA_REALM: join(folder.path, 'none') }).outcome).toMatchObject({ code: 0 })
  })

  it('are refused by a command that does not have them', async () => {
    expect(await run('--creds', 'x', 'agent', 'list', '--realm', dir)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('error: list has no option --creds'),
    })
  })

  it('leave the help of the program short', async () => {
    const { stdout } = await run('--help')
    expect(stdout).not.toContain('--tlsca')
    expect(stdout).toContain('may stand before it too')
  })
})
