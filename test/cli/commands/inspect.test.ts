import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex, utf8 } from '../../../src/base/bytes.ts'
import { SubrosaError } from '../../../src/base/errors.ts'
import { printableJson } from '../../../src/base/printable.ts'
import { dissect } from '../../../src/cli/inspect/dissect.ts'
import { Judge } from '../../../src/cli/inspect/judge.ts'
import { outline } from '../../../src/cli/inspect/outline.ts'
import { loadIdentity } from '../../../src/identity/keyfiles/key-file.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { signNotice } from '../../../src/keys/notices.ts'
import { type HeldPlan, verifyPlan } from '../../../src/keys/plan.ts'
import { signTick } from '../../../src/keys/ticks.ts'
import { agentPaths } from '../../../src/setup/layout.ts'
import { newestPlan } from '../../../src/setup/plan-records.ts'
import { encodeSessionRequest } from '../../../src/wire/handshake.ts'
import { pack } from '../../../src/wire/msgpack.ts'
import { encodePage, encodeQuery, QueryKind, writePlanCursor } from '../../../src/wire/queries.ts'
import { encodeSealed, encodeSealedHeader } from '../../../src/wire/sealed.ts'
import {
  encodeAnnouncement,
  encodeRevocation,
  encodeSignedAnnouncement,
  encodeStatement,
} from '../../../src/wire/statements.ts'
import { encodeSignedTick, encodeTick } from '../../../src/wire/ticks.ts'
import { readVectors } from '../../crypto/vectors.ts'
import { forgeToken, goodClaims } from '../../identity/tokens.ts'
import { createWholeRealm, temporaryFolder } from '../../setup/running-realm.ts'
import { engine, newAuthority } from '../../support/identities.ts'
import { World } from '../../support/statements.ts'
import { mutationsOf, packedArrays } from '../../wire/mutations.ts'
import { announcement, header, order, plan, revocation, tick } from '../../wire/samples.ts'
import { type Outcome, start } from '../run.ts'
import { UNPRINTABLE } from '../unprintable.ts'

interface StatementVector {
  readonly name: string
  readonly hash: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly token?: string | null
  readonly live_kid?: string
  readonly wire: string
}

const statements = readVectors<{
  realm: string
  statements: readonly StatementVector[]
  announcements: readonly StatementVector[]
}>('subrosa/statements.json')

/** Those that an authority has signed: under pins the realm's own key does. */
const plans = readVectors<{ plans: readonly StatementVector[] }>('subrosa/plans.json').plans.filter(
  ({ name }) => !name.includes('under pins'),
)

const { ticks } = readVectors<{
  ticks: readonly {
    readonly name: string
    readonly fields: Readonly<Record<string, unknown>>
    readonly answers: readonly { readonly wire: string }[]
    readonly broadcast: string | null
  }[]
}>('subrosa/ticks.json')

/** The wire messages of all ticks, with their fields. */
const tickVectors: readonly StatementVector[] = ticks.flatMap(({ name, fields, answers, broadcast }) =>
  [...answers.map(({ wire }) => wire), broadcast].flatMap((wire) =>
    wire === null ? [] : [{ name, hash: '', fields, wire }],
  ),
)

const sealed = readVectors<{
  messages: readonly {
    name: string
    input: { epoch: number; sent_at_ms: number; padding: string; recipients: readonly { kid: string }[] }
    steps: { mid: string; enc: string; COM: string; H: string; P: string; ciphertext: string; wire: string }
  }[]
}>('subrosa/sealed-message.json')

const { sessions } = readVectors<{
  sessions: readonly {
    name: string
    sid: string
    refusals: readonly { reason: number; kid: string; tag: string; wire: string }[]
    frames: readonly {
      input: { counter: number; sent_at_ms: number }
      steps: { P: string; plaintext: string; wire: string }
    }[]
  }[]
}>('subrosa/sessions.json')

const QUERY = encodeQuery({ nonce: new Uint8Array(16), kind: QueryKind.tick, cursor: undefined })

