import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { SecureMessage } from '../../../src/bus/messages/message.ts'
import type { SecureSubscription } from '../../../src/bus/messages/subscription.ts'
import { until } from '../../support/until.ts'
import { DailyRealm } from '../daily-realm.ts'

let realm: DailyRealm
let workers: readonly SecureConnection[]
beforeAll(async () => {
  realm = await DailyRealm.start()
  workers = [await realm.join('billing'), await realm.join('billing')]
})
afterAll(() => realm.stop())

const subscriptions: SecureSubscription[] = []
afterEach(() => {
  for (const subscription of subscriptions.splice(0)) subscription.unsubscribe()
})

/** Lets the workers answer, the first one or both. */
async function answer(respond: (message: SecureMessage) => unknown, count = 1): Promise<void> {
  for (const worker of workers.slice(0, count)) {
    subscriptions.push(worker.subscribe('tools.>', { callback: (_, message) => respond(message) }))
    await worker.flush()
  }
}

const request = (argv: readonly string[], input?: Iterable<string>) =>
  realm.start('orders', ['request', ...argv], input).outcome

describe('subrosa request', () => {
  it('prints the answer, and who gave it on standard error', async () => {
    await answer((message) =>
      message.respond(`you said ${message.string()}`, { headers: new Map([['X-A', ['b']]]) }),
    )
    const { code, stdout, stderr } = await request(['tools.x', 'hello {{Count}}'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'you said hello 1\n' })
    expect(stderr.split('\n')).toEqual([
      'subrosa: sending a request on "tools.x"',
      expect.stringMatching(/^subrosa: received from billing\/[0-9a-f]{16} with rtt \d+\.\d{3}ms$/),
      'subrosa: X-A: b',
    ])
  })

  it('prints the payload alone with --raw', async () => {
    await answer((message) => message.respond(Uint8Array.of(0x1b, 0x5b, 0x6d)))
    expect(await request(['tools.x', '', '-r'])).toEqual({ code: 0, stdout: '\u001b[m', stderr: '' })
  })

  it('prints JSON, and nothing else', async () => {
    await answer((message) => message.respond(message.headers?.get('X-Q') ?? ''))
    const { stdout, stderr } = await request(['tools.x', '', '--json', '-H', 'X-Q: why'])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ sender: { name: 'billing' }, data: 'why', epoch: 1 })
  })

  it('asks as often as --count says, and once for each line with --send-on newline', async () => {
    await answer((message) => message.respond(message.data))
    expect((await request(['tools.x', '{{Count}}', '-r', '--count', '3'])).stdout).toBe('1\n2\n3')
    expect((await request(['tools.x', '-r', '--send-on', 'newline'], ['a\nb\n'])).stdout).toBe('a\nb')
  })

  it('shows what a command makes of the answer', async () => {
    await answer((message) => message.respond('b\na\n'))
    expect((await request(['tools.x', '', '-r', '--translate', 'sort'])).stdout).toBe('a\nb')
  })

  it('waits for several answers', async () => {
    await answer((message) => message.respond(message.data), 2)
    const { code, stdout } = await request(['tools.x', 'x', '--replies', '2', '--json'])
    expect(code).toBe(0)
    const senders = stdout.split('\n').map((line) => JSON.parse(line).sender.instance)
    expect(senders.sort()).toEqual(workers.map(({ instance }) => instance).sort())
  })

  it('ends with 4 when there are fewer answers than that, and prints those', async () => {
    await answer((message) => message.respond('one'))
    const { code, stdout, stderr } = await request([
      'tools.x',
      '',
      '-r',
      '--replies',
      '3',
      '--reply-timeout',
      '50ms',
    ])
    expect({ code, stdout }).toEqual({ code: 4, stdout: 'one' })
    expect(stderr).toContain('error: 1 of 3 answers came on "tools.x" in time [ERR_TIMEOUT]')
  })

  it('takes all answers that come in time with --replies 0', async () => {
    await answer((message) => {
      message.respond('one')
      message.respond('two')
    }, 2)
    const { code, stdout } = await request(['tools.x', '', '-r', '--replies', '0', '--timeout', '1s'])
    expect(code).toBe(0)
    expect(stdout.split('\n').sort()).toEqual(['one', 'one', 'two', 'two'])
  })

  it.each(['1', '2', '0'])('ends with 4 when no answer comes, of --replies %s', async (replies) => {
    await answer(() => {})
    expect(await request(['tools.x', '', '--timeout', '300ms', '--replies', replies])).toMatchObject({
      code: 4,
      stdout: '',
      stderr: expect.stringContaining('[ERR_TIMEOUT]'),
    })
  })

  it.each(['1', '2', '0'])(
    'ends with 3 when nobody answers on the subject, of --replies %s',
    async (replies) => {
      expect(await request(['tools.x', '', '--replies', replies])).toMatchObject({
        code: 3,
        stdout: '',
        stderr: expect.stringContaining('[ERR_NO_RESPONDERS]'),
      })
    },
  )

  it('ends with 3 when nobody could read it', async () => {
    expect(await request(['alone.x', '', '--timeout', '100ms'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('[ERR_EMPTY_AUDIENCE]'),
    })
  })

  it('asks only those whom --to names', async () => {
    await answer((message) => message.respond('here'), 2)
    const [first] = workers
    const flags = ['--to', `billing/${first?.instance}`, '--replies', '0', '--timeout', '1s', '--json']
    const { stdout } = await request(['tools.x', '', ...flags])
    expect(stdout.split('\n').map((line) => JSON.parse(line).sender.instance)).toEqual([first?.instance])
  })

  it('says that the broker has thrown the request away, and not that no answer came', async () => {
    await answer((message) => message.respond('x'))
    const creds = await realm.writeLogin('orders', ['orders.other'])
    const { code, stderr } = await request(['tools.x', '', '--creds', creds, '--timeout', '500ms'])
    expect(code).toBe(1)
    expect(stderr).toContain('error: the broker has sent an error')
  })

  it('ends with 130 when it is interrupted', async () => {
    let asked = 0
    await answer(() => asked++)
    const command = realm.start('orders', ['request', 'tools.x', '', '--timeout', '1m'])
    await until('it has asked', () => asked === 1)
    command.interrupt()
    expect(await command.outcome).toMatchObject({ code: 130, stdout: '' })
  })

  it.each([
    [['tools.*', 'x'], 'without wildcards'],
    [['tools.x', 'x', '--replies', '-1'], 'whole number'],
    [['tools.x', 'x', '--reply-timeout', '1'], 'duration'],
    [['tools.x', 'x', '--json', '-r'], 'cannot be used with'],
    [['tools.x', 'x', '--translate', ''], 'the command is empty'],
  ])('does not understand %j', async (argv, message) => {
    const { code, stderr } = await request(argv)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
