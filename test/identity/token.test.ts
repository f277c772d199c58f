import { describe, expect, it } from 'vitest'
import { fromHex, hex, utf8 } from '../../src/base/bytes.ts'
import { generateIdentityKey } from '../../src/identity/identity.ts'
import { decodeJwt } from '../../src/identity/jwt.ts'
import { decodeNkey } from '../../src/identity/nkey.ts'
import { generateSigningKey, SigningKey } from '../../src/identity/signing-key.ts'
import { issueToken, readClaims, verifyToken } from '../../src/identity/token.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import {
  agent,
  authority,
  type Claims,
  EXPIRES_AT_MS,
  engine,
  forgeToken,
  goodClaims,
  ISSUED_AT_MS,
  issue,
  request,
  segment,
} from './tokens.ts'

const trusted = [authority.publicKey]
const verify = (token: string) => verifyToken(engine, token, trusted)
const invalid = expect.objectContaining({ name: 'SubrosaError', code: 'ERR_TOKEN_INVALID' })
const other = generateSigningKey(engine, 'A').key

/** A token with changed claims and a good signature. */
function withClaims(change: (claims: Claims) => void): string {
  const claims = goodClaims()
  change(claims)
  return forgeToken(claims)
}

describe('an identity token', () => {
  it('says what the authority signed', () => {
    const token = issue({ roles: ['rotator'], maxInstances: 3 })
    expect(verify(token)).toEqual({
      realm: authority.publicKey,
      name: 'billing',
      identity: agent.publicKey,
      issuer: authority.publicKey,
      roles: ['rotator'],
      permissions: request().permissions,
      maxInstances: 3,
      since: ISSUED_AT_MS / 1000,
      succeeds: [],
      issuedAt: ISSUED_AT_MS / 1000,
      expiresAt: EXPIRES_AT_MS / 1000,
    })
    expect(readClaims(token)).toEqual(verify(token))
  })

  it('says since when its identity has the name: not later than it was issued', () => {
    const issuedAt = ISSUED_AT_MS / 1000
    const saying = (since: unknown): string =>
      withClaims(({ nats: { subrosa } }) => {
        subrosa['since'] = since
      })
    for (const since of [0, issuedAt - 1, issuedAt]) expect(verify(saying(since)).since).toBe(since)
    for (const since of [issuedAt + 1, -1, 1.5, '1', null])
      expect(() => verify(saying(since))).toThrow(invalid)
    expect(verify(issue({ since: 7 }))).toMatchObject({ since: 7, issuedAt })
  })

  it('says which identities had the name before: at most eight', () => {
    const saying = (succeeds: unknown): string =>
      withClaims(({ nats: { subrosa } }) => {
        subrosa['succeeds'] = succeeds
      })
    const eight = Array.from({ length: 8 }, () => generateIdentityKey(engine).publicKey)
    expect(verify(saying(eight)).succeeds).toEqual(eight)
    expect(verify(issue({ succeeds: eight })).succeeds).toEqual(eight)
    for (const succeeds of [[...eight, agent.publicKey], ['U'], [authority.publicKey], agent.publicKey, [1]])
      expect(() => verify(saying(succeeds))).toThrow(invalid)
  })

  it('says which plan was the newest when it was issued, or nothing of it', () => {
    const saying = (plan: unknown): string =>
      withClaims(({ nats: { subrosa } }) => {
        subrosa['plan'] = plan
      })
    expect(verify(issue()).plan).toBeUndefined()
    expect(verify(issue({ plan: 7 })).plan).toBe(7)
    for (const plan of [1, Number.MAX_SAFE_INTEGER]) expect(verify(saying(plan)).plan).toBe(plan)
    for (const plan of [0, -1, 1.5, '1', null, 2 ** 53, [1]])
      expect(() => verify(saying(plan))).toThrow(invalid)
  })

  it('is in the form of NATS: its header, version 2, type generic', () => {
    const [header = '', payload = ''] = issue().split('.')
    expect(Buffer.from(header, 'base64url').toString()).toBe('{"typ":"JWT","alg":"ed25519-nkey"}')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    expect(claims).toMatchObject({ sub: agent.publicKey, iss: authority.publicKey, name: 'billing' })
    expect(claims.nats).toMatchObject({ type: 'generic', version: 2 })
    expect(claims.jti).toMatch(/^[A-Z2-7]{52}$/)
  })

  it('is verified on both engines', () => {
    for (const each of engines) expect(verifyToken(each, issue(), trusted).name).toBe('billing')
  })

  it('is accepted from any of several authorities', () => {
    expect(verifyToken(engine, issue({}, other), [authority.publicKey, other.publicKey]).issuer).toBe(
      other.publicKey,
    )
  })

  it('has defaults for what it does not say: no roles, nothing allowed, 16 instances', () => {
    const claims = verify(
      withClaims(({ nats: { subrosa } }) => {
        for (const name of ['roles', 'pub', 'sub', 'max_instances']) delete subrosa[name]
      }),
    )
    expect(claims).toMatchObject({
      roles: [],
      permissions: { pub: { allow: [], deny: [] }, sub: { allow: [], deny: [] } },
      maxInstances: 16,
    })
  })

  it('takes roles from its claim alone, never from tags', () => {
    const claims = verify(
      withClaims((claims) => {
        claims['tags'] = ['rotator']
        claims['roles'] = ['rotator']
        claims.nats['tags'] = ['rotator', 'role:revoker']
        claims.nats['roles'] = ['revoker']
      }),
    )
    expect(claims.roles).toEqual([])
  })

  it('has no use for issuer_account: only its issuer counts', () => {
    const token = forgeToken(
      { ...goodClaims(), iss: other.publicKey, issuer_account: authority.publicKey },
      { signer: other },
    )
    expect(() => verify(token)).toThrow(expect.objectContaining({ code: 'ERR_UNKNOWN_AUTHORITY' }))
    const nested = withClaims((claims) => {
      claims['iss'] = other.publicKey
      claims.nats['issuer_account'] = authority.publicKey
    })
    expect(() => verify(nested)).toThrow(expect.objectContaining({ code: 'ERR_UNKNOWN_AUTHORITY' }))
  })
})

