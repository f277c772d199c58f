import { describe, expect, it } from 'vitest'
import { fromHex, hex, utf8 } from '../../src/base/bytes.ts'
import { generateSigningKey } from '../../src/identity/signing-key.ts'
import { OBSERVER_NAME } from '../../src/identity/token.ts'
import { askerOf, isAnnouncedOn, protocolSubjects, rid } from '../../src/keys/subjects.ts'
import { engines } from '../crypto/vectors.ts'
import { engine, newAuthority } from '../support/identities.ts'

const realm = newAuthority().publicKey
const subjects = protocolSubjects(engine, realm)
const instance = fromHex('0123456789abcdef')
const root = `subrosa.v1.${realm}`

describe('the subjects of a realm', () => {
  it('all stand below its root', () => {
    expect(subjects).toMatchObject({
      root,
      epoch: `${root}.epoch`,
      tick: `${root}.tick`,
      revoke: `${root}.revoke`,
      plan: `${root}.plan`,
      rotate: `${root}.rotate`,
      announcements: `${root}.announce.*.*`,
      pings: `${root}.ping.*.*`,
    })
    expect(subjects.announce('alice', instance)).toBe(`${root}.announce.alice.0123456789abcdef`)
    const box = engine.sha256(Uint8Array.of(...utf8('alice'), 0, ...instance)).subarray(0, 8)
    expect(subjects.inbox('alice', instance)).toBe(`${root}.inbox.${hex(box)}`)
    expect(subjects.inbox('bob', instance)).not.toBe(subjects.inbox('alice', instance))
    expect(subjects.ping('alice', instance)).toBe(`${root}.ping.alice.0123456789abcdef`)
    expect(subjects.query('aabb', 'alice', instance)).toBe(`${root}.query.aabb.alice.0123456789abcdef`)
    expect(subjects.queriesTo('aabb')).toBe(`${root}.query.aabb.*.*`)
    expect(protocolSubjects(engine, realm, 'acme.sub').root).toBe(`acme.sub.${realm}`)
  })

  it('are not made below what is no subject', () => {
    for (const prefix of ['', 'a.*', 'a..b', '>', 'a b'])
      expect(() => protocolSubjects(engine, realm, prefix)).toThrow(TypeError)
  })

  it('of announcements end with the name and the instance', () => {
    const announced = { agent: 'alice', instance }
    expect(isAnnouncedOn(subjects.announce('alice', instance), announced)).toBe(true)
    expect(isAnnouncedOn(subjects.announce('malice', instance), announced)).toBe(false)
    expect(isAnnouncedOn(subjects.announce('alice', engine.randomBytes(8)), announced)).toBe(false)
  })

  it.each(engines)('name a rotation service by sixteen digits of the hash of its key, on $name', (by) => {
    const { publicKey } = generateSigningKey(by, 'U').key
    expect(rid(by, publicKey)).toMatch(/^[0-9a-f]{16}$/)
    expect(rid(by, publicKey)).toBe(hex(by.sha256(new TextEncoder().encode(publicKey))).slice(0, 16))
  })
})

describe('who asks on a subject', () => {
  const inbox = subjects.inbox('alice', instance)

  it('is the name and the instance in it, and can be answered in one inbox', () => {
    const asker = { name: 'alice', instance: hex(instance), inbox }
    expect(askerOf(subjects, subjects.ping('alice', instance))).toEqual(asker)
    expect(askerOf(subjects, subjects.query('aabb', 'alice', instance))).toEqual(asker)
    expect(askerOf(subjects, subjects.ping(OBSERVER_NAME, instance))?.name).toBe('_')
  })

  it.each([
    '',
    'alice',
    `${root}.ping`,
    `${root}.ping.alice.*`,
    `${root}.ping.alice.0123456789ABCDEF`,
    `${root}.ping.alice.0123`,
  ])('is nobody on %j', (subject) => {
    expect(askerOf(subjects, subject)).toBeUndefined()
  })
})
