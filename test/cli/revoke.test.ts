import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { publishRevocation } from '../../src/cli/realm/publish-revocation.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { addBrokerUser } from '../../src/setup/broker-users.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { listRevocations } from '../../src/setup/revocation-records.ts'
import { revokeAgent } from '../../src/setup/revocations.ts'
import { decodeQuery, encodePage, QueryKind } from '../../src/wire/statements.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { failure, until } from '../support/until.ts'
import { hasLogged, readStderr } from './log-lines.ts'
import { type RunningCommand, run, spawnCli, start } from './run.ts'

let running: RunningRealm
let dir: string
let rotator: RunningCommand | undefined
beforeEach(async () => {
  running = await RunningRealm.create()
  dir = running.realm.dir
  await addAgent(running.realm, { name: 'rotator', roles: ['rotator'] })
  await addAgent(running.realm, { name: 'intern', pub: ['orders.>'], sub: ['orders.>'] })
})
afterEach(async () => {
  rotator?.interrupt()
  await rotator?.outcome
  rotator = undefined
  await running.stop()
})

async function startRotator(): Promise<RunningCommand> {
  const command = start(['rotator', '--realm', dir])
  rotator = command
  await until('the rotation service runs', () => says(command, 'runs on'))
  return command
}

const says = ({ said }: RunningCommand, text: string) => said.some((line) => line.includes(text))
const revoke = (...argv: string[]) => run('agent', 'revoke', 'intern', '--realm', dir, ...argv)
const recorded = async () =>
  (await readdir(join(dir, 'revocations'))).map((name) => join(dir, 'revocations', name))

async function joinAs(name: string): Promise<SecureConnection> {
  return secure(await running.login({ agent: name }), {
    identity: await loadIdentity(`file:${agentPaths(dir, name).identity}`),
    trust: { authority: running.realm.authority },
    state: 'memory',
  })
}

describe('subrosa agent revoke', () => {
  test('records, publishes and confirms, and the agent stops at once', async () => {
    await running.startServer()
    const service = await startRotator()
    const intern = await joinAs('intern')
    const { code, stdout, stderr } = await revoke('--reason', 'left the company')
    expect({ code, stdout }).toEqual({ code: 0, stdout: String(await recorded()) })
    expect(stderr).toContain('intern is revoked')
    await until('the service says so', () => says(service, 'left the company'))
    await intern.flush()
    expect(await failure(() => intern.publish('orders.new', 'x'))).toMatchObject({ code: 'ERR_REVOKED' })
    const listed = JSON.parse((await run('agent', 'list', '--realm', dir, '--json')).stdout)
    expect(listed[0]).toMatchObject({ name: 'intern', status: 'revoked', reason: 'left the company' })
    await intern.close().catch(() => {})
  })

  test('says that it is recorded and not published where no broker is, and publishes when run again', async () => {
    const first = await revoke()
    const [path = ''] = await recorded()
    expect(first).toMatchObject({ code: 1, stdout: '' })
    const [error = '', ...hints] = first.stderr.split('\n')
    expect(error).toContain(
      `subrosa: error: the revocation of intern is recorded in ${path} and not published: `,
    )
    expect(error).toContain('nothing listens there')
    expect(hints.at(-1)).toContain(`subrosa agent revoke intern --realm ${dir}`)

    await running.startServer()
    await startRotator()
    expect(await revoke()).toMatchObject({ code: 0, stdout: path })
    expect(await revoke()).toMatchObject({ code: 0, stdout: path })
    expect(await recorded()).toEqual([path])
  })

  test('is told to the rotation service that starts later, too', async () => {
    await revoke('--reason', 'before')
    await running.startServer()
    const service = await startRotator()
    await until('the service knows', () => hasLogged(service.said, 'revoked', { reason: 'before' }))
  })

  test('confirms even when the rotation service itself is revoked', async () => {
    await running.startServer()
    await startRotator()
    expect(await run('agent', 'revoke', 'rotator', '--realm', dir)).toMatchObject({ code: 0 })
  })

  test('is of an agent of this realm', async () => {
    expect(await run('agent', 'revoke', 'nobody', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no agent nobody [ERR_SETUP]'),
    })
    const long = await revoke('--reason', 'x'.repeat(257))
    expect(long).toMatchObject({ code: 2, stderr: 'subrosa: error: reason must be at most 256 bytes' })
  })
})

