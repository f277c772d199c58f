import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { until } from '../support/until.ts'
import { DailyRealm } from './daily-realm.ts'
import { hasLogged } from './log-lines.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const READ_DATA =
  'let t="";process.stdin.on("data",(d)=>t+=d).on("end",()=>t.trim().split("\\n").forEach((l)=>console.log(JSON.parse(l).data)))'

let realm: DailyRealm
let orders: SecureConnection
let billing: SecureConnection
beforeAll(async () => {
  realm = await DailyRealm.start()
  orders = await realm.join('orders')
  billing = await realm.join('billing')
})
afterAll(() => realm.stop())

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string | null>
}

/** Runs a command line of bash, in which `subrosa` is the built program as an agent. */
function shell(agent: string, line: string): Running {
  const env = { PATH: process.env['PATH'], NODE: process.execPath, MAIN, READ_DATA, ...realm.env(agent) }
  const script = `set -o pipefail; subrosa() { "$NODE" "$MAIN" "$@"; }; ${line}`
  return follow(spawn('bash', ['--norc', '-c', script], { env, stdio: ['pipe', 'pipe', 'pipe'] }))
}

/** Runs the built program itself. */
function program(agent: string, ...argv: readonly string[]): Running {
  const env = { PATH: process.env['PATH'], ...realm.env(agent) }
  return follow(spawn(process.execPath, [MAIN, ...argv], { env, stdio: ['pipe', 'pipe', 'pipe'] }))
}

function follow(child: ChildProcess): Running {
  children.push(child)
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<number | string | null>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

/** Waits until a subscriber of audit listens and the sender knows it. */
async function listens({ stderr }: Running): Promise<void> {
  await until('it listens', () => stderr().includes('subscribed to'))
  await until('the sender knows it', () => knows('audit'))
}

const knows = (agent: string) => orders.audience('orders.x').some(({ name }) => name === agent)

describe('pipes', () => {
  it('carry one line of JSON for each message to the next program', async () => {
    const line = `subrosa sub 'orders.>' --json --count 3 | if command -v jq >/dev/null; then jq -r .data; else "$NODE" -e "$READ_DATA"; fi`
    const pipeline = shell('audit', line)
    await listens(pipeline)
    for (const text of ['one', '{"id":7}', 'größe']) orders.publish('orders.new', text)
    expect(await pipeline.ended).toBe(0)
    expect(pipeline.stdout()).toBe('one\n{"id":7}\ngröße\n')
  })

  it('that close early end it quietly and in order, with 0', async () => {
    const pipeline = shell('audit', `subrosa sub 'orders.>' --raw | head -n 1`)
    await listens(pipeline)
    orders.publish('orders.new', 'first')
    await until('head has seen it', () => pipeline.stdout() === 'first\n')
    // The next one finds nobody: how soon head is gone is up to the system.
    const more = setInterval(() => knows('audit') && orders.publish('orders.new', 'next'), 20)
    const code = await pipeline.ended
    clearInterval(more)
    expect(code).toBe(0)
    expect(pipeline.stdout()).toBe('first\n')
    expect(pipeline.stderr()).toBe('subrosa: subscribed to orders.>\n')
    await until('it has told that it is gone', () => !knows('audit'))
  })

  it('to a slow reader lose nothing', async () => {
    const count = 2000
    const sub = program('audit', 'sub', 'orders.>', '--json', '--count', String(count))
    sub.child.stdout?.pause()
    await listens(sub)
    const text = 'x'.repeat(1000)
    for (let i = 0; i < count; i++) orders.publish('orders.new', `${i} ${text}`)
    await orders.flush()
    sub.child.stdout?.resume()
    expect(await sub.ended).toBe(0)
    const lines = sub.stdout().trimEnd().split('\n')
    const numbers = lines.map((line) => Number((JSON.parse(line) as { data: string }).data.split(' ')[0]))
    expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i))
  })

  it('to a slow reader lose nothing of what is printed in the end', async () => {
    const contexts = join(realm.path('config'), 'nats', 'context')
    await mkdir(contexts, { recursive: true })
    const names = Array.from({ length: 2000 }, (_, i) => `${'context-'.repeat(10)}${i}`)
    for (const name of names) await writeFile(join(contexts, `${name}.json`), '{}')
    const script = `XDG_CONFIG_HOME='${realm.path('config')}' subrosa __complete -- sub --context ''`
    const printing = shell('audit', script)
    printing.child.stdout?.pause()
    await until('it prints', () => (printing.child.stdout?.readableLength ?? 0) > 0)
    printing.child.stdout?.resume()
    expect(await printing.ended).toBe(0)
    expect(printing.stdout().trimEnd().split('\n')).toEqual([...names].sort())
  })

  it('bring what is published, line by line', async () => {
    const received: string[] = []
    const subscription = billing.subscribe('orders.>', {
      callback: (_, message) => void received.push(message.string()),
    })
    await billing.flush()
    const pipeline = shell(
      'orders',
      `printf 'one\\ntwo' | subrosa pub orders.new --send-on newline --to billing -q`,
    )
    expect(await pipeline.ended).toBe(0)
    await until('they came', () => received.length === 2)
    expect(received).toEqual(['one', 'two'])
    expect(pipeline.stdout() + pipeline.stderr()).toBe('')
    subscription.unsubscribe()
  })

  it('that bring nothing do not keep an interrupted pub from ending, with 130', async () => {
    let received = 0
    const subscription = billing.subscribe('orders.>', { callback: () => received++ })
    await billing.flush()
    const pub = program('orders', 'pub', 'orders.new', '--send-on', 'newline', '-q', '--to', 'billing')
    pub.child.stdin?.write('first\n')
    await until('it publishes', () => received === 1)
    pub.child.kill('SIGINT')
    expect(await pub.ended).toBe(130)
    subscription.unsubscribe()
  })
})

describe('signals', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s ends sub in order, with 0', async (signal) => {
    const sub = program('audit', 'sub', 'orders.>')
    await listens(sub)
    sub.child.kill(signal)
    expect(await sub.ended).toBe(0)
    expect(sub.stdout()).toBe('')
    expect(sub.stderr()).toBe('subrosa: subscribed to orders.>\n')
    await until('it has told that it is gone', () => !knows('audit'))
  })

  it('end reply too, while its command runs', async () => {
    const reply = program('billing', 'reply', 'tools.>', '--command', 'sleep 60')
    await until('it listens', () => reply.stderr().includes('listening on'))
    const asking = orders.request('tools.x', 'x', { timeout: 10_000 }).catch((error: unknown) => error)
    await until('it was asked', () => reply.stdout() !== '')
    reply.child.kill('SIGTERM')
    expect(await reply.ended).toBe(0)
    await asking
  })
})

describe('a broker that goes away', () => {
  it('is said, and does not keep a command from ending', async () => {
    const own = await DailyRealm.start()
    try {
      const command = await own.listen('audit', 'sub', 'orders.>')
      await own.running.stopServer()
      await until('it is said', () => hasLogged(command.said, 'disconnected'))
      command.interrupt()
      expect((await command.outcome).code).toBe(0)
    } finally {
      await own.stop()
    }
  })
})
