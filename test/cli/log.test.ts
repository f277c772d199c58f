import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/logger.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { newestPlan } from '../../src/setup/plan-records.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { HostileLine } from '../support/hostile-line/hostile-line.ts'
import type { SubOp } from '../support/hostile-line/nats-op.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { hasLogged, readStderr } from './log-lines.ts'
import { run, spawnCli } from './run.ts'

/** What a broker writes that wants the terminal. */
const HOSTILE = 'orders.\u001b[2J\u009b\u202e'
const SHOWN = 'orders.\\u001b[2J\\u009b\\u202e'

let files: RunningRealm
let server: TestServer
let line: HostileLine
let service: RotationService
let orders: SecureConnection
const connections: NatsConnection[] = []

beforeAll(async () => {
  files = await RunningRealm.create()
  await addAgent(files.realm, { name: 'orders', pub: ['orders.>'] })
  await addAgent(files.realm, { name: 'billing', sub: ['orders.>'] })
  server = await startTestServer()
  line = await HostileLine.start(server.port, { clock: systemClock })
  service = await startRotationService(await connection(), {
    ...(await member('rotator')),
    plan: (await newestPlan(files.realm)).kept,
    store: memoryRotationStore(),
  })
  orders = await secure(await connection(), { ...(await member('orders')), state: 'memory' })
})
afterAll(async () => {
  await orders.close()
  await service.close()
  for (const nc of connections) await nc.close()
  await line.close()
  await server.stop()
  await files.stop()
})

const children: ReturnType<typeof spawnCli>[] = []
afterEach(async () => {
  for (const { child, outcome } of children.splice(0)) {
    child.kill('SIGKILL')
    await outcome
  }
})

async function connection(): Promise<NatsConnection> {
  const nc = await connect({ servers: server.url })
  connections.push(nc)
  return nc
}

const identityPath = (name: string): string => agentPaths(files.realm.dir, name).identity
const member = async (name: string) => ({
  identity: await loadIdentity(`file:${identityPath(name)}`),
  trust: { authority: files.realm.authority },
  log: silentLog,
})

/** Options of an agent on the hostile line, which speaks no TLS. */
const onTheLine = (name: string): readonly string[] => [
  ...['-s', `nats://${line.url}`, '--authority', files.realm.authority.join(), '--no-context'],
  ...['--identity', identityPath(name), '--state', 'memory', '--connection-name', name],
]

/** Starts the built program as billing on the line, and resolves when it receives. */
async function sub(...argv: readonly string[]) {
  const child = spawnCli(['sub', 'orders.>', ...onTheLine('billing'), ...argv], { HOME: '/nonexistent' })
  children.push(child)
  await until('it listens', () => child.said().includes('subscribed to'))
  await orders.waitForAudience('orders.new', { atLeast: 1 })
  return child
}

/** The line puts a message into the subscription of the program that listens. */
function inject(subject: string): void {
  const on = line.connection('billing')
  const isOrders = (op: { readonly kind: string }): op is SubOp =>
    op.kind === 'SUB' && 'subject' in op && op.subject === 'orders.>'
  const found = line.record.findLast((crossing) => crossing.connection === on && isOrders(crossing.op))
  if (found === undefined || !isOrders(found.op)) throw new Error('it has not subscribed')
  const { sid } = found.op
  const carried = { subject, reply: undefined, headers: undefined, payload: Buffer.from('not sealed') }
  line.inject(on, 'to client', { kind: 'MSG', sid, ...carried })
}

