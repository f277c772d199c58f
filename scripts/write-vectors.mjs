// Writes test/vectors/subrosa: known answers of this protocol, for whoever implements it in another language.
//
// Every step is computed here from SPEC with node:crypto alone; nothing of the library takes part. Run as a program,
// it then has the built library (dist) compute the same messages on both engines, and writes nothing where one byte
// differs: npm run build && node scripts/write-vectors.mjs

import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  base32,
  bigEndian,
  ed25519,
  fixed,
  hchacha20,
  hexBytes,
  hmac,
  labelled,
  merklePath,
  merkleRoot,
  pack,
  seal,
  sha256,
  signer,
  uint64,
  wire,
  withBytes,
  x25519,
} from './vectors/primitives.mjs'
import {
  badPlans,
  badTicks,
  badTrustStructures,
  directoryRootOf,
  makePlans,
  makeQueries,
  makeTicks,
} from './vectors/trust.mjs'

const FOLDER = new URL('../test/vectors/subrosa/', import.meta.url)
const SUITE = 1
const START_MS = 1_800_000_000_000
const EXPIRES_S = 1_830_000_000

/** Published on, it would be a command of whoever publishes. */
const INJECTION = 'x 0\r\n\r\nPUB vault.open 4\r\nopen\r\nPUB y'
const BAD_SUBJECTS = [
  ['nothing', ''],
  ['a line of the protocol of NATS', INJECTION],
  ['a space', 'orders new'],
  ['U+001B', 'orders.\u001b[2J'],
  ['U+009B', 'orders.\u009b2J'],
  ['U+00A0', 'orders.\u00a0'],
  ['a wildcard for a token', 'orders.*.new'],
  ['a wildcard for the rest', 'orders.>'],
  ['an empty token', 'orders..new'],
  ['1025 bytes', 'a'.repeat(1025)],
]

/** The texts of the files, by name. The same at every call. */
export function makeVectors() {
  const world = makeStatements()
  return {
    'statements.json': json(world.file),
    'plans.json': json({
      comment:
        "Plans of subrosa/1, what they say of time, and the epochs that everybody derives from them: structure is the MessagePack array of the fields, a schedule is [first, origin, period_ms, lead_ms, grace_ms, suites, salt]. list holds the revocations that travel beside the plan. The seeds are those of statements.json; the last plan is its realm's own. Bytes are hexadecimal; null is nil.",
      plans: Object.values(world.plans),
    }),
    'ticks.json': json({
      comment:
        'Ticks of subrosa/1, under the second plan of plans.json, which names the revocations of statements.json: each asker gets the signature and the path of its own nonce. leaf is the hash of the nonce in the tree. Bytes are hexadecimal; null is nil.',
      ticks: world.ticks,
    }),
    'queries.json': json({
      comment:
        'Queries of subrosa/1 with the subjects on which they are published, pages that answer them, and the buckets of a directory with these hashes: empty is the hash of a bucket with nothing in it, buckets are those with something. Bytes are hexadecimal; null is nil.',
      ...world.queries,
    }),
    'sealed-message.json': json(makeSealedMessages(world)),
    'sessions.json': json(makeSessions(world)),
    'negative.json': json(makeNegative(world)),
  }
}

function json(value) {
  const asHex = (_, item) => (item?.type === 'Buffer' ? Buffer.from(item.data).toString('hex') : item)
  return `${JSON.stringify(value, asHex, 2)}\n`
}

// Statements

