import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'

const processes: ChildProcess[] = []
afterEach(() => {
  for (const child of processes.splice(0)) child.kill('SIGKILL')
})

function started(command: string, args: readonly string[]): { child: ChildProcess; ended: Promise<unknown> } {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  processes.push(child)
  return {
    child,
    ended: new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code))),
  }
}

const guard = (...args: readonly string[]) => started(process.execPath, ['scripts/stack/guard.mjs', ...args])
/** A process that says nothing, so that no closed pipe ends it. */
const silent = () => started('sleep', ['600'])

describe('the guard of npm run stack', () => {
  test('ends the processes that are left when the stack is gone, and removes the temporary folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'subrosa-test-guard-'))
    const { child, ended } = guard(folder)
    const [one, two] = [silent(), silent()]
    child.stdin?.end(`+${one.child.pid}\n+${two.child.pid}\n`)
    expect(await one.ended).toBe('SIGTERM')
    expect(await two.ended).toBe('SIGTERM')
    expect(await ended).toBe(0)
    expect(existsSync(folder)).toBe(false)
  })

  test('insists with a process that does not end when it is asked to', { timeout: 15_000 }, async () => {
    const { child } = guard()
    const deaf = started(process.execPath, [
      '-e',
      "process.on('SIGTERM', () => {}); console.log(1); setInterval(() => {}, 1e6)",
    ])
    await new Promise((resolve) => deaf.child.stdout?.once('data', resolve))
    child.stdin?.end(`+${deaf.child.pid}\n`)
    expect(await deaf.ended).toBe('SIGKILL')
  })

  test('leaves alone what was reported as gone: its number may be of another process by now', async () => {
    const { child, ended } = guard()
    const { child: other } = silent()
    child.stdin?.end(`+${other.pid}\n-${other.pid}\n`)
    expect(await ended).toBe(0)
    expect(other.exitCode ?? other.signalCode).toBeNull()
  })
})