describe('subrosa sub, whose line is hostile', () => {
  it('logs rejections as lines of JSON on standard error, and prints messages alone on standard output', async () => {
    const { said, outcome } = await sub('--json', '--count', '1', '--log-level', 'debug')
    inject(HOSTILE)
    await until('it has rejected it', () => hasLogged([said()], 'rejected'))
    orders.publish('orders.new', 'sealed')
    const { code, stdout, stderr } = await outcome
    expect(code).toBe(0)
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((text) => JSON.parse(text).data),
    ).toEqual(['sealed'])
    const { log, said: own } = readStderr(stderr)
    expect(own).toEqual(['subrosa: subscribed to orders.>'])
    expect(log.map(({ event }) => event)).toContain('rotated')
    expect(log.filter(({ event }) => event === 'rejected')).toMatchObject([
      { level: 'warn', reason: 'plaintext', subject: HOSTILE, count: 1, msg: 'arrivals were rejected' },
    ])
    expect(stderr).toContain(SHOWN)
    for (const raw of ['\u001b', '\u009b', '\u202e']) expect(stderr).not.toContain(raw)
    // Without a logger they would have been warnings of the process.
    expect(stderr).not.toContain('SubrosaWarning')
  })

  it('shows them to people where it is asked to, as text that no terminal obeys', async () => {
    const { child, said, outcome } = await sub('--log', 'pretty', '--log-level', 'warn')
    inject(HOSTILE)
    await until('it has rejected it', () => said().includes('rejected'))
    child.kill('SIGTERM')
    const { stdout, stderr } = await outcome
    expect(stdout).toBe('')
    const [first, second, ...more] = stderr.trimEnd().split('\n')
    expect(first).toBe('subrosa: subscribed to orders.>')
    expect(second).toMatch(/^\S+Z warn rejected: arrivals were rejected reason=plaintext subject="/)
    expect(second).toContain(`subject="${SHOWN}" count=1`)
    expect(more).toEqual([])
  })

  it.each(['error', 'silent'])('with level %s says nothing of them', async (level) => {
    const { outcome } = await sub('--count', '1', '--log-level', level)
    inject('orders.new')
    orders.publish('orders.new', 'sealed')
    expect((await outcome).stderr).toBe('subrosa: subscribed to orders.>\n')
  })

  it('says what the connection does', async () => {
    const { said } = await sub('--log-level', 'info')
    line.connection('billing').cut()
    await until('it is back', () => hasLogged([said()], 'reconnected'))
    expect(hasLogged([said()], 'disconnected', { level: 'warn' })).toBe(true)
  })
})

describe('the options of the log', () => {
  it('may stand before the command', async () => {
    const { outcome } = spawnCli(
      ['--log-level', 'debug', 'pub', 'orders.new', 'x', '--wait-for', '0', ...onTheLine('orders')],
      { HOME: '/nonexistent' },
    )
    const { stdout, stderr } = await outcome
    expect(stdout).toBe('')
    expect(hasLogged([stderr], 'rotated')).toBe(true)
  })

  it.each([
    [
      ['sub', 'x', '--log-level', 'loud'],
      "'loud' is invalid. Allowed choices are debug, info, warn, error, silent.",
    ],
    [['mcp', 'serve', 'files', '--log', 'xml'], "'xml' is invalid. Allowed choices are json, pretty."],
    [['rotator', '--log-level', 'trace'], 'Allowed choices are'],
    [['--log', 'json', 'keys'], 'keys has no option --log'],
  ])('are not understood in %j', async (argv, message) => {
    const { code, stdout, stderr } = await run(...argv)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^subrosa: error: .+\nsubrosa: hint: see: .+$/)
    expect(stderr).toContain(message)
  })

  it.each([
    ['pub'],
    ['sub'],
    ['request'],
    ['reply'],
    ['rotator'],
    ['bench', 'pub'],
    ['bench', 'sub'],
    ['bench', 'request'],
    ['mcp', 'serve'],
    ['mcp', 'connect'],
    ['mcp', 'tools'],
    ['mcp', 'ls'],
    ['mcp', 'ping'],
  ])('are those of %s %s, and completed', async (...command) => {
    const { stdout } = await run(...command, '--help')
    expect(stdout).toMatch(/\nLog:\n {2}--log-level <level> .*\n(.*\n)* {2}--log <form> /)
    const words = async (...written: readonly string[]) =>
      (await run('__complete', '--', ...command, ...written)).stdout.split('\n')
    expect(await words('--log', '')).toEqual(['json', 'pretty'])
    expect(await words('--log-level', 'in')).toEqual(['info'])
  })
})
