import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { filePinStore } from '../../../../src/cli/mcp/pins/pin-store.ts'
import { readExactJson } from '../../../../src/json/exact.ts'
import { compareTools, isRefused, listedTool, pinsOf } from '../../../../src/mcp/pins/tool-pins.ts'
import { OTHER_SERVER, SERVER, tool } from '../../../mcp/hand-tools.ts'
import { Child } from '../../../support/child.ts'
import { engine } from '../../../support/identities.ts'
import { failure } from '../../../support/until.ts'

let root: string
const children: Child[] = []
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'subrosa-pin-store-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill()
  await rm(root, { recursive: true })
})

const OWNER = { engine, realm: 'REALM', agent: 'laptop', server: 'fs' }
const open = (owner: object = {}) => filePinStore({ ...OWNER, root, ...owner })
const path = () => join(root, 'REALM', 'laptop', 'mcp', 'fs', 'tools.json')

function pins(identity: string, ...texts: readonly string[]) {
  const tools = texts.map((text) => listedTool(engine, readExactJson(text)))
  return pinsOf({ identity, tools: tools.filter((found) => found !== undefined) })
}

const READ = JSON.stringify(tool('read'))
const ODD =
  '{"name":"write","__proto__":{"z":18446744073709551616,"a":[1.0,"\\ud800\\u2028",null]},"description":"\\"\\\\\\n"}'

async function damage(edit: (text: string) => string): Promise<void> {
  const before = await readFile(path(), 'utf8')
  const after = edit(before)
  expect(after).not.toBe(before)
  await writeFile(path(), after)
}

describe('the file of pinned tools', () => {
  it('is not there before anything is pinned', async () => {
    expect(await open().read()).toBeUndefined()
    expect(await readdir(root)).toEqual([])
  })

  it('gives back what was pinned, to the last digit', async () => {
    const pinned = pins(SERVER, READ, ODD)
    expect(await open().create(pinned)).toBe(pinned)
    const read = await open().read()
    expect(read).toEqual(pinned)
    const tools = [...pinned.tools.values()].flat()
    expect(read && isRefused(compareTools(read, { identity: SERVER, tools }))).toBe(false)
  })

  it('remembers that there were no tools', async () => {
    await open().create(pins(SERVER))
    expect(await open().read()).toEqual(pins(SERVER))
  })

  it('keeps every form of a tool', async () => {
    const both = pins(SERVER, READ, JSON.stringify(tool('read', { title: 'x' })))
    await open().create(both)
    expect((await open().read())?.tools.get('read')?.length).toBe(2)
  })

  it('is replaced on demand', async () => {
    await open().create(pins(SERVER, READ))
    await open().replace(pins(OTHER_SERVER, ODD))
    expect(await open().read()).toEqual(pins(OTHER_SERVER, ODD))
  })

  it('keeps the first pins where nobody wishes to replace them', async () => {
    await open().create(pins(SERVER, READ))
    expect(await open().create(pins(OTHER_SERVER, ODD))).toEqual(pins(SERVER, READ))
    expect(await open().read()).toEqual(pins(SERVER, READ))
  })

  it('is another one for another realm, agent and server', async () => {
    await open().create(pins(SERVER, READ))
    for (const other of [{ realm: 'OTHER' }, { agent: 'phone' }, { server: 'db' }])
      expect(await open(other).read()).toBeUndefined()
  })

  it('lets no name lead out of the folder', () => {
    for (const name of ['..', '../../x', 'a/b', '', 'a.b'])
      for (const other of [{ server: name }, { agent: name }]) expect(() => open(other)).toThrow(TypeError)
  })

  it.skipIf(process.platform === 'win32')('is for its owner alone, whatever the mask', async () => {
    const mask = process.umask(0)
    try {
      await open().create(pins(SERVER, READ))
      expect((await stat(path())).mode & 0o777).toBe(0o600)
      await open().replace(pins(SERVER, ODD))
      expect((await stat(path())).mode & 0o777).toBe(0o600)
      expect((await stat(dirname(path()))).mode & 0o777).toBe(0o700)
    } finally {
      process.umask(mask)
    }
  })

  it('is alone in its folder: nothing is left of writing it', async () => {
    await open().create(pins(SERVER, READ))
    await open().create(pins(SERVER, READ))
    await open().replace(pins(SERVER, ODD))
    expect(await readdir(dirname(path()))).toEqual(['tools.json'])
  })
})