async function inspect(input: Uint8Array | string, ...argv: readonly string[]): Promise<Outcome> {
  async function* stdin() {
    yield typeof input === 'string' ? utf8(input) : input
  }
  return start(['inspect', ...argv], {}, stdin()).outcome
}

async function inspected(input: Uint8Array, ...argv: readonly string[]) {
  const { code, stdout, stderr } = await inspect(input, '--json', ...argv)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

describe('a sealed message', () => {
  it.each(sealed.messages.map((vector) => [vector.name, vector] as const))(
    'shows what can be seen without a key: %s',
    async (_name, { input, steps }) => {
      const shown = await inspected(fromHex(steps.wire))
      const wraps = steps.H.length
      expect(shown).toMatchObject({
        version: 1,
        bytes: steps.wire.length / 2,
        suite: 1,
        epoch: input.epoch,
        sentAt: new Date(input.sent_at_ms).toISOString(),
        ephemeralKey: steps.enc,
        recipients: input.recipients.length,
        commitment: steps.COM,
        headerBytes: wraps / 2,
        ciphertextBytes: steps.ciphertext.length / 2,
        bodyBytes: 32 + steps.ciphertext.length / 2,
      })
      expect(shown.messageId.replaceAll('-', '')).toBe(steps.mid)
      expect(shown.kids).toHaveLength(input.recipients.length)
      expect(JSON.stringify(shown)).not.toContain(steps.P.slice(0, 16))
    },
  )

  it.each(sealed.messages.map((vector) => [vector.name, vector] as const))(
    'says within which bounds its content is as long as it is: %s',
    async (_name, { input, steps }) => {
      const { contentBytes, contentBytesAtLeast, contentBytesAtMost } = await inspected(fromHex(steps.wire))
      const length = steps.P.length / 2
      if (input.padding === 'none' && contentBytes !== undefined) {
        expect(contentBytes).toBe(length)
        return
      }
      expect(contentBytesAtLeast).toBeLessThanOrEqual(length)
      expect(contentBytesAtMost).toBeGreaterThanOrEqual(length)
    },
  )

  it('says what receivers would refuse, and that it may not be decrypted', async () => {
    const bytes = encodeSealed(0, encodeSealedHeader(header({ suite: 2 })), new Uint8Array(200))
    const { stdout, code } = await inspect(bytes)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^suite note +not known here: receivers refuse it$/m)
    expect(stdout).toMatch(/^sent at +the message id is no UUIDv7: receivers refuse it$/m)
    expect(stdout).toMatch(/^inside +sender, subject, reply, headers and payload: nothing of them shows/m)
  })
})

