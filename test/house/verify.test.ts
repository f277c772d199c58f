import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('../..', import.meta.url))

/** `node scripts/verify.mjs --self-test` for every check takes minutes; these are the ones that need no build. */
describe('the checks of npm run verify', () => {
  it.each([
    { check: 'rooms', least: 20 },
    { check: 'text', least: 6 },
    { check: 'security', least: 8 },
    { check: 'lockfile', least: 6 },
    { check: 'examples', least: 9 },
  ])('$check fails for every way in which the tree is broken', { timeout: 600_000 }, ({ check, least }) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['scripts/verify.mjs', '--self-test', check],
      { cwd: repository, encoding: 'utf8' },
    )
    expect(stdout + stderr).not.toContain('MISSED')
    expect(stdout.match(/^seen {3}/gm)?.length).toBeGreaterThanOrEqual(least)
    expect(status).toBe(0)
  })

  it('refuses the name of a check that is not there', () => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/verify.mjs', 'nothing'], {
      cwd: repository,
      encoding: 'utf8',
    })
    expect(status).toBe(2)
    expect(stderr).toContain('there is no check of that name')
  })
})
