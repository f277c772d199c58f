import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../../src/base/bytes.ts'
import { SubrosaError } from '../../../../src/base/errors.ts'
import { asLine, LineSplitter, readLines } from '../../../../src/cli/mcp/child/stdio-lines.ts'

/** What a splitter makes of chunks: the texts, and in place of a line that is too long the code of the error. */
function split(splitter: LineSplitter, ...chunks: readonly (string | Uint8Array)[]): readonly string[] {
  return chunks.flatMap((chunk) =>
    [...splitter.split(typeof chunk === 'string' ? utf8(chunk) : chunk)].map(shown),
  )
}

function shown(line: Uint8Array | SubrosaError): string {
  return line instanceof SubrosaError ? line.code : Buffer.from(line).toString('latin1')
}

describe('a splitter of lines', () => {
  it.each([
    ['one line', ['{"a":1}\n'], ['{"a":1}']],
    ['several in one chunk', ['1\n2\n3\n'], ['1', '2', '3']],
    ['a line in several chunks', ['{"a', '":', '1}\n'], ['{"a":1}']],
    ['line ends of both kinds', ['1\r\n2\n3\r\n'], ['1', '2', '3']],
    ['a line end in two chunks', ['1\r', '\n2\n'], ['1', '2']],
    ['a line end that comes alone', ['1', '\n', '2', '\r\n'], ['1', '2']],
    ['empty lines', ['\n\r\n1\n\n', '\r\n', '\n2\n'], ['1', '2']],
    ['a line that does not end', ['1\n2'], ['1']],
    ['a lone carriage return, which is no line end', ['1\r2\n'], ['1\r2']],
    ['spaces, which are kept', [' 1 \n'], [' 1 ']],
    ['bytes that are no text', ['\xff\x00\n'], ['\xff\x00']],
    ['nothing', ['', ''], []],
  ])('takes %s', (_what, chunks, lines) => {
    expect(split(new LineSplitter(), ...chunks.map((chunk) => Buffer.from(chunk, 'latin1')))).toEqual(lines)
  })

  it('finds the same lines however they are cut into chunks', () => {
    const line = fc.string({ unit: fc.constantFrom('a', '"', ' ', '\r', 'é'), maxLength: 12 })
    const cut = fc.integer({ min: 1, max: 9 })
    fc.assert(
      fc.property(fc.array(line), fc.array(cut, { minLength: 1 }), (lines, cuts) => {
        const stream = utf8(lines.map((text) => `${text}\n`).join(''))
        const chunks: Uint8Array[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] ?? 1
          chunks.push(stream.subarray(at, at + size))
          at += size
        }
        const expected = lines.map((text) => text.replace(/\r$/, '')).filter((text) => text !== '')
        expect(split(new LineSplitter(), ...chunks)).toEqual(
          expected.map((text) => Buffer.from(text).toString('latin1')),
        )
      }),
    )
  })

  it('keeps what it has handed out, whatever comes after it', () => {
    const splitter = new LineSplitter()
    const [first] = [...splitter.split(utf8('one ')), ...splitter.split(utf8('line\n'))]
    split(splitter, 'another', ' line, which is longer\n')
    expect(first instanceof Uint8Array && Buffer.from(first).toString()).toBe('one line')
  })

  it.each([
    ['in one chunk', ['12345678\n123456789\n1\n'], ['12345678', 'ERR_MESSAGE_TOO_LARGE', '1']],
    ['in several', ['1234', '56789', '\n1\n'], ['ERR_MESSAGE_TOO_LARGE', '1']],
    ['by far', ['1'.repeat(20), '1'.repeat(20), '\n1\n'], ['ERR_MESSAGE_TOO_LARGE', '1']],
    [
      'several times',
      ['1'.repeat(9), '\n', '1'.repeat(30), '\n1\n'],
      ['ERR_MESSAGE_TOO_LARGE', 'ERR_MESSAGE_TOO_LARGE', '1'],
    ],
    ['not, with its line end', ['12345678\r\n', '12345678', '\r', '\n'], ['12345678', '12345678']],
    [
      'with a carriage return in it',
      ['12345678\r1\n', '1234567\r\r\n'],
      ['ERR_MESSAGE_TOO_LARGE', '1234567\r'],
    ],
    ['and does not end', ['1'.repeat(30)], ['ERR_MESSAGE_TOO_LARGE']],
  ])('leaves out a line that is too long %s, and nothing else', (_what, chunks, lines) => {
    expect(split(new LineSplitter(8), ...chunks)).toEqual(lines)
  })

  it('says that a line is too long before its end, and keeps nothing of it', () => {
    const splitter = new LineSplitter(1000)
    split(splitter, 'a'.repeat(900))
    expect(splitter.pendingBytes).toBe(900)
    expect(split(splitter, 'a'.repeat(900))).toEqual(['ERR_MESSAGE_TOO_LARGE'])
    expect(split(splitter, 'a'.repeat(900), 'a'.repeat(900))).toEqual([])
    expect(splitter.pendingBytes).toBe(0)
  })

  it('takes 10 MB by default, and no byte more', () => {
    const line = Buffer.alloc(10 * 1024 * 1024, 'a')
    const [taken] = [...new LineSplitter().split(Buffer.concat([line, utf8('\n')]))]
    expect(taken instanceof Uint8Array && line.equals(taken)).toBe(true)
    expect(split(new LineSplitter(), line, 'a\n1\n')).toEqual(['ERR_MESSAGE_TOO_LARGE', '1'])
  })

  it('takes time and memory by the length of a line, in however many pieces it comes', () => {
    const splitter = new LineSplitter()
    const piece = Buffer.alloc(16, 'ab')
    // Of so many pieces that to copy all that came before, each time, takes minutes.
    for (let at = 0; at < 4_000_000; at += piece.length) split(splitter, piece)
    const [line] = [...splitter.split(utf8('\n'))]
    expect(line instanceof Uint8Array && line.length).toBe(4_000_000)
    expect(line instanceof Uint8Array && line.buffer.byteLength).toBeLessThan(8_100_000)
  })

  it('hands out the last line where a stream ends without a line end', () => {
    const splitter = new LineSplitter(8)
    split(splitter, '1\n23')
    expect([...splitter.end()].map(shown)).toEqual(['23'])
    expect([...splitter.end()]).toEqual([])
    split(splitter, '1'.repeat(20))
    expect([...splitter.end()]).toEqual([])
  })
})

