import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { loadIdentity } from '../../src/identity/keyfiles/key-file.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { agentPaths, planPath } from '../../src/setup/layout.ts'
import { newestPlan } from '../../src/setup/plan-records.ts'
import { makeNextPlan } from '../../src/setup/plans.ts'
import { inLockedRealm } from '../../src/setup/realm-lock.ts'
import type { RotatorsRequest } from '../../src/setup/rotators.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { until } from '../support/until.ts'
import { Rotators } from './rotators.ts'
import { type Outcome, run } from './run.ts'

let running: RunningRealm
let dir: string
let rotators: Rotators
const agents: SecureConnection[] = []
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close().catch(() => {})
  await rotators.stopAll()
  await running.stop()
})

/** A realm with a broker; these of its rotation services run. */
async function startRealm(request: RotatorsRequest, ...names: readonly string[]): Promise<void> {
  running = await RunningRealm.create(request)
  dir = running.realm.dir
  rotators = new Rotators(dir)
  await running.startServer()
  await rotators.begin(...names)
}

const plan = (...argv: readonly string[]): Promise<Outcome> => run('plan', ...argv, '--realm', dir)
const soon = ['--timeout', '2s']
const newest = async () => (await newestPlan(running.realm)).plan
const plans = async () => (await readdir(join(dir, 'plans'))).sort()
const keyOf = async (name: string) => (await findAgent(running.realm, name))?.claims.identity ?? ''

async function joinAs(name: string): Promise<SecureConnection> {
  await addAgent(running.realm, { name, pub: ['orders.>'], sub: ['orders.>'] })
  const agent = await secure(await running.login({ agent: name }), {
    identity: await loadIdentity(`file:${agentPaths(dir, name).identity}`),
    trust: { authority: running.realm.authority },
    state: 'memory',
  })
  agents.push(agent)
  return agent
}

const THREE = ['rotator-1', 'rotator-2', 'rotator-3']

describe('subrosa plan show', () => {
  test('shows who counts, how many must answer, and the epoch, to people and to programs', async () => {
    await startRealm({ count: 3, threshold: 2 })
    const { code, stdout, stderr } = await plan('show')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^plan +1 {2}[0-9a-f]{16}$/m)
    expect(stdout).toMatch(/^ {2}must answer +2 of 3: 1 may be gone; 0 may be stolen while the broker lies$/m)
    for (const name of THREE) expect(stdout).toMatch(new RegExp(`${name} {2}${await keyOf(name)}$`, 'm'))
    expect(stdout).toMatch(/^ {2}next +\S+Z \(in 54m\d+s\)$/m)
    expect(stdout).toMatch(/^revocations +0 in its list$/m)
    const shown = JSON.parse((await plan('show', '--json')).stdout)
    expect(shown).toMatchObject({
      realm: running.realm.key,
      version: 1,
      isOver: false,
      isEnding: false,
      threshold: 2,
      bears: { dead: 1, stolen: 0 },
      epoch: { number: 1, leadMs: 300_000, graceMs: 300_000, suites: [1] },
      schedules: [{ first: 1, periodMs: 3_300_000 }],
    })
    expect(shown.rotators.map(({ name }: { readonly name: string }) => name).sort()).toEqual(THREE)
  })

  test('warns in the last quarter of its life, says what an end means, and what short epochs are for', async () => {
    const long = Date.now() - 301 * 86_400_000
    const clock = { now: () => long, monotonic: () => 0, after: () => () => {} }
    await startRealm({ clock, times: { periodMs: 60_000, leadMs: 59_999 } })
    const { stderr } = await plan('show')
    expect(stderr).toMatch(/warning: plan 1 ends in 98d23h, and every agent with it: subrosa plan renew/)
    expect(stderr).toContain('a lead below a minute is for demonstrations')
    await running.stop()
    await startRealm({ clock, lastsMs: 300 * 86_400_000 })
    const over = await plan('show')
    expect(over.stderr).toMatch(
      /plan 1 ended at \S+: every agent is stale until there is a new one: subrosa plan renew --lost/,
    )
    expect(over.stdout).toContain('over: nobody acts on it any more')
  })
})

