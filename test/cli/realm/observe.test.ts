import { rename } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import { fingerprint } from '../../../src/identity/fingerprint.ts'
import { loadIdentity } from '../../../src/identity/keyfiles/key-file.ts'
import { addAgent } from '../../../src/setup/agents.ts'
import { agentPaths, planPath } from '../../../src/setup/layout.ts'
import { newestPlan } from '../../../src/setup/plan-records.ts'
import { makeNextPlan } from '../../../src/setup/plans.ts'
import { RunningRealm } from '../../setup/running-realm.ts'
import { DailyRealm } from '../daily-realm.ts'
import { type Outcome, run } from '../run.ts'
import { UNPRINTABLE } from '../unprintable.ts'

let realm: DailyRealm
let orders: SecureConnection
let billing: SecureConnection
beforeAll(async () => {
  realm = await DailyRealm.start()
  await addAgent(realm.running.realm, { name: 'intern', pub: ['orders.>'], sub: ['orders.>'] })
  orders = await realm.join('orders')
  billing = await realm.join('billing')
})
afterAll(() => realm.stop())

async function keyOf(name: string): Promise<string> {
  return (await loadIdentity(`file:${agentPaths(realm.running.realm.dir, name).identity}`)).publicKey
}

/** The first cells of each line. */
function cells({ stdout }: Outcome, count: number): string[][] {
  return stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, count))
}

