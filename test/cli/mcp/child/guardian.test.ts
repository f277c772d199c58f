import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Guardian } from '../../../../src/cli/mcp/child/guardian.ts'
import { GUARDIAN_SCRIPT } from '../../../../src/cli/mcp/child/guardian-script.ts'
import { childrenOf, guardianOf, isRunning, membersOf, untilGone } from '../../../mcp/processes.ts'
import { Child } from '../../../support/child.ts'
import { ManualClock } from '../../../support/clock.ts'
import { passingUntil } from '../../../support/passing.ts'
import { until } from '../../../support/until.ts'
import { terminalThat } from '../../run.ts'

/** How often a shell cannot be started. */
let failures = 0
vi.mock('node:child_process', async (original) => {
  const actual = await original<typeof import('node:child_process')>()
  const failing = (command: string, ...rest: never[]): unknown =>
    actual.spawn(command === '/bin/sh' && failures-- > 0 ? '/nonexistent/sh' : command, ...rest)
  return { ...actual, spawn: failing }
})

const PATH = process.env['PATH'] ?? ''

/** Ends neither at the end of its input nor when it is asked to, and neither does what it starts. */
const DEAF = ['sh', '-c', `trap '' TERM; sleep 1000 & echo "[$$,$!]"; while :; do sleep 1000; done`]
/** Ends when it is asked to. */
const SILENT = ['sh', '-c', `sleep 1000 & echo "[$$,$!]"; exec sleep 1000`]
/** Ends at the end of its input, but what it has started does not. */
const OUTLIVED = ['sh', '-c', `sleep 1000 & echo "[$$,$!]"; cat >&2`]
/** Ends at the end of its input. */
const WELL_BEHAVED = ['sh', '-c', `echo "[$$]"; cat >&2`]

/** A process that runs MCP servers as `serve` does. */
class Serving {
  readonly #child: Child
  readonly #servers: number

  constructor(...commands: readonly (readonly string[])[]) {
    this.#child = Child.start('mcp-process.mjs', 'serve', JSON.stringify(commands))
    this.#servers = commands.length
    allServing.push(this)
  }

  async pid(): Promise<number> {
    return Number((await this.#child.message('it serves', ({ serves }) => serves !== undefined))['serves'])
  }

  /** The processes that the servers name in their first messages. */
  async pids(): Promise<readonly number[]> {
    const messages = (): readonly unknown[] => this.#child.messages.flatMap(({ message }) => message ?? [])
    await until(
      'all servers run',
      () => this.#child.messages.filter(({ message }) => message).length === this.#servers,
    )
    expect(this.#child.messages.filter(({ closed }) => closed !== undefined)).toEqual([])
    const pids = messages().map(Number)
    started.push(...pids)
    return pids
  }

  async guardian(): Promise<number> {
    const pid = await this.pid()
    await until('there is a guardian', () => guardianOf(pid) !== undefined)
    const guardian = guardianOf(pid)?.pid ?? 0
    started.push(guardian)
    return guardian
  }

  get said(): readonly unknown[] {
    return this.#child.messages.flatMap(({ said }) => said ?? [])
  }

  send(message: Record<string, unknown>): void {
    this.#child.send(message)
  }

  kill(): Promise<void> {
    return this.#child.kill()
  }
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-test-guardian-'))
})
afterAll(() => rm(folder, { recursive: true }))

const allServing: Serving[] = []
const started: number[] = []
const strangers: ChildProcess[] = []
afterEach(async () => {
  failures = 0
  for (const serving of allServing.splice(0)) await serving.kill()
  const left = started.splice(0).filter(isRunning)
  for (const pid of left) process.kill(pid, 'SIGKILL')
  for (const child of strangers.splice(0)) child.kill('SIGKILL')
  await until('no child process is left', () => childrenOf(process.pid).length === 0)
  expect(left).toEqual([])
})

/** The same, whose standard streams are pipes of this process. */
async function spawned(
  ...commands: readonly (readonly string[])[]
): Promise<{ serving: ChildProcess; pids: number[] }> {
  const args = ['test/support/mcp-process.mjs', 'serve', JSON.stringify(commands)]
  const serving = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  strangers.push(serving)
  const messages: number[][] = []
  serving.on('message', ({ message }: { message?: number[] }) => {
    if (message !== undefined) messages.push(message)
  })
  await until('all servers run', () => messages.length === commands.length)
  started.push(...messages.flat())
  return { serving, pids: messages.flat() }
}

/** When a process has started, as the system says it. */
function startOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')[19]
}

/** A process that leads a group of its own. */
function leader(program = 'sleep'): { readonly pid: number; readonly ended: Promise<string | null> } {
  const child = spawn(program, ['1000'], { detached: true, stdio: 'ignore' })
  strangers.push(child)
  return {
    pid: child.pid ?? 0,
    ended: new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal))),
  }
}

