import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import {
  encodeIdentityFile,
  generateIdentityKey,
  Identity,
  parseIdentityFile,
} from '../../src/identity/identity.ts'
import { decodeNkey, encodeSeed } from '../../src/identity/nkey.ts'
import { generateSigningKey, SigningKey, signingKeyFromSeed } from '../../src/identity/signing-key.ts'
import { engines } from '../crypto/vectors.ts'
import { agent, engine, issue } from './tokens.ts'

const token = issue()
const file = encodeIdentityFile(token, agent.seed)
const identity = parseIdentityFile(engine, file)
const code = (expected: string) => expect.objectContaining({ name: 'SubrosaError', code: expected })

/** Every text in which a seed or its secret key could slip out. */
function secretForms(kind: 'A' | 'U', seed: Uint8Array): readonly string[] {
  const { secretKey } = engine.ed25519KeyPair(seed)
  return [
    encodeSeed(kind, seed),
    hex(seed),
    hex(secretKey),
    Buffer.from(seed).toString('base64').slice(0, 40),
    Buffer.from(seed).toString('base64url').slice(0, 40),
  ]
}

/** Whether the text holds the seed in any form, as a list of numbers among them, with their places or without. */
function leaks(text: string, kind: 'A' | 'U', seed: Uint8Array): boolean {
  const numbers = `,${text.replaceAll(/\D+/g, ',')},`
  const listed = `,${seed.join(',')},`
  const withPlaces = `,${[...seed.entries()].flat().join(',')},`
  return (
    numbers.includes(listed) ||
    numbers.includes(withPlaces) ||
    text.replaceAll(' ', '').includes(hex(seed)) ||
    secretForms(kind, seed).some((secret) => text.includes(secret))
  )
}

/** What loggers, debuggers and serialisers make of a value. */
function renderings(value: unknown): readonly string[] {
  const options = { depth: 20, showHidden: true, maxArrayLength: 1000, maxStringLength: 100_000 }
  return [
    String(value),
    JSON.stringify(value),
    JSON.stringify({ nested: [value] }),
    inspect(value),
    inspect(value, options),
    inspect({ nested: [value] }, options),
    inspect(value, { ...options, customInspect: false }),
    JSON.stringify(Object.entries(value ?? {})),
    inspect(structuredClone(value), options),
  ]
}

it('sees a seed in whatever form a careless class would show it', () => {
  const { secretKey } = engine.ed25519KeyPair(agent.seed)
  for (const secret of [agent.seed, secretKey, Buffer.from(agent.seed), [...agent.seed]]) {
    for (const text of [JSON.stringify({ secret }), inspect({ secret }), inspect(structuredClone(secret))]) {
      expect(leaks(text, 'U', agent.seed)).toBe(true)
    }
  }
  expect(leaks(encodeSeed('U', agent.seed), 'U', agent.seed)).toBe(true)
  expect(leaks(inspect(engine.randomBytes(64)), 'U', agent.seed)).toBe(false)
})

describe('an identity', () => {
  it('is read from the text of its file', () => {
    expect(identity).toMatchObject({ name: 'billing', publicKey: agent.publicKey, token })
    expect(identity.claims.permissions.pub.allow).toEqual(['orders.>'])
  })

  it.each(engines)('signs with its key on $name', (each) => {
    const message = utf8('message')
    const signature = parseIdentityFile(each, file).sign(message)
    expect(each.verify(decodeNkey('U', agent.publicKey), message, signature)).toBe(true)
  })

  it('is refused with a token for another key', () => {
    const stranger = generateIdentityKey(engine)
    expect(() => parseIdentityFile(engine, encodeIdentityFile(token, stranger.seed))).toThrow(
      code('ERR_TOKEN_INVALID'),
    )
    expect(() => new Identity(engine, engine.ed25519KeyPair(), token)).toThrow(code('ERR_TOKEN_INVALID'))
  })

  it('shows its key in no log, no JSON and no debugger', () => {
    for (const text of renderings(identity)) {
      expect(leaks(text, 'U', agent.seed)).toBe(false)
    }
    expect(inspect(identity)).toContain('key: [secret]')
    expect(JSON.parse(JSON.stringify(identity))).toEqual({ name: 'billing', publicKey: agent.publicKey })
  })

  it('has a new key each time', () => {
    expect(generateIdentityKey(engine).seed).not.toEqual(generateIdentityKey(engine).seed)
  })
})

