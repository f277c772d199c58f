import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { utf8 } from '../../../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../../../src/base/clock.ts'
import { childEnvironment, collectVariables } from '../../../../src/cli/mcp/child/child-environment.ts'
import { ChildPipe, type ChildPipeOptions } from '../../../../src/cli/mcp/child/child-pipe.ts'
import { Guardian } from '../../../../src/cli/mcp/child/guardian.ts'
import {
  bytesWritten,
  childrenOf,
  guardianOf,
  isRunning,
  membersOf,
  untilGone,
  untilStill,
} from '../../../mcp/processes.ts'
import { Taken } from '../../../mcp/taken.ts'
import { ManualClock } from '../../../support/clock.ts'
import { passing, passingUntil } from '../../../support/passing.ts'
import { failure, until } from '../../../support/until.ts'
import { terminalThat } from '../../run.ts'
import { UNPRINTABLE } from '../../unprintable.ts'

const PATH = process.env['PATH'] ?? ''

interface Running {
  readonly pipe: ChildPipe
  readonly taken: Taken
  readonly said: readonly string[]
}

const opened: Running[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const { pipe } of opened.splice(0)) void pipe.close()
  // Whoever was started is gone, at the latest 5 s after that, and the guardian with the last of them.
  await until('no child process is left', () => childrenOf(process.pid).length === 0)
})

/** Starts a server that is a command of a shell. */
async function shell(
  script: string,
  options: Partial<ChildPipeOptions> = {},
  hold?: Taken['hold'],
): Promise<Running> {
  return start({ command: 'sh', args: ['-c', script], ...options }, hold)
}

/** Starts a server that is a program of JavaScript. */
async function script(
  source: string,
  options: Partial<ChildPipeOptions> = {},
  hold?: Taken['hold'],
): Promise<Running> {
  return start({ command: process.execPath, args: ['-e', source], ...options }, hold)
}

async function start(
  options: Pick<ChildPipeOptions, 'command' | 'args'> & Partial<ChildPipeOptions>,
  hold?: Taken['hold'],
): Promise<Running> {
  const said: string[] = []
  const terminal = terminalThat({ say: (line) => void said.push(line), env: { PATH } })
  const guardian = new Guardian(terminal)
  const running = {
    pipe: new ChildPipe(terminal, { name: 'tools', env: { PATH }, guardian, ...options }),
    taken: new Taken(),
    said,
  }
  running.taken.hold = hold
  await running.pipe.open(running.taken)
  opened.push(running)
  return running
}

/** The processes that a server names in its first message. */
async function pidsOf({ taken }: Running): Promise<readonly number[]> {
  await taken.messages(1)
  return taken.values[0] as readonly number[]
}

/** Every signal to a process group, and when it was sent. */
function signalsOn(clock: Clock): readonly string[] {
  const signals: string[] = []
  const kill = process.kill.bind(process)
  const startedAt = clock.monotonic()
  vi.spyOn(process, 'kill').mockImplementation((pid, signal) => {
    if (pid < 0 && signal !== 0)
      signals.push(`${signal} after ${Math.round((clock.monotonic() - startedAt) / 100) / 10} s`)
    return kill(pid, signal)
  })
  return signals
}

describe('a pipe to a child process', () => {
  it('hands on messages in both directions, in order and byte for byte', async () => {
    const { pipe, taken } = await start({ command: 'cat', args: [] })
    const messages = ['{"jsonrpc":"2.0","id":1}', ' [ {"text" : "größe\\u0000\\n"}, 1.0 ] ', '{"a":1,"a":2}']
    for (const message of messages) await pipe.send(utf8(message))
    await taken.messages(3)
    expect(taken.texts).toEqual(messages)
  })

  it('carries messages of 5 MB in both directions', async () => {
    const { pipe, taken } = await start({ command: 'cat', args: [] })
    const message = utf8(JSON.stringify({ data: 'ö'.repeat(2_500_000) }))
    const sent = [pipe.send(message), pipe.send(utf8('{}'))]
    await taken.messages(2)
    await Promise.all(sent)
    const hash = (bytes: Uint8Array | undefined) =>
      createHash('sha256')
        .update(bytes ?? '')
        .digest('hex')
    expect(hash(taken.bytes[0])).toBe(hash(message))
    expect(taken.texts[1]).toBe('{}')
  })

  it('makes one line of a message, whatever line ends are in it', async () => {
    const { pipe, taken } = await start({ command: 'cat', args: [] })
    await pipe.send(utf8('{"a":\n{"method":"tools/call"}\r\n}'))
    await pipe.send(utf8('{}'))
    await taken.messages(2)
    expect(taken.values).toEqual([{ a: { method: 'tools/call' } }, {}])
  })

  it('gives each argument to the program as it is, and none to a shell', async () => {
    const args = ['$HOME', '`id`', '; exit', '', '"quoted"', '*']
    const { taken } = await script('console.log(JSON.stringify(process.argv.slice(1)))', {
      args: ['-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--', ...args],
    })
    await taken.messages(1)
    expect(taken.values).toEqual([args])
  })

  it('gives the server nothing of the environment but what it was given', async () => {
    vi.stubEnv('SUBROSA_IDENTITY', 'secret')
    vi.stubEnv('NATS_PASSWORD', 'secret')
    const { taken } = await script('console.log(JSON.stringify(process.env))', {
      env: { PATH, TOKEN: 'for the server' },
    })
    await taken.messages(1)
    expect(taken.values).toEqual([{ PATH, TOKEN: 'for the server' }])
    vi.unstubAllEnvs()
  })
})

