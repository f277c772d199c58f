import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs'

const MEMORY = '/proc/self/mem'
const CHUNK_BYTES = 1024 * 1024
const MASK = 0x55

/** Whether a process can read its own memory on this machine. */
export const hasProcessMemory = existsSync(MEMORY)

/** What was a secret, so that it is not itself a copy of it. */
export function masked(secret: Uint8Array): Uint8Array {
  return secret.map((byte) => byte ^ MASK)
}

/** How often the bytes occur in this process's memory. Those that are nowhere occur once or twice: they are looked for. */
export function copiesInMemory(mask: Uint8Array): number {
  const wanted = Buffer.from(masked(mask))
  const chunk = Buffer.alloc(CHUNK_BYTES)
  const file = openSync(MEMORY, 'r')
  try {
    return writable().reduce((sum, region) => sum + copiesIn(file, region, { chunk, wanted }), 0)
  } finally {
    wanted.fill(0)
    chunk.fill(0)
    closeSync(file)
  }
}

interface Region {
  readonly start: number
  readonly end: number
}

function writable(): readonly Region[] {
  return readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
      if (start === undefined || end === undefined) return []
      return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }]
    })
}

function copiesIn(
  file: number,
  { start, end }: Region,
  { chunk, wanted }: { readonly chunk: Buffer; readonly wanted: Buffer },
): number {
  let copies = 0
  for (let at = start; at < end; at += chunk.length - wanted.length) {
    const bytes = chunk.subarray(0, read(file, chunk, { at, length: Math.min(chunk.length, end - at) }))
    for (let i = bytes.indexOf(wanted); i >= 0; i = bytes.indexOf(wanted, i + 1)) copies++
    bytes.fill(0)
  }
  return copies
}

/** Some regions cannot be read, and some end before they say. */
function read(file: number, chunk: Buffer, of: { readonly at: number; readonly length: number }): number {
  try {
    return readSync(file, chunk, 0, of.length, of.at)
  } catch {
    return 0
  }
}