function makeStatements() {
  const authority = signer('A', 'authority')
  const realm = authority.public
  const services = ['rotator', 'second rotator', 'third rotator', 'fourth rotator', 'fifth rotator']
  const identities = Object.fromEntries(
    [...services, 'revoker', 'alice', 'bob', 'carol', 'dave', 'mallory'].map((name) => [
      name,
      signer('U', name),
    ]),
  )
  const tokens = {
    rotator: token(authority, identities.rotator, { name: 'rotator', roles: ['rotator'] }),
    revoker: token(authority, identities.revoker, { name: 'revoker', roles: ['revoker'] }),
  }
  for (const name of ['alice', 'bob', 'carol', 'dave']) {
    const rules = { allow: ['orders.>', '_INBOX.>'], deny: ['orders.secret'] }
    tokens[name] = token(authority, identities[name], { name, pub: rules, sub: rules, plan: 1 })
  }
  tokens.renewed = token(authority, identities.dave, {
    name: 'dave',
    since: START_MS / 1000 - 90 * 86_400,
    plan: 3,
  })

  const revocationOf = (reason, past) => ({
    realm,
    identity: identities.mallory.public,
    since: START_MS - 1000,
    until: EXPIRES_S * 1000,
    reason,
    past,
  })
  const revoke = { type: 5, label: 'rev' }
  const byAuthority = statement('revocation by the authority', revocationOf('laptop lost', 0), {
    ...revoke,
    signer: [authority, undefined],
  })
  const byRevoker = statement(
    'revocation by a revoker, after which what was stored before stays good',
    revocationOf('', 1),
    { ...revoke, signer: [identities.revoker, tokens.revoker.text] },
  )
  const rotators = services.map((name) => identities[name])
  const plans = makePlans({ startMs: START_MS, authority, rotators, revocations: [byAuthority, byRevoker] })
  const [, second] = plans.one.epochs
  const notice = (name, plan, index, key) =>
    statement(
      name,
      { epoch: plan.epochs[index].structure, plan_version: plan.fields.version, rotator: key.public },
      { type: 3, label: 'ntc', signer: [key, undefined] },
    )
  const notices = [
    notice('a notice of an epoch', plans.one, 1, identities.rotator),
    notice('a notice of the first epoch of a second schedule', plans.three, 2, identities['second rotator']),
  ]
  const orderFields = { realm, number: 2, epoch_hash: second.hash, at: second.fields.not_before + 60_000 }
  const order = { type: 10, label: 'rot' }
  const orders = [
    statement('an order by the authority', orderFields, { ...order, signer: [authority, undefined] }),
    statement('an order by a rotation service', orderFields, {
      ...order,
      signer: [identities.rotator, undefined],
    }),
  ]
  const announce = (name) =>
    announcement(name, { epoch: second, realm, identity: identities[name], token: tokens[name].text })
  const announcements = Object.fromEntries(
    ['alice', 'bob', 'carol', 'dave'].map((name) => [name, announce(name)]),
  )
  const retirement = retire(announcements.dave, identities.dave)
  const hashes = [...Object.values(announcements), retirement].map(({ hash }) => hash)
  // One more in the bucket of the first: a bucket is hashed in order.
  hashes.push(Buffer.concat([hashes[0].subarray(0, 1), fixed('a neighbour', 31)]))
  const ticks = makeTicks({
    rotator: identities['second rotator'],
    plan: plans.three,
    revocations: [byAuthority, byRevoker],
    directoryRoot: directoryRootOf(hashes),
    nowMs: second.fields.not_before + 15_000,
  })
  const queries = makeQueries({
    realm,
    asker: { name: 'alice', instance: announcements.alice.fields.instance },
    rotator: identities['second rotator'],
    plan: plans.three,
    announcement: announcements.alice,
    hashes,
  })

  return {
    epoch: second,
    plans,
    ticks,
    queries,
    announcements,
    identities,
    authority,
    statements: [byAuthority, byRevoker, ...notices, ...orders],
    file: {
      comment:
        'Statements of subrosa/1: structure is the MessagePack array of the fields, signed is the label and the structure, wire is C1 01 type and [structure, signatures…, token or nil]. Bytes are hexadecimal.',
      realm,
      authority: { seed: authority.seed, public: authority.public },
      identities: Object.entries(identities).map(([name, { seed, public: key }]) => ({
        name,
        seed,
        public: key,
      })),
      tokens: Object.values(tokens),
      statements: [byAuthority, byRevoker, ...notices, ...orders],
      announcements: [...Object.values(announcements), retirement],
    },
  }
}

function statement(name, fields, { type, label, signer: [key, tokenText] }) {
  const structure = pack(Object.values(fields))
  const signed = Buffer.concat([labelled(label), structure])
  const signature = key.sign(signed)
  return {
    name,
    type,
    fields,
    structure,
    hash: sha256(structure),
    signer: key.public,
    signed,
    signature,
    token: tokenText ?? null,
    wire: wire(type, [structure, signature, tokenText]),
  }
}

function announcement(name, { epoch, realm, identity, token: tokenText }) {
  const message = ed25519(fixed(`${name} message key`, 32))
  const live = x25519(fixed(`${name} live key`, 32))
  const stored = x25519(fixed(`${name} stored key`, 32))
  const fields = {
    realm,
    agent: name,
    instance: fixed(`${name} instance`, 8),
    epoch: epoch.fields.number,
    epoch_hash: epoch.hash,
    identity: identity.public,
    mpk: message.public,
    keys: [
      [SUITE, 0, live.public],
      [SUITE, 1, stored.public],
    ],
    not_before: epoch.fields.not_before,
    not_after: epoch.fields.not_after,
    stored_ms: 604_800_000,
    seq: 1,
    token: tokenText,
  }
  const structure = pack(Object.values(fields))
  const hash = sha256(structure)
  const signed = Buffer.concat([labelled('ann'), structure])
  const signature = identity.sign(signed)
  const proved = Buffer.concat([labelled('pop'), hash])
  const proof = message.sign(proved)
  return {
    name: `announcement of ${name}`,
    message_key: { seed: message.seed, public: message.public },
    live_key: { secret: live.secret, public: live.public },
    stored_key: { secret: stored.secret, public: stored.public },
    fields,
    structure,
    hash,
    live_kid: kidOf(0, hash),
    stored_kid: kidOf(1, hash),
    signed,
    signature,
    proved,
    proof,
    wire: wire(6, [structure, signature, proof, undefined]),
  }
}

function retire(announced, identity) {
  const fields = { ...announced.fields, mpk: Buffer.alloc(0), keys: [], stored_ms: 0, seq: 2 }
  const structure = pack(Object.values(fields))
  const signed = Buffer.concat([labelled('ann'), structure])
  const signature = identity.sign(signed)
  return {
    name: 'retirement of dave',
    fields,
    structure,
    hash: sha256(structure),
    signed,
    signature,
    proof: null,
    wire: wire(6, [structure, signature, undefined, undefined]),
  }
}