describe('what a server says besides its messages', () => {
  it('is passed on with its name, line by line, and comes between no two messages', async () => {
    const running = await shell(
      `echo starting; echo '{"id":1}'; echo '[info] ready [ok]'; echo "{ name: 'x' }"; echo 7; echo '"text"'; echo null;
       echo; echo '{"id":2}'; echo '{"half":'; echo '[{"id":3}]'; cat`,
    )
    await running.taken.messages(3)
    expect(running.taken.texts).toEqual(['{"id":1}', '{"id":2}', '[{"id":3}]'])
    expect(running.said).toEqual(
      ['starting', '[info] ready [ok]', "{ name: 'x' }", '7', '"text"', 'null', '{"half":'].map(
        (line) => `subrosa: tools: ${line}`,
      ),
    )
  })

  it('is kept in whole lines where it is an error output, to the last one', async () => {
    const running = await script(`
      const { writeSync } = require('node:fs')
      writeSync(2, 'one '); writeSync(2, 'line\\r\\nand an'); writeSync(2, 'other\\n\\nthe last')
      process.exit(1)`)
    await running.taken.ended()
    await running.pipe.close()
    expect(running.said).toEqual(
      ['one line', 'and another', 'the last'].map((line) => `subrosa: tools: ${line}`),
    )
  })

  it('never steers the terminal', async () => {
    const running = await shell(
      String.raw`printf '\033[2Jstdout\033]0;title\a\n'; printf '\033[31mred\302\233m\n' >&2; cat`,
    )
    await until('both lines are there', () => running.said.length === 2)
    expect(running.said.join('')).not.toMatch(UNPRINTABLE)
    expect(running.said.join('')).toContain('\\u001b[2Jstdout')
  })

  it('is left out where it is too long for people', async () => {
    const running = await script(`
      process.stdout.write('a'.repeat(100_000) + '\\n' + '{"id":1}\\n')
      process.stderr.write('b'.repeat(100_000) + '\\nerror\\n')
      process.stdin.resume()`)
    await running.taken.messages(1)
    await until('all of it is there', () => running.said.length === 3)
    expect([...running.said].sort()).toEqual([
      'subrosa: tools: (a line of 100000 bytes that is no message is left out)',
      'subrosa: tools: (a line of more than 65536 bytes is left out: no message may be longer)',
      'subrosa: tools: error',
    ])
  })

  it('is taken for a message by its ends alone where it is long', async () => {
    const long = `' '.repeat(9) + '{"a":"' + 'x'.repeat(100_000) + '"}'`
    const running = await script(
      `process.stdout.write(${long} + '\\n' + ${long} + '!\\n{}\\n'); process.stdin.resume()`,
    )
    await running.taken.messages(2)
    expect(running.taken.bytes.map(({ length }) => length)).toEqual([100_017, 2])
    expect(running.said).toHaveLength(1)
  })
})

