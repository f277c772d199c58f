#!/usr/bin/env node
import { isatty } from 'node:tty'
import { runCli } from './program.ts'
import { OutputClosed } from './terminal/terminal.ts'

const interrupted = (): Promise<void> =>
  new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })

let outputFailure: NodeJS.ErrnoException | undefined
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough, as `head`, is no failure.
  if (!isClosed(error)) outputFailure ??= error
})

// Where nobody hears what goes wrong, nobody is told.
process.stderr.on('error', () => {})

let hasRead = false

const CLEAR_LINE = '\r\u001b[K'
let isDrawn = false

const redraw = (line: string): void => {
  process.stderr.write(`${CLEAR_LINE}${line}`)
  isDrawn = line !== ''
}

const exitCode = await runCli(process.argv.slice(2), {
  data: (line) => process.stdout.write(`${line}\n`),
  write: (data) =>
    new Promise((resolve, reject) => {
      process.stdout.write(data, (error) => {
        if (error) reject(isClosed(error) ? new OutputClosed() : error)
        else resolve()
      })
    }),
  showsData: isatty(1),
  say: (line) => {
    if (isDrawn) redraw('')
    process.stderr.write(`${line}\n`)
  },
  ...(isatty(2) && { redraw }),
  input: {
    isTyped: isatty(0),
    read: () => {
      hasRead = true
      return process.stdin
    },
  },
  env: process.env,
  interrupted,
})
// What nobody waits for any more must not keep the process from ending.
if (hasRead) process.stdin.destroy()
process.exitCode = exitCode === 0 && outputFailure !== undefined ? 1 : exitCode

function isClosed({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED'
}