describe('when serve is killed with SIGKILL', () => {
  it('no process is left of what it has started, whatever the name of the program', async () => {
    const named = join(folder, '1) S 2 (3')
    await symlink('/bin/sh', named)
    const serving = new Serving(DEAF, [named, ...DEAF.slice(1)], SILENT, WELL_BEHAVED)
    const pids = await serving.pids()
    expect(pids).toHaveLength(7)
    const guardian = await serving.guardian()
    await serving.kill()
    await untilGone(...pids, guardian)
  })

  it('no process is left even if its guardian was killed before', async () => {
    const serving = new Serving(DEAF, SILENT)
    const pids = await serving.pids()
    const first = await serving.guardian()
    process.kill(first, 'SIGKILL')
    const pid = await serving.pid()
    await until('there is another guardian', () => ![undefined, first].includes(guardianOf(pid)?.pid))
    const second = await serving.guardian()
    expect(serving.said).toEqual(['subrosa: error: the guardian of the MCP servers has died: trying again'])
    await serving.kill()
    await untilGone(...pids, second)
  })

  it('no process is left even if its guardian was sent what ends others', async () => {
    const serving = new Serving(SILENT)
    const pids = await serving.pids()
    const guardian = await serving.guardian()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.kill(guardian, signal)
    await serving.kill()
    await untilGone(...pids, guardian)
  })

  it('its standard output is closed at once, though servers and the guardian still run', async () => {
    const { serving, pids } = await spawned(DEAF)
    let closed = 0
    for (const stream of [serving.stdout, serving.stderr]) stream?.resume().once('end', () => closed++)
    const guardian = guardianOf(serving.pid ?? 0)?.pid ?? 0
    serving.kill('SIGKILL')
    await until('both are closed', () => closed === 2)
    expect(pids.some(isRunning)).toBe(true)
    await untilGone(...pids, guardian)
  })
})

describe('when serve ends by itself', () => {
  it('without closing anything, no process is left either', async () => {
    const serving = new Serving(SILENT)
    const pids = await serving.pids()
    const guardian = await serving.guardian()
    serving.send({})
    await untilGone(...pids, guardian)
  })

  it('in order, it lives as long as anything that it has started, and no longer', async () => {
    const { serving, pids } = await spawned(OUTLIVED, WELL_BEHAVED)
    let said = ''
    serving.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    serving.send({ close: true })
    const [code] = await once(serving, 'close')
    expect({ code, said }).toEqual({ code: 0, said: 'all are gone\n' })
    expect(pids.filter(isRunning)).toEqual([])
  })
})

describe('the guardian', () => {
  it('holds nothing but its pipe, and runs in a session and a group of its own', async () => {
    const serving = new Serving(WELL_BEHAVED)
    await serving.pids()
    const pid = await serving.guardian()
    const descriptors = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) < 16)
    expect(descriptors.map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)).sort()).toEqual([
      '/dev/null',
      '/dev/null',
      expect.stringMatching(/^(pipe|socket):/),
    ])
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/')
    expect(membersOf(pid)).toEqual([expect.objectContaining({ pid, session: pid })])
    await serving.kill()
    await untilGone(pid)
  })

  it('runs while there is something to guard, once, and not longer', async () => {
    const guardian = new Guardian(terminalThat({ env: { PATH } }))
    expect(guardianOf(process.pid)).toBeUndefined()
    const [one, two] = [leader(), leader()]
    const releases = [guardian.guard(one.pid), guardian.guard(two.pid)]
    const first = guardianOf(process.pid)?.pid ?? 0
    const guardians = childrenOf(process.pid)
      .map(({ pid }) => pid)
      .filter((pid) => pid !== one.pid && pid !== two.pid)
    expect(guardians).toEqual([first])
    releases[0]?.()
    releases[0]?.()
    expect(isRunning(first)).toBe(true)
    releases[1]?.()
    await untilGone(first)
    const release = guardian.guard(one.pid)
    expect(guardianOf(process.pid)?.pid).not.toBe(first)
    release()
    expect([one, two].map(({ pid }) => isRunning(pid))).toEqual([true, true])
  })

  it('is tried again each second where no process can be started, and says so once', async () => {
    failures = 2
    const said: string[] = []
    const clock = new ManualClock()
    const guardian = new Guardian(terminalThat({ say: (line) => void said.push(line), env: { PATH } }), clock)
    const release = guardian.guard(leader().pid)
    await until('it was tried once', () => said.length === 1)
    const other = guardian.guard(leader().pid)
    clock.advance(999)
    expect(failures).toBe(1)
    clock.advance(1)
    expect(failures).toBe(0)
    await passingUntil(clock, 'there is a guardian', () => guardianOf(process.pid) !== undefined)
    expect(said).toEqual(['subrosa: error: the guardian of the MCP servers cannot be started: trying again'])
    release()
    other()
  })

  it.each([0, 1, -1, 1.5, Number.NaN])(
    'takes no %d for a group: to signal that is to signal everybody',
    (group) => {
      expect(() => new Guardian(terminalThat({})).guard(group)).toThrow(RangeError)
      expect(guardianOf(process.pid)).toBeUndefined()
    },
  )
})

