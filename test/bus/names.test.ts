import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { openStateFolder } from '../../src/keys/state-folder.ts'
import { newIdentity } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

const HOUR = 3_600_000

let realm: TestRealm
let folder: string
beforeEach(async () => {
  realm = await TestRealm.start()
  folder = mkdtempSync(join(tmpdir(), 'subrosa-names-'))
})
afterEach(async () => {
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** One who remembers, and what has come to it. */
async function bob(): Promise<{ readonly bus: SecureConnection; readonly got: string[] }> {
  const bus = await realm.agent('bob', {}, { state: folder })
  const got: string[] = []
  bus.subscribe('orders.new', { callback: (_error, m) => got.push(`${m.sender.instance} ${m.string()}`) })
  await bus.flush()
  return { bus, got }
}

const namesOf = (bus: SecureConnection): readonly string[] =>
  bus.audience('orders.new').map(({ name }) => name)

/** Whether an agent of this identity, which joins and says something, is heard; it leaves then. */
async function isHeard(
  identity: Identity,
  { bus, got }: { readonly bus: SecureConnection; readonly got: string[] },
): Promise<boolean> {
  const agent = await realm.agent(identity)
  await agent.waitForAudience('orders.new')
  const before = [got.length, bus.stats().rejected]
  // A session would be judged twice: its handshake, and its frame.
  agent.publish('orders.new', 'hello', { mode: 'message' })
  await until('it is judged', () => got.length > (before[0] ?? 0) || bus.stats().rejected > (before[1] ?? 0))
  const isKnown = namesOf(bus).includes('billing')
  const wasHeard = got.length > (before[0] ?? 0)
  expect(isKnown).toBe(wasHeard)
  if (wasHeard) expect(got.at(-1)).toBe(`${agent.instance} hello`)
  await agent.close()
  return wasHeard
}

async function revoke({ publicKey: identity }: Identity): Promise<void> {
  const broker = await realm.connection()
  const now = Date.now()
  const revocation = {
    realm: realm.authority.publicKey,
    identity,
    since: now,
    until: now + HOUR,
    reason: '',
    past: 0,
  } as const
  broker.publish(`${realm.root}.revoke`, signRevocation(realm.authority, revocation))
  await broker.flush()
}

describe('a name that an authority has issued twice', () => {
  it('stays with the first identity over its absence and its renewal, until that one is revoked', async () => {
    const issuedAtMs = Date.now() - 3 * HOUR
    const { identity: first, seed } = newIdentity(realm.authority, 'billing', { issuedAtMs })
    const second = realm.identity('billing', { issuedAtMs: issuedAtMs + HOUR })
    const reader = await bob()
    const events = collectStatus(reader.bus)
    expect(await isHeard(first, reader)).toBe(true)
    expect(await isHeard(second, reader)).toBe(false)
    const since = Math.floor(issuedAtMs / 1000)
    const renewed = newIdentity(realm.authority, 'billing', { issuedAtMs: Date.now() - HOUR, since, seed })
    expect(await isHeard(renewed.identity, reader)).toBe(true)
    expect(await isHeard(second, reader)).toBe(false)
    await revoke(first)
    await until('it is revoked', () => events.some(({ type }) => type === 'revoked'))
    expect(await isHeard(second, reader)).toBe(true)
    expect(events.filter(({ type }) => type === 'nameMoved')).toEqual([
      { type: 'nameMoved', name: 'billing', from: first.publicKey, to: second.publicKey, why: 'revoked' },
    ])
  })

  it('stays with the first identity for an agent that was started again, which holds nothing of that one', async () => {
    const first = realm.identity('billing', { issuedAtMs: Date.now() - 3 * HOUR })
    const second = realm.identity('billing', { issuedAtMs: Date.now() - 2 * HOUR })
    const place = { root: folder, realm: realm.authority.publicKey, agent: 'bob' }
    const since = Math.floor(Date.now() / 1000) - 3 * 3600
    const state = openStateFolder(place)
    const seen = { since, issuedAt: since, isRotator: false, isOver: false, former: [] }
    const owner = { identity: first.publicKey, ...seen }
    state.keepOwners(new Map([['billing', owner]]))
    state.close()
    const reader = await bob()
    expect(await isHeard(second, reader)).toBe(false)
    expect(reader.bus.rejections()).toEqual({ revoked: 1 })
    expect(await isHeard(first, reader)).toBe(true)
  })

  it('is remembered by an agent that ends', async () => {
    const first = realm.identity('billing', { issuedAtMs: Date.now() - 3 * HOUR })
    const reader = await bob()
    expect(await isHeard(first, reader)).toBe(true)
    await reader.bus.close()
    const state = openStateFolder({ root: folder, realm: realm.authority.publicKey, agent: 'bob' })
    expect(state.owners.get('billing')).toMatchObject({ identity: first.publicKey, isOver: false })
    state.close()
  })
})