describe('a statement', () => {
  const byAuthority = [...statements.statements, ...statements.announcements, ...plans].filter(
    ({ name }) => !/notice|order by a rotation/.test(name),
  )
  const byServices = [
    ...statements.statements.filter(({ name }) => /notice|order by a rotation/.test(name)),
    ...tickVectors,
  ]
  const named = (vectors: readonly StatementVector[]) =>
    vectors.map((vector) => [vector.name, vector] as const)
  const trust = new Trust(engine, { authority: [statements.realm] })
  /** The plans of the vectors, by version: of two of one version the one that names this service. */
  const planOf = (version: unknown, rotator: string): HeldPlan | undefined =>
    plans
      .map(({ wire }) => verifyPlan({ engine, trust }, fromHex(wire), Number.MAX_SAFE_INTEGER))
      .find((held) => held.version === version && held.rotators.includes(rotator))

  it.each(named([...byAuthority, ...byServices]))(
    'shows all its fields, and that nothing is verified: %s',
    async (_name, vector) => {
      const shown = await inspected(fromHex(vector.wire))
      expect(shown.verified).toBe(false)
      expect(shown.verification).toMatch(/^NOT verified/)
      const text = JSON.stringify(shown)
      const isText = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number'
      for (const [field, value] of Object.entries(vector.fields)) {
        // Tokens, epochs and schedules are shown taken apart, and times as dates.
        if (['token', 'keys', 'epoch', 'schedules', 'former', 'leaves', 'past', 'standing'].includes(field))
          continue
        const isTime = /not_|since|until|now|made|^at$/.test(field)
        for (const item of [value].flat().filter((one) => isText(one) && one !== ''))
          expect(text, field).toContain(isTime ? new Date(Number(item)).toISOString() : String(item))
      }
      if (vector.live_kid !== undefined) expect(text).toContain(vector.live_kid)
      expect(shown.token?.name ?? shown.signedBy ?? shown.rotator).toBeDefined()
    },
  )

  it.each(named(byAuthority))('is verified where somebody says whom to trust: %s', async (_name, vector) => {
    const shown = await inspected(fromHex(vector.wire), '--authority', statements.realm)
    expect(shown.verified).toBe(true)
    expect(shown.verification).toContain('whether its signer is revoked is not known here')
  })

  it.each(named(byServices))(
    'of a rotation service is verified where the plan is known, and else says that it is not: %s',
    async (_name, vector) => {
      const bytes = fromHex(vector.wire)
      const shown = await inspected(bytes, '--authority', statements.realm)
      expect(shown).toMatchObject({
        verified: false,
        verification: expect.stringMatching(/^NOT verified: .*--realm$/),
      })
      const rotator = String(vector.fields['rotator'] ?? '')
      const held =
        rotator === '' ? planOf(1, plansOf1Rotator()) : planOf(vector.fields['plan_version'], rotator)
      if (held === undefined) return
      const { anatomy, faults } = dissect({ engine, judge: new Judge(engine, trust, held) }, bytes)
      expect(anatomy).toMatchObject({ verified: true })
      expect(faults).toEqual([])
      // Of another plan it says nothing.
      const other = new Judge(engine, trust, { ...held, version: held.version + 1 })
      if (rotator !== '') expect(dissect({ engine, judge: other }, bytes).anatomy['verified']).toBe(false)
    },
  )

  /** The only service of the first plan. */
  function plansOf1Rotator(): string {
    const [first] = plans
    return first === undefined
      ? ''
      : (verifyPlan({ engine, trust }, fromHex(first.wire), Number.MAX_SAFE_INTEGER).rotators[0] ?? '')
  }

  it('of a rotation service does not hold where another one has signed it, or the epoch is another', () => {
    const world = new World()
    const judge = new Judge(engine, new Trust(engine, { authority: [world.realm] }), world.held)
    const faultsOf = (bytes: Uint8Array) => dissect({ engine, judge }, bytes).faults
    const { publicKey: rotator } = world.rotator
    expect(faultsOf(world.tick({ rotator }))).toEqual([])
    const forged = signTick(world.identity('mallory'), {
      ...tick({ realm: world.realm, rotator, planVersion: 1 }),
    })
    expect(
      faultsOf(encodeSignedTick({ ...forged, nonce: undefined, index: undefined, path: undefined })),
    ).toHaveLength(1)
    const epoch = world.epoch(3)
    expect(faultsOf(signNotice(world.rotator, epoch, 1))).toEqual([])
    for (const terms of [
      { ...epoch, graceMs: 1 },
      { ...epoch, number: 0 },
    ])
      expect(faultsOf(signNotice(world.rotator, terms, 1))).toMatchObject([{ code: 'ERR_PLAN_INVALID' }])
  })

  it.each(named(byAuthority))('fails where it does not hold under that trust: %s', async (_name, vector) => {
    if (vector.name.startsWith('an order')) return
    const argv = ['--json', '--authority', newAuthority().publicKey]
    const { code, stdout, stderr } = await inspect(fromHex(vector.wire), ...argv)
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      verified: false,
      verification: expect.stringMatching(/does NOT hold/),
    })
    expect(stderr).toMatch(/^subrosa: error: .+ \[ERR_/)
  })

  it.each(named(byAuthority))('fails when a bit of its signature is another: %s', async (_name, vector) => {
    const bytes = fromHex(vector.wire)
    const signature = 'signature' in vector ? String(vector.signature) : ''
    const at = vector.wire.indexOf(signature) / 2
    bytes[at + 40] = (bytes[at + 40] ?? 0) ^ 1
    const { code, stdout } = await inspect(bytes, '--authority', statements.realm)
    expect(`${code} ${stdout}`).toMatch(/^1 |NOT verified: no authority has signed it/)
  })

  it('of a realm whose folder is there is verified by its newest plan', async () => {
    const folder = await temporaryFolder()
    try {
      const dir = join(folder.path, 'realm')
      const realm = await createWholeRealm({ dir })
      const { kept, plan: held } = await newestPlan(realm)
      const identity = await loadIdentity(`file:${agentPaths(dir, 'rotator').identity}`)
      const signed = signTick(identity, {
        ...tick({ realm: realm.key, rotator: identity.publicKey, planVersion: held.version }),
      })
      const bytes = encodeSignedTick({ ...signed, nonce: undefined, index: undefined, path: undefined })
      expect(await inspected(kept.plan, '--realm', dir)).toMatchObject({
        type: 'plan',
        verified: true,
        planVersion: 1,
      })
      expect(await inspected(bytes, '--realm', dir)).toMatchObject({ type: 'tick', verified: true })
    } finally {
      await folder.remove()
    }
  })

  it('tells a retirement from an announcement of keys', async () => {
    const retirement = statements.announcements.find(({ fields }) => fields['mpk'] === '')
    expect(await inspected(fromHex(retirement?.wire ?? ''))).toMatchObject({
      retires: expect.any(String),
      keys: [],
    })
  })

  it.each([
    [QueryKind.tick, undefined, {}],
    [QueryKind.revocations, undefined, { from: 'the beginning' }],
    [QueryKind.revocations, writePlanCursor(7), { from: 7 }],
    [QueryKind.byHash, new Uint8Array(64).fill(1), { hashes: ['01'.repeat(32), '01'.repeat(32)] }],
    [QueryKind.plan, writePlanCursor(3, 100), { from: 'plan 3, place 100 of its list' }],
    [QueryKind.buckets, undefined, { asks: 'the hashes of all buckets' }],
    [QueryKind.buckets, Uint8Array.of(0, 255), { buckets: [0, 255] }],
    [QueryKind.handOver, utf8('junk'), undefined],
  ])('says what a query of kind %i asks for', async (kind, cursor, asked) => {
    const nonce = new Uint8Array(16).fill(7)
    const { code, stdout } = await inspect(encodeQuery({ nonce, kind, cursor }), '--json')
    expect(code).toBe(asked === undefined ? 1 : 0)
    const shown = JSON.parse(stdout)
    expect(shown).toMatchObject({ type: 'query', nonce: '07'.repeat(16) })
    expect(shown.kind).toMatch(new RegExp(`^${kind} \\(\\w+\\)$`))
    expect(shown).toMatchObject(asked ?? { handsOver: { malformed: expect.any(String) } })
  })

  it('is not what a reserved type says', async () => {
    for (const type of [12, 14])
      expect(await inspect(Uint8Array.of(0xc1, 1, type, 0x90))).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`its type ${type} is not known here`),
      })
  })
})

