import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { splitWords } from '../../src/cli/messages/shell-words.ts'
import { runCli } from '../../src/cli/program.ts'
import { commandsOf } from '../package/examples.ts'
import { until } from '../support/until.ts'
import { BenchRealm, countsOf, rowsOf, SUBJECT } from './bench-realm.ts'
import { terminalThat } from './run.ts'

const PLAIN_WARNING = 'subrosa: warning: --plain seals nothing'

let bench: BenchRealm
beforeAll(async () => {
  bench = await BenchRealm.start()
})
afterEach(() => bench.rest())
afterAll(() => bench.stop())

describe('subrosa bench request', () => {
  it('measures every request, of several clients at a time', async () => {
    const path = bench.realm.path('request.csv')
    const [sub, request] = await bench.both(
      ['--msgs', '21', '--reply'],
      ['request', SUBJECT, '--msgs', '21', '--clients', '2', '--size', '64', '--csv', path],
    )
    expect([sub.code, request.code]).toEqual([0, 0])
    expect(sub.stdout).toMatch(/^all 21 msgs/)
    expect(request.stdout).toMatch(
      /\nlatency min \S+ \| avg \S+ \| max \S+ \| stddev \S+ \| P50 \S+ \| P90 \S+ \| P99 \S+ \| P99\.9 \S+$/,
    )
    const rows = await rowsOf(path)
    expect(countsOf(rows)).toEqual([
      ['1', 11, 704, 'session'],
      ['2', 10, 640, 'session'],
      ['all', 21, 1344, 'session'],
    ])
    for (const row of rows) {
      const names = ['Min', 'P50', 'P90', 'P99', 'P99.9', 'Max'].map((name) => `${name}LatencyMicroSecs`)
      const figures = names.map((name) => Number(row[name]))
      expect(figures).toEqual([...figures].sort((a, b) => a - b))
      expect(figures[0]).toBeGreaterThan(0)
      // A client asks one after the other: all of them together took no longer than the client did.
      const sum = Number(row['AvgLatencyMicroSecs']) * Number(row['MsgCount'])
      if (row['ClientID'] !== 'all') expect(sum / 1e6).toBeLessThanOrEqual(Number(row['DurationSecs']) + 1e-3)
    }
  })

  it.each([['channel'], ['message']])('goes in mode %s', async (mode) => {
    const [sub, request] = await bench.both(
      ['--msgs', '5', '--reply'],
      ['request', SUBJECT, '--msgs', '5', '--mode', mode],
    )
    expect([sub.code, request.code]).toEqual([0, 0])
  })

  it('is answered where it asks, and what asks nothing is not counted', async () => {
    const sub = await bench.receive('--msgs', '2', '--reply')
    await bench.run('pub', SUBJECT, '--msgs', '3')
    expect((await bench.run('request', SUBJECT, '--msgs', '2')).code).toBe(0)
    expect(await sub.outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/^all 2 msgs/) })
  })

  it.each([[[]], [['--plain']]])('ends with 3 when nobody answers on the subject, with %j', async (flags) => {
    const billing = await bench.realm.join('billing')
    const argv = ['request', 'tools.bench', '--msgs', '5', ...flags]
    expect(await bench.run(...argv)).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringContaining('[ERR_NO_RESPONDERS]'),
    })
    await billing.close()
  })

  it.each([[[]], [['--plain']]])('ends with 4 when no answer comes, with %j', async (flags) => {
    await bench.receive('--msgs', '5')
    const argv = ['request', SUBJECT, '--msgs', '5', '--timeout', '300ms', ...flags]
    expect(await bench.run(...argv)).toMatchObject({
      code: 4,
      stdout: '',
      stderr: expect.stringContaining('[ERR_TIMEOUT]'),
    })
  })
})

