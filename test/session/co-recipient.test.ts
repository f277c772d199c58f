import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex, u32, utf8 } from '../../src/base/bytes.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { sessionId } from '../../src/envelope/keys.ts'
import { unseal, verifySender } from '../../src/envelope/open.ts'
import { frameLeaf, signBatch, signedAuthLength } from '../../src/session/session-auth.ts'
import { encodeHandshake, SessionMode } from '../../src/wire/handshake.ts'
import {
  forge,
  keyring,
  lookInto,
  makeContent,
  newRecipient,
  type PlaintextParts,
  SENT_AT_MS,
} from '../envelope/forge.ts'
import { type FrameParts, forgeFrame, headerOf, lookIntoFrame } from './forge-frame.ts'
import { contentOf, Pair } from './pair.ts'

const sodium = chooseEngine('libsodium')
const COUNT = 5

/** A session to two, a batch in it, and what one of the two makes of it for the other. */
function setUp(alreadyOpened: readonly number[] = []) {
  const pair = new Pair(sodium, { recipients: [newRecipient(sodium), newRecipient(sodium)] })
  const frames = pair.seal(Array.from({ length: COUNT }, (_, i) => utf8(`payload ${i}`)))
  for (const i of alreadyOpened) expect(pair.fateOf(frames[i] ?? new Uint8Array(0))).toBe('opened')
  const secrets = pair.secrets()
  const seen = frames.map((frame, i) =>
    lookIntoFrame(sodium, secrets, frame, signedAuthLength(Uint8Array.of(COUNT, i)) ?? 0),
  )
  const at = (i: number): FrameParts =>
    seen[i] ?? { header: frames[0] ?? Uint8Array.of(), auth: Uint8Array.of(), content: Uint8Array.of() }
  const send = (parts: FrameParts) => pair.fateOf(forgeFrame(sodium, secrets, parts))
  return { pair, secrets, at, send }
}

/** What the receiver has proved before: nothing, a part, or all of the batch. */
const knowledge = [[], [0], [1, 4], [0, 1, 2, 3, 4]].map((opened) => ({ opened }))

