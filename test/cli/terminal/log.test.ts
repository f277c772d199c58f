import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import { type Logger, silentLog } from '../../../src/base/logger.ts'
import { addLogOptions, type LogOptions, openLog } from '../../../src/cli/terminal/log.ts'
import { readStderr } from '../log-lines.ts'
import { terminalThat } from '../run.ts'
import { UNPRINTABLE } from '../unprintable.ts'

/** What a log writes, and whether to a person at a terminal. */
async function logged(
  options: LogOptions,
  write: (log: Logger) => void,
  { isShown = false } = {},
): Promise<readonly string[]> {
  const said: string[] = []
  const terminal = terminalThat({
    say: (line) => said.push(line),
    ...(isShown && { redraw: () => {} }),
  })
  write(await openLog(terminal, options))
  return said
}

const atEveryLevel = (log: Logger): void => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]({ event: level }, 'said')
}

/** As pino sees the error of a user's callback. */
const thrown = Object.assign(
  new SubrosaError('ERR_STATE', 'broken', { cause: new Error('the secret cause') }),
  { key: 'the secret key' },
)

describe('the log of a command', () => {
  it.each([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
    ['silent', []],
  ] as const)('with level %s has the lines %j', async (logLevel, events) => {
    const { log } = readStderr((await logged({ logLevel }, atEveryLevel)).join('\n'))
    expect(log.map(({ event }) => event)).toEqual(events)
    expect(log.map(({ level }) => level)).toEqual(events)
  })

  it('is written before the call returns', async () => {
    const said: string[] = []
    const log = await openLog(terminalThat({ say: (line) => said.push(line) }), { logLevel: 'info' })
    log.info({ event: 'rotated', epoch: 2 }, 'new keys are announced')
    expect(JSON.parse(said.join('\n'))).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      pid: process.pid,
      event: 'rotated',
      epoch: 2,
      msg: 'new keys are announced',
    })
  })

  it('is a line of JSON where no person sees it, and for people at a terminal', async () => {
    const warn = (log: Logger): void =>
      log.warn({ event: 'rejected', reason: 'not permitted', subject: 'orders.new', count: 3 }, 'refused')
    const pretty = /^\S+Z warn rejected: refused reason="not permitted" subject=orders\.new count=3$/
    const json = /^\{"level":"warn",.*\}$/
    expect(await logged({}, warn)).toEqual([expect.stringMatching(json)])
    expect(await logged({}, warn, { isShown: true })).toEqual([expect.stringMatching(pretty)])
    expect(await logged({ log: 'pretty' }, warn)).toEqual([expect.stringMatching(pretty)])
    expect(await logged({ log: 'json' }, warn, { isShown: true })).toEqual([expect.stringMatching(json)])
  })

  it.each(['json', 'pretty'] as const)('does not let a stranger steer the terminal in %s', async (form) => {
    const hostile = 'a\u001b[2J\u009b\u202e\u2028\nsubrosa: error: forged" x=1 \ud800'
    const lines = await logged({ log: form, logLevel: 'debug' }, (log) =>
      log.error({ event: 'clone', name: hostile, list: [hostile], err: new Error(hostile) }, hostile),
    )
    for (const line of lines) {
      expect(line).not.toMatch(UNPRINTABLE)
      expect(line).not.toMatch(/^subrosa: /)
    }
    expect(lines.join('\n')).toContain('\\u001b[2J\\u009b')
    if (form === 'json')
      expect(readStderr(lines.join('\n')).log).toMatchObject([{ name: hostile, msg: hostile }])
  })

  it.each(['json', 'pretty'] as const)(
    'has of an error in %s its message and its code alone',
    async (form) => {
      const fail = (log: Logger): void => log.error({ event: 'error', err: thrown }, 'an error')
      const [line = '', ...more] = await logged({ log: form }, fail)
      expect(more).toEqual([])
      expect(line).toMatch(
        form === 'json' ? /"err":\{"message":"broken","code":"ERR_STATE"\}/ : / error=broken code=ERR_STATE$/,
      )
      const detailed = (await logged({ log: form, logLevel: 'debug' }, fail)).join('\n')
      expect(detailed).toMatch(/ at .*log\.test\.ts/)
      expect(line + detailed).not.toContain('secret')
    },
  )

  it('has nothing of what is thrown and is no error', async () => {
    const lines = await logged({}, (log) => log.error({ event: 'error', err: { seed: 'SU…' } }, 'an error'))
    expect(readStderr(lines.join('\n')).log).toMatchObject([{ err: { message: 'non-error value thrown' } }])
    expect(lines.join()).not.toContain('seed')
  })

  it('that is silent costs nothing', async () => {
    expect(await openLog(terminalThat({}), { logLevel: 'silent' })).toBe(silentLog)
  })
})

describe('the options of the log', () => {
  const parse = (...argv: readonly string[]) =>
    addLogOptions(new Command().exitOverride().configureOutput({ writeErr: () => {} }), 'info')
      .parse(argv, { from: 'user' })
      .opts()

  it('have the level of the command where none is named', () => {
    expect(parse()).toEqual({ logLevel: 'info' })
    expect(parse('--log-level', 'silent', '--log', 'json')).toEqual({ logLevel: 'silent', log: 'json' })
  })

  it.each([
    [['--log-level', 'loud'], 'Allowed choices are debug, info, warn, error, silent.'],
    [['--log-level'], 'argument missing'],
    [['--log', 'xml'], 'Allowed choices are json, pretty.'],
  ])('do not take %j', (argv, message) => {
    expect(() => parse(...argv)).toThrow(message)
  })
})
