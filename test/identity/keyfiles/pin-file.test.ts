import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPins } from '../../../src/identity/keyfiles/key-file.ts'
import { encodeNkey } from '../../../src/identity/nkey.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { failure } from '../../support/until.ts'
import { engine } from '../tokens.ts'

const key = () => encodeNkey('U', engine.ed25519KeyPair().publicKey)
const realm = key()
const billing = key()

let folder: string
let path: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-pins-'))
  path = join(folder, 'pins.json')
})
afterAll(() => rm(folder, { recursive: true }))

async function load(content: unknown, mode = 0o644) {
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  await chmod(path, mode)
  return loadPins(path)
}

describe('a file of pins', () => {
  it('is what trust takes', async () => {
    const orders = { key: key(), pub: { allow: ['orders.>'] }, sub: { deny: ['secret'] } }
    const pins = await load({ realm, pins: { billing, orders, idle: { key: billing } } })
    expect(pins).toEqual({
      realm,
      pins: {
        billing,
        orders: { ...orders, pub: { allow: ['orders.>'], deny: [] }, sub: { allow: [], deny: ['secret'] } },
        idle: { key: billing },
      },
    })
    expect(new Trust(engine, pins).realm).toBe(realm)
  })

  it('may pin a name that means something to JavaScript', async () => {
    const { pins } = await load(
      `{"realm": "${realm}", "pins": {"__proto__": "${billing}", "constructor": "${billing}"}}`,
    )
    expect(Object.entries(pins)).toEqual([
      ['__proto__', billing],
      ['constructor', billing],
    ])
  })

  it.skipIf(process.platform === 'win32')(
    'must not be writable by others, who would decide whom one trusts',
    async () => {
      for (const mode of [0o664, 0o646, 0o666, 0o620, 0o602]) {
        expect(await failure(() => load({ realm, pins: {} }, mode))).toMatchObject({
          code: 'ERR_KEY_FILE_PERMISSIONS',
          message: `others can write the file of pins ${path}`,
          hint: expect.stringContaining(`chmod go-w ${path}`),
        })
      }
      for (const mode of [0o644, 0o600, 0o444])
        expect(await load({ realm, pins: {} }, mode)).toEqual({ realm, pins: {} })
      await chmod(path, 0o600)
    },
  )

  it.skipIf(process.getuid?.() !== 0)(
    'must be one’s own, or root’s: whoever owns it can change it',
    async () => {
      expect(await load({ realm, pins: {} }, 0o644)).toEqual({ realm, pins: {} })
      await chown(path, 12_345, 0)
      expect(await failure(() => loadPins(path))).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
      await chown(path, 0, 0)
      expect(await loadPins(path)).toEqual({ realm, pins: {} })
    },
  )

  it('says how to name the rotation service when it does not', async () => {
    expect(await failure(() => load({ pins: { billing } }))).toMatchObject({
      code: 'ERR_KEY_FILE',
      hint: expect.stringContaining('subrosa pin --rotator'),
    })
  })

  it('must be there', async () => {
    expect(await failure(() => loadPins(join(folder, 'nothing')))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })

  it.each([
    ['nothing', ''],
    ['no JSON', 'billing'],
    ['a list', '[]'],
    ['no pins', { realm }],
    ['a realm that is no key', { realm: 'x', pins: {} }],
    ['a realm that is an authority', { realm: encodeNkey('A', engine.randomBytes(32)), pins: {} }],
    ['more than it should', { realm, pins: {}, authority: [] }],
    ['a name that is none', { realm, pins: { 'a.b': billing } }],
    ['a key that is none', { realm, pins: { billing: 'x' } }],
    ['a key that is a number', { realm, pins: { billing: 7 } }],
    ['a pin without a key', { realm, pins: { billing: { sub: { allow: ['>'] } } } }],
    ['a pin with more than it should', { realm, pins: { billing: { key: billing, roles: ['rotator'] } } }],
    ['rules that are none', { realm, pins: { billing: { key: billing, sub: ['>'] } } }],
    ['a pattern that is none', { realm, pins: { billing: { key: billing, sub: { allow: ['a b'] } } } }],
    ['a name that occurs twice', `{"realm": "${realm}", "pins": {"a": "${billing}", "a": "${realm}"}}`],
  ])('is refused with %s', async (_, content) => {
    expect(await failure(() => load(content))).toMatchObject({
      code: 'ERR_KEY_FILE',
      message: `${path} is no file of pins, or it is damaged`,
    })
  })
})
