import type { NatsConnection } from '@nats-io/transport-node'
import { SubrosaError } from '../../base/errors.ts'
import { silentLog } from '../../base/logger.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import { secure } from '../../bus/secure.ts'
import { engineFor } from '../../crypto/engine.ts'
import { encodeIdentityFile, generateIdentityKey, parseIdentityFile } from '../../identity/identity.ts'
import { generateSigningKey } from '../../identity/signing-key.ts'
import { issueToken } from '../../identity/token.ts'
import { revokeAgent } from '../../setup/agents.ts'
import { check, DemoFailure, expectRejected, until } from './checks.ts'
import { LyingBroker } from './lying-broker.ts'
import type { Screen } from './screen.ts'
import type { Cast } from './steps.ts'
import { type DemoWorld, isContent, tap } from './world.ts'

const HOUR_MS = 3_600_000

/** What a hostile broker, a stranger and a revoked agent try, and why none of it works. */
export async function attack(screen: Screen, world: DemoWorld, cast: Cast): Promise<void> {
  screen.step('What is turned away, and why')
  const { orders, billing, broker } = cast
  const seen = await tap(broker, 'orders.new')
  orders.publish('orders.new', 'pay 99.50')
  await until('the broker has the message', () => seen.some(isContent))
  const genuine = seen.find(isContent)?.data ?? new Uint8Array(0)
  let delivered = 0
  billing.subscribe('orders.>', { callback: () => delivered++ })
  await billing.flush()
  const attempt = { victim: billing, delivered: () => delivered }

  await expectRejected(screen, {
    ...attempt,
    name: 'an altered message',
    reason: 'ciphertext',
    run: () => broker.publish('orders.new', flipLastBit(genuine)),
  })
  await expectRejected(screen, {
    ...attempt,
    name: 'a message moved to another subject',
    reason: 'subject',
    run: () => broker.publish('orders.refund', genuine),
  })
  broker.publish('orders.new', genuine)
  await until('the message arrives as it was', () => delivered === 1)
  await expectRejected(screen, {
    ...attempt,
    name: 'a replayed message',
    reason: 'replay',
    run: () => broker.publish('orders.new', genuine),
  })
  await expectRejected(screen, {
    ...attempt,
    name: 'an impostor that calls itself orders',
    reason: 'unknown sender',
    run: () => impersonate(world, broker),
  })
  await misroute(screen, world, cast)
  await revoke(screen, world, cast)
}

/** The broker hands a harmless message to the handler of another subject: it writes another subscription id on it. */
async function misroute(screen: Screen, world: DemoWorld, { orders }: Cast): Promise<void> {
  await world.register('payments', { pub: [], sub: ['orders.>', 'payments.>'] })
  const lying = await LyingBroker.start(world.realm)
  try {
    const payments = await world.join('payments', lying.address)
    let approved = 0
    payments.subscribe('payments.approve', { callback: () => approved++ })
    payments.subscribe('orders.new', { callback: () => {} })
    await payments.flush()
    await until('orders knows payments', () =>
      orders.audience('orders.new').some(({ name }) => name === 'payments'),
    )
    lying.reroute('orders.new', 'payments.approve')
    await expectRejected(screen, {
      victim: payments,
      delivered: () => approved,
      name: 'an order that the broker hands to the handler of payments.approve',
      reason: 'misrouted',
      run: () => orders.publish('orders.new', 'pay 1000.00', { to: ['payments'] }),
    })
    await payments.close()
  } finally {
    lying.close()
  }
}

function flipLastBit(bytes: Uint8Array): Uint8Array {
  const altered = new Uint8Array(bytes)
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1
  return altered
}

/** It has a login to the broker, its own keys, and a token in the name `orders` from an authority that nobody trusts. */
async function impersonate(world: DemoWorld, connection: NatsConnection): Promise<void> {
  const engine = engineFor()
  const { key: stranger } = generateSigningKey(engine, 'A')
  const { seed, publicKey } = generateIdentityKey(engine)
  const everything = { allow: ['>'], deny: [] }
  const token = issueToken(
    engine,
    {
      realm: world.realm.key,
      name: 'orders',
      identity: publicKey,
      permissions: { pub: everything, sub: everything },
      expiresAtMs: Date.now() + HOUR_MS,
    },
    { signer: stranger, issuedAtMs: Date.now() - HOUR_MS },
  )
  const impostor = await secure(connection, {
    identity: parseIdentityFile(engine, encodeIdentityFile(token, seed)),
    trust: { authority: [...world.realm.authority, stranger.publicKey] },
    state: 'memory',
    log: silentLog,
  })
  impostor.publish('orders.new', 'pay 0.01', { to: ['billing'] })
  await impostor.close()
}

/** The authority revokes an agent, whose last message the broker has kept back until then. */
async function revoke(screen: Screen, world: DemoWorld, cast: Cast): Promise<void> {
  const { orders, audit, broker } = cast
  await world.register('intern', { pub: ['orders.>'], sub: ['orders.>'] })
  const intern = await world.join('intern')
  await until('orders knows the intern', () => isInAudience(orders))
  await intern.waitForAudience('orders.held', { atLeast: 2 })
  const held = await tap(broker, 'orders.held')
  intern.publish('orders.held', 'pay the intern')
  await until('the broker has it', () => held.some(isContent))
  let delivered = 0
  audit.subscribe('orders.held', { callback: () => delivered++ })
  await audit.flush()

  const { statement } = await revokeAgent(world.realm, { name: 'intern', reason: 'left the company' })
  broker.publish(`subrosa.v1.${world.realm.key}.revoke`, statement)
  await until('the revocation has arrived', () => !isInAudience(orders) && !isInAudience(audit))
  await expectRejected(screen, {
    victim: audit,
    delivered: () => delivered,
    name: 'a message that a revoked agent sealed before',
    reason: 'revoked',
    run: () => broker.publish('orders.held', held.find(isContent)?.data ?? new Uint8Array(0)),
  })
  check(screen, isStopped(intern), 'the revoked agent: its own library stops', 'ERR_REVOKED')
  check(screen, !isInAudience(orders), 'the revoked agent: nothing is sealed to it any more')
}

function isInAudience(bus: SecureConnection): boolean {
  return bus.audience('orders.held').some(({ name }) => name === 'intern')
}

function isStopped(bus: SecureConnection): boolean {
  try {
    bus.publish('orders.new', 'x')
    throw new DemoFailure('a revoked agent could still publish')
  } catch (error) {
    return error instanceof SubrosaError && error.code === 'ERR_REVOKED'
  }
}
