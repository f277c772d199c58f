import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the built command as a user would, in a temporary folder of its own. */
async function runDemo(
  env: Record<string, string> = {},
): Promise<Run & { readonly leftOver: readonly string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-test-demo-'))
  const run = await new Promise<Run>((resolve) => {
    const options = { env: { ...process.env, TMPDIR: folder, ...env } }
    execFile(process.execPath, ['dist/cli/main.js', 'demo'], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
  const leftOver = await readdir(folder)
  await rm(folder, { recursive: true, force: true })
  return { ...run, leftOver }
}

describe('subrosa demo', () => {
  it('walks through every step, ends well, and leaves nothing behind', async () => {
    const { code, stdout, leftOver } = await runDemo()
    expect(code).toBe(0)
    expect(stdout).not.toContain('✗')
    for (const held of [
      'private keys stay in files',
      'the broker speaks TLS only',
      'a client without a login is refused',
      'no word of it is in what the broker saw',
      'none lost, none twice, none out of order',
      'a replayed message: turned away  reason: replay',
      'an altered message: turned away  reason: ciphertext',
      'a message moved to another subject: turned away  reason: subject',
      'an order that the broker hands to the handler of payments.approve: turned away  reason: misrouted',
      'an impostor that calls itself orders: turned away  reason: unknown sender',
      'a message that a revoked agent sealed before: turned away  reason: revoked',
    ]) {
      expect(stdout).toContain(held)
    }
    const [, sent] = /sent\s+(\d+)/.exec(stdout) ?? []
    const [, received] = /received\s+(\d+)/.exec(stdout) ?? []
    expect(Number(sent)).toBeGreaterThan(100)
    expect(received).toBe(sent)
    expect(leftOver).toEqual([])
  }, 60_000)

  it('exits with an error that says what to do when the server does not start', async () => {
    const { code, stderr } = await runDemo({ SUBROSA_NATS_SERVER: process.execPath })
    expect(code).toBe(1)
    expect(stderr).toContain('subrosa: error: SUBROSA_NATS_SERVER did not start')
    expect(stderr).toContain('subrosa: hint:')
  }, 60_000)
})
