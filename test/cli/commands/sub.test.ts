import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import { runCli } from '../../../src/cli/program.ts'
import { until } from '../../support/until.ts'
import { DailyRealm } from '../daily-realm.ts'
import { hasLogged, readStderr } from '../log-lines.ts'
import { run, terminalThat } from '../run.ts'

let realm: DailyRealm
let orders: SecureConnection
let audit: SecureConnection
beforeAll(async () => {
  realm = await DailyRealm.start()
  orders = await realm.join('orders')
  audit = await realm.join('audit')
})
afterAll(() => realm.stop())

/** Starts `subrosa sub` as billing. */
async function sub(...argv: readonly string[]) {
  const command = await realm.listen('billing', 'sub', ...argv)
  const instance = () => orders.audience('orders.x').find(({ name }) => name === 'billing')
  await until('the sender knows it', () => instance() !== undefined)
  return command
}

const lines = (text: string): unknown[] => text.split('\n').map((line): unknown => JSON.parse(line))

describe('subrosa sub', () => {
  it('shows a person what came, with its verified sender', async () => {
    const command = await sub('orders.>', '--count', '2')
    orders.publish('orders.new', 'one\n\ttwo', { headers: new Map([['X-A', ['b', 'c']]]), reply: 'orders.r' })
    orders.publish('orders.new')
    const { code, stdout, stderr } = await command.outcome
    expect(code).toBe(0)
    expect(stdout).toBe(
      `[#1] Received on "orders.new" from orders/${orders.instance} with reply "orders.r"\n` +
        'X-A: b\nX-A: c\n\none\n\ttwo\n\n' +
        `[#2] Received on "orders.new" from orders/${orders.instance}\nnil body\n`,
    )
    expect(readStderr(stderr).said).toEqual(['subrosa: subscribed to orders.>'])
  })

  it('does not let a sender steer the terminal', async () => {
    const command = await sub('orders.>', '--count', '1')
    const bytes = new Uint8Array([0x1b, 0x5b, 0x32, 0x4a, 0xff, 0xc2, 0x9b])
    orders.publish('orders.\u202e', bytes, { headers: new Map([['X', ['\u009bx']]]) })
    const { stdout } = await command.outcome
    expect(stdout).toContain('"orders.\\u202e"')
    expect(stdout).toContain('X: \\u009bx')
    expect(stdout).toContain('\\u001b[2J\ufffd\\u009b')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })

  it('prints one line of JSON for each message, and nothing else', async () => {
    const command = await sub('orders.>', '--json', '--count', '3')
    orders.publish('orders.new', '{"id":7}\n', { headers: new Map([['X-A', ['b']]]), reply: 'orders.r' })
    orders.publish('orders.new', Uint8Array.of(0xff, 0))
    orders.publish('orders.new', '\u001b\u202e')
    const { stdout } = await command.outcome
    const sender = { name: 'orders', instance: orders.instance }
    const common = { subject: 'orders.new', sender, sentAt: expect.stringMatching(/^\d{4}-.*Z$/), epoch: 1 }
    expect(lines(stdout)).toEqual([
      { ...common, reply: 'orders.r', headers: { 'X-A': ['b'] }, data: '{"id":7}\n' },
      { ...common, dataBase64: '/wA=' },
      { ...common, data: '\u001b\u202e' },
    ])
    expect(stdout).not.toMatch(/\u202e/)
  })

  it('prints payloads as they are with --raw, each as a line', async () => {
    const command = await sub('orders.>', '-r', '--count', '3')
    orders.publish('orders.new', 'line\n')
    orders.publish('orders.new', 'no line')
    orders.publish('orders.new', '\u001b[1m')
    expect((await command.outcome).stdout).toBe('line\nno line\n\u001b[1m')
  })

  it('leaves out what it is told to', async () => {
    const headers = new Map([['X', ['y']]])
    const heading = `[#1] Received on "orders.new" from orders/${orders.instance}`
    const first = await sub('orders.>', '--headers-only', '--count', '1')
    orders.publish('orders.new', 'secret', { headers })
    expect((await first.outcome).stdout).toBe(`${heading}\nX: y\n`)
    const second = await sub('orders.>', '--subjects-only', '--count', '1')
    orders.publish('orders.new', 'secret', { headers })
    expect((await second.outcome).stdout).toBe(heading)
    const third = await sub('orders.>', '--subjects-only', '--json', '--count', '1')
    orders.publish('orders.new', 'secret', { headers })
    const [shown] = lines((await third.outcome).stdout)
    expect(Object.keys(shown ?? {})).toEqual(['subject', 'sender', 'sentAt', 'epoch'])
  })

  it.each([
    ['-t', /^\[#1\] @ \d{4}-\d\d-\d\dT[\d:.]+Z Received on/],
    ['-d', /^\[#1\] @ \d+\.\d{6}s Received on/],
  ])('shows times with %s', async (flag, heading) => {
    const command = await sub('orders.>', flag, '--count', '1')
    orders.publish('orders.new', 'x')
    expect((await command.outcome).stdout).toMatch(heading)
  })

  it('takes several subjects, and leaves out those to ignore', async () => {
    const command = await sub('orders.new', 'tools.>', '--count', '2', '--json', '-I', 'tools.old.>')
    orders.publish('orders.other', 'x')
    orders.publish('tools.old.a', 'x')
    orders.publish('orders.new', '1')
    orders.publish('tools.a', '2')
    expect(lines((await command.outcome).stdout)).toMatchObject([{ data: '1' }, { data: '2' }])
  })

  it('shares work in a queue group', async () => {
    const flags = ['orders.>', '--queue', 'workers', '--json']
    const commands = await Promise.all([sub(...flags), sub(...flags)])
    await until('the sender knows both', () => orders.audience('tools.x').length === 2)
    for (let i = 0; i < 20; i++) orders.publish('orders.new', String(i))
    const received = () =>
      commands.flatMap(({ written }) =>
        written()
          .split('\n')
          .filter((line) => line !== ''),
      )
    await until('all have come', () => received().length >= 20)
    for (const command of commands) command.interrupt()
    for (const { outcome } of commands) expect((await outcome).code).toBe(0)
    const numbers = received().map((line) => Number((JSON.parse(line) as { data: string }).data))
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i))
  })

  it('ends when nothing has come for a while, and when it is interrupted, with 0', async () => {
    const quiet = await sub('orders.>', '--wait', '50ms')
    expect(await quiet.outcome).toMatchObject({ code: 0, stdout: '' })
    const interrupted = await sub('orders.>')
    interrupted.interrupt()
    expect(await interrupted.outcome).toMatchObject({ code: 0, stdout: '' })
    await until('it has told that it is gone', () => {
      return orders.audience('orders.x').every(({ name }) => name !== 'billing')
    })
  })

  it('prints the next message when there is room for it', async () => {
    const written: string[] = []
    let makeRoom = (): void => {}
    const terminal = terminalThat({
      env: realm.env('billing'),
      say: (line) => void said.push(line),
      write: (data) => {
        written.push(String(data))
        return new Promise((resolve) => {
          makeRoom = resolve
        })
      },
    })
    const said: string[] = []
    const code = runCli(['sub', 'orders.>', '--json', '--count', '3'], terminal)
    await until('it listens', () => said.length > 0)
    await orders.waitForAudience('tools.x')
    const copies = audit.subscribe('orders.>', { max: 3 })
    await audit.flush()
    for (const text of ['1', '2', '3']) orders.publish('orders.new', text)
    await copies.closed
    for (let i = 1; i <= 3; i++) {
      await until('it prints', () => written.length > 0)
      expect(written).toHaveLength(1)
      expect(JSON.parse(written.pop() ?? '')).toMatchObject({ data: String(i) })
      makeRoom()
    }
    expect(await code).toBe(0)
  })

  it('logs what it refused and why, of many in one line', async () => {
    const outsider = await realm.running.login({ agent: 'orders' })
    const command = await sub('orders.>')
    for (let i = 0; i < 12; i++) outsider.publish('orders.\u009bnew', 'not sealed')
    await outsider.flush()
    await until('it has refused', () => hasLogged(command.said, 'rejected'))
    command.interrupt()
    const { code, stdout, stderr } = await command.outcome
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    const rejected = readStderr(stderr).log.filter(({ event }) => event === 'rejected')
    const subject = 'orders.\u009bnew'
    expect(rejected).toMatchObject([
      { level: 'warn', reason: 'plaintext', subject, count: 1 },
      { level: 'warn', reason: 'plaintext', subject, count: 11 },
    ])
    expect(stderr).not.toContain('\u009b')
  })

  it.each([
    [['bad subject'], 'Use a subject'],
    [['a..b'], 'Use a subject'],
    [['orders.>', '--json', '--raw'], 'cannot be used with'],
    [['orders.>', '--count', 'x'], 'whole number'],
    [['orders.>', '--wait', '5'], 'duration'],
    [['orders.>', '--translate', "'"], 'is not closed'],
    [[], 'missing required argument'],
  ])('does not understand %j', async (argv, message) => {
    const { code, stdout, stderr } = await realm.start('billing', ['sub', ...argv]).outcome
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })

  it('says that it may not read a subject', async () => {
    expect(await realm.start('billing', ['sub', 'secret.>']).outcome).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_SUBSCRIBE_DENIED'),
    })
  })

  it('says that the broker denies a subject that the identity allows', async () => {
    const creds = await realm.writeLogin('billing', ['orders.>'])
    const { code, stderr } = await realm.start('billing', ['sub', 'tools.>', '--creds', creds]).outcome
    expect(code).toBe(1)
    expect(readStderr(stderr).said).toEqual([
      'subrosa: error: the server ended the subscription to "tools.>" [ERR_SUBSCRIBE_DENIED]',
    ])
  })

  it('says which agent it would be, where nobody says it', async () => {
    const { dir } = realm.running.realm
    expect(await run('sub', 'orders.>', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nothing says which agent this is'),
    })
    expect(await run('sub', 'orders.>', '--realm', dir, '--as', 'nobody')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_KEY_FILE'),
    })
  })
})