describe('a co-recipient, who has the key of the session', () => {
  it.each(knowledge)('can pass on a frame as it is, after $opened', ({ opened }) => {
    const { at, send } = setUp(opened)
    for (let i = 0; i < COUNT; i++) expect(send(at(i))).toBe('opened')
  })

  it.each(knowledge)('changes the content, and the signature does not fit, after $opened', ({ opened }) => {
    const { at, send } = setUp(opened)
    for (let i = 0; i < COUNT; i++) {
      const { content } = at(i)
      const changed = new Uint8Array(content)
      changed[content.length - 1] = (content.at(-1) ?? 0) ^ 1
      expect(send({ ...at(i), content: changed })).toBe('signature')
      expect(send({ ...at(i), content: concat(content, Uint8Array.of(0)) })).toBe('content')
    }
  })

  it.each(knowledge)(
    'changes number, salt or time, and the signature does not fit, after $opened',
    ({ opened }) => {
      const { secrets, at, send } = setUp(opened)
      for (let i = 0; i < COUNT; i++) {
        for (const fresh of [{ counter: i }, { counter: 99 }, { counter: i, sentAtMs: SENT_AT_MS + 1 }]) {
          const header = headerOf(sodium, secrets.sid, fresh)
          expect(send({ ...at(i), header })).toBe('signature')
        }
      }
    },
  )

  it.each(knowledge)('proves one frame by what proves another, after $opened', ({ opened }) => {
    const { at, send } = setUp(opened)
    for (let i = 0; i < COUNT; i++) {
      for (let other = 0; other < COUNT; other++) {
        if (i !== other) expect(send({ ...at(i), auth: at(other).auth })).toBe('signature')
      }
    }
  })

  it.each(knowledge)('changes any bit of what proves a frame, after $opened', ({ opened }) => {
    const { at, send } = setUp(opened)
    const { auth } = at(2)
    for (let bit = 0; bit < 8 * auth.length; bit++) {
      const changed = new Uint8Array(auth)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const fate = send({ ...at(2), auth: changed })
      // What leads on from a node that is proved already is not read: the frame is the sender's own all the same.
      const isUnread = bit >= 8 * 66 && opened.length > 0
      if (isUnread) expect(['opened', 'signature']).toContain(fate)
      else expect(['signature', 'padding', 'content']).toContain(fate)
    }
  })

  it('says n = 0, n = 65, an index out of the batch, or another index', () => {
    const { at, send } = setUp()
    const { auth } = at(2)
    for (const [n, i] of [
      [0, 0],
      [65, 2],
      [255, 2],
      [COUNT, COUNT],
      [COUNT, 255],
      [COUNT, 1],
      [COUNT, 3],
      [1, 0],
      [2, 1],
      [4, 2],
      [6, 2],
      [64, 2],
    ])
      expect(['signature', 'padding', 'content']).toContain(
        send({ ...at(2), auth: concat(Uint8Array.from([n ?? 0, i ?? 0]), auth.subarray(2)) }),
      )
  })

  it('makes the path longer or shorter than it is', () => {
    const { at, send } = setUp()
    const { auth } = at(2)
    for (const wrong of [
      concat(auth, new Uint8Array(32)),
      auth.subarray(0, auth.length - 32),
      auth.subarray(0, auth.length - 1),
      concat(auth, Uint8Array.of(0)),
      auth.subarray(0, 66),
    ])
      expect(['signature', 'padding', 'content']).toContain(send({ ...at(2), auth: wrong }))
  })

  it('proves a frame by a batch of another session of the same sender', () => {
    const sender = sodium.ed25519KeyPair()
    const [mine, other] = [new Pair(sodium, { sender }), new Pair(sodium, { sender })]
    const content = contentOf({}, utf8('x'))
    const header = headerOf(sodium, mine.secrets().sid, { counter: 0 })
    const leaves = [frameLeaf(sodium, header, [content])]
    const by = (binding: Uint8Array) => {
      const [auth = Uint8Array.of()] = signBatch(sodium, leaves, { messageKey: sender.secretKey, binding })
      return mine.fateOf(forgeFrame(sodium, mine.secrets(), { header, auth, content }))
    }
    const { sid, binding } = mine.secrets()
    expect(by(other.secrets().binding)).toBe('signature')
    // The very leaf, under another sid, header or commitment.
    for (const at of [0, 16, 48])
      expect(by(binding.map((byte, i) => (i === at ? byte ^ 1 : byte)))).toBe('signature')
    expect(by(concat(other.secrets().sid, binding.subarray(sid.length)))).toBe('signature')
    expect(by(binding)).toBe('opened')
  })

  it('signs with another key than that of the sender', () => {
    const { pair, secrets, at, send } = setUp()
    const mallory = sodium.ed25519KeyPair()
    const { header, content } = at(0)
    const leaves = [frameLeaf(sodium, header, [content])]
    const by = { messageKey: mallory.secretKey, binding: secrets.binding }
    const [auth = Uint8Array.of()] = signBatch(sodium, leaves, by)
    expect(send({ header, auth, content })).toBe('signature')
    expect(pair.sender.publicKey).not.toEqual(mallory.publicKey)
  })

  it('passes an inner node of a proved batch off as a frame', () => {
    // The hash of a leaf begins with 00 and that of a node with 01, so that no content hashes to a node.
    const { pair, at } = setUp([0, 1, 2, 3, 4])
    const node = sodium.sha256(
      Uint8Array.of(1),
      frameLeaf(sodium, at(0).header, [at(0).content]),
      frameLeaf(sodium, at(1).header, [at(1).content]),
    )
    expect(hex(node)).not.toBe(hex(frameLeaf(sodium, at(0).header, [at(0).content])))
    expect(pair.fateOf(at(0).header)).toBe('malformed')
  })
})

describe('a session of mode channel', () => {
  it('proves no more than that one of its two ends wrote the frame, as the documents say', () => {
    const pair = new Pair(sodium, { mode: SessionMode.channel })
    const secrets = pair.secrets()
    const content = contentOf({}, utf8('from the recipient itself'))
    const header = headerOf(sodium, secrets.sid, { counter: 7 })
    expect(pair.fateOf(forgeFrame(sodium, secrets, { header, auth: new Uint8Array(1), content }))).toBe(
      'opened',
    )
  })
})

