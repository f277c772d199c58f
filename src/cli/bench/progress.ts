import type { Terminal } from '../terminal/terminal.ts'
import { numberShown } from './results.ts'

const REDRAW_MS = 100
const WIDTH = 30

/** How far something is. */
export interface Progress {
  readonly done: () => number
  readonly wanted: number
}

/**
 * Shows a bar while something is under way, where a person sees standard error.
 *
 * @returns what takes it away
 */
export function showProgress({ redraw }: Terminal, progress: Progress): () => void {
  if (redraw === undefined) return () => {}
  const draw = (): void => redraw(bar(progress))
  draw()
  const timer = setInterval(draw, REDRAW_MS)
  return () => {
    clearInterval(timer)
    redraw('')
  }
}

function bar({ done, wanted }: Progress): string {
  const count = done()
  const part = Math.min(1, count / wanted)
  const filled = '='.repeat(Math.floor(part * WIDTH))
  const percent = String(Math.floor(part * 100)).padStart(3)
  return `[${filled.padEnd(WIDTH)}] ${percent}%  ${numberShown(count)} of ${numberShown(wanted)}`
}
