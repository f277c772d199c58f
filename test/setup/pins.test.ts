import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { loadPins } from '../../src/identity/keyfiles/key-file.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { type PinRequest, pinKey, readPins } from '../../src/setup/pins.ts'
import { failure } from '../support/until.ts'
import { temporaryFolder } from './running-realm.ts'

const newKey = () => encodeNkey('U', chooseEngine().ed25519KeyPair().publicKey)
const rotator = newKey()
const billing = newKey()
const stranger = newKey()

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let path: string
beforeEach(async () => {
  folder = await temporaryFolder()
  path = join(folder.path, 'pins.json')
})
afterEach(() => folder.remove())

const pin = (name: string, key: string, options: Partial<PinRequest> = {}) =>
  pinKey({ path, name, key, ...options })
const pins = async () => (await readPins(path)).pins

describe('pinKey', () => {
  test('writes what secure() takes as trust, for nobody else to write', async () => {
    expect(await readPins(path)).toEqual({ realm: undefined, pins: {} })
    await pin('orders', newKey(), { pub: ['orders.>'], denyPub: ['orders.old'] })
    await pin('billing', billing)
    await pin('rotator', rotator, { rotator: true })
    const { realm, pins } = await loadPins(path)
    expect({ realm, names: Object.keys(pins) }).toEqual({
      realm: rotator,
      names: ['billing', 'orders', 'rotator'],
    })
    expect(pins).toMatchObject({
      billing,
      orders: { pub: { allow: ['orders.>'], deny: ['orders.old'] }, sub: { allow: [], deny: [] } },
      rotator: { key: rotator },
    })
    expect((await stat(path)).mode & 0o022).toBe(0)
  })

  test('changes what is given of a key that is pinned, and keeps the rest', async () => {
    await pin('billing', billing, { pub: ['bills.>'], sub: ['orders.>'] })
    await pin('billing', billing, { denySub: ['orders.old'] })
    await pin('billing', billing)
    expect(await pins()).toEqual({
      billing: {
        key: billing,
        pub: { allow: ['bills.>'], deny: [] },
        sub: { allow: ['orders.>'], deny: ['orders.old'] },
      },
    })
  })

  test('narrows a key that might do everything', async () => {
    await pin('billing', billing)
    await pin('billing', billing, { sub: ['orders.>'] })
    expect(await pins()).toMatchObject({
      billing: { pub: { allow: ['>'], deny: [] }, sub: { allow: ['orders.>'], deny: [] } },
    })
  })

  test('refuses another key for a name that has one, with both fingerprints, and changes nothing', async () => {
    await pin('billing', billing, { sub: ['orders.>'] })
    const before = await readFile(path, 'utf8')
    const error = await failure(() => pin('billing', stranger))
    expect(error).toMatchObject({
      code: 'ERR_PIN_MISMATCH',
      message: `the key pinned for billing is ${fingerprint(billing)}, and this one is ${fingerprint(stranger)}`,
      hint: expect.stringContaining('--replace'),
    })
    expect(await readFile(path, 'utf8')).toBe(before)
    await pin('billing', stranger, { replace: true })
    expect(await pins()).toMatchObject({ billing: { key: stranger, sub: { allow: ['orders.>'] } } })
  })

  test('refuses another rotation service in the same way', async () => {
    await pin('rotator', rotator, { rotator: true })
    await pin('rotator', rotator, { rotator: true })
    const error = await failure(() => pin('other', stranger, { rotator: true }))
    expect(error).toMatchObject({
      code: 'ERR_PIN_MISMATCH',
      message: `the key pinned for the rotation service is ${fingerprint(rotator)}, and this one is ${fingerprint(stranger)}`,
    })
    await pin('other', stranger, { rotator: true, replace: true })
    expect(await loadPins(path)).toMatchObject({ realm: stranger, pins: { rotator: { key: rotator } } })
  })

  test('pins a name that means something to JavaScript', async () => {
    for (const name of ['__proto__', 'constructor']) await pin(name, billing)
    expect(Object.entries(await pins())).toEqual([
      ['__proto__', billing],
      ['constructor', billing],
    ])
    expect(await failure(() => pin('__proto__', stranger))).toMatchObject({ code: 'ERR_PIN_MISMATCH' })
  })

  test('refuses a name or a key that is none, and a file that is damaged or that others can write', async () => {
    expect(await failure(() => pin('a.b', billing))).toBeInstanceOf(TypeError)
    expect(await failure(() => pin('billing', 'x'))).toMatchObject({ code: 'ERR_KEY_INVALID' })
    await pin('billing', billing)
    await chmod(path, 0o666)
    expect(await failure(() => pin('orders', stranger))).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
    await chmod(path, 0o600)
    await writeFile(path, '{}')
    expect(await failure(() => pin('orders', stranger))).toMatchObject({ code: 'ERR_KEY_FILE' })
  })
})
