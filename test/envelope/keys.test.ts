import { describe, expect, it } from 'vitest'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { contentKeys, contextFor, headerHash, KeyUse, keyId, wrapContext } from '../../src/envelope/keys.ts'
import { newRecipient } from './forge.ts'

const engine = chooseEngine('libsodium')
const hash = (fill: number) => new Uint8Array(32).fill(fill)

describe('a key id', () => {
  it('is another for another suite, use or announcement', () => {
    const kid = (suite: number, use: KeyUse, fill: number) =>
      Buffer.from(keyId(engine, { suite, use, announcementHash: hash(fill) })).toString('hex')
    const kids = [
      kid(1, KeyUse.live, 1),
      kid(2, KeyUse.live, 1),
      kid(1, KeyUse.stored, 1),
      kid(1, KeyUse.live, 2),
    ]
    expect(new Set(kids).size).toBe(4)
    expect(kids.every((text) => text.length === 32)).toBe(true)
    expect(kid(1, KeyUse.live, 1)).toBe(kids[0])
  })
})

describe('the context of a wrap', () => {
  const contextOf = (suite: number, epoch: number, announcement: number) =>
    wrapContext(engine, suite, { epochHash: hash(epoch), announcementHash: hash(announcement) })

  it('is another for another type, suite, epoch or announcement', () => {
    const base = contextOf(1, 1, 1)
    expect(base.sealed).not.toEqual(base.handshake)
    for (const other of [contextOf(2, 1, 1), contextOf(1, 2, 1), contextOf(1, 1, 2)]) {
      expect(other.sealed).not.toEqual(base.sealed)
      expect(other.handshake).not.toEqual(base.handshake)
    }
    expect(contextOf(1, 1, 1)).toEqual(base)
  })

  it('is taken for the type of the message', () => {
    const key = newRecipient(engine)
    expect(contextFor(key, 0)).toBe(key.context.sealed)
    expect(contextFor(key, 1)).toBe(key.context.handshake)
  })
})

describe('the content keys', () => {
  it('are others for another header or another secret, and differ from each other', () => {
    const base = contentKeys(engine, hash(1), hash(2))
    expect(base.key).not.toEqual(base.commitment)
    for (const other of [contentKeys(engine, hash(9), hash(2)), contentKeys(engine, hash(1), hash(9))]) {
      expect(other.key).not.toEqual(base.key)
      expect(other.commitment).not.toEqual(base.commitment)
    }
  })

  it('leave the secret as it was', () => {
    const secret = hash(1)
    contentKeys(engine, secret, hash(2))
    expect(secret).toEqual(hash(1))
  })

  it('hang on every byte of the header', () => {
    const header = new Uint8Array(100)
    const hashes = new Set([Buffer.from(headerHash(engine, header)).toString('hex')])
    for (let i = 0; i < header.length; i++) {
      const changed = new Uint8Array(header)
      changed[i] = 1
      hashes.add(Buffer.from(headerHash(engine, changed)).toString('hex'))
    }
    expect(hashes.size).toBe(101)
  })
})
