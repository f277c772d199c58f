import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { memoryState } from '../../src/keys/state.ts'
import { openStateFolder } from '../../src/keys/state-folder.ts'
import { Child } from '../support/child.ts'
import { engine } from '../support/identities.ts'
import { codeOf } from '../support/statements.ts'

const REALM = 'REALM'
const MODULE = fileURLToPath(new URL('../../src/keys/state-folder.ts', import.meta.url))
let root: string
const children: Child[] = []

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'subrosa-state-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill()
  rmSync(root, { recursive: true, force: true })
})

const open = (agent = 'alice') => openStateFolder({ root, realm: REALM, agent })
const hash = (): Uint8Array => engine.randomBytes(32)

/** Another process that holds a slot of alice’s. */
async function holdElsewhere(wanted: object = {}): Promise<Child> {
  const json = JSON.stringify({ realm: REALM, agent: 'alice', ...wanted })
  const child = Child.start('hold-folder.mjs', 'state', root, json)
  children.push(child)
  const { held } = await child.message('it holds the folder', (message) => 'held' in message)
  expect(held).toBe(true)
  return child
}

describe('what an agent remembers', () => {
  it('is the floor and the instances that did not retire', () => {
    const first = open()
    expect(first.floor).toBeUndefined()
    expect(first.former).toEqual([])
    const floor = { number: 7, hash: hash() }
    first.keepFloor(floor)
    first.keepInstance('00112233445566aa')
    first.close()
    const second = open()
    expect(second.floor).toEqual(floor)
    expect(second.former).toEqual([{ instance: '00112233445566aa' }])
    second.keepInstance('00112233445566bb')
    second.close()
    const third = open()
    expect(third.former.map(({ instance }) => instance)).toEqual(['00112233445566aa', '00112233445566bb'])
    third.forgetInstances()
    third.close()
    const fourth = open()
    expect(fourth.former).toEqual([])
    expect(fourth.floor).toEqual(floor)
    fourth.close()
  })

  it('is apart for each agent and each realm', () => {
    const one = open('alice')
    one.keepFloor({ number: 7, hash: hash() })
    const other = open('bob')
    const elsewhere = openStateFolder({ root, realm: 'OTHER', agent: 'alice' })
    expect([other.floor, elsewhere.floor]).toEqual([undefined, undefined])
    for (const state of [one, other, elsewhere]) state.close()
  })

  it('is on disk when the call returns, readable by its owner alone', () => {
    const state = open()
    const floor = { number: 3, hash: hash() }
    state.keepFloor(floor)
    const path = join(root, REALM, 'alice', '0', 'state.json')
    expect(JSON.parse(readFileSync(path, 'utf8')).floor).toEqual({ number: 3, hash: hex(floor.hash) })
    expect(statSync(path).mode & 0o077).toBe(0)
    expect(statSync(join(root, REALM, 'alice')).mode & 0o077).toBe(0)
    expect(readdirSync(join(root, REALM, 'alice', '0')).sort()).toEqual(['lock', 'state.json'])
    state.close()
  })

  it('ends with the process where the state is in memory', () => {
    const state = memoryState()
    state.keepFloor({ number: 7, hash: hash() })
    state.keepInstance('00112233445566aa')
    expect(state.floor?.number).toBe(7)
    expect(state.former).toEqual([])
    expect(memoryState().floor).toBeUndefined()
  })
})

describe('owners of names', () => {
  const owner = (identity: string, since: number) => ({
    identity,
    since,
    issuedAt: 6,
    isRotator: false,
    isOver: false,
    former: [],
  })

  it('are remembered, whatever they are called', () => {
    const first = open()
    expect(first.owners.size).toBe(0)
    const owners = new Map([
      ['constructor', owner('X', 1)],
      ['__proto__', { ...owner('Y', 2), isOver: true }],
    ])
    first.keepOwners(owners)
    first.keepFloor({ number: 7, hash: hash() })
    first.close()
    const second = open()
    expect(second.owners).toEqual(owners)
    second.close()
  })

  it('are those of all slots: of one name the one that was issued it first', () => {
    const [a, b] = [open(), open()]
    a.keepOwners(
      new Map([
        ['billing', owner('X', 1)],
        ['orders', owner('O', 2)],
      ]),
    )
    b.keepOwners(
      new Map([
        ['billing', owner('Y', 2)],
        ['orders', owner('P', 1)],
      ]),
    )
    const c = open()
    expect([...c.owners].map(([name, { identity }]) => [name, identity])).toEqual([
      ['billing', 'X'],
      ['orders', 'P'],
    ])
    for (const state of [a, b, c]) state.close()
  })

  it('are none in a file of before they were remembered', () => {
    const slot = join(root, REALM, 'alice', '0')
    mkdirSync(slot, { recursive: true })
    writeFileSync(join(slot, 'state.json'), '{"format":1,"instances":[]}')
    const state = open()
    expect(state.owners.size).toBe(0)
    state.close()
  })
})

