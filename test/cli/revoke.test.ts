import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { addBrokerUser } from '../../src/setup/broker-users.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { listRevocations } from '../../src/setup/revocation-records.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { failure, until } from '../support/until.ts'
import { hasLogged, readStderr } from './log-lines.ts'
import { Rotators } from './rotators.ts'
import { run, spawnCli, start } from './run.ts'

let running: RunningRealm
let dir: string
let rotators: Rotators
beforeEach(async () => {
  running = await RunningRealm.create()
  dir = running.realm.dir
  rotators = new Rotators(dir)
  await addAgent(running.realm, { name: 'intern', pub: ['orders.>'], sub: ['orders.>'] })
})
afterEach(async () => {
  await rotators.stopAll()
  await running.stop()
})

const startRotator = () => rotators.begin('rotator')
const says = (text: string) => rotators.said('rotator').some((line) => line.includes(text))
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
    await startRotator()
    const intern = await joinAs('intern')
    const { code, stdout, stderr } = await revoke('--reason', 'left the company')
    expect({ code, stdout }).toEqual({ code: 0, stdout: String(await recorded()) })
    expect(stderr).toContain('intern is revoked, and that is confirmed: 1 rotation service holds it')
    await until('the service says so', () => says('left the company'))
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
    await startRotator()
    await until('the service knows', () =>
      hasLogged(rotators.said('rotator'), 'revoked', { reason: 'before' }),
    )
  })

  test('says how many hold it while it is not confirmed, and ends with an error that is not final', async () => {
    await running.startServer()
    const first = await revoke('--timeout', '1s')
    expect(first).toMatchObject({ code: 4, stdout: '' })
    expect(first.stderr).toContain('and published, and not confirmed yet: 0 of the 1 rotation services')
    expect(first.stderr).toContain('rotator silent [ERR_NO_ROTATION_SERVICE]')
    expect(first.stderr).toContain(`this is not final: repeat it until it is confirmed`)
    await startRotator()
    expect((await revoke()).code).toBe(0)
  })

  test('of a rotation service is asked for twice, and says what it does', async () => {
    await running.startServer()
    await startRotator()
    const asked = await run('agent', 'revoke', 'rotator', '--realm', dir)
    expect(asked).toMatchObject({ code: 1, stdout: '' })
    expect(asked.stderr).toContain(
      'it counts for no threshold, for ever, and 0 are left of which 1 must answer',
    )
    expect(asked.stderr).toContain('subrosa plan replace-rotator rotator --stolen')
    expect(await recorded().catch(() => [])).toEqual([])

    const done = await run('agent', 'revoke', 'rotator', '--yes', '--realm', dir, '--timeout', '1s')
    expect(done).toMatchObject({ code: 4 })
    expect(done.stderr).toContain('without rotator 0 are left where 1 must answer, so no agent is fresh')
    expect(await recorded()).toHaveLength(1)
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

describe('subrosa rotator', () => {
  test('runs after init as it is, and ends cleanly on SIGTERM, as a process of its own', async () => {
    await running.startServer()
    expect((await run('rotator', 'begin', '--realm', dir)).code).toBe(0)
    const { child, said, outcome } = spawnCli(['rotator'], { SUBROSA_REALM: dir })
    await until('it runs', () => said().includes('runs on'))
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await outcome
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    const { log, said: last } = readStderr(stderr)
    expect(log.map(({ event }) => event)).toEqual(['plan', 'standing', 'epoch'])
    expect(last.at(-1)).toBe('subrosa: stopped')
    // Its record is released, and holds: the next one goes on with the same plan.
    await rotators.start('rotator')
    expect(says('under plan 1')).toBe(true)
    expect(hasLogged(rotators.said('rotator'), 'plan')).toBe(false)
  })

  test('reports who has keys, and who has gone', async () => {
    await running.startServer()
    await startRotator()
    const intern = await joinAs('intern')
    const logged = (event: string, fields: object) =>
      until(`it has ${event}`, () => hasLogged(rotators.said('rotator'), event, fields))
    await logged('announced', { name: 'intern', epoch: 1 })
    await intern.close()
    await logged('retired', { name: 'intern' })
  })

  test('refuses to run twice on one record', async () => {
    await running.startServer()
    await startRotator()
    expect(await run('rotator', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('another rotation service runs on'),
    })
  })

  test('does not run without a record, and begins none by itself', async () => {
    await running.startServer()
    const unbegun = await run('rotator', '--realm', dir)
    expect(unbegun).toMatchObject({ code: 1, stderr: expect.stringContaining('[ERR_STATE]') })
    expect(unbegun.stderr).toContain('subrosa rotator begin')
    expect(await run('rotator', '--realm', dir)).toEqual(unbegun)
    expect(await run('rotator', 'begin', '--realm', dir)).toMatchObject({
      code: 0,
      stdout: join(dir, 'rotation', 'rotator'),
      stderr: expect.stringContaining('began an empty record'),
    })
    await rotators.start('rotator')
    await rotators.stop('rotator')
    expect(await run('rotator', 'begin', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('already [ERR_STATE]'),
    })
  })

  test('begins a record in any folder, where no realm is, as under pins', async () => {
    const state = join(dir, '..', 'pinned', 'rotation')
    expect(await run('rotator', 'begin', '--realm', '/nonexistent', '--state', state)).toMatchObject({
      code: 0,
      stdout: state,
    })
    expect(await readdir(state)).toContain('revocations')
  })

  test('refuses an identity that no plan names', async () => {
    await running.startServer()
    await run('agent', 'add', 'rotator-2', '--role', 'rotator', '--realm', dir)
    await run('rotator', 'begin', '--as', 'rotator-2', '--realm', dir)
    expect(await run('rotator', '--as', 'rotator-2', '--realm', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('plan 1 does not name the rotation service rotator-2'),
    })
    // Of the identities in the folder the one counts that the plan names.
    await startRotator()
  })

  test('asks which one it is where a folder has several, and where it has none', async () => {
    const several = await RunningRealm.create({ count: 3 })
    try {
      const argv = ['rotator', 'begin', '--realm', several.realm.dir]
      expect(await run(...argv)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /several rotation services are in .*\n.*--as: rotator-1, rotator-2, rotator-3/,
        ),
      })
      for (const name of ['rotator-1', 'rotator-2', 'rotator-3'])
        await rm(agentPaths(several.realm.dir, name).identity)
      expect(await run(...argv)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('no identity of a rotation service is in'),
      })
    } finally {
      await several.stop()
    }
  })

  test('ends with an error when the broker has gone for good', async () => {
    await running.startServer()
    const creds = await addBrokerUser(running.realm, 'short', { expiresInMs: 2000 })
    await run('rotator', 'begin', '--realm', dir)
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
    expect(add.stderr).toContain('the identity that was intern is revoked, and that is confirmed')
    const [revocation] = await listRevocations(running.realm, Date.now() + 398 * 86_400_000)
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