describe('what is on the wire', () => {
  it('can be read by nobody, in no mode', async () => {
    const billing = await bench.realm.join('billing')
    const payloads = new Set<string>()
    billing.subscribe('orders.>', {
      callback: (_, { data }) => payloads.add(Buffer.from(data).toString('hex')),
    })
    await billing.flush()
    for (const flags of [['--mode', 'channel'], ['--mode', 'message'], [], ['--many', '4']])
      expect((await bench.run('pub', SUBJECT, '--msgs', '8', ...flags)).code).toBe(0)
    await until('it has come', () => payloads.size === 4)
    await bench.tapped()
    expect(bench.seen.length).toBeGreaterThan(8)
    for (const payload of payloads) {
      expect(payload).toHaveLength(256)
      expect(bench.seen.some((data) => Buffer.from(data).toString('hex').includes(payload))).toBe(false)
    }
    await billing.close()
  })

  it('is plaintext with --plain, and both ends say so', async () => {
    const path = bench.realm.path('plain.csv')
    const [sub, pub] = await bench.both(
      ['--msgs', '9', '--plain'],
      ['pub', SUBJECT, '--msgs', '9', '--size', '300', '--plain', '--csv', path],
    )
    for (const { code, stdout, stderr } of [sub, pub]) {
      expect(code).toBe(0)
      expect(stdout).toMatch(/^all 9 msgs in /)
      expect(stderr).toContain(PLAIN_WARNING)
    }
    await bench.tapped()
    const [first, ...others] = bench.seen.map((data) => Buffer.from(data).toString('hex'))
    expect([first?.length, others.length]).toEqual([600, 8])
    expect(new Set(others)).toEqual(new Set([first]))
    expect(countsOf(await rowsOf(path)).at(-1)).toEqual(['all', 9, 2700, 'plain'])
  })

  it('is plaintext for requests with --plain and for their answers', async () => {
    const [sub, request] = await bench.both(
      ['--msgs', '6', '--reply', '--plain', '--clients', '2', '--queue', 'w'],
      ['request', SUBJECT, '--msgs', '6', '--size', '50', '--plain', '--clients', '2'],
    )
    expect([sub.code, request.code]).toEqual([0, 0])
    expect(request.stderr).toContain(PLAIN_WARNING)
    expect(request.stdout).toMatch(/\nall 6 msgs .*\nlatency min /)
    await bench.tapped()
    expect(bench.seen.map(({ length }) => length)).toEqual(Array(6).fill(50))
  })

  it('is refused by those who read sealed messages when it is plaintext', async () => {
    const sub = await bench.receive('--msgs', '5')
    await bench.run('pub', SUBJECT, '--msgs', '5', '--plain')
    // Rejections of one reason share a line.
    await until('it is refused', () => sub.said.some((line) => line.includes('plaintext')))
    sub.interrupt()
    expect(await sub.outcome).toMatchObject({ code: 130, stdout: expect.stringMatching(/^all 0 msgs/) })
  })
})

describe('an interrupted benchmark', () => {
  it('prints what was reached and ends with 130', async () => {
    const [from, to] = [bench.realm.path('from.csv'), bench.realm.path('to.csv')]
    const sub = await bench.receive('--msgs', '1000000000', '--csv', to)
    // In frames several payloads can share a message of NATS.
    const mode = ['--mode', 'message']
    const pub = bench.start('orders', 'pub', SUBJECT, '--msgs', '1000000000', '--csv', from, ...mode)
    await until('some were published', () => bench.seen.length > 100)
    pub.interrupt()
    const published = await pub.outcome
    expect(published).toMatchObject({ code: 130, stdout: expect.stringMatching(/^all [\d,]+ msgs/) })
    const sent = Number((await rowsOf(from)).at(-1)?.['MsgCount'])
    await bench.tapped()
    expect(sent).toBe(bench.seen.length)
    sub.interrupt()
    expect(await sub.outcome).toMatchObject({ code: 130, stdout: expect.stringContaining('were asked for') })
    const received = Number((await rowsOf(to)).at(-1)?.['MsgCount'])
    expect(received).toBeGreaterThan(0)
    expect(received).toBeLessThanOrEqual(sent)
  })

  it('does not wait for the answer to a request', async () => {
    await bench.receive('--msgs', '5')
    const request = bench.start('orders', 'request', SUBJECT, '--timeout', '1m')
    await until('it has asked', () => bench.seen.length === 1)
    request.interrupt()
    expect(await request.outcome).toMatchObject({ code: 130, stdout: expect.stringMatching(/^all 0 msgs/) })
  })

  it('does not wait for its audience', async () => {
    const pub = bench.start('orders', 'pub', SUBJECT, '--timeout', '1m', '--to', 'audit')
    const watcher = await bench.realm.join('billing')
    await until('it is in the realm', () => watcher.audience('alone.x').length > 0)
    await until('it waits', () => pub.said.length === 0)
    pub.interrupt()
    expect((await pub.outcome).code).toBe(130)
    expect(bench.seen).toEqual([])
    await watcher.close()
  })
})

