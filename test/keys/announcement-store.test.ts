import { beforeEach, describe, expect, it } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { MAX_FAILED_VERIFICATIONS_PER_SECOND } from '../../src/limits.ts'
import { decodeSignedAnnouncement, encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { newIdentity } from '../support/identities.ts'
import { HOUR, junkAnnouncement, T0, World } from '../support/statements.ts'

describe('announcements as they arrive', () => {
  let world: World
  let epoch: AcceptedEpoch
  let alice: Identity

  beforeEach(() => {
    world = new World()
    epoch = world.accept(world.epoch(undefined))
    alice = world.identity('alice')
  })

  it('are not shadowed by a copy with a bad signature that comes first', () => {
    const genuine = world.announcement(alice, epoch)
    const signed = decodeSignedAnnouncement(genuine.bytes)
    const copy = encodeSignedAnnouncement({ ...signed, signature: new Uint8Array(64).fill(1) })
    world.directory.add(copy, T0)
    expect(world.directory.add(genuine.bytes, T0)).toBeDefined()
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
    world.directory.add(copy, T0)
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
  })

  it('are proved also while false tokens in the name of the authority pour in', () => {
    const genuine = world.announcement(alice, epoch)
    world.directory.add(genuine.bytes, T0)
    const late = world.identity('late')
    for (let i = 0; i < MAX_FAILED_VERIFICATIONS_PER_SECOND + 100; i++) {
      const invented = newIdentity(falseAuthority(world.realm), `false-${i}`, {
        issuedAtMs: T0 - HOUR,
        realm: world.realm,
      }).identity
      world.directory.add(junkAnnouncement(invented, epoch), T0)
    }
    expect(world.directory.sender(genuine.hash, T0).standing).toBe('known')
    // A token that is new waits for the next second; those that are known do not.
    const first = world.announcement(late, epoch)
    expect(world.directory.add(first.bytes, T0)).toBeUndefined()
    expect(world.directory.add(first.bytes, T0 + 1000)).toBeDefined()
  })
})

/** Says that it is the authority, and signs with nothing. */
function falseAuthority(publicKey: string) {
  return { publicKey, sign: () => new Uint8Array(64) }
}