describe('subrosa plan renew', () => {
  test('makes a plan of the next version, brings it to the services, and says that it is confirmed', async () => {
    await startRealm({ count: 3, threshold: 2 }, ...THREE)
    const agent = await joinAs('orders')
    const outcome = await plan('renew', '--plan-for', '90d')
    expect(outcome).toMatchObject({ code: 0, stdout: planPath(dir, 2) })
    // It is confirmed with the second that acts on it: the third may be a moment behind.
    expect(outcome.stderr).toMatch(
      /subrosa: plan 2 is confirmed: [23] of 3 rotation services act on it, and 2 must/,
    )
    const { version, until: end, made, schedules } = await newest()
    expect({ version, days: (end - made) / 86_400_000 }).toEqual({ version: 2, days: 90 })
    expect(schedules).toHaveLength(2)
    await until('the agent acts on it', () => agent.planVersion === 2)
    const status = async () =>
      JSON.parse((await run('rotate', 'status', '--realm', dir, '--as', 'orders', '--json')).stdout)
    await expect.poll(status, { timeout: 15_000 }).toMatchObject({ counting: 3, plan: { version: 2 } })
  })

  test('carries every revocation that a service holds, also one that this folder has lost', async () => {
    await startRealm({}, 'rotator')
    await addAgent(running.realm, { name: 'intern' })
    expect((await run('agent', 'revoke', 'intern', '--realm', dir)).code).toBe(0)
    await rm(join(dir, 'revocations'), { recursive: true })
    expect((await plan('renew')).code).toBe(0)
    expect((await newestPlan(running.realm)).kept.list).toHaveLength(1)
  })

  test('says which rotation services end before the plan, and how to renew them', async () => {
    await startRealm({ lastsMs: 30 * 86_400_000 }, 'rotator')
    const command = `subrosa agent add rotator --renew --expires 90d --realm ${dir}`
    const { code, stderr } = await plan('renew', '--plan-for', '90d')
    expect(code).toBe(0)
    const lines = stderr.split('\n').filter((line) => line.includes('before plan 2 does'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^subrosa: warning: rotator ends at \S+Z, before plan 2 does: /)
    expect(lines[0]?.endsWith(`: ${command}`)).toBe(true)
    expect((await run(...command.split(' ').slice(1))).code).toBe(0)
    expect((await plan('renew', '--plan-for', '90d')).stderr).not.toContain('before plan 3 does')
  })

  test('makes nothing while the plan in force is not confirmed, unless its services are lost', async () => {
    await startRealm({ count: 3, threshold: 2 }, 'rotator-1')
    const refused = await plan('renew', ...soon)
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toContain('plan 1, which is in force, is not confirmed, and nothing was made: ')
    expect(refused.stderr).toContain('1 of 2 needed act on plan 1 (rotator-1)')
    expect(refused.stderr).toMatch(/rotator-\d, rotator-\d silent \[/)
    expect(refused.stderr).toContain('--lost')
    expect(await plans()).toEqual(['1.json'])

    const lost = await plan('renew', '--lost', '--timeout', '6s')
    expect(lost).toMatchObject({ code: 4, stdout: planPath(dir, 2) })
    expect(lost.stderr).toContain('plan 2 takes over no more than its own list')
    expect(lost.stderr).toContain(
      'and published, and not confirmed yet: 1 of 2 needed act on plan 2 (rotator-1)',
    )
    expect((await newest()).former).toBeUndefined()
    await rotators.begin('rotator-2')
    expect(await plan('publish')).toMatchObject({
      code: 0,
      stdout: planPath(dir, 2),
      stderr: expect.stringContaining('plan 2 is confirmed: 2 of 3'),
    })
  })

  test('with lost services needs no broker, and says that nobody was asked', async () => {
    await startRealm({})
    await running.stopServer()
    expect(await plan('renew', ...soon)).toMatchObject({ code: 1, stdout: '' })
    const { code, stdout, stderr } = await plan('renew', '--lost', ...soon)
    expect({ code, stdout }).toEqual({ code: 1, stdout: planPath(dir, 2) })
    expect(stderr).toContain('warning: no rotation service was asked: cannot connect')
    expect(stderr).toContain(`plan 2 is recorded in ${planPath(dir, 2)} and not published: `)
    expect(stderr).toContain(`subrosa plan publish --realm ${dir}`)
  })

  test('says what to do about a plan that was made by a clock that was ahead, and nobody has taken up', async () => {
    await startRealm({}, 'rotator')
    const ahead = { now: () => Date.now() + 3_600_000, monotonic: () => 0, after: () => () => {} }
    await makeNextPlan(running.realm, {}, { former: await newestPlan(running.realm), clock: ahead })
    expect((await plan('publish', ...soon)).code).toBe(4)
    const { code, stderr } = await plan('renew', '--lost', ...soon)
    expect(code).toBe(1)
    expect(stderr).toContain('the clock is behind the making of plan 2')
    expect(stderr).toContain(`move ${planPath(dir, 2)} away`)
    await rm(planPath(dir, 2))
    expect(await plan('renew')).toMatchObject({ code: 0, stdout: planPath(dir, 2) })
  })

  test('is refused to a folder that is an old copy: no version is signed twice', async () => {
    await startRealm({}, 'rotator')
    await plan('renew')
    await rm(planPath(dir, 2))
    const { code, stdout, stderr } = await plan('renew', ...soon)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(
      `acts on plan 2, and the newest one in ${dir} is plan 1: nothing was made [ERR_ROLLBACK]`,
    )
    expect(stderr).toContain('restore the newest one')
    expect(await plans()).toEqual(['1.json'])
  })
})

describe('subrosa plan renew --lost', () => {
  test('is refused to an old copy of the folder whose own services are gone: others show the newer plan', async () => {
    await startRealm({}, 'rotator')
    await plan('replace-rotator', 'rotator')
    await rotators.begin('rotator-2')
    expect((await plan('publish')).code).toBe(0)
    await rotators.stop('rotator')
    await rm(planPath(dir, 2))
    for (const lost of [[], ['--lost']]) {
      const { code, stdout, stderr } = await plan('renew', ...lost)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toContain('acts on plan 2')
      expect(stderr).toContain('[ERR_ROLLBACK]')
    }
    expect(await plans()).toEqual(['1.json'])
  })

  test('takes over what a service holds that only the plan before names, where the newest was never confirmed', async () => {
    await startRealm({}, 'rotator')
    await addAgent(running.realm, { name: 'intern' })
    expect((await run('agent', 'revoke', 'intern', '--realm', dir)).code).toBe(0)
    expect((await plan('replace-rotator', 'rotator')).code).toBe(4)
    await rm(join(dir, 'revocations'), { recursive: true })
    const { stderr } = await plan('renew', '--lost', '--timeout', '6s')
    expect(stderr).toContain('warning: rotator-2 did not answer: what only they hold is left out')
    const { plan: made, kept } = await newestPlan(running.realm)
    expect({ version: made.version, revocations: kept.list.length }).toEqual({ version: 3, revocations: 1 })
  })

  test('of a plan that has ended is what the refusal to renew advises', async () => {
    const day = 86_400_000
    const long = Date.now() - 40 * day
    const clock = { now: () => long, monotonic: () => 0, after: () => () => {} }
    await startRealm({ clock, lastsMs: 39 * day })
    expect((await run('agent', 'add', 'rotator', '--renew', '--realm', dir)).code).toBe(0)
    await rotators.begin('rotator')
    expect(rotators.said('rotator').join('\n')).toContain('and counts for nobody: plan 1 has ended')
    const refused = await plan('renew')
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toContain('plan 1 ended at ')
    expect(refused.stderr).not.toContain('not complete yet')
    expect(await plan('renew', '--lost')).toMatchObject({ code: 0, stdout: planPath(dir, 2) })
  })
})

describe('of commands that change one folder at once', () => {
  const COMMANDS = [
    ['plan', 'renew'],
    ['plan', 'renew', '--lost'],
    ['plan', 'set', '--threshold', '1'],
    ['plan', 'replace-rotator', 'rotator'],
    ['agent', 'revoke', 'intern'],
    ['agent', 'add', 'intern', '--succeed'],
    ['agent', 'add', 'intern', '--renew'],
    ['agent', 'add', 'guest'],
  ] as const

  test('the second one stops before it does anything, whichever it is', async () => {
    await startRealm({}, 'rotator')
    await addAgent(running.realm, { name: 'intern' })
    const files = async () =>
      (await readdir(dir, { recursive: true })).filter((file) => file !== 'lock').sort()
    const before = await files()
    for (const argv of COMMANDS) {
      const { code, stdout, stderr } = await inLockedRealm(dir, () => run(...argv, '--realm', dir))
      expect({ argv, code, stdout }).toEqual({ argv, code: 1, stdout: '' })
      expect(stderr).toContain(
        `another command is changing the realm in ${dir}: nothing was done [ERR_SETUP]`,
      )
    }
    expect(await files()).toEqual(before)
    // And it is let go of, also by one that failed.
    await expect(inLockedRealm(dir, async () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect((await run('agent', 'revoke', 'intern', '--realm', dir)).code).toBe(0)
  })

  test('two changes of the plan make one plan, and nothing of it is taken back', async () => {
    await startRealm({ count: 3, threshold: 2 }, ...THREE)
    const [first, second] = await Promise.all([
      plan('replace-rotator', 'rotator-1'),
      plan('replace-rotator', 'rotator-2'),
    ])
    expect([first?.code, second?.code].sort()).toEqual([0, 1])
    expect(await plans()).toEqual(['1.json', '2.json'])
    const { rotators: keys } = await newest()
    const gone = first?.code === 0 ? 'rotator-1' : 'rotator-2'
    expect(keys).not.toContain(await keyOf(gone))
    expect(keys).toContain(await keyOf('rotator-4'))
  })
})

describe('subrosa plan set', () => {
  test('takes more services: the new ones start first, and no agent misses anything', async () => {
    await startRealm({}, 'rotator')
    const agent = await joinAs('orders')
    const early = await plan('set', '--rotators', 'rotator', 'rotator-2', 'rotator-3', '--threshold', '2')
    expect(early).toMatchObject({ code: 4, stdout: planPath(dir, 2) })
    expect(early.stderr).toContain('added rotator-2: its host needs these files')
    expect(early.stderr).toContain(agentPaths(dir, 'rotator-3').creds)
    expect(early.stderr).toMatch(
      /not published yet: without .*rotator-\d too few services could answer under it/,
    )
    expect(agent.planVersion).toBe(1)

    await rotators.begin('rotator-2', 'rotator-3')
    expect(await plan('publish')).toMatchObject({ code: 0, stderr: expect.stringContaining('3 of 3') })
    await until('the agent acts on it', () => agent.planVersion === 2)
    expect(await newest()).toMatchObject({ threshold: 2, former: { version: 1, threshold: 1 } })
  })

  test('takes fewer services, and another threshold', async () => {
    await startRealm({ count: 3, threshold: 2 }, ...THREE)
    expect((await plan('set', '--threshold', '3')).code).toBe(0)
    expect(await newest()).toMatchObject({ version: 2, threshold: 3 })
    expect((await plan('set', '--rotators', 'rotator-2')).code).toBe(0)
    expect(await newest()).toMatchObject({ version: 3, threshold: 1, rotators: [await keyOf('rotator-2')] })
  })

  test('takes other times, from a boundary to come on', async () => {
    await startRealm({}, 'rotator')
    expect((await plan('set', '--epoch', '2h', '--grace', '10m')).code).toBe(0)
    expect((await newest()).schedules).toMatchObject([
      { periodMs: 3_300_000 },
      { periodMs: 7_200_000, leadMs: 300_000, graceMs: 600_000 },
    ])
    const { code, stderr } = await plan('set', '--lead', '1m')
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /another schedule of epochs is under way already .*\n.*change the times again after/,
    )
  })

  test.each([
    [[], 1, 'nothing is set'],
    [['--threshold', '2'], 2, 'of 1 rotation services 1 to 1 must answer'],
    [
      ['--rotators', 'rotator', 'rotator-2', '--threshold', '1'],
      2,
      'of 2 rotation services 2 to 2 must answer',
    ],
    [['--rotators', 'orders'], 1, 'orders is an agent, and no rotation service'],
    [['--rotators', 'a.b'], 2, 'Use 1 to 64 letters'],
    [['--epoch', '30s'], 2, 'the lead must be at least 1s'],
    [['--plan-for', '401d', '--lead', '1m'], 2, 'a plan lasts at most 400d'],
  ])('does not take %j, and makes nothing', async (argv, code, message) => {
    await startRealm({}, 'rotator')
    await addAgent(running.realm, { name: 'orders' })
    const before = await readdir(join(dir, 'agents'))
    expect(await plan('set', ...argv)).toMatchObject({
      code,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
    expect(await plans()).toEqual(['1.json'])
    expect(await readdir(join(dir, 'agents'))).toEqual(before)
  })
})

describe('subrosa plan replace-rotator', () => {
  test('puts a new service in the place of one of three whose record is lost, and agents go on', async () => {
    await startRealm({ count: 3, threshold: 2 }, ...THREE)
    const agent = await joinAs('orders')
    const reader = await joinAs('billing')
    const read: string[] = []
    reader.subscribe('orders.new', { callback: (_error, message) => void read.push(message.string()) })
    await reader.flush()
    await agent.waitForAudience('orders.new', { atLeast: 1 })
    await rotators.stop('rotator-2')
    agent.publish('orders.new', 'before')
    const outcome = await plan('replace-rotator', 'rotator-2')
    expect(outcome).toMatchObject({ code: 0, stdout: planPath(dir, 2) })
    expect(outcome.stderr).toContain('added rotator-4')
    expect(outcome.stderr).toContain('plan 2 is confirmed: 2 of 3')
    const { rotators: keys, threshold, former } = await newest()
    expect(new Set(keys)).toEqual(
      new Set(await Promise.all(['rotator-1', 'rotator-3', 'rotator-4'].map(keyOf))),
    )
    expect({ threshold, former: former?.version }).toEqual({ threshold: 2, former: 1 })
    await rotators.begin('rotator-4')
    expect((await plan('publish')).stderr).toContain('3 of 3')
    await until('the agent acts on it', () => agent.planVersion === 2)
    agent.publish('orders.new', 'after')
    await until('both have come', () => read.length === 2)
    expect(read).toEqual(['before', 'after'])
  })

  test('hands over from the only service to another one, which starts first', async () => {
    await startRealm({}, 'rotator')
    await addAgent(running.realm, { name: 'intern' })
    await run('agent', 'revoke', 'intern', '--realm', dir)
    expect(await plan('replace-rotator', 'rotator', 'rotator-b')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('without rotator-b too few services could answer under it'),
    })
    await rotators.begin('rotator-b')
    expect((await plan('publish')).code).toBe(0)
    await rotators.stop('rotator')
    expect((await run('agent', 'revoke', 'intern', '--realm', dir)).code).toBe(0)
  })

  test('revokes a stolen one of three too, takes no word of it, and says what a broker can do', async () => {
    await startRealm({ count: 3, threshold: 2 }, ...THREE)
    const stolen = await keyOf('rotator-1')
    const { code, stderr } = await plan('replace-rotator', 'rotator-1', '--stolen')
    expect(code).toBe(0)
    expect(stderr).toContain(
      'agents from which the broker keeps this plan are stale within 90 s once 2 of the other services have taken it up',
    )
    const { plan: made, kept } = await newestPlan(running.realm)
    expect(made.rotators).not.toContain(stolen)
    expect(made.former?.rotators).toContain(stolen)
    expect(kept.list).toHaveLength(1)
    expect((await findAgent(running.realm, 'rotator-1'))?.revocation).toMatchObject({ reason: 'stolen' })
    expect((await plan('set', '--rotators', 'rotator-1')).stderr).toContain('rotator-1 is revoked')
  })

  test('of a stolen only one says until when a thief with the broker is believed', async () => {
    await startRealm({}, 'rotator')
    const { until: end } = await newest()
    const outcome = await plan('replace-rotator', 'rotator', '--stolen', ...soon)
    expect(outcome).toMatchObject({ code: 4, stdout: planPath(dir, 2) })
    expect(outcome.stderr).toContain(`they believe it until ${new Date(end).toISOString()}, when plan 1 ends`)
    expect(outcome.stderr).toContain('takes over no more than its own list')
    expect((await newest()).former).toBeUndefined()
    await rotators.begin('rotator-2')
    expect((await plan('publish')).code).toBe(0)
  })

  test('needs the others to count: a stolen one’s word is none', async () => {
    await startRealm({ count: 3, threshold: 2 }, 'rotator-1', 'rotator-2')
    const refused = await plan('replace-rotator', 'rotator-1', '--stolen', ...soon)
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toContain('1 of 2 needed act on plan 1 (rotator-2)')
    expect(await readFile(planPath(dir, 1), 'utf8')).not.toBe('')
    expect(await plans()).toEqual(['1.json'])
    // Nothing was made, and nobody revoked.
    expect((await findAgent(running.realm, 'rotator-1'))?.revocation).toBeUndefined()
  })

  test('names the services that there are', async () => {
    await startRealm({ count: 3, threshold: 2 })
    expect(await plan('replace-rotator', 'rotator')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/rotator is no rotation service of plan 1 .*\n.*it has: .*rotator-1/),
    })
  })
})