describe('the progress bar', () => {
  /** Runs `bench pub` where a person sees standard error. */
  async function drawn(...flags: readonly string[]): Promise<readonly string[]> {
    const sub = await bench.receive('--msgs', '5')
    const lines: string[] = []
    const terminal = terminalThat({ redraw: (line) => lines.push(line), env: bench.realm.env('orders') })
    expect(await runCli(['bench', 'pub', SUBJECT, '--msgs', '5', ...flags], terminal)).toBe(0)
    await sub.outcome
    return lines
  }

  it('is drawn on a terminal, and taken away', async () => {
    const lines = await drawn()
    expect(lines[0]).toBe(`[${' '.repeat(30)}]   0%  0 of 5`)
    expect(lines.length).toBeGreaterThan(1)
    expect(lines.at(-1)).toBe('')
  })

  it('is not drawn with --no-progress', async () => {
    expect(await drawn('--no-progress')).toEqual([])
  })

  it('is not drawn by the program itself where standard error is no terminal', async () => {
    const sub = await bench.receive('--msgs', '5')
    const { code, stdout, stderr } = await bench.realm.spawn('orders', 'bench', 'pub', SUBJECT, '--msgs', '5')
      .outcome
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'subrosa: publishing 5 messages of 128 B to "orders.bench"\n',
    })
    expect(stdout).toMatch(/^all 5 msgs in .+\n$/)
    expect((await sub.outcome).code).toBe(0)
  })
})

describe('the arguments', () => {
  it.each([
    [['pub'], 'missing required argument'],
    [['pub', 'orders.*'], 'without wildcards'],
    [['pub', SUBJECT, '--msgs', '0'], 'above zero'],
    [['pub', SUBJECT, '--clients', '0'], 'above zero'],
    [['pub', SUBJECT, '--size', '0'], '1 to 67108864 bytes'],
    [['pub', SUBJECT, '--size', '1XB'], 'Use a size'],
    [['pub', SUBJECT, '--mode', 'fast'], 'Allowed choices'],
    [['pub', SUBJECT, '--many', '0'], 'above zero'],
    [['pub', SUBJECT, '--many', '4097'], 'at most 4096'],
    [['pub', SUBJECT, '--many', '65', '--size', '1MB'], 'at most 67108864 bytes'],
    [['pub', SUBJECT, '--to', 'a.b'], 'NAME/INSTANCE'],
    [['pub', SUBJECT, '--plain', '--to', 'billing'], 'cannot be used with'],
    [['pub', SUBJECT, '--plain', '--mode', 'channel'], 'cannot be used with'],
    [['pub', SUBJECT, '--plain', '--many', '8'], 'cannot be used with'],
    [['pub', SUBJECT, '--pins', 'pins.json'], '--to NAME'],
    [['pub', SUBJECT, '--reply'], 'unknown option'],
    [['sub', 'orders bench'], 'Use a subject'],
    [['sub', SUBJECT, '--wait', '1'], 'duration'],
    [['sub', SUBJECT, '--msgs', 'many'], 'above zero'],
    [['request', SUBJECT, '--many', '8'], 'unknown option'],
    [['request', SUBJECT, '--plain', '--wait-for', '2'], 'cannot be used with'],
    [['request', 'a.>'], 'without wildcards'],
  ])('%j are not understood, and nothing is sent', async (argv, message) => {
    const { code, stdout, stderr } = await bench.run(...argv)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(bench.seen).toEqual([])
  })

  it.each(['pub', 'sub', 'request'])(
    'of %s ask for no more clients than the token allows instances',
    async (name) => {
      const agent = name === 'sub' ? 'billing' : 'orders'
      const { code, stdout, stderr } = await bench.start(agent, name, SUBJECT, '--clients', '17').outcome
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toContain(`an instance of ${agent}, and its token allows 16`)
    },
  )
})

describe('the commands that README shows', () => {
  it('run as they stand there', async () => {
    const commands = (await commandsOf('README.md', 'subrosa bench')).map((line) => splitWords(line).slice(1))
    expect(commands.length).toBeGreaterThanOrEqual(4)
    for (const [i, argv] of commands.entries()) {
      if (argv[1] !== 'sub') continue
      const few = ['--msgs', '20', '--csv', bench.realm.path('readme.csv')]
      expect(argv[2]).toBe(SUBJECT)
      const sub = await bench.receive(...argv.slice(3), ...few)
      const other = bench.start('orders', ...(commands[i + 1] ?? []).slice(1), ...few)
      expect((await other.outcome).code).toBe(0)
      expect((await sub.outcome).code).toBe(0)
    }
  })
})
