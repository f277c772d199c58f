import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { type ParentWatch, watchParent } from '../../../../src/cli/mcp/child/parent-watch.ts'
import { isRunning, untilGone } from '../../../mcp/processes.ts'
import { ManualClock } from '../../../support/clock.ts'
import { terminalThat } from '../../run.ts'

const watches: ParentWatch[] = []
afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop()
})

interface Watched {
  readonly watch: ParentWatch
  readonly isOver: () => Promise<boolean>
  readonly interrupt: () => void
}

function watched(clock: ManualClock, parent: () => number): Watched {
  let interrupt = (): void => {}
  const interruption = new Promise<void>((resolve) => {
    interrupt = resolve
  })
  const watch = watchParent(terminalThat({ interrupted: () => interruption }), { clock, parent })
  watches.push(watch)
  const later = new Promise<false>((resolve) => setImmediate(() => resolve(false)))
  return { watch, interrupt, isOver: async () => Promise.race([watch.over.then(() => true), later]) }
}

describe('watching the parent process', () => {
  it.each([1, 4242])('is over within a second when process %d has taken over', async (adopter) => {
    const clock = new ManualClock()
    let parent = 1234
    const { isOver } = watched(clock, () => parent)
    clock.advance(60_000)
    parent = adopter
    clock.advance(1000)
    expect(await isOver()).toBe(true)
  })

  it('goes on as long as the parent is the one of the beginning, be it the first process of all', async () => {
    const clock = new ManualClock()
    const { isOver } = watched(clock, () => 1)
    clock.advance(3_600_000)
    expect(await isOver()).toBe(false)
  })

  it('is over when the process is interrupted', async () => {
    const { isOver, interrupt } = watched(new ManualClock(), () => 1234)
    interrupt()
    expect(await isOver()).toBe(true)
  })

  it('is over when the terminal is gone, and leaves no handler of that behind', async () => {
    const before = process.listenerCount('SIGHUP')
    const { watch, isOver } = watched(new ManualClock(), () => 1234)
    process.kill(process.pid, 'SIGHUP')
    await watch.over
    expect(await isOver()).toBe(true)
    watch.stop()
    const stopped = watched(new ManualClock(), () => 1234)
    stopped.watch.stop()
    expect(process.listenerCount('SIGHUP')).toBe(before)
  })

  it('looks no more when it is stopped', () => {
    const clock = new ManualClock()
    let looks = 0
    const { watch } = watched(clock, () => ++looks && 1234)
    clock.advance(1000)
    const before = looks
    watch.stop()
    clock.advance(10_000)
    expect(looks).toBe(before)
  })
})

describe('a process that watches its parent', () => {
  it('ends after the parent was killed, though somebody holds its standard input open', async () => {
    const holder = spawn('sleep', ['1000'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const parent = spawn(process.execPath, ['test/support/mcp-process.mjs', 'parent'], {
      stdio: [holder.stdout, 'pipe', 'inherit'],
    })
    const [line] = await once(parent.stdout, 'data')
    const watching = Number(String(line))
    expect(isRunning(watching)).toBe(true)
    parent.kill('SIGKILL')
    await untilGone(watching)
    expect(holder.exitCode).toBeNull()
    holder.kill()
  })
})