describe('the name of a session', () => {
  const sender = sodium.ed25519KeyPair()
  const [bob, mallory] = [newRecipient(sodium), newRecipient(sodium)]
  const secretsOf = (bytes: Uint8Array) => {
    const result = unseal(sodium, bytes, keyring(bob))
    if (result.outcome !== 'opened' || result.message.session === undefined)
      throw new Error('it does not open')
    return { ...result.message.session, isProved: verifySender(sodium, result.message, sender.publicKey) }
  }

  it('is a hash of the whole handshake as it travels: every byte changes it', () => {
    const wire = forge(sodium, { recipients: [bob, mallory], sender, type: 1 })
    const sids = new Set([hex(sessionId(sodium, wire))])
    for (let at = 0; at < wire.length; at++)
      sids.add(hex(sessionId(sodium, wire.with(at, (wire[at] ?? 0) ^ 1))))
    expect(sids.size).toBe(wire.length + 1)
    expect(hex(secretsOf(wire).sid)).toBe(hex(sessionId(sodium, wire)))
  })

  it('is not to be had by who opens a session under the same header and content key', () => {
    const handshake = { mode: SessionMode.signed, maxFrames: 9, lifetimeMs: 9 }
    const content = makeContent({ payload: encodeHandshake(handshake) })
    const genuine = forge(sodium, { recipients: [bob, mallory], sender, type: 1, content })
    const { headerBytes, mid, contentSecret, signature, commitment } = lookInto(sodium, genuine, mallory)
    const copied = { recipients: [], type: 1 as const, headerBytes, mid, contentSecret, commitment }
    const original = secretsOf(genuine)
    const wires = {
      'in its own name, with its own announcement': forge(sodium, {
        ...copied,
        sender: sodium.ed25519KeyPair(),
        content: { ...content, sender: sodium.randomBytes(32) },
      }),
      'with the same content and a signature of its own': forge(sodium, {
        ...copied,
        sender: sodium.ed25519KeyPair(),
        content,
      }),
      'with another content and the signature of the sender': forge(sodium, {
        ...copied,
        sender,
        signature,
        content: { ...content, seq: content.seq + 1 },
      }),
    }
    for (const [how, wire] of Object.entries(wires)) {
      const other = secretsOf(wire)
      expect([how, hex(other.sid) === hex(original.sid)]).toEqual([how, false])
      // The key is the same, as everybody has it who may read. It proves nothing where frames are signed.
      expect([how, hex(other.key)]).toEqual([how, hex(original.key)])
      if (how !== 'in its own name, with its own announcement')
        expect([how, other.isProved]).toEqual([how, false])
    }
    expect(original.isProved).toBe(true)
  })

  it('is the only one of a content that the sender signed: what a co-recipient writes again is the same wire', () => {
    const genuine = forge(sodium, { recipients: [bob, mallory], sender, type: 1 })
    const { headerBytes, mid, contentSecret, signature, commitment } = lookInto(sodium, genuine, mallory)
    const copied = { recipients: [], sender, type: 1 as const, headerBytes, mid, contentSecret, commitment }
    const again = forge(sodium, { ...copied, signature })
    expect(hex(again)).toBe(hex(genuine))
    // Without padding it would be another wire of the same signed content, and so a second session of the sender's.
    const bare = forge(sodium, { ...copied, signature, plaintext: unpadded })
    expect(bare.length).toBeLessThan(genuine.length)
    expect(unseal(sodium, bare, keyring(bob))).toMatchObject({ outcome: 'failed', failure: 'padding' })
    // The signature, with S above the order of the base point: the same one to whoever does not look.
    const stretched = forge(sodium, { ...copied, signature: plusOrder(signature) })
    expect(secretsOf(stretched).isProved).toBe(false)
  })

  it('and its key belong together: another content has the same key and another name', () => {
    const contentSecret = sodium.randomBytes(32)
    const shared = { recipients: [bob], sender, type: 1 as const, contentSecret }
    const one = forge(sodium, { ...shared, contentSecret: contentSecret.slice() })
    const two = forge(sodium, { ...shared, contentSecret: contentSecret.slice() })
    // Two headers: two ephemeral keys, and so two keys although the content key was repeated.
    expect(hex(secretsOf(one).key)).not.toBe(hex(secretsOf(two).key))
  })
})

/** As a message without padding is laid out. */
function unpadded({ signature, contentBytes }: PlaintextParts): Uint8Array {
  return concat(signature, u32(contentBytes.length), contentBytes)
}

/** The signature with the order of the base point added to its second half: equal to it, modulo that order. */
function plusOrder(signature: Uint8Array): Uint8Array {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const littleEndian = hex(signature.subarray(32).toReversed())
  const sum = (BigInt(`0x${littleEndian}`) + order).toString(16).padStart(64, '0')
  return concat(signature.subarray(0, 32), fromHex(sum).toReversed())
}
