import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, describe, expect, test } from 'vitest'
import { type OrderRotationOptions, orderRotation } from '../../../src/cli/realm/order-rotation.ts'
import { addAgent } from '../../../src/setup/agents.ts'
import { RunningRealm } from '../../setup/running-realm.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { newAuthority } from '../../support/identities.ts'
import { TestRealm } from '../../support/realm.ts'
import { World } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'
import { hasLogged } from '../log-lines.ts'
import { type RunningCommand, run, start } from '../run.ts'

const TIMEOUT_MS = 700

describe('subrosa rotate now', () => {
  let running: RunningRealm
  let rotator: RunningCommand | undefined
  afterEach(async () => {
    rotator?.interrupt()
    await rotator?.outcome
    rotator = undefined
    await running.stop()
  })

  async function startRealm(): Promise<string> {
    running = await RunningRealm.create()
    await running.startServer()
    return running.realm.dir
  }

  test('has the next epoch begin, and prints its number', async () => {
    const dir = await startRealm()
    const command = start(['rotator', '--realm', dir])
    rotator = command
    await until('it runs', () => command.said.some((line) => line.includes('runs on')))
    const first = await run('rotate', 'now', '--realm', dir)
    expect(first).toMatchObject({ code: 0, stdout: '2' })
    expect(first.stderr).toContain('subrosa: epoch 2 has begun')
    const second = await run('rotate', 'now', '--realm', dir, '--json')
    expect({ code: second.code, data: JSON.parse(second.stdout) }).toEqual({ code: 0, data: { epoch: 3 } })
    expect([1, 2, 3, 4].map((number) => hasLogged(command.said, 'epoch', { epoch: number }))).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  test('says so where no broker is, and where the folder is none', async () => {
    const dir = await startRealm()
    await running.stopServer()
    expect(await run('rotate', 'now', '--realm', dir)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('nothing listens there'),
    })
    expect(await run('rotate', 'now', '--realm', `${dir}/nothing`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no realm in'),
    })
  })
})

describe('orderRotation', () => {
  let realm: TestRealm
  afterEach(() => realm.stop())

  async function order(options: Partial<OrderRotationOptions> = {}): Promise<number> {
    const nc: NatsConnection = await realm.connection()
    const { authority: signer, trust } = realm
    return orderRotation(nc, { signer, trust, timeoutMs: TIMEOUT_MS, ...options })
  }

  test('does not resolve without a rotation service', async () => {
    realm = await TestRealm.start({ rotation: false })
    expect((await failure(() => order())).code).toBe('ERR_NO_ROTATION_SERVICE')
  })

  test('does not resolve while the rotation service stays where it is', async () => {
    realm = await TestRealm.start({ rotation: false })
    await HandRotator.start(realm)
    const orders = await realm.tap(`${realm.root}.rotate`)
    const error = await failure(() => order())
    expect(error).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
    expect(error.message).toContain('did not go on from epoch 1')
    expect(orders.length).toBeGreaterThan(1)
  })

  test('resolves with whatever epoch is newer, whoever began it', async () => {
    realm = await TestRealm.start({ rotation: false })
    const hand = await HandRotator.start(realm)
    const ordered = order({ timeoutMs: 5000 })
    const orders = await realm.tap(`${realm.root}.rotate`)
    await until('it is ordered', () => orders.length > 0)
    for (let i = 0; i < 2; i++)
      hand.publishEpoch(hand.world.epoch(hand.epochs.at(-1), { notBefore: realm.clock.now() }))
    expect(await ordered).toBe(3)
  })

  test('is not followed when somebody else has signed it', async () => {
    realm = await TestRealm.start()
    const error = await failure(() => order({ signer: newAuthority() }))
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    expect(realm.service?.epoch).toBe(1)
  })

  test('believes no rotation service that is known to be revoked', async () => {
    realm = await TestRealm.start()
    const revocations = [new World({ like: realm }).revocation(realm.rotator, { since: Date.now() })]
    expect((await failure(() => order({ revocations }))).code).toBe('ERR_REVOKED')
  })
})
