import { readdirSync, readFileSync } from 'node:fs'
import { until } from '../support/until.ts'

interface Process {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
}

/** Whether there is such a process that still runs. One that only waits for its parent to notice its end does not. */
export function isRunning(pid: number): boolean {
  return readProcess(pid) !== undefined
}

/** The processes whose parent this is. */
export function childrenOf(pid: number): readonly Process[] {
  return processes().filter(({ parent }) => parent === pid)
}

/** The processes of a group. */
export function membersOf(group: number): readonly Process[] {
  return processes().filter((process) => process.group === group)
}

/** The guardian of a process. */
export function guardianOf(pid: number): Process | undefined {
  return childrenOf(pid).find((child) => commandLine(child.pid).includes('subrosa: ends the MCP servers'))
}

/** Resolves when none of them runs. */
export async function untilGone(...pids: readonly number[]): Promise<void> {
  await until(`${pids.filter(isRunning).join(' ')} were gone`, () => !pids.some(isRunning))
}

/** What a process has written so far, to wherever. */
export function bytesWritten(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
}

/** Resolves when a count has stayed the same for a while. */
export async function untilStill(what: string, count: () => number): Promise<void> {
  let last = Number.NaN
  let same = 0
  await until(what, () => {
    const now = count()
    same = now === last ? same + 1 : 0
    last = now
    return same > 40
  })
}

function processes(): readonly Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? [])
}

function readProcess(pid: number): Process | undefined {
  const stat = read(`/proc/${pid}/stat`)
  const [state = '', parent, group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (state === '' || 'ZX'.includes(state)) return undefined
  return { pid, parent: Number(parent), group: Number(group), session: Number(session) }
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`)
}

/** Nothing of a process that has gone meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
