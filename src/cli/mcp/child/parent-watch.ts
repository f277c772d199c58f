import type { Clock } from '../../../base/clock.ts'
import type { Terminal } from '../../terminal/terminal.ts'

const POLL_MS = 1000

/** Watches whether anybody is there for whom this process runs. */
export interface ParentWatch {
  /** Resolves when this process shall end. */
  readonly over: Promise<void>
  /** Watches no longer. */
  stop(): void
}

/** What is watched. */
interface ParentWatchOptions {
  readonly clock: Clock
  /** The number of the parent process, as it is now. */
  readonly parent?: () => number
}

/**
 * Watches the host that has started this process, for what the end of standard input does not show: that the host has
 * died and somebody else holds the other end of it, that the terminal is gone, or that somebody asks for the end.
 *
 * @example
 * ```ts
 * const watch = watchParent(terminal, { clock: systemClock })
 * await Promise.race([ended, watch.over])
 * watch.stop()
 * ```
 */
export function watchParent(terminal: Terminal, options: ParentWatchOptions): ParentWatch {
  const { clock, parent = () => process.ppid } = options
  const first = parent()
  let end = (): void => {}
  const over = new Promise<void>((resolve) => {
    end = resolve
  })
  let cancel = (): void => {}
  const look = (): void => {
    // A process whose parent dies gets another one.
    if (parent() !== first) end()
    else cancel = clock.after(POLL_MS, look)
  }
  look()
  process.once('SIGHUP', end)
  void terminal.interrupted().then(end)
  return {
    over,
    stop() {
      cancel()
      process.removeListener('SIGHUP', end)
    },
  }
}
