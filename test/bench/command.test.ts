import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CommandFailed, run } from '../../bench/against/command.ts'
import { until } from '../support/until.ts'

const node = (script: string, signal = new AbortController().signal) =>
  run(process.execPath, ['-e', script], { cwd: '.', signal })

describe('a program that a comparison runs', () => {
  it('gives what it wrote', async () => {
    expect(await node('console.log("built"); console.error("warned")')).toBe('built')
  })

  it('fails with its status and with all that it wrote', async () => {
    const failure = await node('console.log("one"); console.error("two"); process.exit(3)').catch((e) => e)
    expect(failure).toBeInstanceOf(CommandFailed)
    expect(failure.message).toContain('ended with 3')
    expect(failure.output).toContain('one')
    expect(failure.output).toContain('two')
  })

  it('says so where there is no such program', async () => {
    const { signal } = new AbortController()
    const failing = run('no-such-program', [], { cwd: '.', signal })
    await expect(failing).rejects.toThrow('no-such-program does not start')
  })

  it('ends with all that it has started where the run is interrupted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-command-'))
    const started = join(folder, 'started')
    const interruption = new AbortController()
    // The grandchild holds the output open: the run settles only when it is gone too.
    const grandchild = `require('node:fs').writeFileSync(${JSON.stringify(started)}, ''); setInterval(() => {}, 1000)`
    const script = `
      const { spawn } = require('node:child_process')
      spawn(process.execPath, ['-e', ${JSON.stringify(grandchild)}], { stdio: 'inherit' })
      setInterval(() => {}, 1000)`
    try {
      const running = node(script, interruption.signal)
      await until('the grandchild runs', () => existsSync(started))
      interruption.abort()
      await expect(running).rejects.toThrow('aborted')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('does not start once the run is interrupted', async () => {
    await expect(node('', AbortSignal.abort())).rejects.toThrow('aborted')
  })
})