describe('subrosa sub --dump', () => {
  it('writes files that only their owner can read', async () => {
    const dir = realm.path('dump')
    const command = await sub('orders.>', '--dump', dir, '--count', '2')
    orders.publish('orders.new', 'one')
    orders.publish('orders.new', 'two')
    expect(await command.outcome).toMatchObject({ code: 0, stdout: '' })
    expect(await readdir(dir)).toEqual(['1.json', '2.json'])
    expect(JSON.parse(await readFile(join(dir, '2.json'), 'utf8'))).toMatchObject({ data: 'two' })
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(dir, '1.json'))).mode & 0o777).toBe(0o600)
  })

  it('overwrites nothing', async () => {
    const dir = realm.path('earlier')
    await mkdir(dir)
    await writeFile(join(dir, '1.json'), 'earlier')
    await chmod(join(dir, '1.json'), 0o644)
    const command = await sub('orders.>', '--dump', dir)
    orders.publish('orders.new', 'plaintext')
    expect(await command.outcome).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/cannot write .*1\.json \(EEXIST\).*\n.*no earlier messages/),
    })
    expect(await readFile(join(dir, '1.json'), 'utf8')).toBe('earlier')
  })

  it('writes JSON to standard output, each ended by NUL, with -', async () => {
    const command = await sub('orders.>', '--dump', '-', '--count', '2')
    orders.publish('orders.new', 'a\nb')
    orders.publish('orders.new', 'c')
    const [first, second, last] = (await command.outcome).stdout.split('\0')
    expect([JSON.parse(first ?? ''), JSON.parse(second ?? '')]).toMatchObject([
      { data: 'a\nb' },
      { data: 'c' },
    ])
    expect(last).toBe('')
  })
})

