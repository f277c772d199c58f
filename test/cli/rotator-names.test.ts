import { rm } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { rotatorKeys } from '../../src/cli/realm/plan-rotators.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { newestPlan } from '../../src/setup/plan-records.ts'
import { listRevocations } from '../../src/setup/revocation-records.ts'
import { revokeAgent } from '../../src/setup/revocations.ts'
import { addRotator } from '../../src/setup/rotators.ts'
import { RunningRealm } from '../setup/running-realm.ts'
import { run, terminalThat } from './run.ts'

let running: RunningRealm
afterEach(() => running.stop())

const keyOf = async (name: string) => (await findAgent(running.realm, name))?.claims.identity ?? ''
const revocations = () => listRevocations(running.realm, Date.now())
const keysOf = (...names: readonly string[]) =>
  rotatorKeys(terminalThat({}), running.realm, names).catch((error: unknown) => error)

describe('a rotation service of the newest plan', () => {
  test('loses its name to no other identity', async () => {
    running = await RunningRealm.create({ count: 3, threshold: 2 })
    const { dir } = running.realm
    const key = await keyOf('rotator-2')
    const add = await run('agent', 'add', 'rotator-2', '--succeed', '--realm', dir)
    expect(await revocations()).toEqual([])
    expect(add).toMatchObject({ code: 1, stdout: '' })
    expect(add.stderr).toContain('rotator-2 is a rotation service of plan 1')
    expect(add.stderr).toContain('subrosa plan replace-rotator rotator-2 --stolen')
    expect(await keyOf('rotator-2')).toBe(key)
  })

  test('is replaced by its key where its name has gone to another identity', async () => {
    running = await RunningRealm.create({ count: 3, threshold: 2 })
    const { realm } = running
    const key = await keyOf('rotator-2')
    await revokeAgent(realm, { name: 'rotator-2' })
    await addAgent(realm, { name: 'rotator-2' })
    const asked = ['plan', 'replace-rotator', key, '--stolen', '--lost', '--realm', realm.dir]
    const { stderr } = await run(...asked)
    expect(stderr).toContain('plan 2')
    const { plan } = await newestPlan(realm)
    expect(plan.version).toBe(2)
    expect(plan.rotators).not.toContain(key)
    expect(await revocations()).toMatchObject([{ identity: key }])
  })
})

describe('a rotation service that a plan is to name', () => {
  test('is none whose identity and login are gone', async () => {
    running = await RunningRealm.create({ count: 1 })
    await addRotator(running.realm, 'rotator-2')
    const { identity, creds } = agentPaths(running.realm.dir, 'rotator-2')
    await rm(identity)
    await rm(creds)
    expect(await keysOf('rotator', 'rotator-2')).toMatchObject({
      code: 'ERR_SETUP',
      message: `neither ${identity} nor ${creds} is there: rotator-2 could not start`,
    })
  })

  test('may have its files on its host alone once a plan names it', async () => {
    running = await RunningRealm.create({ count: 1 })
    const { identity, creds } = agentPaths(running.realm.dir, 'rotator')
    await rm(identity)
    await rm(creds)
    expect(await keysOf('rotator')).toEqual([await keyOf('rotator')])
  })
})
