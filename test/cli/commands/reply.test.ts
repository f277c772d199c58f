import { stat, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import { failure, until } from '../../support/until.ts'
import { DailyRealm } from '../daily-realm.ts'

let realm: DailyRealm
let orders: SecureConnection
beforeAll(async () => {
  realm = await DailyRealm.start()
  orders = await realm.join('orders')
})
afterAll(() => realm.stop())

let subjects = 0
/** A subject of its own for each test: they run side by side, since each waits a second to join its group. */
const newSubject = (): string => `tools.t${++subjects}`

/** Starts `subrosa reply` as billing, and resolves when it can be asked. */
const reply = (...argv: readonly string[]) => realm.listen('billing', 'reply', ...argv)

/** Asks, and again while the asker does not know who answers. */
async function ask(subject: string, payload: string | Uint8Array, headers = new Map<string, string[]>()) {
  for (;;) {
    try {
      return await orders.request(subject, payload, { timeout: 5000, headers })
    } catch (error) {
      if (!(error instanceof SubrosaError) || error.code !== 'ERR_UNADDRESSED') throw error
    }
  }
}

describe.concurrent('subrosa reply', () => {
  it('answers with the body, and prints what was asked', async () => {
    const subject = newSubject()
    const command = await reply(subject, 'no {{Count}}: {{Request}}', '-H', 'X-N: {{Count}}', '--count', '2')
    const first = await ask(subject, '{{Count}}')
    const second = await ask(subject, 'two')
    expect([first.string(), second.string()]).toEqual(['no 1: {{Count}}', 'no 2: two'])
    expect(second.headers?.get('X-N')).toBe('2')
    const { code, stdout, stderr } = await command.outcome
    expect(code).toBe(0)
    const sender = `orders/${orders.instance}`
    expect(stdout).toContain(`[#2] Received on "${subject}" from ${sender} with reply "_INBOX.`)
    expect(stdout).toContain('\ntwo\n')
    expect(stderr).toBe(`subrosa: listening on "${subject}" in group "NATS-RPLY-22"`)
  })

  it.each([[['--echo']], [[]]])('gives back the request with its headers with %j', async (flags) => {
    const subject = newSubject()
    const command = await reply(subject, '--count', '1', '--json', ...flags)
    const answer = await ask(subject, Uint8Array.of(1, 0, 255), new Map([['X-A', ['b']]]))
    expect([...answer.data]).toEqual([1, 0, 255])
    expect([answer.headers?.get('X-A'), answer.headers?.get('NATS-Reply-Counter')]).toEqual(['b', '1'])
    expect(JSON.parse((await command.outcome).stdout)).toMatchObject({ dataBase64: 'AQD/' })
  })

  it('shares requests in its queue group', async () => {
    const subject = newSubject()
    const commands = await Promise.all([
      reply(subject, 'x', '--queue', 'q', '--json'),
      reply(subject, 'x', '-q', 'q', '--json'),
    ])
    for (let i = 0; i < 10; i++) await ask(subject, 'x')
    for (const command of commands) command.interrupt()
    const outcomes = await Promise.all(commands.map(({ outcome }) => outcome))
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0])
    const lines = outcomes.flatMap(({ stdout }) => stdout.split('\n').filter((line) => line !== ''))
    expect(lines).toHaveLength(10)
  })

  it('goes on after what is no request, and after one that it cannot answer', async () => {
    const subject = newSubject()
    const command = await reply(`${subject}.>`, '{{3}}', '--count', '1')
    orders.publish(`${subject}.a.b`, 'no request')
    const unanswered = failure(() => orders.request(`${subject}.a`, 'x', { timeout: 300 }))
    expect(await unanswered).toMatchObject({ code: 'ERR_TIMEOUT' })
    expect((await ask(`${subject}.a.b`, 'x')).string()).toBe('b')
    const { code, stderr } = await command.outcome
    expect(code).toBe(0)
    expect(stderr).toContain(`nothing was asked: the message on "${subject}.a.b" has no reply subject`)
    expect(stderr).toContain('error: {{3}} is no template')
  })

  it.each([
    [['tools.>', '--command', "'"], 'is not closed'],
    [['tools.>', '--command', ''], 'the command is empty'],
    [['tools.>', '--command', '{{Request}}'], 'which program is run is not up to a request'],
    [['tools.>', '--command', 'x', '--echo'], 'cannot be used with'],
    [['a b'], 'Use a subject'],
    [['tools.>', '--sleep', 'x'], 'duration'],
  ])('does not understand %j', async (argv, message) => {
    const { code, stderr } = await realm.start('billing', ['reply', ...argv]).outcome
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe.concurrent('subrosa reply --command', () => {
  it('answers with what the command prints, given subject, request and sender', async () => {
    const subject = newSubject()
    const script = realm.path('answer.sh')
    const text = 'echo "$1|$2|$NATS_REQUEST_SUBJECT|$NATS_REQUEST_BODY|$SUBROSA_SENDER"\ncat\n'
    await writeFile(script, `#!/bin/sh\n${text}`, { mode: 0o700 })
    const line = `${script} city={{2}} 'it is {{.Request}}'`
    const command = await reply(`${subject}.*`, '--command', line, '--count', '1')
    const answer = await ask(`${subject}.london`, 'hello world')
    expect(answer.string()).toBe(
      `city=london|it is hello world|${subject}.london|hello world|orders\nhello world`,
    )
    expect((await command.outcome).code).toBe(0)
  })

  it('lets no request reach a shell, or become more than one argument', async () => {
    const subject = newSubject()
    const target = realm.path('pwned')
    const touch = `touch ${target}`
    const evil = `'; ${touch}; echo "$(${touch})\` ${touch} \`\n|& ${touch}`
    const line = "printf '%s|' x{{Request}} {{2}} end"
    const command = await reply(`${subject}.>`, '--command', line, '--count', '1')
    const answer = await ask(`${subject}.;$(id)`, evil)
    expect(answer.string()).toBe(`x${evil}|;$(id)|end|`)
    await command.outcome
    expect(await failure(() => stat(target))).toMatchObject({ code: 'ENOENT' })
  })

  it('lets no request become an option of the command', async () => {
    const subject = newSubject()
    const command = await reply(subject, '--command', 'echo {{Request}}')
    const unanswered = failure(() => orders.request(subject, '--version', { timeout: 300 }))
    expect(await unanswered).toMatchObject({ code: 'ERR_TIMEOUT' })
    expect((await ask(subject, 'fine')).string()).toBe('fine\n')
    command.interrupt()
    expect((await command.outcome).stderr).toContain(
      'the request would be taken for an option of the command',
    )
  })

  it.each([
    ['NUL', Uint8Array.of(65, 0, 66)],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['more than a variable holds', new Uint8Array(200_000).fill(65)],
  ])('gives a request with %s on standard input alone', async (_what, payload) => {
    const subject = newSubject()
    const script = realm.path(`${subject}.sh`)
    const text = 'echo "$(wc -c)|$(printenv NATS_REQUEST_BODY || echo unset)"\n'
    await writeFile(script, `#!/bin/sh\n${text}`, { mode: 0o700 })
    const command = await reply(subject, '--command', script, '--count', '1')
    const answer = await ask(subject, payload)
    expect(answer.string().replaceAll(' ', '')).toBe(`${payload.length}|unset\n`)
    await command.outcome
  })

  it('refuses a NUL that would become an argument, and goes on', async () => {
    const subject = newSubject()
    const command = await reply(subject, '--command', 'echo {{Request}}', '--count', '2')
    const answer = await ask(subject, 'a\0b')
    expect(answer.headers?.get('Nats-Service-Error-Code')).toBe('500')
    expect((await ask(subject, 'ok')).string()).toBe('ok\n')
    expect((await command.outcome).stderr).toContain('error: echo: its arguments would hold a NUL')
  })

  it.each([
    [
      'fails',
      "sh -c 'echo secret; echo reason >&2; exit 3'",
      /subrosa: reason\nsubrosa: error: sh: exit code 3/,
    ],
    ['is not there', '/nowhere/at-all', /error: \/nowhere\/at-all: ENOENT/],
  ])('answers with an error and no output when the command %s', async (_what, line, said) => {
    const subject = newSubject()
    const command = await reply(subject, '--command', line, '--count', '1')
    const answer = await ask(subject, 'x')
    expect(answer.data.length).toBe(0)
    expect(answer.headers?.get('Nats-Service-Error')).toBe('the command failed')
    expect(answer.headers?.get('Nats-Service-Error-Code')).toBe('500')
    expect((await command.outcome).stderr).toMatch(said)
  })

  it('ends the command when it is interrupted, and says so to whoever asked', async () => {
    const subject = newSubject()
    const command = await reply(subject, '--command', 'sleep 60')
    const asking = ask(subject, 'x')
    await until('it was asked', () => command.written() !== '')
    command.interrupt()
    expect((await command.outcome).code).toBe(0)
    expect((await asking).headers?.get('Nats-Service-Error')).toBe('the command failed')
  })

  it('gives no secret of its own to the command', async () => {
    const subject = newSubject()
    const env = { ...realm.env('billing'), NATS_PASSWORD: 'hunter2', KEY_PASSPHRASE: 'sesame' }
    const flags = ['--command', 'env', '--count', '1', '--passphrase', 'env:KEY_PASSPHRASE']
    const command = realm.startWith(env, ['reply', subject, ...flags])
    await until('it listens', () => command.said.some((line) => line.includes('listening')))
    const text = (await ask(subject, 'x')).string()
    expect(text).toContain('NATS_REQUEST_BODY=x')
    expect(text).not.toMatch(/hunter2|sesame/)
    await command.outcome
  })
})
