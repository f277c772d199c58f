import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { generateIdentityKey } from '../../src/identity/identity.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { engine, newAuthority, newIdentity } from '../support/identities.ts'
import { PinnedRealm, selfSigned } from '../support/pinned.ts'
import { collectStatus } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

const rotator = selfSigned('rotator')
const realmKey = rotator.publicKey
const seeds = { alice: generateIdentityKey(engine).seed, mallory: generateIdentityKey(engine).seed }
const aliceId = selfSigned('alice', { realm: realmKey, seed: new Uint8Array(seeds.alice) })
const bobId = selfSigned('bob', { realm: realmKey })
const carolId = selfSigned('carol', { realm: realmKey })
const everyone = { alice: aliceId.publicKey, bob: bobId.publicKey, carol: carolId.publicKey }

describe('agents that trust by pins', () => {
  let realm: PinnedRealm
  let alice: SecureConnection
  let bob: SecureConnection

  beforeAll(async () => {
    realm = await PinnedRealm.start(rotator, everyone)
    alice = await realm.agent(aliceId, everyone)
    bob = await realm.agent(bobId, everyone)
    await alice.waitForAudience('orders.new')
  })
  afterAll(() => realm.stop())

  it('exchange messages, requests and responses without an authority', async () => {
    const got: SecureMessage[] = []
    const sub = bob.subscribe('orders.>', {
      callback: (_error, m) => {
        got.push(m)
        m.respond(`${m.sender.name} said ${m.string()}`)
      },
    })
    await bob.flush()
    alice.publish('orders.new', 'hello', { to: ['bob'] })
    await until('bob has it', () => got.length === 1)
    expect(got[0]?.sender.name).toBe('alice')
    const reply = await alice.request('orders.ask', 'a question', { to: ['bob'] })
    expect(reply.string()).toBe('alice said a question')
    expect(reply.sender.name).toBe('bob')
    expect(alice.realm).toBe(realmKey)
    sub.unsubscribe()
  })

  it('must name the recipients of every publish and of every request', async () => {
    const published = await failure(() => alice.publish('orders.new', 'for whom?'))
    expect(published.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    expect(published.hint).toContain('to: [')
    expect((await failure(() => alice.request('orders.new', 'for whom?'))).code).toBe(
      'ERR_RECIPIENT_NOT_ALLOWED',
    )
    const many = await failure(() => alice.requestMany('orders.new', 'for whom?'))
    expect(many.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
  })

  it('say that a recipient is not pinned', async () => {
    const error = await failure(() => alice.publish('orders.new', 'x', { to: ['dave'] }))
    expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    expect(error.hint).toContain('subrosa pin dave')
  })

  it('seal nothing to a key that is not the pinned one, and show both fingerprints', async () => {
    const impostor = selfSigned('carol', { realm: realmKey })
    const gullible = { carol: impostor.publicKey }
    await realm.agent(impostor, gullible)
    const toCarol = (): string => {
      try {
        alice.publish('orders.new', 'x', { to: ['carol'] })
      } catch (error) {
        return error instanceof SubrosaError ? `${error.hint}` : ''
      }
      return ''
    }
    await until('alice has seen it', () => toCarol().includes(fingerprint(impostor.publicKey)))
    const error = await failure(() => alice.publish('orders.new', 'x', { to: ['carol'] }))
    expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    expect(error.hint).toContain(fingerprint(carolId.publicKey))
    expect(error.hint).toContain(fingerprint(impostor.publicKey))
  })

  it('open nothing from a sender whose key they have not pinned', async () => {
    const stranger = selfSigned('mallory', { realm: realmKey, seed: new Uint8Array(seeds.mallory) })
    const mallory = await realm.agent(stranger, { ...everyone, mallory: stranger.publicKey })
    await mallory.waitForAudience('orders.new', { atLeast: 2 })
    const got: string[] = []
    bob.subscribe('orders.strange', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    mallory.publish('orders.strange', 'let me in', { to: ['bob'] })
    await until('bob has rejected it', () => (bob.rejections()['unknown sender'] ?? 0) > 0)
    expect(got).toEqual([])
  })

  it('are refused by whoever has pinned another key for them: their own pins too', async () => {
    const error = await failure(() => realm.agent(aliceId, { alice: bobId.publicKey }))
    expect(error.code).toBe('ERR_PIN_MISMATCH')
    expect(error.message).toContain(fingerprint(aliceId.publicKey))
    expect(error.message).toContain(fingerprint(bobId.publicKey))
  })

  it('take permissions from the pins alone: a publish that they do not allow is not opened', async () => {
    const strict = { ...everyone, alice: { key: aliceId.publicKey, pub: { allow: ['orders.new'] } } }
    const carol = await realm.agent(carolId, strict)
    // The impostor above has her name at alice's too: only the pinned key counts.
    await until('alice can reach carol', () =>
      alice.audience('orders.secret').some(({ instance }) => instance === carol.instance),
    )
    const got: string[] = []
    carol.subscribe('orders.>', { callback: (_error, m) => got.push(m.string()) })
    await carol.flush()
    alice.publish('orders.secret', 'not allowed', { to: ['carol'] })
    alice.publish('orders.new', 'allowed', { to: ['carol'] })
    await until('carol has the allowed one', () => got.length === 1)
    expect(got).toEqual(['allowed'])
    expect(carol.rejections()['not permitted']).toBe(1)
    // And she seals nothing to alice, who may read nothing.
    const error = await failure(() => carol.publish('orders.new', 'x', { to: ['alice'] }))
    expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
  })

  it('do not follow a rotation service whose key is not the realm', async () => {
    const usurper = selfSigned('rotator', { realm: realmKey })
    const events: unknown[] = []
    const error = await failure(async () =>
      startRotationService(await realm.connection(), {
        identity: usurper,
        trust: { realm: realmKey, pins: { ...everyone, rotator: usurper.publicKey } },
        store: memoryRotationStore(),
        onEvent: (event) => events.push(event),
      }),
    )
    expect(error.code).toBe('ERR_PLAN_INVALID')
    expect(events).toEqual([])
  })

  it('refuse an identity of an authority, and an authority refuses theirs', async () => {
    const authority = newAuthority()
    const { identity } = newIdentity(authority, 'alice', { issuedAtMs: Date.now() - 1000 })
    expect((await failure(() => realm.agent(identity, {}))).code).toBe('ERR_TOKEN_INVALID')
    const { secure } = await import('../../src/bus/secure.ts')
    const error = await failure(async () =>
      secure(await realm.connection(), {
        identity: aliceId,
        trust: { authority: [authority.publicKey] },
        state: 'memory',
      }),
    )
    expect(error.code).toBe('ERR_UNKNOWN_AUTHORITY')
  })

  it('drop a key that the realm revokes, however new the token that it signs for itself', async () => {
    const { seed } = generateIdentityKey(engine)
    const daveId = selfSigned('dave', { realm: realmKey, seed: new Uint8Array(seed) })
    const pins = { ...everyone, dave: daveId.publicKey }
    const watcher = await realm.agent(carolId, pins)
    const events = collectStatus(watcher)
    const since = Date.now()
    const statement = signRevocation(
      rotator,
      {
        realm: realmKey,
        identity: daveId.publicKey,
        since,
        until: since + 86_400_000,
        reason: 'lost',
        past: 0,
      },
      rotator.token,
    )
    const nc = await realm.connection()
    nc.publish(`subrosa.v1.${realmKey}.revoke`, statement)
    await nc.flush()
    await until('it is known', () => events.some(({ type }) => type === 'revoked'))
    const later = selfSigned('dave', { realm: realmKey, seed, issuedAtMs: since + 30_000 })
    expect(later.publicKey).toBe(daveId.publicKey)
    expect(later.claims.issuedAt * 1000).toBeGreaterThan(since)
    expect((await failure(() => realm.agent(later, pins))).code).toBe('ERR_REVOKED')
  })

  it('believe no revocation that another identity signs, though it says that it may', async () => {
    const since = Date.now()
    const revocation = {
      realm: realmKey,
      identity: bobId.publicKey,
      since,
      until: since + 86_400_000,
      reason: 'forged',
      past: 0,
    } as const
    const nc = await realm.connection()
    nc.publish(`subrosa.v1.${realmKey}.revoke`, signRevocation(aliceId, revocation, aliceId.token))
    nc.publish(`subrosa.v1.${realmKey}.revoke`, signRevocation(rotator, revocation))
    await nc.flush()
    bob.subscribe('orders.still', { callback: (_error, m) => m.respond('here') })
    await bob.flush()
    expect((await alice.request('orders.still', '', { to: ['bob'] })).string()).toBe('here')
  })
})
