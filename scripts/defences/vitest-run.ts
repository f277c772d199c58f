import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VitestReport } from './vitest-report.ts'

const REPORTER = fileURLToPath(new URL('./reporter.ts', import.meta.url))

/** Of vitest: those that have each test once. The others repeat some over another client line, or in another mode. */
const PROJECTS = ['--project=apart', '--project=together']

/** A run of vitest: its report, or why there is none. */
export type VitestRun = { readonly report: VitestReport | undefined; readonly output: string }

/**
 * Runs the named tests of one file, and no others.
 *
 * @param folder the copy of the repository
 * @param options.names full names, to the letter
 * @param options.limitMs after which the run and its child processes are killed
 */
export async function runTests(
  folder: string,
  {
    test,
    names,
    limitMs,
  }: {
    readonly test: string
    readonly names: readonly string[]
    readonly limitMs: number
  },
): Promise<VitestRun> {
  const reportPath = join(folder, '..', 'report.json')
  rmSync(reportPath, { force: true })
  const pattern = `^\\s*(?:${names.map((name) => name.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})$`
  const args = ['run', ...PROJECTS, '--maxWorkers=1', '--reporter', REPORTER, '-t', pattern, test]
  const child = spawn(process.execPath, [join(folder, 'node_modules/vitest/vitest.mjs'), ...args], {
    cwd: folder,
    // A group of its own, so that a test that hangs goes together with the servers that it has started.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment(), SUBROSA_DEFENCES_REPORT: reportPath },
  })
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
  }
  process.once('exit', kill)
  let output = ''
  const read = (text: Buffer) => {
    output += text.toString('utf8')
  }
  child.stdout.on('data', read)
  child.stderr.on('data', read)
  const timer = setTimeout(() => {
    output += `\nkilled after ${Math.round(limitMs / 1000)} s`
    kill()
  }, limitMs)
  await new Promise((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  })
  clearTimeout(timer)
  process.off('exit', kill)
  endProcessesIn(folder)
  return { report: readReport(reportPath), output }
}

/** Ends what a test without its defence has left running, where the system says in which folder a process runs. */
function endProcessesIn(folder: string): void {
  for (const pid of numbersIn('/proc')) {
    try {
      if (readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)) process.kill(pid, 'SIGKILL')
    } catch {
      // It is another user's, or has ended.
    }
  }
}

function numbersIn(folder: string): readonly number[] {
  try {
    return readdirSync(folder)
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && pid > 1)
  } catch {
    return []
  }
}

function readReport(path: string): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** This process's environment without what an outer vitest has set, and without colours. */
function environment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|FORCE_COLOR$)/.test(name))
  return { ...Object.fromEntries(entries), NO_COLOR: '1', CI: '1', NODE_ENV: 'test' }
}
