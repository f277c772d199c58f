import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BenchRealm, countsOf, rowsOf, SUBJECT } from '../bench-realm.ts'

let bench: BenchRealm
beforeAll(async () => {
  bench = await BenchRealm.start()
})
afterEach(() => bench.rest())
afterAll(() => bench.stop())

describe('subrosa bench pub and sub', () => {
  it.each([
    [['--mode', 'session']],
    [['--mode', 'channel']],
    [['--mode', 'message']],
    [['--many', '8']],
    [['--many', '8', '--mode', 'message']],
    [['--to', 'billing', '--size', '1KB']],
    [['--clients', '3']],
  ])('send and count every message with %j', async (flags) => {
    const [sub, pub] = await bench.both(['--msgs', '50'], ['pub', SUBJECT, '--msgs', '50', ...flags])
    expect([sub.code, pub.code]).toEqual([0, 0])
    for (const { stdout } of [sub, pub]) {
      expect(stdout).toMatch(/^all 50 msgs in [\d.]+(us|ms|s): [\d,]+ msgs\/sec ~ [\d.]+ [KM]?i?B\/sec$/m)
      expect(stdout).not.toContain('asked for')
    }
  })

  it('say on standard error what they do, and draw no bar there without a terminal', async () => {
    const [sub, pub] = await bench.both(['--msgs', '5'], ['pub', SUBJECT, '--msgs', '5', '--size', '2KB'])
    expect(sub.stderr).toBe('subrosa: subscribed to "orders.bench" for 5 messages')
    expect(pub.stderr).toBe('subrosa: publishing 5 messages of 2 KiB to "orders.bench"')
  })

  it('write a row for each client and one for all, with what is true', async () => {
    const [from, to] = [bench.realm.path('pub.csv'), bench.realm.path('sub.csv')]
    const [sub, pub] = await bench.both(
      ['--msgs', '50', '--clients', '2', '--csv', to],
      ['pub', SUBJECT, '--msgs', '50', '--size', '100', '--clients', '3', '--csv', from],
    )
    expect([sub.code, pub.code]).toEqual([0, 0])
    expect(sub.stdout.split('\n').map((line) => line.slice(0, 12))).toEqual([
      '[1] 50 msgs ',
      '[2] 50 msgs ',
      'all 100 msgs',
    ])
    const published = await rowsOf(from)
    expect(countsOf(published)).toEqual([
      ['1', 17, 1700, 'session'],
      ['2', 17, 1700, 'session'],
      ['3', 16, 1600, 'session'],
      ['all', 50, 5000, 'session'],
    ])
    expect(countsOf(await rowsOf(to))).toEqual([
      ['1', 50, 5000, 'sealed'],
      ['2', 50, 5000, 'sealed'],
      ['all', 100, 10_000, 'sealed'],
    ])
    expect(new Set(published.map((row) => row['#RunID'])).size).toBe(1)
    for (const row of published) {
      const [rate, seconds] = [Number(row['MsgsPerSec']), Number(row['DurationSecs'])]
      expect(seconds).toBeGreaterThan(0)
      expect(Math.abs(rate * seconds - Number(row['MsgCount']))).toBeLessThan(1)
      expect(row['P50LatencyMicroSecs']).toBe('')
    }
  })

  it('share the messages in a queue group', async () => {
    const path = bench.realm.path('queue.csv')
    const [sub, pub] = await bench.both(
      ['--msgs', '60', '--clients', '2', '--queue', 'workers', '--csv', path],
      ['pub', SUBJECT, '--msgs', '60'],
    )
    expect([sub.code, pub.code]).toEqual([0, 0])
    const [one, two, all] = (await rowsOf(path)).map(({ MsgCount }) => Number(MsgCount))
    expect([(one ?? 0) + (two ?? 0), all]).toEqual([60, 60])
  })

  it('wait for their audience', async () => {
    const pub = bench.start('orders', 'pub', SUBJECT, '--msgs', '5', '--timeout', '10s')
    const sub = await bench.receive('--msgs', '5')
    expect((await pub.outcome).code).toBe(0)
    expect(await sub.outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/^all 5 msgs/) })
  })

  it('end with 3 when nobody could read it, with no results', async () => {
    const { code, stdout, stderr } = await bench.run('pub', SUBJECT, '--timeout', '100ms')
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toContain('[ERR_EMPTY_AUDIENCE]')
  })

  it('do not take their own clients for an audience', async () => {
    const argv = ['pub', 'alone.bench', '--clients', '2', '--msgs', '5', '--timeout', '500ms']
    expect(await bench.run(...argv)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('[ERR_EMPTY_AUDIENCE]'),
    })
  })

  it('say what was reached when the readers go away meanwhile', async () => {
    const sub = await bench.receive('--msgs', '100')
    const pub = await bench.run('pub', SUBJECT, '--msgs', '1000000000', '--size', '1KB')
    expect((await sub.outcome).code).toBe(0)
    expect(pub.code).toBe(3)
    expect(pub.stdout).toMatch(/^all [\d,]+ msgs in .* \(1,000,000,000 were asked for\)$/)
    expect(pub.stderr).toContain('[ERR_EMPTY_AUDIENCE]')
  })

  it('end with 4 when some of the messages do not come, with what came', async () => {
    const path = bench.realm.path('lost.csv')
    const sub = await bench.receive('--msgs', '10', '--wait', '200ms', '--csv', path)
    await bench.run('pub', SUBJECT, '--msgs', '3')
    const { code, stdout, stderr } = await sub.outcome
    expect(code).toBe(4)
    expect(stdout).toMatch(/^all 3 msgs in .* \(10 were asked for\)$/)
    expect(stderr).toContain('error: 3 of 10 messages came, and then none for 200ms [ERR_TIMEOUT]')
    expect((await rowsOf(path)).map(({ MsgCount }) => MsgCount)).toEqual(['3', '3'])
  })

  it('count nothing beyond what was asked for', async () => {
    const sub = await bench.receive('--msgs', '3', '--clients', '2')
    await bench.run('pub', SUBJECT, '--msgs', '6')
    expect((await sub.outcome).stdout).toMatch(/^\[1\] 3 msgs .*\n\[2\] 3 msgs .*\nall 6 msgs /)
  })

  it('print the results before they say that a file cannot be written', async () => {
    const path = bench.realm.path('no/such/folder.csv')
    const [sub, pub] = await bench.both(['--msgs', '5'], ['pub', SUBJECT, '--msgs', '5', '--csv', path])
    expect(sub.code).toBe(0)
    expect(pub).toMatchObject({ code: 1, stdout: expect.stringMatching(/^all 5 msgs/) })
    expect(pub.stderr).toMatch(/error: cannot write .*folder\.csv \(ENOENT\) \[ERR_SETUP\]\nsubrosa: hint: /)
  })

  it.each([[[]], [['--plain']]])('say that the broker throws the messages away, with %j', async (flags) => {
    await bench.receive('--msgs', '5')
    const creds = await bench.realm.writeLogin('orders', ['orders.other'])
    const { code, stdout, stderr } = await bench.run('pub', SUBJECT, '--creds', creds, ...flags)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('error: the broker has sent an error')
  })

  it('say that they may not receive', async () => {
    expect(await bench.start('audit', 'sub', 'tools.x').outcome).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('[ERR_SUBSCRIBE_DENIED]'),
    })
    expect(await bench.start('audit', 'sub', 'tools.x', '--plain').outcome).toMatchObject({
      code: 1,
      stdout: '',
    })
  })
})