describe('a server that sends too much', () => {
  it('ends when a message is too long: who waits for it would wait in vain', async () => {
    const running = await shell(`printf '{"a":"%0999d"}\\n{"a":"%01000d"}\\n{"b":1}\\n' 1 1; cat`, {
      maxMessage: 1008 - 1,
    })
    expect(await running.taken.ended()).toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' })
    expect(running.taken.bytes.map(({ length }) => length)).toEqual([1007])
  })

  it('waits while nobody takes its messages, and loses none of them', async () => {
    let take = (): void => {}
    const hold = new Promise<void>((resolve) => {
      take = resolve
    })
    const running = await script(
      `const { writeSync } = require('node:fs')
       const rest = 'x'.repeat(1000)
       for (let id = 0; id < 5000; id++) writeSync(1, JSON.stringify({ id, pid: process.pid, rest }) + '\\n')
       process.stdin.resume()`,
      {},
      () => hold,
    )
    await running.taken.messages(1)
    const [first] = running.taken.values as { pid: number }[]
    await untilStill('the server waits', () => bytesWritten(first?.pid ?? 0))
    expect(bytesWritten(first?.pid ?? 0)).toBeLessThan(1_000_000)
    expect(running.taken.bytes).toHaveLength(1)
    take()
    running.taken.hold = undefined
    await running.taken.messages(5000)
    expect(running.taken.values.map((value) => (value as { id: number }).id)).toEqual(
      Array.from({ length: 5000 }, (_, id) => id),
    )
  })

  it('is not sent more than it reads', async () => {
    const { pipe } = await shell('exec sleep 1000')
    const message = utf8(JSON.stringify('x'.repeat(4_000_000)))
    let isRoom = false
    const sending = pipe.send(message).then(() => {
      isRoom = true
    })
    const refused = failure(() => sending)
    await new Promise((resolve) => setImmediate(resolve))
    expect(isRoom).toBe(false)
    void pipe.close()
    expect(await refused).toMatchObject({ code: 'ERR_CLOSED' })
  })
})