describe('revocations', () => {
  it('are remembered, those of all slots, each once', () => {
    const [a, b] = [open(), open()]
    const all = [1, 2, 3].map((n) => Uint8Array.of(n, 250))
    a.keepRevocations(all.slice(0, 2))
    b.keepRevocations(all.slice(1))
    a.keepFloor({ number: 7, hash: hash() })
    const c = open()
    expect(c.revocations).toEqual(all)
    for (const state of [a, b, c]) state.close()
  })
})

describe('a state file', () => {
  it.skipIf(process.platform === 'win32')('stays as it was where the disk takes no more', () => {
    const state = open()
    state.keepFloor({ number: 3, hash: hash() })
    state.close()
    const slot = join(root, REALM, 'alice', '0')
    const before = readFileSync(join(slot, 'state.json'), 'utf8')
    // No file may be longer than 8 KiB there: the operating system writes a part of it, and then refuses.
    const program = `
      const { openStateFolder } = await import(${JSON.stringify(MODULE)})
      const state = openStateFolder(${JSON.stringify({ root, realm: REALM, agent: 'alice' })})
      try {
        state.keepRevocations(Array.from({ length: 1000 }, () => new Uint8Array(60)))
        console.log('kept')
      } catch (error) {
        console.log(error.code)
      }`
    const node = [
      process.execPath,
      '--import',
      'tsx',
      '--conditions',
      'subrosa-source',
      '--input-type=module',
    ]
    const { stdout } = spawnSync('sh', ['-c', 'ulimit -f 16; exec "$@"', 'sh', ...node, '-e', program], {
      encoding: 'utf8',
    })
    expect(stdout.trim()).toBe('ERR_STATE')
    expect(readFileSync(join(slot, 'state.json'), 'utf8')).toBe(before)
    expect(readdirSync(slot).sort()).toEqual(['lock', 'state.json'])
  })

  it('is read however much is in it', () => {
    const [a, b] = [open(), open()]
    for (const [i, state] of [a, b].entries())
      state.keepRevocations(Array.from({ length: 5000 }, (_, n) => Uint8Array.of(i, n >> 8, n & 255)))
    const c = open()
    c.keepInstance('00112233445566aa')
    for (const state of [a, b, c]) state.close()
    const d = open()
    expect(d.revocations).toHaveLength(10_000)
    d.close()
  })
})

describe('slots', () => {
  it('give every running instance a folder of its own, and the first free one to the next', () => {
    const [a, b, c] = [open(), open(), open()]
    expect(readdirSync(join(root, REALM, 'alice')).sort()).toEqual(['0', '1', '2'])
    b.keepInstance('00112233445566bb')
    b.close()
    const next = open()
    expect(next.former).toEqual([{ instance: '00112233445566bb' }])
    for (const state of [a, c, next]) state.close()
  })

  it('are held by another process until it is killed', async () => {
    const child = await holdElsewhere({ instance: 'aaaaaaaaaaaaaaaa' })
    const meanwhile = open()
    expect(meanwhile.former).toEqual([])
    await child.kill()
    const after = open()
    expect(after.former).toEqual([{ instance: 'aaaaaaaaaaaaaaaa' }])
    meanwhile.close()
    after.close()
  })

  it('share the highest floor of all of them', async () => {
    const [low, high] = [hash(), hash()]
    await holdElsewhere({ floor: { number: 9, hash: hex(high) } })
    const second = open()
    expect(second.floor).toEqual({ number: 9, hash: high })
    const third = open()
    third.keepFloor({ number: 4, hash: low })
    third.close()
    second.close()
    const again = open()
    expect(again.floor).toEqual({ number: 9, hash: high })
    again.close()
  })

  it('share it also where a later slot has the higher one', () => {
    const [zero, one] = [open(), open()]
    zero.keepFloor({ number: 4, hash: hash() })
    one.keepFloor({ number: 9, hash: hash() })
    zero.close()
    one.close()
    const next = open()
    expect(next.floor?.number).toBe(9)
    next.close()
  })
})

