import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../../../src/base/bytes.ts'
import { StdioPipe } from '../../../../src/cli/mcp/child/stdio-pipe.ts'
import { OutputClosed, type Terminal } from '../../../../src/cli/terminal/terminal.ts'
import { bytesWritten, untilStill } from '../../../mcp/processes.ts'
import { Taken } from '../../../mcp/taken.ts'
import { failure, until } from '../../../support/until.ts'
import { terminalThat } from '../../run.ts'

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A process that sends back what it gets. */
function echo(): {
  readonly child: ChildProcess
  readonly stdin: NodeJS.WritableStream
  readonly stdout: NodeJS.ReadableStream
  readonly said: () => string
  readonly exited: Promise<unknown>
} {
  const child = spawn(process.execPath, ['test/support/mcp-process.mjs', 'echo'], { stdio: 'pipe' })
  children.push(child)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  child.stdin.on('error', () => {})
  return {
    child,
    stdin: child.stdin,
    stdout: child.stdout,
    said: () => said,
    exited: once(child, 'exit').then(([code]) => code),
  }
}

interface Host {
  readonly pipe: StdioPipe
  readonly taken: Taken
  readonly said: readonly string[]
  readonly written: () => string
}

/** A pipe whose host writes these chunks, and then waits, ends or fails. */
async function host(
  chunks: readonly string[],
  parts: Partial<Terminal> & { readonly after?: () => Promise<void> } = {},
): Promise<Host> {
  const said: string[] = []
  const written: string[] = []
  async function* read(): AsyncIterable<Uint8Array> {
    for (const chunk of chunks) yield utf8(chunk)
    await (parts.after ?? (() => new Promise(() => {})))()
  }
  const terminal = terminalThat({
    say: (line) => void said.push(line),
    write: async (data) => void written.push(Buffer.from(data).toString()),
    input: { isTyped: false, read },
    ...parts,
  })
  const taken = new Taken()
  const pipe = new StdioPipe(terminal, 20)
  await pipe.open(taken)
  return { pipe, taken, said, written: () => written.join('') }
}

const end = async (): Promise<void> => {}

describe('a pipe to the host', () => {
  it('takes a message from each line, and writes each as a line', async () => {
    const { pipe, taken, written } = await host(['{"id":1}\r\n{"i', 'd":2}\n\n'])
    await taken.messages(2)
    expect(taken.texts).toEqual(['{"id":1}', '{"id":2}'])
    await Promise.all([pipe.send(utf8('{"id":1}')), pipe.send(utf8('{\n"id":2\r}'))])
    expect(written()).toBe('{"id":1}\n{ "id":2 }\n')
  })

  it('ends without an error at the end of the input, after all messages', async () => {
    const { pipe, taken } = await host(['{"id":1}\n{"id":2}\n'], { after: end })
    expect(await taken.ended()).toBeUndefined()
    expect(taken.texts).toHaveLength(2)
    expect(await failure(() => pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
    await pipe.close()
    expect(taken.ends).toHaveLength(1)
  })

  it('leaves out a line that is not complete, and says so', async () => {
    const { taken, said } = await host(['{"id":1}\n{"id":'], { after: end })
    await taken.ended()
    expect(taken.texts).toEqual(['{"id":1}'])
    expect(said).toEqual(['subrosa: the input ends within a line: its 6 bytes are left out'])
  })

  it('leaves out a message that is too long, says so, and goes on', async () => {
    const { taken, said } = await host([`{"a":"${'x'.repeat(30)}"}\n{"id":2}\n`])
    await taken.messages(1)
    expect(taken.texts).toEqual(['{"id":2}'])
    expect(said).toEqual([expect.stringContaining('[ERR_MESSAGE_TOO_LARGE]')])
  })

  it('ends without an error when the host reads no more', async () => {
    const { pipe, taken } = await host([], { write: () => Promise.reject(new OutputClosed()) })
    expect(await failure(() => pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(taken.ends).toEqual([undefined])
  })

  it.each([
    ['written', { write: () => Promise.reject(new Error('no space left')) }, 'no space left'],
    ['read', { after: () => Promise.reject(new Error('broken')) }, 'broken'],
  ])('ends with an error when nothing can be %s', async (_what, parts, message) => {
    const { pipe, taken } = await host([], parts)
    await pipe.send(utf8('{}')).catch(() => {})
    expect(await taken.ended()).toMatchObject({ message })
  })

  it('delivers nothing after it was closed', async () => {
    let go = (): void => {}
    const gone = new Promise<void>((resolve) => {
      go = resolve
    })
    async function* read(): AsyncIterable<Uint8Array> {
      yield utf8('{"id":1}\n')
      await gone
      yield utf8('{"id":2}\n')
    }
    const { pipe, taken } = await host([], { input: { isTyped: false, read } })
    await taken.messages(1)
    await pipe.close()
    go()
    await new Promise((resolve) => setImmediate(resolve))
    expect(taken.texts).toEqual(['{"id":1}'])
    expect(taken.ends).toEqual([undefined])
    expect(await failure(() => pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(await failure(() => pipe.open(taken))).toMatchObject({ code: 'ERR_CLOSED' })
  })
})

describe('a process with a pipe to its host', () => {
  it('writes messages and nothing else to standard output, and ends with the input', async () => {
    const { stdin, stdout, exited, said } = echo()
    const message = JSON.stringify({ data: 'ö'.repeat(1_000_000) })
    let received = ''
    stdout.setEncoding('utf8')
    stdout.on('data', (text: string) => {
      received += text
    })
    stdin.write(`${message}\n${'x'.repeat(11_000_000)}\n{"id":2}\n`)
    await until('both are there', () => received.endsWith('{"id":2}\n'))
    stdin.end('{"id":')
    expect(await exited).toBe(0)
    expect(received).toBe(`${message}\n{"id":2}\n`)
    expect(said()).toMatch(
      /^subrosa: error: .*\[ERR_MESSAGE_TOO_LARGE\]\nsubrosa: the input ends .*\nended: well\n$/,
    )
  })

  it('reads no more than its host takes', async () => {
    const { child, stdin, stdout } = echo()
    const line = `${JSON.stringify('x'.repeat(9_998))}\n`
    for (let i = 0; i < 1000; i++) stdin.write(line)
    await untilStill('it waits', () => bytesWritten(child.pid ?? 0))
    await untilStill('nothing more is read of it', () => child.stdin?.writableLength ?? 0)
    expect(child.stdin?.writableLength).toBeGreaterThan(9_000_000)
    let received = 0
    stdout.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    await until('all is back', () => received === 1000 * line.length)
  })

  it('ends well when the host closes its output', async () => {
    const { child, stdin, exited, said } = echo()
    stdin.write('{"id":1}\n')
    await once(child.stdout ?? child, 'data')
    child.stdout?.destroy()
    stdin.write('{"id":2}\n')
    expect(await exited).toBe(0)
    expect(said()).toBe('ended: well\n')
  })
})