function token(authority, identity, { name, roles = [], pub = NO_RULES, sub = NO_RULES, since, plan }) {
  const header = { typ: 'JWT', alg: 'ed25519-nkey' }
  const claim = { v: 1, realm: authority.public, name, roles, pub, sub, max_instances: 16, since, plan }
  const body = {
    sub: identity.public,
    name,
    exp: EXPIRES_S,
    nats: { type: 'generic', version: 2, subrosa: claim },
    iss: authority.public,
    iat: START_MS / 1000 - 86_400,
  }
  const claims = { jti: base32(sha256(Buffer.from(JSON.stringify(body)))), ...body }
  const segment = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${segment(header)}.${segment(claims)}`
  const signature = authority.sign(Buffer.from(signed))
  return { name, header, claims, signed, signature, text: `${signed}.${signature.toString('base64url')}` }
}

const NO_RULES = { allow: [], deny: [] }

// Sealed messages

function makeSealedMessages(world) {
  const recipientOf = (name, use = 0) => recipient(world, name, use)
  const bare = { reply: null, in_reply_to: null, ttl_ms: 0, headers: [], clear_headers: [] }
  const full = {
    reply: '_INBOX.alice.1',
    in_reply_to: fixed('in reply to', 16),
    ttl_ms: 30_000,
    headers: [
      ['Trace-Id', '4bf92f35'],
      ['Note', 'ä€𝄞'],
      ['Trace-Id', ''],
    ],
    clear_headers: [['Nats-Msg-Id', 'order-17']],
  }
  const three = ['bob', 'carol', 'dave'].map((name) => recipientOf(name))
  const text = Buffer.from('{"order":17}')
  const cases = [
    ['one recipient', { recipients: [recipientOf('bob')], content: { ...bare, payload: text } }],
    [
      'one recipient, with reply and headers',
      { recipients: [recipientOf('bob')], content: { ...full, payload: text } },
    ],
    ['three recipients', { recipients: three, content: { ...bare, payload: text } }],
    [
      'three recipients, with reply, headers and a payload above the smallest bucket',
      { recipients: three, content: { ...full, seq: 2 ** 32, payload: fixed('payload', 700) } },
    ],
    [
      'a stored key, an empty payload, no padding',
      {
        recipients: [recipientOf('carol', 1)],
        padding: 'none',
        content: { ...bare, payload: Buffer.alloc(0) },
      },
    ],
    ['a handshake', { type: 1, recipients: [recipientOf('dave')], content: { ...bare, payload: text } }],
    [
      'subjects with characters that are no wildcards where they stand, and letters of three bytes',
      {
        recipients: [recipientOf('bob')],
        content: { ...bare, subject: 'ä.€.a*b.c>', reply: '$JS.=.*>', payload: text },
      },
    ],
  ]
  return {
    comment:
      'Sealed messages of subrosa/1, suite 01, with every step. The sender and the recipients are those of statements.json. Bytes are hexadecimal; null is nil.',
    messages: cases.map(([name, input]) => {
      const message = messageOf(world, name, input)
      return { name, input: message, steps: sealSteps(message) }
    }),
  }
}

function recipient({ announcements }, name, use) {
  const { hash, live_key: live, stored_key: stored } = announcements[name]
  const { secret, public: publicKey } = use === 0 ? live : stored
  return { name, use, announcement_hash: hash, secret_key: secret, public_key: publicKey }
}

/** A message of alice's. What is drawn at random comes from its name. */
function messageOf({ epoch, announcements: { alice } }, name, input) {
  return {
    type: 0,
    suite: SUITE,
    epoch: epoch.fields.number,
    epoch_hash: epoch.hash,
    sent_at_ms: epoch.fields.not_before + 60_000,
    padding: 'padme',
    ...input,
    mid_random: fixed(`${name} mid`, 10),
    ephemeral_secret: fixed(`${name} ephemeral`, 32),
    cek: fixed(`${name} cek`, 32),
    message_key: alice.message_key,
    content: { sender: alice.hash, seq: 1, subject: 'orders.new', ...input.content },
  }
}

/** @param bend changes what an honest sender makes, for messages that must be refused */
function sealSteps(input, bend = {}) {
  const { type, suite, epoch, cek } = input
  const ephemeral = x25519(input.ephemeral_secret)
  const enc = bend.enc ?? ephemeral.public
  const mid = bend.mid ?? uuidV7(input.sent_at_ms, input.mid_random)
  const recipients = input.recipients.map((recipient) => wrapSteps(recipient, { ...input, ephemeral, mid }))
  const bendWraps = bend.wraps ?? ((entries) => entries)
  const wraps = Buffer.concat(bendWraps(recipients.map(({ kid, wrap }) => Buffer.concat([kid, wrap]))))
  const header =
    bend.header?.([type, suite, epoch, mid, enc, wraps]) ?? pack([type, suite, epoch, mid, enc, wraps])
  const th = sha256(labelled('hdr'), header)
  const prk = hmac(th, cek)
  const key = hmac(prk, Buffer.from('subrosa/1 key\x01'))
  const commitment = hmac(prk, Buffer.from(bend.commitment ?? 'subrosa/1 com\x01'))
  const { content } = input
  const p = (bend.content ?? pack)([
    content.sender,
    content.seq,
    content.subject,
    content.reply ?? undefined,
    content.in_reply_to ?? undefined,
    content.ttl_ms,
    content.headers,
    content.clear_headers,
    content.payload,
  ])
  const hashOfP = sha256(p)
  const signed = Buffer.concat([labelled('sig'), Buffer.of(type, suite), th, commitment, hashOfP])
  const signature = ed25519(input.message_key.seed).sign(signed)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(p.length)
  const bare = Buffer.concat([signature, length, p])
  const plaintext = Buffer.alloc(input.padding === 'none' ? bare.length : Math.max(128, padme(bare.length)))
  bare.copy(plaintext)
  bend.plaintext?.(plaintext)
  const ciphertext = seal({ key, nonce: Buffer.alloc(12), aad: th, plaintext })
  return {
    enc,
    mid,
    recipients,
    H: header,
    TH: th,
    PRK: prk,
    K: key,
    COM: commitment,
    P: p,
    sha256_P: hashOfP,
    signed,
    signature,
    plaintext,
    ciphertext,
    wire: wire(type, [header, Buffer.concat([commitment, ciphertext])]),
  }
}

function wrapSteps(recipient, { type, suite, epoch_hash: epochHash, cek, ephemeral, mid }) {
  const kid = kidOf(recipient.use, recipient.announcement_hash)
  const info = Buffer.concat([
    labelled('wrap'),
    Buffer.of(type, suite),
    epochHash,
    recipient.announcement_hash,
  ])
  const dh = ephemeral.agree(recipient.public_key)

  // RFC 9180, sections 4.1 and 5.1: kem 0x0020, kdf 0x0001, aead 0x0003, mode base.
  const kem = Buffer.from('KEM\x00\x20', 'latin1')
  const hpke = Buffer.from('HPKE\x00\x20\x00\x01\x00\x03', 'latin1')
  const kemContext = Buffer.concat([ephemeral.public, recipient.public_key])
  const eaePrk = labeledExtract(kem, Buffer.alloc(0), 'eae_prk', dh)
  const sharedSecret = labeledExpand(kem, eaePrk, 'shared_secret', kemContext, 32)
  const context = Buffer.concat([
    Buffer.of(0),
    labeledExtract(hpke, Buffer.alloc(0), 'psk_id_hash', Buffer.alloc(0)),
    labeledExtract(hpke, Buffer.alloc(0), 'info_hash', info),
  ])
  const secret = labeledExtract(hpke, sharedSecret, 'secret', Buffer.alloc(0))
  const key = labeledExpand(hpke, secret, 'key', context, 32)
  const nonce = labeledExpand(hpke, secret, 'base_nonce', context, 12)
  return {
    kid,
    info,
    dh,
    shared_secret: sharedSecret,
    key_schedule_context: context,
    key,
    nonce,
    wrap: seal({ key, nonce, aad: mid, plaintext: cek }),
  }
}

function labeledExtract(suiteId, salt, label, ikm) {
  return hmac(salt, Buffer.concat([Buffer.from('HPKE-v1'), suiteId, Buffer.from(label), ikm]))
}

/** One block of HKDF-Expand is enough for every length here. */
function labeledExpand(suiteId, prk, label, info, length) {
  const labeledInfo = Buffer.concat([
    Buffer.of(length >> 8, length & 0xff),
    Buffer.from('HPKE-v1'),
    suiteId,
    Buffer.from(label),
    info,
  ])
  return hmac(prk, Buffer.concat([labeledInfo, Buffer.of(1)])).subarray(0, length)
}

function kidOf(use, announcementHash) {
  return sha256(labelled('kid'), Buffer.of(SUITE, use), announcementHash).subarray(0, 16)
}

function uuidV7(timeMs, random) {
  const mid = Buffer.alloc(16)
  mid.writeUIntBE(timeMs, 0, 6)
  random.copy(mid, 6)
  mid[6] = 0x70 | (mid[6] & 0x0f)
  mid[8] = 0x80 | (mid[8] & 0x3f)
  return mid
}

/** Algorithm 1 of the PURB paper. */
function padme(length) {
  const exponent = length.toString(2).length - 1
  const lastBits = exponent - exponent.toString(2).length
  const mask = 2 ** lastBits - 1
  return (length + mask) & ~mask
}

// Sessions

function makeSessions(world) {
  const bare = { ttl_ms: 0, reply: null, in_reply_to: null, headers: [], clear_headers: [], padding: 'padme' }
  const full = {
    ttl_ms: 30_000,
    reply: '_INBOX.alice.2',
    in_reply_to: fixed('in reply to a frame', 40),
    headers: [
      ['Trace-Id', '4bf92f35'],
      ['Note', 'ä€𝄞'],
      ['Trace-Id', ''],
    ],
    clear_headers: [['Nats-Msg-Id', 'order-18']],
    padding: 'padme',
  }
  const cases = [
    {
      name: 'a signed batch of five frames to two recipients',
      recipients: ['bob', 'carol'],
      handshake: { mode: 0, max_frames: 2 ** 20, lifetime_ms: 900_000 },
      frames: [
        { ...bare, payloads: [Buffer.from('{"order":17}')] },
        { ...full, payloads: [fixed('frame payload', 700)] },
        { ...bare, padding: 'none', payloads: [Buffer.alloc(0)] },
        { ...bare, payloads: [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')] },
        { ...full, reply: null, subject: 'orders.old', payloads: [Buffer.from('five'), fixed('six', 300)] },
      ],
    },
    {
      name: 'a signed frame that is alone in its batch',
      recipients: ['bob'],
      handshake: { mode: 0, max_frames: 1, lifetime_ms: 2000 },
      frames: [{ ...bare, payloads: [Buffer.from('alone')] }],
    },
    {
      name: 'a frame of a channel',
      recipients: ['dave'],
      handshake: { mode: 1, max_frames: 2 ** 20, lifetime_ms: 900_000 },
      frames: [{ ...full, payloads: [Buffer.from('{"order":18}')] }],
    },
  ]
  return {
    comment:
      'Sessions of subrosa/1, suite 01: a handshake with every step, as in sealed-message.json, what it opens, what each recipient says that refuses it, and one batch of frames with every step. Bytes are hexadecimal; null is nil.',
    sessions: cases.map((session) => sessionSteps(world, session)),
  }
}

function sessionSteps(world, { name, recipients, handshake, frames }) {
  const { mode, max_frames: maxFrames, lifetime_ms: lifetimeMs } = handshake
  const message = messageOf(world, name, {
    type: 1,
    recipients: recipients.map((recipientName) => recipient(world, recipientName, 0)),
    content: {
      reply: null,
      in_reply_to: null,
      ttl_ms: 0,
      headers: [],
      clear_headers: [],
      payload: pack([mode, maxFrames, lifetimeMs]),
    },
  })
  const steps = sealSteps(message)
  const sid = sha256(labelled('sid'), steps.wire).subarray(0, 16)
  const key = hmac(steps.PRK, Buffer.from('subrosa/1 ses\x01'))
  const inputs = frames.map((frame, counter) => ({
    sent_at_ms: message.sent_at_ms + 1000 + counter,
    salt_random: fixed(`${name} salt ${counter}`, 10),
    counter,
    subject: 'orders.new',
    ...frame,
  }))
  const contents = inputs.map((input) => frameContent(sid, input))
  const batch =
    mode === 0 ? batchSteps(contents, { sid, steps, key: ed25519(message.message_key.seed) }) : null
  return {
    name,
    handshake: { fields: handshake, input: message, steps },
    sid,
    SK: key,
    refusals: message.recipients.map((by, reason) => refusalSteps({ by, reason, sid, key })),
    batch,
    frames: inputs.map((input, i) => {
      const auth = batch === null ? Buffer.of(0) : batchProof(batch, i)
      return { input, steps: frameSteps(contents[i], { key, auth, padding: input.padding }) }
    }),
  }
}

/** A refusal of a session by one of its recipients. */
function refusalSteps({ by, reason, sid, key }) {
  const kid = kidOf(by.use, by.announcement_hash)
  const authenticated = Buffer.concat([labelled('ref'), sid, Buffer.of(reason), by.announcement_hash])
  const tag = hmac(key, authenticated).subarray(0, 16)
  return { by: by.name, reason, kid, authenticated, tag, wire: wire(13, [sid, kid, reason, tag]) }
}

function frameContent(sid, input) {
  const { payloads } = input
  const salt = Buffer.concat([bigEndian(6, input.sent_at_ms), input.salt_random])
  const header = Buffer.concat([Buffer.of(0xc1, 0x01, 2), sid, salt, bigEndian(8, input.counter)])
  const p = (input.bend?.content ?? pack)([
    input.ttl_ms,
    input.subject,
    input.reply ?? undefined,
    input.in_reply_to ?? undefined,
    input.headers,
    input.clear_headers,
    payloads.length === 1 ? payloads[0] : payloads,
  ])
  const hashOfP = sha256(p)
  return { D: header, P: p, sha256_P: hashOfP, leaf: sha256(Buffer.of(0), labelled('leaf'), header, hashOfP) }
}

function batchSteps(contents, { sid, steps, key }) {
  const leaves = contents.map(({ leaf }) => leaf)
  const root = merkleRoot(leaves)
  const signed = Buffer.concat([labelled('bat'), Buffer.of(leaves.length), sid, steps.TH, steps.COM, root])
  const paths = leaves.map((_, i) => merklePath(i, leaves))
  return { leaves, root, signed, signature: key.sign(signed), paths }
}

function batchProof({ leaves, signature, paths }, i) {
  return Buffer.concat([Buffer.of(leaves.length, i), signature, ...paths[i]])
}

function frameSteps(content, { key, auth, padding, plaintext: bend }) {
  const { D: header, P: p } = content
  const bare = Buffer.concat([auth, bigEndian(4, p.length), p])
  const plaintext = Buffer.alloc(padding === 'none' ? bare.length : Math.max(128, padme(bare.length)))
  bare.copy(plaintext)
  bend?.(plaintext)
  const nonce = header.subarray(19)
  // XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): the first 16 bytes of the nonce make a key of their own.
  const subkey = hchacha20(key, nonce.subarray(0, 16))
  const short = Buffer.concat([Buffer.alloc(4), nonce.subarray(16)])
  const ciphertext = seal({ key: subkey, nonce: short, aad: header, plaintext })
  return {
    ...content,
    auth,
    plaintext,
    nonce,
    subkey,
    ciphertext,
    wire: Buffer.concat([header, ciphertext]),
  }
}

// What must be refused

function makeNegative(world) {
  return {
    comment:
      'Bytes of subrosa/1 that must be refused, and why. structures are encodings by themselves; sealed are whole messages to bob of statements.json, with the reason of SPEC, "Opening"; plans come with their lists, at the time now of somebody who holds the plan of plans.json that held names; ticks come to somebody who holds its second plan and has asked with this nonce; frames and refusals belong to the sessions of sessions.json that they name; names are what no session may be known by. Bytes are hexadecimal.',
    structures: badStructures(world),
    sealed: badSealed(world),
    plans: badPlans(world),
    ticks: badTicks(world),
    ...badSessions(world),
  }
}

function badStructures(world) {
  const { alice } = world.announcements
  const [sid, kid, tag] = ['a sid', 'a kid', 'a tag'].map((name) => fixed(name, 16))
  const fields = {
    handshake: [0, 2 ** 20, 900_000],
    content: [alice.hash, 1, 'orders.new', undefined, undefined, 0, [], [], Buffer.from('x')],
    'frame content': [0, 'orders.new', undefined, undefined, [], [], Buffer.from('x')],
    header: [0, 1, 2 ** 32, fixed('mid', 16), fixed('enc', 32), fixed('wraps', 64)],
    'session request': [sid],
    refusal: [sid, kid, 1, tag],
  }
  const types = { 'session request': 9, refusal: 13 }
  const encoded = (structure, array) => (structure in types ? wire(types[structure], array) : pack(array))
  const changed = (structure, place, value) =>
    encoded(
      structure,
      fields[structure].map((field, i) => (i === place ? value : field)),
    )
  const raw = (structure, place, text) => {
    const array = withBytes(fields[structure], place, typeof text === 'string' ? hexBytes(text) : text)
    return structure in types ? Buffer.concat([Buffer.of(0xc1, 0x01, types[structure]), array]) : array
  }
  const common = Object.entries(fields).flatMap(([structure, array]) => [
    [structure, 'a field too many', encoded(structure, [...array, undefined])],
    [structure, 'a field too few', encoded(structure, array.slice(0, -1))],
    [structure, 'a byte behind it', Buffer.concat([encoded(structure, array), Buffer.of(0)])],
    [structure, 'a byte too few', encoded(structure, array).subarray(0, -1)],
  ])
  return [
    ...common,
    ['handshake', 'the field scope of a former draft, nil', pack([undefined, ...fields.handshake])],
    ['handshake', 'the field scope of a former draft', pack(['orders.>', ...fields.handshake])],
    ['handshake', 'a mode that is not known', changed('handshake', 0, 2)],
    ['handshake', 'a mode in two bytes', raw('handshake', 0, 'cc00')],
    ['handshake', 'a mode that is a boolean', raw('handshake', 0, 'c2')],
    ['handshake', 'too many frames', changed('handshake', 1, 2 ** 20 + 1)],
    ['handshake', 'a life that is too long', changed('handshake', 2, 900_001)],
    ['handshake', 'a life as uint 64', raw('handshake', 2, uint64(900_000))],
    ['handshake', 'a life as int 32', raw('handshake', 2, 'd2000dbba0')],
    ['content', 'a seq of 2^32 as uint 64', raw('content', 1, uint64(2 ** 32))],
    ['content', 'a seq of 2^53', raw('content', 1, 'd30020000000000000')],
    ['content', 'a seq below 2^32 as int 64', raw('content', 1, 'd300000000ffffffff')],
    ['content', 'a negative seq', raw('content', 1, 'd3ffffffff00000000')],
    ['content', 'a subject with two bytes of length', raw('content', 2, 'da00016f')],
    ['content', 'a subject that is not UTF-8', raw('content', 2, 'a1ff')],
    ['content', 'a ttl of 2^32', changed('content', 5, 2 ** 32)],
    ...BAD_SUBJECTS.flatMap(([name, text]) => [
      ['content', `a subject with ${name}`, changed('content', 2, text)],
      ['content', `a reply subject with ${name}`, changed('content', 3, text)],
    ]),
    ['content', '257 headers', changed('content', 6, Array(257).fill(['', '']))],
    ['content', 'a payload with four bytes of length', raw('content', 8, 'c60000000178')],
    ['frame content', 'the form of a former draft', hexBytes('0000000000000a6f72646572732e6e657778')],
    ...BAD_SUBJECTS.flatMap(([name, text]) => [
      ['frame content', `a subject with ${name}`, changed('frame content', 1, text)],
      ['frame content', `a reply subject with ${name}`, changed('frame content', 2, text)],
    ]),
    ['frame content', '257 clear headers', changed('frame content', 5, Array(257).fill(['', '']))],
    ['frame content', 'a ttl of 2^32', changed('frame content', 0, 2 ** 32)],
    ['frame content', 'a ttl as uint 64', raw('frame content', 0, uint64(1000))],
    ['frame content', 'a payload that is text', changed('frame content', 6, 'x')],
    ['frame content', 'a payload with two bytes of length', raw('frame content', 6, 'c5000178')],
    ['frame content', 'no payload in an array', changed('frame content', 6, [])],
    ['frame content', 'one payload in an array', changed('frame content', 6, [Buffer.from('x')])],
    [
      'frame content',
      'many payloads with a reply',
      pack([0, 'orders.new', '_INBOX.a', undefined, [], [], [Buffer.from('x'), Buffer.from('y')]]),
    ],
    ['header', 'an epoch of 2^32 as uint 64', raw('header', 2, uint64(2 ** 32))],
    ['header', 'kids of 8 bytes', changed('header', 5, fixed('wraps', 56))],
    ['header', 'no wrap', changed('header', 5, Buffer.alloc(0))],
    ['header', 'a wrap and a half', changed('header', 5, fixed('wraps', 96))],
    ['session request', 'a short sid', changed('session request', 0, sid.subarray(1))],
    ['refusal', 'a kid of 8 bytes', changed('refusal', 1, kid.subarray(8))],
    ['refusal', 'a reason that is not known', changed('refusal', 2, 3)],
    ['refusal', 'a reason in two bytes', raw('refusal', 2, 'cc01')],
    ['refusal', 'a tag that is not cut', changed('refusal', 3, fixed('a tag', 32))],
    ['refusal', 'the reserved type 12', wire(12, fields.refusal)],
    ...badTrustStructures(world),
  ].map(([structure, name, bytes]) => ({ structure, name, reason: 'malformed', bytes }))
}

function badSealed(world) {
  const bob = recipient(world, 'bob', 0)
  const carol = recipient(world, 'carol', 0)
  const bare = { reply: null, in_reply_to: null, ttl_ms: 0, headers: [], clear_headers: [] }
  const content = { ...bare, payload: Buffer.from('x') }
  const handshake = {
    type: 1,
    content: { ...bare, subject: 'orders.not.padded', payload: pack([0, 1, 1000]) },
  }
  const own = ([first, ...others]) => [first, ...others, first]
  const cases = [
    ['its own kid twice', 'malformed', {}, { wraps: own }],
    ['its own kid twice among others', 'malformed', { recipients: [bob, carol] }, { wraps: own }],
    ['kids of 8 bytes', 'malformed', {}, { wraps: ([entry]) => [entry.subarray(8)] }],
    ['an epoch as uint 64', 'malformed', {}, { header: (fields) => withBytes(fields, 2, uint64(fields[2])) }],
    ['a mid that is no UUIDv7', 'malformed', {}, { mid: Buffer.alloc(16, 0x40) }],
    ['the suite 2', 'suite', { suite: 2 }, {}],
    ['another epoch than that of the key', 'epoch', { epoch: 9 }, {}],
    ['an enc of low order', 'wrap', {}, { enc: Buffer.alloc(32) }],
    [
      'the wrap of another recipient under its kid',
      'wrap',
      { recipients: [bob, carol] },
      { wraps: swapKids },
    ],
    ['another commitment', 'commitment', {}, { commitment: 'subrosa/1 key\x01' }],
    ['a byte in the padding', 'padding', {}, { plaintext: lastByteSet }],
    [
      'a length of P above what is there',
      'padding',
      {},
      { plaintext: (bytes) => bytes.writeUInt32BE(2 ** 20, 64) },
    ],
    ['a handshake without padding', 'padding', { ...handshake, padding: 'none' }, {}],
    ['a seq as uint 64', 'content', {}, { content: (fields) => withBytes(fields, 1, uint64(2 ** 32)) }],
    ['a field of P too many', 'content', {}, { content: (fields) => pack([...fields, undefined]) }],
    ...BAD_SUBJECTS.flatMap(([name, text]) => [
      [`${name} in its subject`, 'content', {}, { content: (fields) => pack(fields.with(2, text)) }],
      [`${name} in its reply subject`, 'content', {}, { content: (fields) => pack(fields.with(3, text)) }],
    ]),
    [
      'a reply subject with a line of the protocol of NATS, in a handshake',
      'content',
      { type: 1, content: { ...bare, payload: pack([0, 1, 1000]) } },
      { content: (fields) => pack(fields.with(3, INJECTION)) },
    ],
  ]
  return cases.map(([name, reason, input, bend]) => {
    const message = messageOf(world, `refused: ${name}`, { recipients: [bob], content, ...input })
    return { name, reason, wire: sealSteps(message, bend).wire }
  })
}

/** Something in the padding. */
function lastByteSet(plaintext) {
  plaintext[plaintext.length - 1] = 1
}

/** The first wrap under the kid of the second, and the other way round. */
function swapKids([first, second]) {
  return [
    Buffer.concat([second.subarray(0, 16), first.subarray(16)]),
    Buffer.concat([first.subarray(0, 16), second.subarray(16)]),
  ]
}

function badSessions(world) {
  const [signed, alone, channel] = makeSessions(world).sessions
  const { handshake, sid, SK: key } = signed
  const { TH: th, COM: com, sha256_P: hashOfP } = handshake.steps
  const formerSid = sha256(labelled('sid'), th, com, hashOfP).subarray(0, 16)
  const messageKey = ed25519(handshake.input.message_key.seed)
  const input = { ...signed.frames[0].input, counter: 9, salt_random: fixed('refused salt', 10) }
  const frame = (name, reason, { named = sid, over = { sid }, content, auth, plaintext } = {}) => {
    const made = frameContent(named, { ...input, bend: { content } })
    const batch = batchSteps([made], { sid: over.sid, steps: { TH: th, COM: com, ...over }, key: messageKey })
    const proof = auth ?? batchProof(batch, 0)
    return {
      session: signed.name,
      name,
      reason,
      wire: frameSteps(made, { key, auth: proof, padding: 'padme', plaintext }).wire,
    }
  }
  const refusal = (name, changes) => {
    const [by, other] = handshake.input.recipients
    const tagOf = (of, reason, who) =>
      hmac(
        of.SK,
        Buffer.concat([labelled('ref'), of.sid, Buffer.of(reason), who.announcement_hash]),
      ).subarray(0, 16)
    const kid = kidOf(by.use, by.announcement_hash)
    return {
      session: signed.name,
      name,
      reason: 'tag',
      wire: wire(13, [sid, kid, 0, changes({ tagOf, by, other })]),
    }
  }
  return {
    frames: [
      frame('a sid of the former form: a hash of header, commitment and content', 'unknown session', {
        named: formerSid,
        over: { sid: formerSid },
      }),
      frame('a signature over the sid of the former form', 'signature', { over: { sid: formerSid } }),
      frame('a signature over the sid of another session', 'signature', { over: { sid: alone.sid } }),
      frame('a signature over another header', 'signature', { over: { sid, TH: alone.handshake.steps.TH } }),
      frame('the proof of a channel in a session of mode 0', 'signature', { auth: Buffer.of(0) }),
      frame('a byte in the padding', 'padding', { plaintext: lastByteSet }),
      frame('the content of a former draft', 'content', {
        content: () => hexBytes('0000000000000a6f72646572732e6e657778'),
      }),
      frame('one payload in an array', 'content', {
        content: (fields) => pack([...fields.slice(0, 6), [fields[6]]]),
      }),
      frame('a reply subject with a line of the protocol of NATS', 'content', {
        content: (fields) => pack(fields.with(2, INJECTION)),
      }),
      frame('a subject with a wildcard', 'content', {
        content: (fields) => pack(fields.with(1, 'orders.*')),
      }),
      frame('a ttl as uint 64', 'content', { content: (fields) => withBytes(fields, 0, uint64(0)) }),
    ],
    refusals: [
      refusal('the tag of another session', ({ tagOf, by }) => tagOf(channel, 0, by)),
      refusal('the tag of another recipient', ({ tagOf, other }) => tagOf(signed, 0, other)),
      refusal('the tag of another reason', ({ tagOf, by }) => tagOf(signed, 1, by)),
      refusal('a tag under a key of zeros', ({ tagOf, by }) => tagOf({ sid, SK: Buffer.alloc(32) }, 0, by)),
    ],
    names: [
      {
        session: signed.name,
        name: 'the former form: a hash of header, commitment and content',
        sid: formerSid,
      },
    ],
  }
}

// The program

async function main() {
  const files = makeVectors()
  await compareWithLibrary(JSON.parse(files['sealed-message.json']).messages)
  await compareSessions(JSON.parse(files['sessions.json']).sessions)
  for (const [name, text] of Object.entries(files)) await writeFile(new URL(name, FOLDER), text)
  console.error(`subrosa: wrote ${Object.keys(files).join(', ')}`)
}

function bytes(text) {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

function headerPairs(list) {
  return list.map(([name, value]) => ({ name, value }))
}

async function bothEngines() {
  const { chooseEngine } = await import('../dist/crypto/engine.js')
  return [chooseEngine('libsodium'), chooseEngine('noble')]
}

function assertSame(sealed, expected, name, engine) {
  if (Buffer.from(sealed).toString('hex') !== expected)
    throw new Error(`the library gives other bytes for "${name}" on ${engine.name}`)
}

async function compareWithLibrary(messages) {
  for (const engine of await bothEngines()) {
    for (const { name, input, steps } of messages) {
      const sealed = await sealByLibrary(engine, input)
      assertSame(sealed.bytes, steps.wire, name, engine)
    }
  }
}

async function sealByLibrary(engine, input) {
  const { keyId, wrapContext } = await import('../dist/envelope/keys.js')
  const { sealWith } = await import('../dist/envelope/seal.js')
  const { makeMid } = await import('../dist/wire/sealed.js')
  const { content } = input
  return sealWith(
    engine,
    {
      sender: bytes(content.sender),
      seq: content.seq,
      subject: content.subject,
      reply: content.reply ?? undefined,
      inReplyTo: content.in_reply_to === null ? undefined : bytes(content.in_reply_to),
      ttlMs: content.ttl_ms,
      headers: headerPairs(content.headers),
      clearHeaders: headerPairs(content.clear_headers),
      payload: bytes(content.payload),
    },
    {
      type: input.type,
      epoch: input.epoch,
      recipients: input.recipients.map(({ use, announcement_hash: hash, public_key: publicKey }) => ({
        kid: keyId(engine, { suite: input.suite, use, announcementHash: bytes(hash) }),
        context: wrapContext(engine, input.suite, {
          epochHash: bytes(input.epoch_hash),
          announcementHash: bytes(hash),
        }),
        publicKey: bytes(publicKey),
      })),
      messageKey: engine.ed25519KeyPair(bytes(input.message_key.seed)).secretKey,
      sentAtMs: input.sent_at_ms,
      padding: input.padding,
    },
    {
      ephemeral: engine.x25519KeyPair(bytes(input.ephemeral_secret)),
      contentSecret: bytes(input.cek),
      mid: makeMid(input.sent_at_ms, bytes(input.mid_random)),
    },
  )
}

/** An engine that draws the salts of these frames: each has a millisecond, and so a draw, of its own. */
function drawing(engine, frames) {
  const salts = frames.map(({ input }) => bytes(input.salt_random)).values()
  return { ...engine, randomBytes: () => salts.next().value }
}

async function compareSessions(sessions) {
  const { FrameSealer } = await import('../dist/session/frame-cipher.js')
  const { OutgoingSession } = await import('../dist/session/outgoing.js')
  const { refusalTag } = await import('../dist/session/refusal.js')
  const { encodeFrameMeta, encodePayloads } = await import('../dist/wire/frame.js')
  const { encodeRefusal } = await import('../dist/wire/refusal.js')
  for (const engine of await bothEngines()) {
    for (const { name, handshake, sid, SK, refusals, frames } of sessions) {
      const { input, steps, fields } = handshake
      const sealed = await sealByLibrary(engine, input)
      assertSame(sealed.bytes, steps.wire, name, engine)
      assertSame(sealed.session.sid, sid, name, engine)
      assertSame(sealed.session.key, SK, name, engine)
      const session = new OutgoingSession(engine, {
        secrets: sealed.session,
        mode: fields.mode,
        maxFrames: fields.max_frames,
        expiresAtMs: input.sent_at_ms + fields.lifetime_ms,
        messageKey: engine.ed25519KeyPair(bytes(input.message_key.seed)).secretKey,
        handshake: sealed.bytes,
      })
      for (const [i, { reason, kid, tag, wire: refusal }] of refusals.entries()) {
        const announcementHash = bytes(input.recipients[i].announcement_hash)
        const made = refusalTag(engine, sealed.session, { reason, announcementHash })
        assertSame(made, tag, name, engine)
        const encoded = encodeRefusal({ sid: bytes(sid), kid: bytes(kid), reason, tag: made })
        assertSame(encoded, refusal, name, engine)
      }
      const pending = frames.map((frame) => {
        const { payloads, ...meta } = frame.input
        const encoded = encodeFrameMeta({
          ttlMs: meta.ttl_ms,
          subject: meta.subject,
          reply: meta.reply ?? undefined,
          inReplyTo: meta.in_reply_to === null ? undefined : bytes(meta.in_reply_to),
          headers: headerPairs(meta.headers),
          clearHeaders: headerPairs(meta.clear_headers),
        })
        const content = [encoded, ...encodePayloads(payloads.map(bytes))]
        return { ...session.takeNumber(meta.sent_at_ms), content }
      })
      // Padding is the sealer's, and the frames of one batch differ in it here.
      for (const padding of ['padme', 'none']) {
        const wires = session.seal(new FrameSealer(drawing(engine, frames), padding), pending)
        for (const [i, { input: frame, steps: frameExpected }] of frames.entries())
          if (frame.padding === padding) assertSame(wires[i], frameExpected.wire, name, engine)
      }
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