describe('a token of the wrong signer', () => {
  it('is refused when the issuer is not trusted', () => {
    expect(() => verify(issue({}, other))).toThrow(
      expect.objectContaining({
        code: 'ERR_UNKNOWN_AUTHORITY',
        hint: expect.stringContaining('trust.authority'),
      }),
    )
  })

  it('is refused when nobody is trusted', () => {
    expect(() => verifyToken(engine, issue(), [])).toThrow(
      expect.objectContaining({ code: 'ERR_UNKNOWN_AUTHORITY' }),
    )
  })

  it('is refused when it names a trusted issuer and another one signed it', () => {
    expect(() => verify(forgeToken(goodClaims(), { signer: other }))).toThrow(invalid)
  })

  it('is refused when the agent signed it itself', () => {
    const self = new SigningKey(engine, 'U', engine.ed25519KeyPair(agent.seed))
    expect(() => verify(forgeToken(goodClaims(), { signer: self }))).toThrow(invalid)
    expect(() => verify(forgeToken({ ...goodClaims(), iss: self.publicKey }, { signer: self }))).toThrow(
      invalid,
    )
  })

  it.each(['O', 'U'] as const)(
    'is refused when the issuer is an nkey of kind %s, even a trusted one',
    (kind) => {
      const { key } = generateSigningKey(engine, kind)
      const token = forgeToken({ ...goodClaims(), iss: key.publicKey }, { signer: key })
      expect(() => verifyToken(engine, token, [key.publicKey])).toThrow(invalid)
    },
  )
})