describe('the text of an identity file', () => {
  it('may have other line ends, and notes around its parts', () => {
    for (const text of [file.replaceAll('\n', '\r\n'), `# keep this safe\n\n${file}\n# end\n`]) {
      expect(parseIdentityFile(engine, text).name).toBe('billing')
    }
  })

  it.each([
    ['nothing', ''],
    ['a token alone', file.slice(0, file.indexOf('-----BEGIN SUBROSA IDENTITY SEED'))],
    ['a seed alone', file.slice(file.indexOf('-----BEGIN SUBROSA IDENTITY SEED'))],
    ['no end of the seed', file.slice(0, file.indexOf('-----END SUBROSA IDENTITY SEED'))],
    [
      'an end before the beginning',
      file.replaceAll('BEGIN', 'X').replaceAll('END', 'BEGIN').replaceAll('X', 'END'),
    ],
    ['other labels', file.replaceAll('SUBROSA', 'OTHER')],
  ])('is refused with %s', (_, text) => {
    expect(() => parseIdentityFile(engine, text)).toThrow(code('ERR_KEY_FILE'))
  })

  it('is told from a creds file of NATS, with words that say why that is refused', () => {
    const creds = [
      '-----BEGIN NATS USER JWT-----',
      'e30.e30.e30',
      '------END NATS USER JWT------',
      '-----BEGIN USER NKEY SEED-----',
      encodeSeed('U', agent.seed),
      '------END USER NKEY SEED------',
    ].join('\n')
    expect(() => parseIdentityFile(engine, creds)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_FILE', hint: expect.stringContaining('NATS creds file') }),
    )
  })

  it('is refused with a seed of another kind, and with a damaged one', () => {
    const seed = encodeSeed('U', agent.seed)
    for (const wrong of [encodeSeed('A', agent.seed), `${seed}A`, seed.slice(1), seed.toLowerCase(), '']) {
      expect(() => parseIdentityFile(engine, file.replace(seed, wrong))).toThrow(code('ERR_KEY_INVALID'))
    }
  })

  it('is refused with a damaged token', () => {
    for (const wrong of ['', 'a.b.c', token.slice(1), `${token}.`]) {
      expect(() => parseIdentityFile(engine, file.replace(token, wrong))).toThrow(code('ERR_TOKEN_INVALID'))
    }
  })

  it('is quoted in no error', () => {
    const seed = encodeSeed('U', agent.seed)
    const broken = [
      file.replace('BEGIN SUBROSA IDENTITY TOKEN', 'BEGIN'),
      file.replace(seed, `${seed}A`),
      file.replace(seed, encodeSeed('A', agent.seed)),
      file.replace(token, `${token}.`),
      encodeIdentityFile(issue({ identity: generateIdentityKey(engine).publicKey }), agent.seed),
    ]
    for (const text of broken) {
      let caught: unknown
      try {
        parseIdentityFile(engine, text)
      } catch (error) {
        caught = error
      }
      expect(caught).toBeInstanceOf(Error)
      for (const rendered of [inspect(caught, { depth: 9, showHidden: true }), String(caught)]) {
        expect(leaks(rendered, 'U', agent.seed)).toBe(false)
        for (const secret of [seed.slice(2, 30), token]) expect(rendered).not.toContain(secret)
      }
    }
  })
})

describe('a signing key', () => {
  const { key, seedText } = generateSigningKey(engine, 'A')

  it('comes back from its seed, with white space around it', () => {
    for (const text of [seedText, ` ${seedText}\n`]) {
      expect(signingKeyFromSeed(engine, 'A', text).publicKey).toBe(key.publicKey)
    }
  })

  it.each(engines)('signs the same on $name', (each) => {
    const signature = signingKeyFromSeed(each, 'A', seedText).sign(utf8('message'))
    expect(signature).toEqual(key.sign(utf8('message')))
    expect(each.verify(decodeNkey('A', key.publicKey), utf8('message'), signature)).toBe(true)
  })

  it('is refused from a seed of another kind, and its error does not quote it', () => {
    try {
      signingKeyFromSeed(engine, 'U', seedText)
      expect.unreachable()
    } catch (error) {
      expect(error).toEqual(code('ERR_KEY_INVALID'))
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(seedText.slice(2, 30))
    }
  })

  it('shows its key in no log, no JSON and no debugger', () => {
    const seed = engine.randomBytes(32)
    const own = new SigningKey(engine, 'A', engine.ed25519KeyPair(seed))
    for (const text of renderings(own)) {
      expect(leaks(text, 'A', seed)).toBe(false)
    }
    expect(inspect(own)).toContain('key: [secret]')
    expect(JSON.parse(JSON.stringify(own))).toEqual({ publicKey: own.publicKey })
  })
})