describe('a file of pinned tools that is not what was written', () => {
  it.each<[string, (text: string) => string]>([
    ['cut short', (text) => text.slice(0, -10)],
    ['empty', () => ''],
    ['of another format', (text) => text.replace('"format":1', '"format":2')],
    ['of another server', (text) => text.replace('"server":"fs"', '"server":"db"')],
    ['of another realm', (text) => text.replace('"realm":"REALM"', '"realm":"OTHER"')],
    ['with another description', (text) => text.replace('Does read.', 'Does evil.')],
    ['with another number', (text) => text.replace('18446744073709551616', '18446744073709551615')],
    ['with another hash', (text) => text.replace(/"sha256":"./, (start) => `${start.slice(0, -1)}x`)],
    ['with a tool that is none', (text) => text.replace('"tools":[', '"tools":[7,')],
    ['with a field too many', (text) => text.replace('"identity"', '"more":1,"identity"')],
    ['with a field of a tool too many', (text) => text.replace('"sha256"', '"more":1,"sha256"')],
    ['with an identity that is none', (text) => text.replace(`"${SERVER}"`, '7')],
    ['with a key that is none', (text) => text.replace(SERVER, SERVER.toLowerCase())],
    ['with two identities', (text) => text.replace('"identity"', `"identity":"${OTHER_SERVER}","identity"`)],
    ['without tools', (text) => text.replace('"tools"', '"tool"')],
  ])('is taken for nothing less than damage: %s', async (_what, edit) => {
    await open().create(pins(SERVER, READ, ODD))
    await damage(edit)
    const error = await failure(() => open().read())
    expect(error).toMatchObject({ code: 'ERR_STATE', message: `the pinned tools ${path()} are damaged` })
    expect(error.hint).toContain('find out why')
    expect(await failure(() => open().create(pins(SERVER, READ)))).toMatchObject({ code: 'ERR_STATE' })
  })

  it('is no file: a folder in its place is not read as nothing', async () => {
    await mkdir(path(), { recursive: true, mode: 0o700 })
    expect(await failure(() => open().read())).toMatchObject({ code: 'ERR_STATE' })
  })

  it.skipIf(process.platform === 'win32')('must not be within the reach of others', async () => {
    await open().create(pins(SERVER, READ))
    for (const mode of [0o620, 0o602, 0o640, 0o604, 0o666]) {
      await chmod(path(), mode)
      expect(await failure(() => open().read())).toMatchObject({ code: 'ERR_KEY_FILE_PERMISSIONS' })
    }
  })

  it('is too large to be one', async () => {
    await open().create(pins(SERVER, READ))
    await damage((text) => text + ' '.repeat(65 * 1024 * 1024))
    expect(await failure(() => open().read())).toMatchObject({ code: 'ERR_STATE' })
  })

  it('cannot be written where there is no folder to be had', async () => {
    await writeFile(join(root, 'REALM'), '')
    expect(await failure(() => open().create(pins(SERVER, READ)))).toMatchObject({ code: 'ERR_SETUP' })
    expect(await failure(() => open().replace(pins(SERVER, READ)))).toMatchObject({ code: 'ERR_SETUP' })
  })
})

describe('several processes that pin at once', () => {
  it('all get what one of them has pinned', async () => {
    for (const name of ['a', 'b', 'c', 'd'])
      children.push(Child.start('pin-tools.mjs', root, SERVER, JSON.stringify([tool(name)])))
    for (const child of children) await child.message('it is ready', (message) => 'ready' in message)
    for (const child of children) child.send({})
    const done = await Promise.all(
      children.map((child) => child.message('it has pinned', (message) => 'names' in message)),
    )
    expect(done.filter(({ isFirst }) => isFirst).length).toBe(1)
    const [first] = done.filter(({ isFirst }) => isFirst)
    expect(done.map(({ names }) => names)).toEqual(done.map(() => first?.['names']))
    expect([...((await open().read())?.tools.keys() ?? [])]).toEqual(first?.['names'])
    expect(await readdir(dirname(path()))).toEqual(['tools.json'])
  })
})