describe('a token that was tampered with', () => {
  it('is refused with any character of it changed', () => {
    const token = issue()
    for (let i = 0; i < token.length; i += 3) {
      const replaced = token[i] === 'A' ? 'B' : 'A'
      expect(() => verify(`${token.slice(0, i)}${replaced}${token.slice(i + 1)}`)).toThrow(invalid)
    }
  })

  it('is refused with the claims of another token', () => {
    const [header, , signature] = issue().split('.')
    const [, payload] = issue({ roles: ['rotator'] }).split('.')
    expect(() => verify(`${header}.${payload}.${signature}`)).toThrow(
      expect.objectContaining({ code: 'ERR_TOKEN_INVALID', message: expect.stringContaining('signature') }),
    )
  })

  it('is refused when the signature covers the payload alone, as in version 1 of NATS', () => {
    const [header, payload = ''] = issue().split('.')
    const signature = Buffer.from(authority.sign(utf8(payload))).toString('base64url')
    expect(() => verify(`${header}.${payload}.${signature}`)).toThrow(invalid)
  })

  it('is refused without a signature, with a short one, and with a long one', () => {
    const [header, payload, signature = ''] = issue().split('.')
    const bytes = Buffer.from(signature, 'base64url')
    for (const wrong of [Buffer.alloc(0), bytes.subarray(0, 63), Buffer.concat([bytes, Buffer.alloc(1)])]) {
      expect(() => verify(`${header}.${payload}.${wrong.toString('base64url')}`)).toThrow(invalid)
    }
  })
})

describe('the form of a token', () => {
  const [header = '', payload = '', signature = ''] = issue().split('.')

  it.each([
    ['nothing', ''],
    ['two segments', `${header}.${payload}`],
    ['four segments', `${header}.${payload}.${signature}.`],
    ['an empty header', `.${payload}.${signature}`],
    ['an empty payload', `${header}..${signature}`],
    ['white space at its end', `${header}.${payload}.${signature} `],
    ['a line break at its end', `${header}.${payload}.${signature}\n`],
    ['a line break inside', `${header}.\n${payload}.${signature}`],
    ['base64 padding', `${header}.${payload}.${signature}==`],
    ['the alphabet of plain base64', `${header}.${payload}.${'+/'.repeat(43)}`],
    ['characters outside the alphabet', `${header}.${payload}!.${signature}`],
    ['more than 16 KiB', `${header}.${payload}.${'A'.repeat(16_384)}`],
    ['a payload that is no JSON', forgeToken('not json')],
    ['a payload that is a list', forgeToken([])],
    ['a payload that is null', forgeToken('null')],
    ['a payload that is a string', forgeToken('"a"')],
  ])('is refused with %s', (_, token) => {
    expect(() => verify(token)).toThrow(invalid)
  })

  it('is refused above 16 KiB, although the signature fits', () => {
    const padded = (length: number) => forgeToken({ ...goodClaims(), note: 'x'.repeat(length) })
    expect(verify(padded(8000)).name).toBe('billing')
    expect(() => verify(padded(16_384))).toThrow(invalid)
  })

  it('is refused where the spare bits of base64 are not zero, which other readers ignore', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    // 64 bytes of signature leave four spare bits in the last character.
    const last = alphabet.indexOf(signature.slice(-1))
    expect(last & 15).toBe(0)
    const lenient = signature.slice(0, -1) + alphabet[last | 1]
    expect(Buffer.from(lenient, 'base64url')).toEqual(Buffer.from(signature, 'base64url'))
    expect(() => verify(`${header}.${payload}.${lenient}`)).toThrow(invalid)
  })

  it('is refused where the payload is not UTF-8', () => {
    const bytes = Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xff), Buffer.from('"}')])
    expect(() => verify(`${header}.${bytes.toString('base64url')}.${signature}`)).toThrow(invalid)
  })

  it.each<[string, unknown]>([
    ['another algorithm', { typ: 'JWT', alg: 'ed25519' }],
    ['the algorithm of version 1', { typ: 'jwt', alg: 'ed25519' }],
    ['no algorithm', { typ: 'JWT' }],
    ['the algorithm none', { typ: 'JWT', alg: 'none' }],
    ['an algorithm with a secret', { typ: 'JWT', alg: 'HS256' }],
    ['EdDSA', { typ: 'JWT', alg: 'EdDSA' }],
    ['another case of the algorithm', { typ: 'JWT', alg: 'Ed25519-nkey' }],
    ['a list for the algorithm', { typ: 'JWT', alg: ['ed25519-nkey'] }],
    ['another type', { typ: 'jwt', alg: 'ed25519-nkey' }],
    ['no type', { alg: 'ed25519-nkey' }],
    ['a third field', { typ: 'JWT', alg: 'ed25519-nkey', kid: '1' }],
    ['a key of its own', { typ: 'JWT', alg: 'ed25519-nkey', jwk: {} }],
    ['critical extensions', { typ: 'JWT', alg: 'ed25519-nkey', crit: [] }],
    ['a __proto__', '{"typ":"JWT","alg":"ed25519-nkey","__proto__":{}}'],
    ['a repeated algorithm', '{"typ":"JWT","alg":"none","alg":"ed25519-nkey"}'],
    ['a list for a header', ['JWT', 'ed25519-nkey']],
    ['null for a header', 'null'],
  ])('is refused with %s in the header, although the signature covers it', (_, wrongHeader) => {
    expect(() => verify(forgeToken(goodClaims(), { header: wrongHeader }))).toThrow(invalid)
  })

  it('takes a header in another order', () => {
    const swapped = forgeToken(goodClaims(), { header: '{"alg":"ed25519-nkey","typ":"JWT"}' })
    expect(verify(swapped).name).toBe('billing')
  })

  it.each([
    ['the name', (text: string) => text.replace('"subrosa":{', '"subrosa":{"name":"admin",')],
    ['the roles', (text: string) => text.replace('"subrosa":{', '"subrosa":{"roles":["rotator"],')],
    ['the issuer', (text: string) => text.replace('{', `{"iss":"${other.publicKey}",`)],
    ['an escaped name', (text: string) => text.replace('"subrosa":{', '"subrosa":{"n\\u0061me":"admin",')],
    ['the whole claim', (text: string) => text.replace('"subrosa":{', '"subrosa":{"v":1},"subrosa":{')],
  ])('is refused where it says %s twice', (_, change) => {
    const text = JSON.stringify(goodClaims())
    expect(change(text)).not.toBe(text)
    expect(() => verify(forgeToken(change(text)))).toThrow(invalid)
    expect(verify(forgeToken(text)).name).toBe('billing')
  })
})