describe('reading lines', () => {
  it('waits until a line is taken before it hands out the next, and before it reads on', async () => {
    const events: string[] = []
    async function* input(): AsyncIterable<Uint8Array> {
      for (const chunk of ['1\n2\n', '3\n']) {
        events.push('read')
        yield utf8(chunk)
      }
    }
    await readLines(input(), new LineSplitter(), async (line) => {
      events.push(`begin ${shown(line)}`)
      await new Promise((resolve) => setImmediate(resolve))
      events.push(`end ${shown(line)}`)
    })
    expect(events).toEqual(['read', 'begin 1', 'end 1', 'begin 2', 'end 2', 'read', 'begin 3', 'end 3'])
  })

  it('ends with what goes wrong while a line is taken', async () => {
    async function* input(): AsyncIterable<Uint8Array> {
      yield utf8('1\n')
    }
    const refuse = async (): Promise<void> => {
      throw new Error('refused')
    }
    await expect(readLines(input(), new LineSplitter(), refuse)).rejects.toThrow('refused')
  })
})

describe('a message as a line', () => {
  it('is what it was, and a line end', () => {
    const message = Buffer.from(' {"text": "größe \\n"} \xff', 'latin1')
    const line = asLine(message)
    expect(Buffer.from(line)).toEqual(Buffer.concat([message, utf8('\n')]))
  })

  it('stays one line, of the same meaning, whatever line ends are in it', () => {
    const inner = '{"jsonrpc":"2.0","id":2,"method":"tools/call"}'
    const message =
      `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":\n${inner}\r${inner}\r\n}}`.replace(
        `\r${inner}`,
        `,"b":\r${inner}`,
      )
    const line = Buffer.from(asLine(utf8(message))).toString()
    expect(line.split(/[\r\n]/)).toEqual([expect.any(String), ''])
    expect(JSON.parse(line)).toEqual(JSON.parse(message))
  })

  it('leaves the message itself as it was', () => {
    const message = utf8('{\n}')
    asLine(message)
    expect(Buffer.from(message).toString()).toBe('{\n}')
  })
})
