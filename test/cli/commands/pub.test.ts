import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { SecureMessage } from '../../../src/bus/messages/message.ts'
import { until } from '../../support/until.ts'
import { DailyRealm } from '../daily-realm.ts'

let realm: DailyRealm
let billing: SecureConnection
let received: SecureMessage[] = []
beforeAll(async () => {
  realm = await DailyRealm.start()
  billing = await realm.join('billing')
  billing.subscribe('orders.>', {
    callback: (_, message) => {
      received.push(message)
    },
  })
  await billing.flush()
})
afterAll(() => realm.stop())

/** Runs `subrosa pub` as orders, and gives what came of it. */
async function pub(argv: readonly string[], input?: Iterable<string>) {
  received = []
  const outcome = await realm.start('orders', ['pub', ...argv], input).outcome
  await billing.flush()
  return outcome
}

const payloads = (): string[] => received.map((message) => message.string())

describe('subrosa pub', () => {
  it('publishes, and says so on standard error', async () => {
    expect(await pub(['orders.new', 'hello'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'subrosa: published 5 bytes to "orders.new", sealed to one instance',
    })
    await until('it came', () => received.length === 1)
    expect(received[0]).toMatchObject({ subject: 'orders.new', sender: { name: 'orders' } })
    expect(received[0]?.reply).toBeUndefined()
    expect(payloads()).toEqual(['hello'])
  })

  it('says nothing when it is told so', async () => {
    expect(await pub(['orders.new', 'x', '-q'])).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('prints what went to whom as JSON', async () => {
    const { stdout } = await pub(['orders.new', 'hello', '--json', '-q', '--count', '2'])
    const shown = stdout.split('\n').map((line): unknown => JSON.parse(line))
    const recipients = [{ name: 'billing', instance: billing.instance }]
    expect(shown).toEqual([1, 2].map(() => ({ subject: 'orders.new', bytes: 5, recipients })))
  })

  it('expands templates in subject, body and headers, and numbers the messages', async () => {
    const flags = [
      '-H',
      'X-Count: {{Count}}',
      '--header',
      'X-Plain:a:b',
      '--count',
      '3',
      '--reply',
      'orders.r',
    ]
    await pub(['orders.{{Count}}', 'no {{.Count}}', ...flags])
    await until('they came', () => received.length === 3)
    expect(received.map(({ subject }) => subject)).toEqual(['orders.1', 'orders.2', 'orders.3'])
    expect(payloads()).toEqual(['no 1', 'no 2', 'no 3'])
    expect(received.map(({ headers }) => [headers?.get('X-Count'), headers?.get('X-Plain')])).toEqual([
      ['1', 'a:b'],
      ['2', 'a:b'],
      ['3', 'a:b'],
    ])
    expect(received[0]?.reply).toBe('orders.r')
  })

  it('leaves templates alone with --no-templates', async () => {
    await pub(['orders.new', '{{Count}} {{bogus}}', '--no-templates'])
    await until('it came', () => received.length === 1)
    expect(payloads()).toEqual(['{{Count}} {{bogus}}'])
  })

  it('sums up many messages', async () => {
    const { stderr } = await pub(['orders.new', 'x', '--count', '22'])
    expect(stderr.split('\n')).toHaveLength(21)
    expect(stderr).toContain('subrosa: published 22 messages in all')
  })

  it.each([
    [['orders.*', 'x'], 'without wildcards'],
    [['orders new', 'x'], 'without wildcards'],
    [['orders.new', '{{Bogus}}'], '{{Bogus}} is no template'],
    [['orders.{{Bogus}}', 'x'], '{{Bogus}} is no template'],
    [['orders.new', 'x', '-H', 'novalue'], 'NAME:VALUE'],
    [['orders.new', 'x', '-H', ':v'], 'NAME:VALUE'],
    [['orders.new', 'x', '--to', 'a.b'], 'NAME/INSTANCE'],
    [['orders.new', 'x', '--to', 'a/b/c'], 'NAME/INSTANCE'],
    [['orders.new', 'x', '--count', '0'], 'above zero'],
    [['orders.new', 'x', '--send-on', 'tuesday'], 'Allowed choices'],
    [['orders.new', 'x', '--reply', 'a.>'], 'without wildcards'],
    [['orders.new', 'x', '--jetstream'], 'unknown option'],
    [[], 'missing required argument'],
  ])('does not understand %j, and sends nothing', async (argv, message) => {
    const { code, stderr } = await pub(argv)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(received).toEqual([])
  })

  it('says that a header cannot be sent', async () => {
    expect(await pub(['orders.new', 'x', '-H', 'X Y: z'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_HEADER'),
    })
  })

  it('says that it may not publish', async () => {
    expect(await pub(['secret.x', 'x', '--wait-for', '0'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_PUBLISH_DENIED'),
    })
  })

  it('says that the broker has thrown the message away', async () => {
    const creds = await realm.writeLogin('orders', ['orders.other'])
    const { code, stderr } = await pub(['orders.new', 'x', '--creds', creds])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /error: the broker has sent an error: .*orders\.new.*\nsubrosa: hint: the login may allow/,
    )
    expect(stderr).not.toContain('published')
    expect(received).toEqual([])
  })

  it('stops between messages when it is interrupted, with 130', async () => {
    received = []
    const command = realm.start('orders', ['pub', 'orders.new', '{{Count}}', '--count', '5', '--sleep', '1h'])
    await until('the first came', () => received.length === 1)
    command.interrupt()
    expect((await command.outcome).code).toBe(130)
    expect(payloads()).toEqual(['1'])
  })
})

describe('the body', () => {
  it('comes from standard input where there is none', async () => {
    const { stderr } = await pub(['orders.new', '-q'], ['one\n', '{{Count}}\n', 'three'])
    await until('it came', () => received.length === 1)
    expect(payloads()).toEqual(['one\n{{Count}}\nthree'])
    expect(stderr).toBe('')
  })

  it('comes line by line with --send-on newline', async () => {
    await pub(['orders.new', '--send-on', 'newline'], ['on', 'e\ntwo\r\n\nfo', 'ur'])
    await until('they came', () => received.length === 4)
    expect(payloads()).toEqual(['one', 'two', '', 'four'])
  })

  it('is nothing where standard input ends at once', async () => {
    await pub(['orders.new'], [])
    await until('it came', () => received.length === 1)
    expect(received[0]?.data.length).toBe(0)
    await pub(['orders.new', '--send-on', 'newline'], [])
    expect(received).toEqual([])
  })

  it('is what is given, even nothing, whatever stands on standard input', async () => {
    await pub(['orders.new', ''], ['not this'])
    await until('it came', () => received.length === 1)
    expect(payloads()).toEqual([''])
  })

  it('is nothing where a person sits at the keyboard and the output goes elsewhere', async () => {
    await pub(['orders.new'])
    await until('it came', () => received.length === 1)
    expect(payloads()).toEqual([''])
  })

  it('may be any bytes', async () => {
    const bytes = Uint8Array.of(0, 255, 10, 123, 123)
    received = []
    const input = [bytes] as unknown as Iterable<string>
    await realm.start('orders', ['pub', 'orders.new'], input).outcome
    await until('it came', () => received.length === 1)
    expect([...(received[0]?.data ?? [])]).toEqual([...bytes])
  })
})

describe('the audience', () => {
  it('is waited for', async () => {
    const argv = ['pub', 'orders.new', 'x', '--to', 'audit', '--timeout', '10s', '--json', '-q']
    const command = realm.start('orders', argv)
    await until('it is in the realm', () => billing.audience('alone.x').length > 0)
    expect(command.written()).toBe('')
    const audit = await realm.join('audit')
    const { code, stdout } = await command.outcome
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ recipients: [{ name: 'audit', instance: audit.instance }] })
    await audit.close()
  })

  it('that is nobody but oneself is none: nothing is sent, with 3', async () => {
    const { code, stderr } = await pub(['alone.x', 'x', '--timeout', '200ms'])
    expect(code).toBe(3)
    expect(stderr).toMatch(
      /error: nothing was sent: 0 of 1 instances can read "alone.x".*\[ERR_EMPTY_AUDIENCE\]/,
    )
    expect(stderr).toContain('billing: its token does not allow it')
    expect(stderr).toContain('--wait-for 0')
    expect(stderr).not.toContain('published')
  })

  it('may be oneself alone with --wait-for 0, and is said', async () => {
    expect(await pub(['alone.x', 'x', '--wait-for', '0', '--json'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/"recipients":\[\{"name":"orders"/),
    })
  })

  it('has to be as large as --wait-for says', async () => {
    expect(await pub(['orders.new', 'x', '--wait-for', '2', '--timeout', '200ms'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('1 of 2 instances'),
    })
    expect(received).toEqual([])
  })

  it('is who --to names, by name or instance, and nobody else', async () => {
    const audit = await realm.join('audit')
    await until('billing knows audit', () => billing.audience('orders.x').length === 1)
    const flags = ['-q', '--json', '--to', `billing/${billing.instance}`]
    const { stdout } = await pub(['orders.new', 'x', ...flags])
    expect(JSON.parse(stdout)).toMatchObject({ recipients: [{ name: 'billing' }] })
    const both = await pub(['orders.new', 'x', '-q', '--json', '--to', 'audit,billing'])
    expect(JSON.parse(both.stdout).recipients).toHaveLength(2)
    await audit.close()
  })

  it.each(['nobody', 'rotator', 'billing/0123456789abcdef'])('is not %s, with 3', async (name) => {
    const flags = ['--to', 'billing', '--to', name, '--timeout', '100ms']
    expect(await pub(['orders.new', 'x', ...flags])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(`"${name}" cannot be a recipient on "orders.new"`),
    })
    expect(received).toEqual([])
  })
})