/** The same text with another last character: keys are random, and one in 32 ends in any given one. */
function withOtherEnd(text: string): string {
  return text.slice(0, -1) + (text.endsWith('A') ? 'B' : 'A')
}

describe('the claims of a token', () => {
  it.each<[string, (claims: Claims) => void]>([
    ['no expiry', (claims) => delete claims['exp']],
    ['an expiry that is a string', (claims) => (claims['exp'] = '1900000000')],
    ['an expiry that is negative', (claims) => (claims['exp'] = -1)],
    ['an expiry with a fraction', (claims) => (claims['exp'] = 1.5)],
    ['an expiry that is null', (claims) => (claims['exp'] = null)],
    ['no time of issue', (claims) => delete claims['iat']],
    ['no subject', (claims) => delete claims['sub']],
    ['an account for a subject', (claims) => (claims['sub'] = authority.publicKey)],
    ['a subject with a wrong checksum', (claims) => (claims['sub'] = withOtherEnd(agent.publicKey))],
    ['no issuer', (claims) => delete claims['iss']],
    ['no claims of NATS', (claims) => delete (claims as Record<string, unknown>)['nats']],
    ['version 1', (claims) => (claims.nats['version'] = 1)],
    ['type user', (claims) => (claims.nats['type'] = 'user')],
    ['type account', (claims) => (claims.nats['type'] = 'account')],
    ['no claim of subrosa', (claims) => delete (claims.nats as Record<string, unknown>)['subrosa']],
    ['version 2 of the claim', ({ nats }) => (nats.subrosa['v'] = 2)],
    ['no version of the claim', ({ nats }) => delete nats.subrosa['v']],
    ['no realm', ({ nats }) => delete nats.subrosa['realm']],
    ['a user for a realm', ({ nats }) => (nats.subrosa['realm'] = agent.publicKey)],
    ['no name', ({ nats }) => delete nats.subrosa['name']],
    ['roles that are a string', ({ nats }) => (nats.subrosa['roles'] = 'rotator')],
    ['a role that is a number', ({ nats }) => (nats.subrosa['roles'] = [1])],
    ['nine roles', ({ nats }) => (nats.subrosa['roles'] = new Array(9).fill('a'))],
    ['permissions that are a list', ({ nats }) => (nats.subrosa['pub'] = ['>'])],
    ['permissions that are null', ({ nats }) => (nats.subrosa['sub'] = null)],
    ['an entry with a queue name', ({ nats }) => (nats.subrosa['sub'] = { allow: ['orders.> workers'] })],
    ['a misspelt deny list', ({ nats }) => (nats.subrosa['sub'] = { allow: ['>'], denies: ['a'] })],
    ['no instances', ({ nats }) => (nats.subrosa['max_instances'] = 0)],
    ['1025 instances', ({ nats }) => (nats.subrosa['max_instances'] = 1025)],
    ['half an instance', ({ nats }) => (nats.subrosa['max_instances'] = 0.5)],
    ['instances in words', ({ nats }) => (nats.subrosa['max_instances'] = 'many')],
  ])('are refused with %s', (_, change) => {
    expect(() => verify(withClaims(change))).toThrow(invalid)
  })

  it.each(['', '_', 'a b', 'a.b', '*', '>', 'ä', 'a/b', '../a', 'a\n', 'a\0', 'a'.repeat(65)])(
    'are refused with the name %j',
    (name) => {
      expect(() => verify(withClaims(({ nats }) => (nats.subrosa['name'] = name)))).toThrow(invalid)
    },
  )

  it.each(['a', 'A-1_z', '-', '__', '__proto__', 'a'.repeat(64)])('take the name %j', (name) => {
    expect(verify(withClaims(({ nats }) => (nats.subrosa['name'] = name))).name).toBe(name)
  })

  it('keep roles that this version does not know, without a meaning', () => {
    expect(verify(withClaims(({ nats }) => (nats.subrosa['roles'] = ['auditor']))).roles).toEqual(['auditor'])
  })
})