describe('a message of a session', () => {
  it.each(sessions.map((vector) => [vector.name, vector] as const))(
    'shows what a frame has in clear: %s',
    async (_name, { sid, frames }) => {
      for (const { input, steps } of frames) {
        const shown = await inspected(fromHex(steps.wire))
        expect(shown).toMatchObject({
          type: 'frame',
          session: sid,
          number: input.counter,
          sentAt: new Date(input.sent_at_ms).toISOString(),
          plaintextBytes: steps.plaintext.length / 2,
        })
        expect(JSON.stringify(shown)).not.toContain(steps.P.slice(0, 16))
      }
    },
  )

  it('shows which session is asked for', async () => {
    const sid = new Uint8Array(16).fill(7)
    expect(await inspected(encodeSessionRequest(sid))).toMatchObject({
      type: 'session request',
      session: hex(sid),
    })
  })

  it('shows who refuses a session, and why', async () => {
    for (const { sid, refusals } of sessions) {
      for (const { reason, kid, tag, wire } of refusals) {
        const shown = await inspected(fromHex(wire))
        expect(shown).toMatchObject({ type: 'refusal of a session', session: sid, kid, tag })
        expect(shown.reason).toMatch(new RegExp(`^${reason} `))
      }
    }
  })

  it('is malformed where it is cut', async () => {
    expect(await inspect(Uint8Array.of(0xc1, 1, 2, 0x90))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('malformed frame'),
    })
  })
})