describe('the script of the guardian', () => {
  /** Runs it with these lines, and then the end of its input. */
  function guard(...lines: readonly string[]): Promise<number | null> {
    const child = spawn('sh', ['-c', GUARDIAN_SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'] })
    strangers.push(child)
    child.stdin.end(lines.join(''))
    return new Promise((resolve) => child.once('exit', resolve))
  }

  /** What it would signal, where all groups that it asks for are there. */
  function signals(...lines: readonly string[]): readonly string[] {
    const script = `kill() { [ "$1" = -0 ] || echo "$*"; }; sleep() { :; }\n${GUARDIAN_SCRIPT}`
    return spawnSync('sh', ['-c', script], { input: lines.join(''), encoding: 'utf8' })
      .stdout.split('\n')
      .slice(0, -1)
  }

  it('ends a group that was reported, and leaves alone one that was reported as gone', async () => {
    const [kept, gone] = [leader(), leader()]
    await guard(`+ ${kept.pid} \n`, `+ ${gone.pid} \n`, `- ${gone.pid}\n`)
    expect(await kept.ended).toBe('SIGTERM')
    expect(isRunning(gone.pid)).toBe(true)
  })

  it('leaves alone a process that has the number of one that was reported', async () => {
    const stranger = leader()
    await guard(`+ ${stranger.pid} 12345\n`)
    expect(isRunning(stranger.pid)).toBe(true)
  })

  it('knows when a process has started, whatever its name is', async () => {
    const programs = ['1) S (2', 'a\nb) S c'].map((name) => join(folder, name))
    for (const program of programs) await symlink('/bin/sleep', program)
    const same = programs.map((program) => leader(program))
    const other = programs.map((program) => leader(program))
    await guard(
      ...same.map(({ pid }) => `+ ${pid} ${startOf(pid)}\n`),
      ...other.map(({ pid }) => `+ ${pid} 12345\n`),
    )
    expect(await Promise.all(same.map(({ ended }) => ended))).toEqual(['SIGTERM', 'SIGTERM'])
    expect(other.map(({ pid }) => isRunning(pid))).toEqual([true, true])
  })

  it('signals each group twice, first with SIGTERM, in the order in which they came', () => {
    expect(signals('+ 9000101 \n', '+ 9000102 7\n', '+ 9000101 \n', '+ 9000103 \n', '- 9000103\n')).toEqual([
      '-TERM -9000102',
      '-TERM -9000101',
      '-KILL -9000102',
      '-KILL -9000101',
    ])
  })

  it.each([
    ['the group of everybody', '+ 1 5\n'],
    ['its own group', '+ 0 5\n'],
    ['a negative number', '+ -5 5\n'],
    ['no number', '+ x 5\n', '+ $(exit) 5\n', '+ * 5\n'],
    ['nothing', '+\n', '+ \n', '\n', ' \n', '-\n'],
    ['no command', 'x 9000101 5\n', '9000101\n'],
    ['a line that is cut off', '+ 9000101', '+ 10'],
  ])('takes %s for no group', (_what, ...lines) => {
    expect(signals(...lines)).toEqual([])
    expect(signals('+ 9000104 5\n', ...lines)).toEqual(['-TERM -9000104', '-KILL -9000104'])
  })
})
