import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { publishRevocation } from '../../../src/cli/realm/publish-revocation.ts'
import { signRevocation } from '../../../src/keys/revocations.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { TestRealm } from '../../support/realm.ts'
import { failure } from '../../support/until.ts'

/** The rotation service of these tests hears revocations, and does with them what the test says. */
describe('publishing a revocation to a rotation service that', () => {
  let realm: TestRealm
  let hand: HandRotator
  let statement: Uint8Array
  beforeEach(async () => {
    realm = await TestRealm.start({ rotation: false })
    hand = await HandRotator.start(realm)
    statement = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: realm.identity('mallory').publicKey,
      since: realm.clock.now(),
      until: realm.clock.now() + 3_600_000,
      reason: '',
    })
  })
  afterEach(() => realm.stop())

  const publish = async () =>
    publishRevocation(await realm.connection(), { trust: realm.trust, statement, timeoutMs: 700 })

  it('holds it, is confirmed', async () => {
    hand.revocations = [statement]
    await publish()
  })

  it('does not hold it, is not', async () => {
    expect(await failure(publish)).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
  })

  it('hands it out and does not name it, is not', async () => {
    hand.revocations = [statement]
    hand.namedRevocations = []
    expect(await failure(publish)).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
  })

  it('names it and does not hand it out, is not', async () => {
    hand.namedRevocations = [statement]
    expect(await failure(publish)).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
  })
})