describe('a page', () => {
  const page = (...held: readonly Uint8Array[]) =>
    encodePage({ nonce: new Uint8Array(16), kind: QueryKind.revocations, statements: held, next: undefined })
  const [first = '', second = ''] = statements.statements.map(({ wire }) => wire)

  it('shows the statements that it holds', async () => {
    const shown = await inspected(page(fromHex(first), fromHex(second)), '--authority', statements.realm)
    expect(shown.nonce).toBe('00'.repeat(16))
    expect(shown.statements.map(({ type, verified }: Record<string, unknown>) => [type, verified])).toEqual([
      ['revocation', true],
      ['revocation', true],
    ])
  })

  it('fails when one of them is malformed, and shows the others', async () => {
    const { code, stdout, stderr } = await inspect(page(fromHex(first), utf8('junk')), '--json')
    expect(code).toBe(1)
    expect(JSON.parse(stdout).statements).toMatchObject([
      { type: 'revocation' },
      { malformed: expect.any(String) },
    ])
    expect(stderr).toContain('malformed statement')
  })

  it('is not taken apart inside of itself', async () => {
    let nested = page()
    for (let i = 0; i < 1000; i++) nested = page(nested)
    expect(await inspect(nested)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('malformed statement'),
    })
  })
})

describe('what somebody has captured', () => {
  const wire = fromHex(sealed.messages[0]?.steps.wire ?? '')
  const base64 = Buffer.from(wire).toString('base64')
  const digits = hex(wire)

  it.each<[string, Uint8Array | string]>([
    ['as it travels', wire],
    ['with the line end of nats sub --raw', concat(wire, utf8('\n'))],
    ['in hexadecimal', digits],
    ['in upper case', digits.toUpperCase()],
    ['with 0x before it', `0x${digits}\n`],
    ['with colons', digits.replace(/(..)(?=.)/g, '$1:')],
    ['in lines', digits.replace(/(.{32})/g, '$1\n  ')],
    ['in base64', `${base64}\n`],
    ['in base64 without padding', base64.replace(/=+$/, '')],
    ['in base64 of the other alphabet', Buffer.from(wire).toString('base64url')],
    ['in base64 in lines', base64.replace(/(.{76})/g, '$1\r\n')],
  ])('is read %s', async (_what, input) => {
    const { code, stdout } = await inspect(input, '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ type: 'sealed message', bytes: wire.length })
  })

  it('keeps a line end that belongs to the message', async () => {
    const cursor = Uint8Array.of(1, 0x0a)
    const query = encodeQuery({ nonce: new Uint8Array(16), kind: QueryKind.buckets, cursor })
    expect(query.at(-1)).toBe(0x0a)
    expect(await inspected(query)).toMatchObject({ bytes: query.length, buckets: [1, 10] })
  })

  it('is read from a file, and from the standard input by its name', async () => {
    const folder = await temporaryFolder()
    try {
      const path = join(folder.path, 'captured')
      await writeFile(path, wire)
      const fromFile = await start(['inspect', path]).outcome
      expect(fromFile).toEqual(await inspect(wire, '-'))
      expect(fromFile.stdout).toMatch(/^type +sealed message$/m)
      const missing = await start(['inspect', join(folder.path, 'missing')]).outcome
      expect(missing).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('(ENOENT) [ERR_SETUP]'),
      })
    } finally {
      await folder.remove()
    }
  })

  it('is refused when it has no end', async () => {
    async function* endless() {
      for (;;) yield new Uint8Array(64 * 1024 * 1024)
    }
    const { code, stderr } = await start(['inspect'], {}, endless()).outcome
    expect(code).toBe(1)
    expect(stderr).toContain('more than the longest message')
  })
})