describe('a state folder in which others can write', () => {
  const levels = [
    ['of the realm', []],
    ['of the agent', ['alice']],
    ['of the slot', ['alice', '0']],
  ] as const

  it.each(levels)('is not writable by them from the next start on: that %s', (_what, below) => {
    open().close()
    const folder = join(root, REALM, ...below)
    for (const mode of [0o770, 0o777]) {
      chmodSync(folder, mode)
      open().close()
      expect(statSync(folder).mode & 0o022).toBe(0)
    }
  })

  it.skipIf(process.getuid?.() !== 0)('is refused where they have written the state', () => {
    const state = open()
    state.keepFloor({ number: 3, hash: hash() })
    state.close()
    chownSync(join(root, REALM, 'alice', '0', 'state.json'), 12_345, 0)
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })

  it.skipIf(process.getuid?.() !== 0).each(levels)('is refused: that %s, by its owner', (_what, below) => {
    open().close()
    const folder = join(root, REALM, ...below)
    chownSync(folder, 12_345, 0)
    expect(codeOf(() => open())).toBe('ERR_STATE')
    chownSync(folder, 0, 0)
    open().close()
  })

  it('has no link in it that is followed', () => {
    open().close()
    const target = join(root, 'target')
    writeFileSync(target, 'untouched')
    const path = join(root, REALM, 'alice', '0', 'state.json')
    symlinkSync(target, `${path}.new`)
    const state = open()
    state.keepFloor({ number: 3, hash: hash() })
    state.close()
    expect(readFileSync(target, 'utf8')).toBe('untouched')
    expect(JSON.parse(readFileSync(path, 'utf8')).floor.number).toBe(3)
  })
})

describe('a state folder that is not what it was', () => {
  const slot = (): string => join(root, REALM, 'alice', '0')
  const damaged = [
    '',
    'null',
    '[]',
    '{"format":1}',
    '{"format":2,"instances":[]}',
    '{"format":1,"instances":[{"instance":"../.."}]}',
    '{"format":1,"instances":[],"floor":{"number":1}}',
    '{"format":1,"instances":[],"floor":{"number":"1","hash":"00"}}',
    `{"format":1,"instances":[],"floor":{"number":1.5,"hash":"${'00'.repeat(32)}"}}`,
    `{"format":1,"instances":[],"floor":{"number":-1,"hash":"${'00'.repeat(32)}"}}`,
    '{"format":1,"instances":[],"floor":null}',
    '{"format":1,"instances":[],"revocations":{}}',
    '{"format":1,"instances":[],"revocations":[1]}',
    '{"format":1,"instances":[],"revocations":["a b"]}',
    '{"format":1,"instances":[],"owners":{}}',
    '{"format":1,"instances":[],"owners":[["a.b","X",1,1,false,false,[]]]}',
    '{"format":1,"instances":[],"owners":[["a",1,1,1,false,false,[]]]}',
    '{"format":1,"instances":[],"owners":[["a","X","1",1,false,false,[]]]}',
    '{"format":1,"instances":[],"owners":[["a","X",1,1,0,false,[]]]}',
    '{"format":1,"instances":[],"owners":[["a","X",1,1,false,false,[1]]]}',
  ]

  it.each(damaged)('is refused, and not taken for a new one: %j', (text) => {
    mkdirSync(slot(), { recursive: true })
    writeFileSync(join(slot(), 'state.json'), text)
    expect(codeOf(() => open())).toBe('ERR_STATE')
    // It let go of the lock: with the file mended it opens.
    rmSync(join(slot(), 'state.json'))
    open().close()
  })

  it('is refused when another slot is damaged: its floor may have been the highest', () => {
    const first = open()
    mkdirSync(join(root, REALM, 'alice', '5'))
    writeFileSync(join(root, REALM, 'alice', '5', 'state.json'), '{')
    first.close()
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })

  it('is refused when it is there and cannot be read', () => {
    mkdirSync(join(slot(), 'state.json'), { recursive: true })
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })

  it('is refused when it cannot be made', () => {
    writeFileSync(join(root, REALM), 'a file')
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })
})