describe('subrosa keys', () => {
  const keys = async (...argv: readonly string[]): Promise<Outcome> =>
    realm.start('billing', ['keys', ...argv]).outcome

  it('shows each live instance, its epochs, and what it may do', async () => {
    const outcome = await keys()
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    const [header, first = [], second = [], ...others] = cells(outcome, 8)
    expect(header).toEqual([
      'AGENT',
      'INSTANCE',
      'EPOCHS',
      'AGE',
      'MAY PUBLISH',
      'MAY READ',
      'EXPIRES',
      'ROLES',
    ])
    expect([...first.slice(0, 3), ...first.slice(4, 6), first[7]]).toEqual([
      'billing',
      billing.instance,
      '1',
      'orders.>',
      'orders.> tools.>',
      '-',
    ])
    expect(second.slice(0, 2)).toEqual(['orders', orders.instance])
    expect(others).toEqual([])
  })

  it('announces nobody: asked twice, it shows the same, and audiences stay as they are', async () => {
    const before = orders.audience('orders.new')
    const instances = async () => {
      const { agents } = JSON.parse((await keys('--json')).stdout)
      return agents.map((agent: { instances: { instance: string }[] }) =>
        agent.instances.map(({ instance }) => instance),
      )
    }
    expect(await instances()).toEqual([[billing.instance], [orders.instance]])
    expect(await instances()).toEqual([[billing.instance], [orders.instance]])
    await orders.flush()
    expect(orders.audience('orders.new')).toEqual(before)
  })

  it('says everything as JSON, with fingerprints to compare', async () => {
    const shown = JSON.parse((await keys('--json')).stdout)
    expect(shown).toMatchObject({
      realm: realm.running.realm.key,
      plan: 1,
      rotators: [{ key: await keyOf('rotator'), condition: 'counts' }],
      epochs: [{ number: 1 }],
      revoked: [],
    })
    const identity = await keyOf('billing')
    expect(shown.agents[0]).toMatchObject({
      name: 'billing',
      identity,
      fingerprint: fingerprint(identity),
      instances: [
        {
          instance: billing.instance,
          epochs: [1],
          permissions: {
            pub: { allow: ['orders.>'], deny: [] },
            sub: { allow: ['orders.>', 'tools.>'], deny: [] },
          },
          maxInstances: 16,
        },
      ],
    })
    expect(shown.agents[0].instances[0].ageMs).toBeGreaterThanOrEqual(0)
  })

  it('shows one agent alone, and fails where nobody has its name', async () => {
    expect(cells(await keys('orders'), 1)).toEqual([['AGENT'], ['orders']])
    expect(await keys('audit')).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringContaining('nobody called audit has announced keys [ERR_EMPTY_AUDIENCE]'),
    })
  })

  it('says who would get a message, who may publish it, and why others would not get it', async () => {
    expect(cells(await keys('--subject', 'tools.search'), 5)).toEqual([
      ['AGENT', 'INSTANCE', 'GETS IT', 'MAY PUBLISH', 'WHY NOT'],
      ['billing', billing.instance, 'yes', 'no'],
      ['orders', orders.instance, 'no', 'yes', 'its token does not allow it to read this subject'],
    ])
    const { stdout } = await keys('--subject', 'orders.new', '--json')
    expect(JSON.parse(stdout).subject).toEqual({
      subject: 'orders.new',
      epoch: 1,
      recipients: [{ name: 'billing', instance: billing.instance }],
      publishers: expect.arrayContaining([
        { name: 'billing', instance: billing.instance },
        { name: 'orders', instance: orders.instance },
      ]),
      absent: [{ name: 'orders', why: 'its token does not allow it to read this subject' }],
    })
  })

  it('shows who is revoked, by name, and shows no control character of the reason', async () => {
    const intern = await realm.join('intern')
    const reason = 'left\u001b[2J\u009b the company'
    const revoking = realm.start('billing', ['agent', 'revoke', 'intern', '--reason', reason])
    expect(await revoking.outcome).toMatchObject({ code: 0 })
    const outcome = await keys()
    expect(outcome.stdout.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
    expect(outcome.stdout).toContain('left\\u001b[2J\\u009b the company')
    expect(cells(outcome, 1).map(String)).toEqual(['AGENT', 'billing', 'orders', '', 'REVOKED', 'intern'])
    expect(cells(outcome, 2).at(-1)).toEqual(['intern', await keyOf('intern')])
    const { agents, revoked } = JSON.parse((await keys('intern', '--json')).stdout)
    expect(agents).toEqual([])
    expect(revoked).toMatchObject([{ name: 'intern', reason, byAuthority: true }])
    await intern.close().catch(() => {})
  })

  it('does not show an agent that has gone', async () => {
    const audit = await realm.join('audit')
    expect((await keys('audit')).code).toBe(0)
    await audit.close()
    expect((await keys('audit')).code).toBe(3)
  })

  it('refuses a key that is none, a pattern for a subject, and what is no name', async () => {
    expect((await keys('--authority', 'ABBA'.repeat(14))).stderr).toContain('ERR_KEY_INVALID')
    expect(await keys('--subject', 'orders.*')).toMatchObject({ code: 2 })
    expect(await keys('a.b')).toMatchObject({ code: 2 })
  })
})