describe('tokens of NATS itself', () => {
  const { tokens } = readVectors<{
    readonly jwts: {
      readonly tokens: readonly {
        readonly alg: string
        readonly type: string
        readonly signature_valid_over_header_dot_payload: boolean
        readonly jwt: string
      }[]
    }
  }>('nats/nats-keys-vectors.json').jwts

  it('are all refused as identity tokens', () => {
    expect(tokens).toHaveLength(7)
    for (const { jwt } of tokens) {
      expect(() => verify(jwt)).toThrow(invalid)
      expect(() => readClaims(jwt)).toThrow(invalid)
    }
  })

  it('are read where their form is the one in use, and their signature covers header and payload', () => {
    let read = 0
    for (const { jwt, signature_valid_over_header_dot_payload: isCurrent } of tokens) {
      if (!isCurrent) {
        expect(() => decodeJwt(jwt)).toThrow(invalid)
        continue
      }
      const { claims, signedBytes, signature } = decodeJwt(jwt)
      const issuer = decodeNkey('O', String(claims['iss']))
      for (const each of engines) expect(each.verify(issuer, signedBytes, signature)).toBe(true)
      read++
    }
    expect(read).toBe(2)
  })

  it('are refused as user tokens with words that say so', () => {
    const user = forgeToken({
      ...goodClaims(),
      nats: { pub: {}, sub: {}, subs: -1, data: -1, payload: -1, type: 'user', version: 2 },
    })
    expect(() => verify(user)).toThrow(/NATS user tokens and creds are not accepted/)
  })
})