describe('what is malformed', () => {
  const statement = (structure: Uint8Array, type: 5 | 10 | 11 = 5) =>
    encodeStatement(type, { structure, signature: new Uint8Array(64), token: undefined })
  const good = encodeSealed(0, encodeSealedHeader(header()), new Uint8Array(200))
  const sealedWith = (changes: Parameters<typeof header>[0]) =>
    encodeSealed(0, encodeSealedHeader(header(changes)), new Uint8Array(200))

  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'this is no message of subrosa: it is empty'],
    ['plaintext', utf8('{"id":7}'), 'it begins with the byte 0x7b, and not with 0xc1'],
    ['text that happens to be hexadecimal', utf8('deadbeef'), 'it begins with the byte 0x64'],
    ['a cut preamble', Uint8Array.of(0xc1, 1), 'it ends within its first three bytes'],
    ['another version', Uint8Array.of(0xc1, 2, 0, 0x90), 'its version 2 is not known here'],
    ['an unknown type', Uint8Array.of(0xc1, 1, 200, 0x90), 'its type 200 is not known here'],
    ['a cut message', good.subarray(0, good.length - 1), 'malformed sealed message: it ends too early'],
    ['bytes behind it', concat(good, utf8('x')), 'malformed sealed message: something follows its'],
    [
      'a short body',
      encodeSealed(0, encodeSealedHeader(header()), new Uint8Array(115)),
      'malformed sealed message: body',
    ],
    [
      'a header that is none',
      encodeSealed(0, utf8('junk'), new Uint8Array(200)),
      'malformed header of a sealed message',
    ],
    ['a type said twice, differently', sealedWith({ type: 1 }), 'malformed header of a sealed message: type'],
    [
      'a short message id',
      sealedWith({ mid: new Uint8Array(15) }),
      'malformed header of a sealed message: mid',
    ],
    ['a short key', sealedWith({ enc: new Uint8Array(31) }), 'malformed header of a sealed message: enc'],
    ['no recipient', sealedWith({ recipients: 0 }), 'malformed header of a sealed message: wraps'],
    ['a short reason for a nkey', statement(pack(['A', 'B', 0, 0, '', 0])), 'malformed revocation: realm'],
    [
      'a field too many',
      statement(concat(Uint8Array.of(0x97), encodeRevocation(revocation()).subarray(1), Uint8Array.of(0))),
      'malformed revocation: 1 fields too many',
    ],
    [
      'a field too few',
      statement(pack([revocation().realm, revocation().identity, 0, 0])),
      'malformed revocation: reason is missing',
    ],
    [
      'text for a number',
      statement(pack([order().realm, 'seven', new Uint8Array(32), 0]), 10),
      'malformed order: number',
    ],
    [
      'a wrong item of a list',
      statement(
        pack([plan().realm, 1, 0, 1, [plan().rotators[0], 7], 1, undefined, [], new Uint8Array(32)]),
        11,
      ),
      'malformed plan: rotators, item 2',
    ],
    [
      'a query of an unknown kind',
      concat(Uint8Array.of(0xc1, 1, 7), pack([new Uint8Array(16), 9, undefined])),
      'malformed query: kind',
    ],
  ])('is said, with the field: %s', async (_what, bytes, message) => {
    const { code, stdout, stderr } = await inspect(bytes)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).toContain('[ERR_MALFORMED]')
  })
})