describe('subrosa rotate status', () => {
  const status = async (...argv: readonly string[]): Promise<Outcome> =>
    realm.start('billing', ['rotate', 'status', ...argv]).outcome

  it('shows the plan, the epoch, who has keys for it, and how each rotation service is', async () => {
    const { code, stdout, stderr } = await status('--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const shown = JSON.parse(stdout)
    expect(shown).toMatchObject({
      plan: {
        realm: realm.running.realm.key,
        version: 1,
        threshold: 1,
        isOver: false,
        isEnding: false,
        epoch: { number: 1, graceMs: 300_000, leadMs: 300_000, suites: [1] },
      },
      services: [
        { name: 'rotator', key: await keyOf('rotator'), condition: 'counts', planVersion: 1, standing: 1 },
      ],
      counting: 1,
      instances: 2,
      announced: 2,
      revocations: 1,
    })
    const { since, until, next, nextInMs } = shown.plan.epoch
    expect(Date.parse(until) - Date.parse(since)).toBe(3_600_000)
    expect(Date.parse(until) - Date.parse(next)).toBe(300_000)
    expect(nextInMs).toBeLessThanOrEqual(3_300_000)
    expect(Math.abs(shown.services[0].clockAheadMs)).toBeLessThan(10_000)
  })

  it('shows it to people, a line each', async () => {
    const { code, stdout } = await status()
    expect(code).toBe(0)
    expect(stdout).toMatch(/^plan +1 {2}[0-9a-f]{16}$/m)
    expect(stdout).toMatch(/^epoch +1 {2}[0-9a-f]{16}$/m)
    expect(stdout).toMatch(/^ {2}next +\S+Z \(in \d+m(\d+s)?\)$/m)
    expect(stdout).toMatch(/^services +1 of 1 count, and it takes 1$/m)
    expect(stdout).toMatch(/^ {2}rotator +counts; its clock is (as here|\d+m?s (ahead|behind))$/m)
    expect(stdout).toMatch(/^announced +keys for epoch 1 by 2 of 2 live instances$/m)
  })

  it('says that the folder has a plan on which nobody acts, and one that is older', async () => {
    const { dir } = realm.running.realm
    await makeNextPlan(realm.running.realm, {}, { former: await newestPlan(realm.running.realm) })
    expect((await status()).stderr).toContain(
      `warning: ${dir} has plan 2, and no rotation service acts on it yet: subrosa plan publish`,
    )
    expect((await run('plan', 'publish', '--realm', dir)).code).toBe(0)
    const path = planPath(dir, 2)
    await rename(path, `${path}.away`)
    expect((await status()).stderr).toContain(
      `warning: ${dir} has plan 1, which is older than the plan in force`,
    )
    await rename(`${path}.away`, path)
    expect((await status()).stderr).toBe('')
  })

  it('fails without a rotation service', async () => {
    const silent = await RunningRealm.create()
    try {
      await addAgent(silent.realm, { name: 'billing' })
      await silent.startServer()
      const argv = ['--realm', silent.realm.dir, '--as', 'billing', '--timeout', '300ms']
      expect(await run('rotate', 'status', ...argv)).toMatchObject({
        code: 4,
        stdout: '',
        stderr: expect.stringMatching(
          /no rotation service has answered with a plan .*\[ERR_NO_ROTATION_SERVICE\]\n.+hint/,
        ),
      })
    } finally {
      await silent.stop()
    }
  })

  it('shows which of several does not answer, and fails only where too few do', async () => {
    const several = await RunningRealm.create({ count: 3, threshold: 2 })
    try {
      await addAgent(several.realm, { name: 'billing' })
      await several.startServer()
      await several.startService('rotator-1')
      const argv = ['--realm', several.realm.dir, '--as', 'billing', '--timeout', '6s']
      const few = await run('rotate', 'status', ...argv)
      expect(few.code).toBe(4)
      expect(few.stdout).toMatch(/^services +1 of 3 count, and it takes 2$/m)
      expect(few.stdout).toMatch(/^ {2}rotator-2 +does not answer$/m)
      expect(few.stderr).toContain(
        '1 of 3 rotation services count, and it takes 2: agents are stale within 90 s',
      )
      await several.startService('rotator-2')
      const enough = await run('rotate', 'status', ...argv)
      expect(enough).toMatchObject({ code: 0, stderr: '' })
      expect(enough.stdout).toMatch(/^ {2}rotator-3 +does not answer$/m)
    } finally {
      await several.stop()
    }
  })

  it('warns in the last quarter of a plan, and says that short epochs are for demonstrations', async () => {
    const made = Date.now() - 305 * 86_400_000
    const clock = { now: () => made, monotonic: () => 0, after: () => () => {} }
    const old = await RunningRealm.create({ clock, times: { periodMs: 60_000, leadMs: 2000 } })
    try {
      await addAgent(old.realm, { name: 'billing' })
      await old.startServer()
      await old.startService()
      const { code, stderr } = await run('rotate', 'status', '--realm', old.realm.dir, '--as', 'billing')
      expect(code).toBe(0)
      expect(stderr).toContain('warning: plan 1 ends in 94d23h, and every agent with it: subrosa plan renew')
      expect(stderr).toContain('a lead below a minute is for demonstrations')
    } finally {
      await old.stop()
    }
  })
})