describe('issuing a token', () => {
  const options = { signer: authority, issuedAtMs: ISSUED_AT_MS }

  it.each(['', '_', 'a b', 'a.b', 'ä', 'a'.repeat(65)])('refuses the name %j', (name) => {
    expect(() => issueToken(engine, request({ name }), options)).toThrow(TypeError)
  })

  it('refuses an identity that is no user key', () => {
    for (const identity of [authority.publicKey, '', 'U', agent.publicKey.toLowerCase()]) {
      expect(() => issueToken(engine, request({ identity }), options)).toThrow(
        expect.objectContaining({ code: 'ERR_KEY_INVALID' }),
      )
    }
  })

  it('rounds times down to seconds', () => {
    const token = issueToken(engine, request({ expiresAtMs: 2_000_999 }), { ...options, issuedAtMs: 1_999 })
    expect(readClaims(token)).toMatchObject({ issuedAt: 1, expiresAt: 2000 })
  })

  it('gives the same token on both engines', () => {
    const { seed } = generateIdentityKey(engine)
    const texts = engines.map((each) =>
      issueToken(each, request(), {
        signer: new SigningKey(each, 'A', each.ed25519KeyPair(seed)),
        issuedAtMs: ISSUED_AT_MS,
      }),
    )
    expect(texts[0]).toBe(texts[1])
  })
})

describe('the known answers of tokens', () => {
  interface TokenVector {
    readonly name: string
    readonly claims: Claims
    readonly signed: string
    readonly signature: string
    readonly text: string
  }
  const file = readVectors<{
    readonly authority: { readonly seed: string; readonly public: string }
    readonly tokens: readonly TokenVector[]
  }>('subrosa/statements.json')

  it('are seven, one of them of a renewal', () => {
    expect(file.tokens.map(({ name }) => name)).toEqual([
      'rotator',
      'revoker',
      'alice',
      'bob',
      'carol',
      'dave',
      'dave',
    ])
  })

  it.each(engines)('are issued and verified on $name', (each) => {
    const signer = new SigningKey(each, 'A', each.ed25519KeyPair(fromHex(file.authority.seed)))
    expect(signer.publicKey).toBe(file.authority.public)
    for (const { name, claims, signed, signature, text } of file.tokens) {
      expect(text).toBe(`${signed}.${Buffer.from(signature, 'hex').toString('base64url')}`)
      expect(hex(signer.sign(utf8(signed)))).toBe(signature)
      const read = verifyToken(each, text, [signer.publicKey])
      expect(read).toMatchObject({ name, identity: claims['sub'], realm: signer.publicKey })
      const { roles, permissions, maxInstances, since, plan, issuedAt } = read
      const again = issueToken(
        each,
        {
          realm: read.realm,
          name,
          identity: read.identity,
          roles: roles.filter((role) => role === 'rotator' || role === 'revoker'),
          permissions,
          maxInstances,
          ...(plan !== undefined && { plan }),
          ...(since === issuedAt ? {} : { since }),
          expiresAtMs: read.expiresAt * 1000,
        },
        { signer, issuedAtMs: read.issuedAt * 1000 },
      )
      expect(again).toBe(text)
    }
  })

  it('are refused with the signature of another', () => {
    const [a, b] = file.tokens
    const mixed = `${a?.signed}.${Buffer.from(b?.signature ?? '', 'hex').toString('base64url')}`
    expect(() => verifyToken(engine, mixed, [file.authority.public])).toThrow(invalid)
  })
})

it('never quotes a token in an error', () => {
  const secret = 'hunter2hunter2'
  for (const token of [secret, `${segment(secret)}.${segment({ secret })}.AA`, forgeToken({ secret })]) {
    try {
      verify(token)
      expect.unreachable()
    } catch (error) {
      const text = JSON.stringify(error, Object.getOwnPropertyNames(error))
      for (const part of [secret, ...token.split('.')]) {
        if (part.length > 6) expect(text.includes(part)).toBe(false)
      }
    }
  }
})