describe('subrosa sub --translate', () => {
  it('shows what the command makes of the payload', async () => {
    const command = await sub('orders.>', '-r', '--translate', "tr 'a-z' 'A-Z'", '--count', '1')
    orders.publish('orders.new', 'loud')
    expect((await command.outcome).stdout).toBe('LOUD')
  })

  it('gives the subject to the command as part of one argument, and to no shell', async () => {
    const command = await sub(
      'orders.>',
      '-r',
      '--translate',
      "printf '%s|' subject={{Subject}} x",
      '--count',
      '1',
    )
    orders.publish("orders.$(id)';`id`", 'x')
    expect((await command.outcome).stdout).toBe("subject=orders.$(id)';`id`|x|")
  })

  it('says that the command failed, shows nothing instead, and goes on', async () => {
    const command = await sub('orders.>', '-r', '--translate', 'grep good', '--count', '2')
    orders.publish('orders.new', 'bad')
    orders.publish('orders.new', 'good')
    const { stdout, stderr } = await command.outcome
    expect(stdout).toBe('good')
    expect(stderr).toContain('error: a message on "orders.new" is not shown: grep: exit code 1')
  })

  it('gives no secret of the environment to the command', async () => {
    const env = {
      ...realm.env('billing'),
      NATS_PASSWORD: 'hunter2',
      NATS_SEED: 'SUSEED',
      PATH: '/usr/bin:/bin',
    }
    const command = realm.startWith(env, ['sub', 'orders.>', '-r', '--translate', 'env', '--count', '1'])
    await until('it listens', () => command.said.some((line) => line.includes('subscribed')))
    await orders.waitForAudience('tools.x')
    orders.publish('orders.new', 'x')
    const { stdout } = await command.outcome
    expect(stdout).toContain('SUBROSA_AGENT=billing')
    expect(stdout).not.toMatch(/hunter2|SUSEED/)
  })
})
