import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { reportError, type Terminal } from '../../terminal/terminal.ts'
import { GUARDIAN_SCRIPT } from './guardian-script.ts'

/** A guardian that dies is replaced, but not more often. */
const RESTART_MS = 1000

/**
 * Sees to it that no MCP server outlives this process, even if it ends by SIGKILL: a process of its own, which notices
 * that, and then ends their process groups with SIGTERM and after 3 s with SIGKILL. It runs as long as there are groups
 * to guard, in a session of its own and deaf to what a terminal sends. Where it is killed itself another one takes over.
 *
 * It is a script of /bin/sh, which takes 0.2 MB of memory of its own (1.7 MB with what processes share), where one in
 * Node takes 7 MB (43 MB).
 *
 * What remains: a server that is started in the very moment in which this process is killed, and one whose guardian is
 * killed together with this process, find no more than the end of their standard input. What has left the group of a
 * server, with setsid for one, is left alone.
 *
 * @example
 * ```ts
 * const guardian = new Guardian(terminal)
 * const release = guardian.guard(child.pid)
 * child.once('exit', release)
 * ```
 */
export class Guardian {
  readonly #terminal: Terminal
  readonly #clock: Clock
  /** When the leader of each group has started; empty where nobody says it. */
  readonly #starts = new Map<number, string>()
  #process: ChildProcessByStdio<Writable, null, null> | undefined
  #startedAt = Number.NEGATIVE_INFINITY
  #cancelRestart: (() => void) | undefined
  #hasComplained = false

  constructor(terminal: Terminal, clock: Clock = systemClock) {
    this.#terminal = terminal
    this.#clock = clock
  }

  /**
   * Begins to guard the process group of a child that leads it.
   *
   * @returns what to call when the group is gone
   * @throws RangeError for what is no group of a child's
   */
  guard(group: number): () => void {
    // To signal the group of 0 or 1 means: everybody.
    if (!Number.isSafeInteger(group) || group <= 1)
      throw new RangeError('group must be the number of a child')
    this.#starts.set(group, startOf(group))
    if (this.#process !== undefined) this.#tell(group)
    else if (this.#cancelRestart === undefined) this.#start()
    return () => this.#release(group)
  }

  #release(group: number): void {
    if (!this.#starts.delete(group)) return
    if (this.#starts.size > 0) {
      this.#process?.stdin.write(`- ${group}\n`)
      return
    }
    this.#cancelRestart?.()
    this.#cancelRestart = undefined
    this.#process?.stdin.end(`- ${group}\n`)
    this.#process?.unref()
    this.#process = undefined
  }

  #start(): void {
    this.#startedAt = this.#clock.monotonic()
    let child: ChildProcessByStdio<Writable, null, null>
    try {
      // It holds nothing of this process but the pipe, and no folder.
      child = spawn('/bin/sh', ['-c', GUARDIAN_SCRIPT, 'sh', String(process.pid)], {
        stdio: ['pipe', 'ignore', 'ignore'],
        env: { PATH: this.#terminal.env['PATH'] ?? '/usr/bin:/bin' },
        cwd: '/',
        detached: true,
      })
    } catch {
      return this.#startAgain('cannot be started')
    }
    // Then it has no pipe either.
    if (child.pid === undefined) {
      child.once('error', () => this.#startAgain('cannot be started'))
      return
    }
    this.#process = child
    child.stdin.on('error', () => {})
    child.once('exit', () => {
      if (this.#process !== child) return
      this.#process = undefined
      this.#startAgain('has died')
    })
    for (const group of this.#starts.keys()) this.#tell(group)
  }

  #tell(group: number): void {
    this.#process?.stdin.write(`+ ${group} ${this.#starts.get(group)}\n`)
  }

  #startAgain(reason: string): void {
    if (!this.#hasComplained)
      reportError(this.#terminal, `the guardian of the MCP servers ${reason}: trying again`)
    this.#hasComplained = true
    this.#cancelRestart?.()
    this.#cancelRestart = this.#clock.after(this.#startedAt + RESTART_MS - this.#clock.monotonic(), () => {
      this.#cancelRestart = undefined
      if (this.#starts.size > 0) this.#start()
    })
  }
}

/** In ticks since the machine has started: field 22 of proc_pid_stat(5), counted from behind the name. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