describe('what a stranger has written', () => {
  const EVIL = '\u001b]0;owned\u0007\u009b2J\u202e\u2028\r\n'

  it('reaches the terminal as escapes: reasons, names, tokens', async () => {
    const reason = encodeStatement(5, {
      structure: encodeRevocation(revocation({ reason: EVIL })),
      signature: new Uint8Array(64),
      token: EVIL,
    })
    const name = encodeSignedAnnouncement({
      structure: encodeAnnouncement(announcement({ agent: EVIL, token: EVIL })),
      signature: new Uint8Array(64),
      proof: undefined,
    })
    for (const bytes of [reason, name]) {
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await inspect(bytes, ...json)
        expect(stdout).toContain('owned')
        expect(`${stdout}${stderr}`.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
      }
    }
  })

  it('reaches the terminal as escapes from inside of a token, too', async () => {
    const claims = goodClaims()
    claims.nats.subrosa['roles'] = [EVIL]
    const structure = encodeAnnouncement(announcement({ token: forgeToken(claims) }))
    const signed = { structure, signature: new Uint8Array(64), proof: undefined }
    const { stdout, code } = await inspect(encodeSignedAnnouncement(signed))
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ {2}roles +\\u001b\]0;owned/m)
    expect(stdout.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
  })

  it('may be a time that no calendar has in a tick', async () => {
    const bytes = encodeSignedTick({
      structure: encodeTick(tick({ now: Number.MAX_SAFE_INTEGER })),
      signature: new Uint8Array(64),
      nonce: undefined,
      index: undefined,
      path: undefined,
    })
    expect((await inspected(bytes)).now).toContain('beyond')
  })

  it('may be an announcement in another realm, with a genuine token', async () => {
    const world = new World()
    const show = async (realm: string) => {
      const { bytes } = world.announcement(world.identity('alice'), world.epoch(), { realm })
      return inspect(bytes, '--authority', world.realm)
    }
    expect((await show(world.realm)).code).toBe(0)
    expect(await show(newAuthority().publicKey)).toMatchObject({ code: 1 })
  })

  it('may be a time that no calendar has', async () => {
    const structure = encodeRevocation(
      revocation({ since: Number.MAX_SAFE_INTEGER, until: Number.MAX_SAFE_INTEGER }),
    )
    const bytes = encodeStatement(5, { structure, signature: new Uint8Array(64), token: undefined })
    expect((await inspected(bytes)).since).toContain('beyond')
    expect(await inspect(bytes, '--authority', statements.realm)).toMatchObject({ code: 1 })
  })

  it('is no reason to look for a realm: nothing is verified unless somebody asks for it', async () => {
    expect((await inspect(QUERY)).code).toBe(0)
    expect(await inspect(QUERY, '--realm', '/nonexistent')).toMatchObject({ code: 1 })
    expect(await inspect(QUERY, '--authority', 'junk')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_KEY_INVALID'),
    })
  })
})

describe('any bytes', () => {
  const trust = new Trust(engine, { authority: [statements.realm] })
  const [first] = plans
  const held = verifyPlan({ engine, trust }, fromHex(first?.wire ?? ''), Number.MAX_SAFE_INTEGER)
  const judge = new Judge(engine, trust, held)
  const wires = [...statements.statements, ...statements.announcements, ...plans, ...tickVectors].map(
    ({ wire }) => fromHex(wire),
  )
  const samples = [
    ...wires,
    ...sealed.messages.map(({ steps }) => fromHex(steps.wire)),
    encodePage({
      nonce: new Uint8Array(16),
      kind: QueryKind.announcements,
      statements: wires,
      next: new Uint8Array(8),
    }),
    encodeQuery({ nonce: new Uint8Array(16), kind: QueryKind.handOver, cursor: wires[0] }),
    QUERY,
  ]
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => concat(Uint8Array.of(0xc1, 1), bytes)),
    ...Array.from({ length: 12 }, (_, type) => packedArrays(Uint8Array.of(0xc1, 1, type))),
    mutationsOf(samples),
  )

  it.each([
    ['without trust', undefined],
    ['with trust', judge],
  ])('are taken apart or refused, and never put a control character out: %s', (_what, asked) => {
    fc.assert(
      fc.property(anything, (bytes) => {
        try {
          const { anatomy, faults } = dissect({ engine, judge: asked }, bytes)
          for (const line of outline(anatomy)) expect(line).not.toMatch(UNPRINTABLE)
          expect(printableJson(anatomy).replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
          for (const fault of faults) expect(fault).toBeInstanceOf(SubrosaError)
        } catch (error) {
          expect(error).toMatchObject({ name: 'SubrosaError', code: 'ERR_MALFORMED' })
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('in text of any kind are read or refused by the command', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'binary' }), fc.base64String(), fc.string()),
        async (text) => {
          const { code, stdout, stderr } = await inspect(text)
          expect([0, 1]).toContain(code)
          expect(`${stdout}${stderr}`.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
        },
      ),
      { numRuns: 50 },
    )
  })
})