describe('a server that ends by itself', () => {
  it.each([
    ['exits', 'exit 3', 'has exited with code 3'],
    ['exits as if all were well', 'exit 0', 'has exited with code 0'],
    ['is killed', 'kill -KILL $$', 'was ended by SIGKILL'],
    ['ends its output and then exits', 'exec >&-; exit 4', 'has exited with code 4'],
  ])('and %s ends the pipe with an error that says so', async (_what, line, reason) => {
    const { pipe, taken } = await shell(line)
    expect(await taken.ended()).toMatchObject({
      code: 'ERR_MCP_ENDED',
      message: `the MCP server tools ${reason}`,
    })
    expect(await failure(() => pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
    await pipe.close()
    expect(taken.ends).toHaveLength(1)
  })

  it('has its last messages delivered before that, even if somebody takes his time', async () => {
    let take = (): void => {}
    const hold = new Promise<void>((resolve) => {
      take = resolve
    })
    const clock = new ManualClock()
    const { taken } = await shell(`echo "[$$]"; echo '{"id":1}'; exit 5`, { clock }, () => hold)
    await taken.messages(1)
    const [pid] = taken.values[0] as number[]
    await untilGone(pid ?? 0)
    for (let i = 0; i < 20; i++) {
      clock.advance(200)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(taken.ends).toEqual([])
    take()
    await passingUntil(clock, 'the pipe has ended', () => taken.ends.length > 0)
    expect(taken.texts).toEqual([`[${pid}]`, '{"id":1}'])
  })

  it('in the middle of a line has that line left out', async () => {
    const { taken, said } = await shell(`printf '{"id":1}\\n{"secret":'; exit 1`)
    expect(await taken.ended()).toMatchObject({ message: 'the MCP server tools has exited with code 1' })
    expect(taken.texts).toEqual(['{"id":1}'])
    expect(said).toEqual(['subrosa: tools: (its output ends within a line of 10 bytes)'])
  })

  it('takes with it what it has started, and what holds its output', async () => {
    const clock = new ManualClock()
    const running = await shell(`sleep 1000 & echo "[$!]"; exit 6`, { clock })
    const [grandchild] = await pidsOf(running)
    expect(isRunning(grandchild ?? 0)).toBe(true)
    await passingUntil(clock, 'the pipe has ended', () => running.taken.ends.length > 0)
    expect(running.taken.ends[0]).toMatchObject({ message: 'the MCP server tools has exited with code 6' })
    expect(clock.monotonic()).toBeLessThan(1000)
    await passing(clock, running.pipe.close())
    expect(isRunning(grandchild ?? 0)).toBe(false)
  })

  it('is ended when it closes its output and lives on', async () => {
    const clock = new ManualClock()
    const running = await shell(`echo "[$$]"; exec >&-; exec sleep 1000`, { clock })
    const [pid] = await pidsOf(running)
    await passingUntil(clock, 'the pipe has ended', () => running.taken.ends.length > 0)
    expect(running.taken.ends[0]).toMatchObject({
      message: 'the MCP server tools has closed its standard output',
    })
    await passing(clock, running.pipe.close())
    expect(isRunning(pid ?? 0)).toBe(false)
  })

  it('is ended when it closes its input and lives on', async () => {
    const clock = new ManualClock()
    const running = await shell(`exec <&-; echo "[$$]"; exec sleep 1000`, { clock })
    const [pid] = await pidsOf(running)
    await running.pipe.send(utf8('{}')).catch(() => {})
    await passingUntil(clock, 'the pipe has ended', () => running.taken.ends.length > 0)
    expect(running.taken.ends[0]).toMatchObject({
      message: 'the MCP server tools has closed its standard input',
    })
    await passing(clock, running.pipe.close())
    expect(isRunning(pid ?? 0)).toBe(false)
  })

  it('does so where a message cannot be taken', async () => {
    const { pipe, taken } = await shell(`echo '{}'; cat`, {}, () => Promise.reject(new Error('refused')))
    expect(await taken.ended()).toMatchObject({ message: 'refused' })
    await pipe.close()
  })
})

describe('closing', () => {
  it('ends a server with the end of its input, and without a signal', async () => {
    const signals = signalsOn(systemClock)
    const running = await shell(`echo "[$$]"; cat; echo 'the end' >&2`)
    const [pid] = await pidsOf(running)
    await running.pipe.close()
    expect(isRunning(pid ?? 0)).toBe(false)
    expect(running.said).toEqual(['subrosa: tools: the end'])
    expect(running.taken.ends).toEqual([undefined])
    expect(signals).toEqual([])
    await running.pipe.close()
    expect(running.taken.ends).toHaveLength(1)
    expect(await failure(() => running.pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('lets the server read what was sent before', async () => {
    const running = await shell('wc -c >&2')
    const sent = [1, 2, 3].map(() =>
      running.pipe.send(utf8(JSON.stringify('x'.repeat(99_997)))).catch(() => {}),
    )
    await running.pipe.close()
    await Promise.all(sent)
    expect(running.said).toEqual(['subrosa: tools: 300000'])
  })

  it('lets the server write to its end, and delivers nothing of it', async () => {
    const signals = signalsOn(systemClock)
    const running = await script(
      `console.log('[' + process.pid + ']')
       process.stdin.resume().on('end', () => process.stdout.write('{"x":"' + 'x'.repeat(2_000_000) + '"}\\n{}\\n'))`,
      {},
      () => new Promise(() => {}),
    )
    await running.taken.messages(1)
    await running.pipe.close()
    expect(running.taken.bytes).toHaveLength(1)
    expect(signals).toEqual([])
  })

  it('asks a server with SIGTERM after 2 s that does not end', async () => {
    const clock = new ManualClock()
    const signals = signalsOn(clock)
    const running = await shell(
      `trap 'echo asked >&2; exit' TERM; echo "[$$]"; while :; do sleep 0.01; done`,
      { clock },
    )
    const [pid] = await pidsOf(running)
    await passing(clock, running.pipe.close())
    expect(signals).toEqual(['SIGTERM after 2 s'])
    expect(running.said).toContain('subrosa: tools: asked')
    expect(isRunning(pid ?? 0)).toBe(false)
  })

  it('ends a server with SIGKILL after 5 s that is deaf to all, with everything that it has started', async () => {
    const clock = new ManualClock()
    const signals = signalsOn(clock)
    const running = await shell(
      `trap '' TERM; sleep 1000 & one=$!; sh -c 'sleep 1000' & echo "[$$,$one,$!]"; while :; do sleep 1000; done`,
      { clock },
    )
    const pids = await pidsOf(running)
    await passing(clock, running.pipe.close())
    expect(signals).toEqual(['SIGTERM after 2 s', 'SIGKILL after 5 s'])
    expect(membersOf(pids[0] ?? 0)).toEqual([])
    expect(pids).toHaveLength(3)
  })

  it('waits for those that outlive the server, and asks them too', async () => {
    const clock = new ManualClock()
    const signals = signalsOn(clock)
    const running = await shell(`sleep 1000 & echo "[$$,$!]"; cat >&2`, { clock })
    const pids = await pidsOf(running)
    await passing(clock, running.pipe.close())
    expect(signals[0]).toBe('SIGTERM after 2 s')
    expect(pids.filter(isRunning)).toEqual([])
  })

  it('does not wait for a process that has left the group and holds the output', async () => {
    const clock = new ManualClock()
    const running = await script(
      `const { spawn } = require('node:child_process')
       const left = spawn('sleep', ['1000'], { detached: true, stdio: 'inherit' })
       console.log(JSON.stringify([left.pid])); process.stdin.resume(); left.unref()`,
      { clock },
    )
    const [left] = await pidsOf(running)
    await passing(clock, running.pipe.close())
    expect(isRunning(left ?? 0)).toBe(true)
    process.kill(left ?? 0, 'SIGKILL')
    await untilGone(left ?? 0)
  })

  it('lets the guardian go with the last of them', async () => {
    const { pipe } = await start({ command: 'cat', args: [] })
    const guardian = guardianOf(process.pid)
    expect(guardian).toBeDefined()
    await pipe.close()
    await untilGone(guardian?.pid ?? 0)
  })
})

describe('a server that cannot be started', () => {
  it.each([
    ['is not there', '/nonexistent/server', ['--token', 's3cret'], 'ENOENT', 'install it'],
    ['is nowhere on the PATH', 'subrosa-no-such-server', ['s3cret'], 'ENOENT', 'install it'],
    ['has too long an argument', 'true', ['s3cret'.repeat(100_000)], 'E2BIG', undefined],
  ])(
    '%s: the error names the program, and none of its arguments',
    async (_what, command, args, code, hint) => {
      const taken = new Taken()
      const terminal = terminalThat({})
      const pipe = new ChildPipe(terminal, {
        name: 'tools',
        command,
        args,
        env: { PATH },
        guardian: new Guardian(terminal),
      })
      const error = await failure(() => pipe.open(taken))
      expect(error).toMatchObject({
        code: 'ERR_SETUP',
        message: `the MCP server ${command} cannot be started (${code})`,
      })
      expect(error.hint).toEqual(hint === undefined ? undefined : expect.stringContaining(hint))
      expect(error.cause).toBeUndefined()
      expect(taken.ends).toEqual([])
      expect(guardianOf(process.pid)).toBeUndefined()
      await pipe.close()
      expect(await failure(() => pipe.send(utf8('{}')))).toMatchObject({ code: 'ERR_CLOSED' })
    },
  )

  it('is no program', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'subrosa-test-child-'))
    const command = join(folder, 'server')
    await writeFile(command, 'not a program', { mode: 0o600 })
    expect(await failure(() => start({ command, args: [] }))).toMatchObject({
      code: 'ERR_SETUP',
      message: `the MCP server ${command} cannot be started (EACCES)`,
      hint: 'the file is no program that this user may run',
    })
    await rm(folder, { recursive: true })
  })
})

describe('the environment of a server', () => {
  const env = {
    HOME: '/home/agent',
    PATH: '/bin',
    LANG: 'de_CH.UTF-8',
    TZ: 'UTC',
    API_KEY: 'for the server',
    NATS_URL: 'tls://broker',
    NATS_PASSWORD: 'secret',
    SUBROSA_IDENTITY: 'env:KEY',
    KEY: 'secret',
    HTTPS_PROXY: 'http://user:secret@proxy',
    NODE_OPTIONS: '--inspect',
  }
  const handedOn = { HOME: '/home/agent', PATH: '/bin', LANG: 'de_CH.UTF-8', TZ: 'UTC' }

  it('has what every program needs, and nothing of what logs in to anything', () => {
    expect(childEnvironment(env)).toEqual(handedOn)
    expect(childEnvironment({})).toEqual({})
  })

  it('has what is named', () => {
    expect(childEnvironment(env, ['API_KEY', 'PATH', 'NATS_URL'])).toEqual({
      ...handedOn,
      API_KEY: 'for the server',
      NATS_URL: 'tls://broker',
    })
    expect(childEnvironment({ EMPTY: '' }, ['EMPTY'])).toEqual({ EMPTY: '' })
  })

  it('must have what is named', async () => {
    expect(await failure(() => childEnvironment(env, ['API_KEY', 'API_TOKEN']))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'the variable API_TOKEN is not set',
      hint: expect.stringContaining('--env'),
    })
  })

  it('is named by names', async () => {
    expect(collectVariables('API_KEY', undefined)).toEqual(['API_KEY'])
    expect(collectVariables('_b2', ['API_KEY'])).toEqual(['API_KEY', '_b2'])
    for (const text of ['', '1A', 'A-B', 'A B', 'A\n'])
      expect(await failure(() => collectVariables(text)), text).toMatchObject({
        code: 'commander.invalidArgument',
      })
  })

  it('is not named with values, which others could see, and which no error repeats', async () => {
    const error = await failure(() => collectVariables('API_KEY=s3cret'))
    expect(error).toMatchObject({
      code: 'ERR_SETUP',
      hint: expect.stringContaining('set it in the environment'),
    })
    expect(`${error.message}${error.hint}`).not.toContain('s3cret')
  })
})