describe('publishRevocation', () => {
  const options = async () => ({
    trust: { authority: running.realm.authority },
    statement: (await revokeAgent(running.realm, { name: 'intern' })).statement,
  })
  const admin = async () => running.login({ path: await addBrokerUser(running.realm, 'admin') })

  test('does not resolve without a rotation service', async () => {
    await running.startServer()
    const connection = await admin()
    const published = publishRevocation(connection, { ...(await options()), timeoutMs: 100 })
    expect(await failure(() => published)).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
  })

  test("does not take a broker's word for it", async () => {
    await running.startServer()
    const { statement, trust } = await options()
    const broker = await admin()
    const root = `subrosa.v1.${running.realm.key}`
    let asked = 0
    // It keeps the statement back, and answers in the name of the rotation service.
    broker.subscribe(`${root}.query`, {
      callback: (_error, { data, reply }) => {
        asked++
        if (reply === undefined) return
        broker.publish(`${root}.tick`, Uint8Array.of(0xc1, 1, 4, 0x90))
        broker.publish(reply, Uint8Array.of(0xc1))
        const { nonce } = decodeQuery(data)
        const page = { nonce, kind: QueryKind.revocations, statements: [statement], next: undefined }
        broker.publish(reply, encodePage(page))
      },
    })
    await broker.flush()
    const published = publishRevocation(await admin(), { statement, trust, timeoutMs: 700 })
    expect(await failure(() => published)).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
    expect(asked).toBeGreaterThan(1)
  })
})

describe('subrosa rotator', () => {
  test('runs after init as it is, and ends cleanly on SIGTERM, as a process of its own', async () => {
    await running.startServer()
    const { child, said, outcome } = spawnCli(['rotator'], { SUBROSA_REALM: dir })
    await until('it runs', () => said().includes('runs on'))
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await outcome
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    const { log, said: last } = readStderr(stderr)
    expect(log).toMatchObject([{ level: 'info', event: 'epoch', epoch: 1 }])
    expect(last.at(-1)).toBe('subrosa: stopped')
    // Its record is released, and holds: the next one goes on with the same epoch.
    const next = await startRotator()
    expect(hasLogged(next.said, 'epoch')).toBe(false)
  })

  test('reports who has keys, and who has gone', async () => {
    await running.startServer()
    const service = await startRotator()
    const intern = await joinAs('intern')
    await until('it has announced', () => hasLogged(service.said, 'announced', { name: 'intern', epoch: 1 }))
    await intern.close()
    await until('it has retired', () => hasLogged(service.said, 'retired', { name: 'intern' }))
  })

  test('refuses to run twice on one record', async () => {
    await running.startServer()
    await startRotator()
    expect(await run('rotator', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('another rotation service runs on'),
    })
  })

  test('refuses an identity without the role, and times out of bounds', async () => {
    await running.startServer()
    const identity = agentPaths(dir, 'intern').identity
    const refused = await run('rotator', '--realm', dir, '--identity', identity)
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('has no role rotator') })
    expect(await run('rotator', '--realm', dir, '--epoch', '1m')).toMatchObject({
      code: 2,
      stderr: 'subrosa: error: leadMs must be above 0 and below epochMs',
    })
    // Neither holds on to the record.
    await startRotator()
  })

  test('ends with an error when the broker has gone for good', async () => {
    await running.startServer()
    const creds = await addBrokerUser(running.realm, 'short', { expiresInMs: 2000 })
    const command = start(['rotator', '--realm', dir, '--creds', creds])
    expect(await command.outcome).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the broker ended the connection'),
    })
  })
})

describe('subrosa agent add --succeed', () => {
  test('revokes the identity that has the name, for those who are away too, tells the realm, and gives the name to a new one', async () => {
    await running.startServer()
    await startRotator()
    const { identity: former } = (await findAgent(running.realm, 'intern'))?.claims ?? {}
    const add = await run('agent', 'add', 'intern', '--succeed', '--sub', 'orders.>', '--realm', dir)
    expect(add.code).toBe(0)
    expect(add.stdout).not.toBe(former)
    expect(add.stderr).toContain('the identity that was intern is revoked: the rotation service holds it')
    const [revocation] = await listRevocations(running.realm, Date.now() + 399 * 86_400_000)
    expect(revocation).toMatchObject({ identity: former })
    const intern = await joinAs('intern')
    expect(intern.epoch).toBe(1)
    await intern.close()
  })

  test('adds nobody where the realm cannot be told', async () => {
    const before = (await findAgent(running.realm, 'intern'))?.claims.identity
    const add = await run('agent', 'add', 'intern', '--succeed', '--realm', dir)
    expect(add).toMatchObject({ code: 1, stdout: '' })
    expect(add.stderr).toContain('the revocation of intern is recorded')
    expect((await findAgent(running.realm, 'intern'))?.claims.identity).toBe(before)
  })

  test('says who is not there, and goes with no renewal', async () => {
    expect(await run('agent', 'add', 'nobody', '--succeed', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no agent nobody'),
    })
    expect((await run('agent', 'add', 'intern', '--succeed', '--renew', '--realm', dir)).code).toBe(2)
  })
})
