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
import { SubrosaError } from '../../src/base/errors.ts'
import { MAX_STATE_BYTES, MAX_STATE_REVOCATION_BYTES } from '../../src/base/limits.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { memoryState } from '../../src/keys/state.ts'
import { openStateFolder, type StateFolderOptions } from '../../src/keys/state-folder.ts'
import { decodePlan, decodeSignedPlan } from '../../src/wire/plans.ts'
import { Child } from '../support/child.ts'
import { newAuthority, newIdentity } from '../support/identities.ts'
import { signedPlan } from '../support/plans.ts'
import { codeOf, T0 } from '../support/statements.ts'

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

const open = (agent = 'alice', options: Partial<StateFolderOptions> = {}) =>
  openStateFolder({ root, realm: REALM, agent, ...options })
const authority = newAuthority()
const rotators = [newIdentity(authority, 'rotator', { issuedAtMs: T0 }).identity]
const slotPath = (slot = 0): string => join(root, REALM, 'alice', String(slot))
const statePath = (slot = 0): string => join(slotPath(slot), 'state.json')
const stored = (slot = 0) => JSON.parse(readFileSync(statePath(slot), 'utf8'))
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** A plan as it is kept. What its list holds no state looks at. */
function planOf(version: number, list: readonly Uint8Array[] = []): KeptPlan {
  const { plan } = signedPlan(authority, { rotators, madeMs: T0, originMs: T0 }, { version })
  return { plan, list }
}

/** A plan as a state file has it. */
function texts({ plan, list }: KeptPlan) {
  return { wire: base64(plan), list: list.map(base64) }
}

function versionOf(kept: KeptPlan | undefined): number | undefined {
  return kept && decodePlan(decodeSignedPlan(kept.plan).structure).version
}

/** What the error of a task advises; its code must be ERR_STATE. */
function hintOf(task: () => unknown): string | undefined {
  try {
    task()
  } catch (error) {
    if (error instanceof SubrosaError && error.code === 'ERR_STATE') return error.hint
  }
  expect.fail('expected ERR_STATE')
}

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
  it('is the plan and the instances that did not retire', () => {
    const first = open()
    expect(first.plan).toBeUndefined()
    expect(first.former).toEqual([])
    const plan = planOf(7, [Uint8Array.of(1, 2), Uint8Array.of(3)])
    first.keepPlan(plan)
    first.keepInstance('00112233445566aa')
    first.close()
    const second = open()
    expect(second.plan).toEqual(plan)
    expect(second.former).toEqual([{ instance: '00112233445566aa' }])
    second.keepInstance('00112233445566bb')
    second.close()
    const third = open()
    expect(third.former.map(({ instance }) => instance)).toEqual(['00112233445566aa', '00112233445566bb'])
    third.forgetInstances()
    third.close()
    const fourth = open()
    expect(fourth.former).toEqual([])
    expect(fourth.plan).toEqual(plan)
    fourth.close()
  })

  it('is apart for each agent and each realm', () => {
    const one = open('alice')
    one.keepPlan(planOf(7))
    const other = open('bob')
    const elsewhere = openStateFolder({ root, realm: 'OTHER', agent: 'alice' })
    expect([other.plan, elsewhere.plan]).toEqual([undefined, undefined])
    for (const state of [one, other, elsewhere]) state.close()
  })

  it('is on disk when the call returns, readable by its owner alone', () => {
    const state = open()
    const plan = planOf(3, [Uint8Array.of(9)])
    state.keepPlan(plan)
    expect(stored().plan).toEqual({ wire: base64(plan.plan), list: plan.list.map(base64) })
    expect(statSync(statePath()).mode & 0o077).toBe(0)
    expect(statSync(join(root, REALM, 'alice')).mode & 0o077).toBe(0)
    expect(readdirSync(slotPath()).sort()).toEqual(['lock', 'state.json'])
    state.close()
  })

  it('ends with the process where the state is in memory', () => {
    const state = memoryState()
    const plan = planOf(7)
    state.keepPlan(plan)
    state.keepInstance('00112233445566aa')
    expect(state.plan).toEqual(plan)
    expect([state.keepOwners(new Map()), state.keepRevocations([Uint8Array.of(1)])]).toEqual([0, 0])
    expect(state.former).toEqual([])
    expect(memoryState().plan).toBeUndefined()
  })
})

describe('a state that was written, but not for good', () => {
  it('is the one that is gone on from: what is written next takes nothing back', () => {
    let isBroken = false
    const state = open('alice', {
      syncFolder: () => {
        if (isBroken) throw new Error('EIO')
      },
    })
    state.keepPlan(planOf(1))
    isBroken = true
    const plan = planOf(2)
    expect(codeOf(() => state.keepPlan(plan))).toBe('ERR_STATE')
    isBroken = false
    state.keepInstance('0011223344556677')
    state.close()
    const again = open()
    expect(again.plan).toEqual(plan)
    again.close()
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
    expect(first.keepOwners(owners)).toBe(0)
    first.keepPlan(planOf(7))
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
})

describe('revocations', () => {
  it('are remembered, those of all slots, each once', () => {
    const [a, b] = [open(), open()]
    const all = [1, 2, 3].map((n) => Uint8Array.of(n, 250))
    expect([a.keepRevocations(all.slice(0, 2)), b.keepRevocations(all.slice(1))]).toEqual([0, 0])
    a.keepPlan(planOf(7))
    const c = open()
    expect(c.revocations).toEqual(all)
    for (const state of [a, b, c]) state.close()
  })

  it('beside a plan are written with it alone, and are remembered all the same', () => {
    const [first, second, third] = [1, 2, 3].map((n) => Uint8Array.of(n, 250)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    const a = open()
    a.keepRevocations([third])
    a.keepPlan(planOf(1, [first]))
    // Also when the next plan names others.
    a.keepPlan(planOf(2, [second]))
    expect(stored().plan.list).toEqual([base64(second)])
    expect(stored().revocations.sort()).toEqual([base64(first), base64(third)].sort())
    a.keepRevocations([third, second, first])
    expect(stored().revocations).toEqual([base64(third), base64(first)])
    const b = open()
    expect(b.plan?.list).toEqual([second])
    expect([...b.revocations].sort((x, y) => (x[0] ?? 0) - (y[0] ?? 0))).toEqual([first, second, third])
    b.close()
    a.close()
  })

  it('beside the plan of a slot are remembered also where another slot has a newer plan', () => {
    const [a, b] = [open(), open()]
    a.keepPlan(planOf(1, [Uint8Array.of(1)]))
    b.keepPlan(planOf(2, [Uint8Array.of(2)]))
    const c = open()
    expect(c.revocations).toEqual([Uint8Array.of(1), Uint8Array.of(2)])
    for (const state of [a, b, c]) state.close()
  })
})

describe('a state that is too large', () => {
  /** To compare megabytes byte by byte takes the tools of tests minutes. */
  const namesOf = (all: readonly Uint8Array[]) => all.map((bytes) => `${bytes.length} times ${bytes[0]}`)
  const large = (n: number, bytes = 60 * 1024): Uint8Array => new Uint8Array(bytes).fill(n)
  const owner = (n: number) =>
    [
      `name${n}`,
      { identity: 'U'.repeat(56), since: 1, issuedAt: 1, isRotator: false, isOver: false, former: [] },
    ] as const

  it('is written as far as it has room: the plan first, then the first revocations, then owners', () => {
    const state = open()
    const plan = planOf(
      1,
      Array.from({ length: 80 }, (_, n) => large(n)),
    )
    const revocations = Array.from({ length: 100 }, (_, n) => large(100 + n))
    const owners = new Map(Array.from({ length: 120_000 }, (_, n) => owner(n)))
    state.keepPlan(plan)
    const leftOut = state.keepRevocations(revocations)
    let ownersLeftOut = 0
    expect(() => {
      ownersLeftOut = state.keepOwners(owners)
    }).not.toThrow()
    const { size } = statSync(statePath())
    expect(size).toBeLessThanOrEqual(MAX_STATE_BYTES)
    expect(size).toBeGreaterThan(0.9 * MAX_STATE_BYTES)
    expect(leftOut).toBeGreaterThan(0)
    expect(ownersLeftOut).toBeGreaterThan(0)
    // What found no room is held for as long as the process lives.
    expect([namesOf(state.revocations), state.owners.size]).toEqual([namesOf(revocations), 120_000])
    state.close()
    const after = open()
    expect(namesOf(after.plan?.list ?? [])).toEqual(namesOf(plan.list))
    expect(namesOf(after.revocations)).toEqual(
      namesOf([...plan.list, ...revocations.slice(0, 100 - leftOut)]),
    )
    expect([...after.owners.keys()].slice(0, 2)).toEqual(['name0', 'name1'])
    after.close()
  })

  it('has room for owners however many revocations there are, and says what has none', () => {
    const state = open()
    const each = Math.ceil((large(0).length * 4) / 3)
    const fit = Math.floor(MAX_STATE_REVOCATION_BYTES / each)
    expect(
      state.keepRevocations(Array.from({ length: 400 }, (_, n) => large(n, 60 * 1024 + n))),
    ).toBeGreaterThan(400 - fit - 2)
    expect(state.keepOwners(new Map(Array.from({ length: 50_000 }, (_, n) => owner(n))))).toBe(0)
    state.close()
  })

  it('is not written at all where not even the plan has room, and the one before stays', () => {
    const state = open()
    const plan = planOf(1)
    state.keepPlan(plan)
    const list = Array.from({ length: 210 }, (_, n) => large(n))
    expect(codeOf(() => state.keepPlan(planOf(2, list)))).toBe('ERR_STATE')
    expect(state.plan).toEqual(plan)
    state.close()
    const after = open()
    expect(after.plan).toEqual(plan)
    after.close()
  })

  it('is not read: nobody else than somebody who has tampered with it has made it', () => {
    open().close()
    const padded = '{"format":2,"plan":null,"instances":[],"revocations":[],"owners":[]}'
    writeFileSync(statePath(), padded.padEnd(MAX_STATE_BYTES))
    open().close()
    writeFileSync(statePath(), padded.padEnd(MAX_STATE_BYTES + 1))
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })
})

describe('a state file', () => {
  it.skipIf(process.platform === 'win32')('stays as it was where the disk takes no more', () => {
    const state = open()
    state.keepPlan(planOf(3))
    state.close()
    const before = readFileSync(statePath(), 'utf8')
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
    expect(readFileSync(statePath(), 'utf8')).toBe(before)
    expect(readdirSync(slotPath()).sort()).toEqual(['lock', 'state.json'])
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

  it('share the newest plan of all of them', async () => {
    const child = await holdElsewhere({ plan: texts(planOf(9)) })
    const second = open()
    expect(versionOf(second.plan)).toBe(9)
    const third = open()
    third.keepPlan(planOf(4))
    third.close()
    second.close()
    const again = open()
    expect(versionOf(again.plan)).toBe(9)
    again.close()
    await child.kill()
  })

  it('share it also where a later slot has the newer one', () => {
    const [zero, one] = [open(), open()]
    zero.keepPlan(planOf(4))
    one.keepPlan(planOf(9))
    zero.close()
    one.close()
    const next = open()
    expect(versionOf(next.plan)).toBe(9)
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
    state.keepPlan(planOf(3))
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
    symlinkSync(target, `${statePath()}.new`)
    const state = open()
    state.keepPlan(planOf(3))
    state.close()
    expect(readFileSync(target, 'utf8')).toBe('untouched')
    expect(stored().plan).not.toBeNull()
  })
})

describe('a state folder that is not what it was', () => {
  const whole = { format: 2, plan: null, instances: [], revocations: [], owners: [] }
  const owner: readonly unknown[] = ['a', 'X', 1, 1, false, false, []]
  const { wire } = texts(planOf(1))
  const damaged = [
    '',
    'null',
    '[]',
    '{"format":2}',
    ...[
      { format: 1 },
      { format: 3 },
      { plan: undefined },
      { plan: {} },
      { plan: [] },
      { plan: { wire } },
      { plan: { wire, list: ['a b'] } },
      { plan: { wire: '', list: [] } },
      { plan: { wire: base64(Uint8Array.of(1, 2, 3)), list: [] } },
      { plan: { wire: wire.slice(0, 40), list: [] } },
      { instances: undefined },
      { instances: [{ instance: '../..' }] },
      { revocations: undefined },
      { revocations: {} },
      { revocations: [1] },
      { revocations: ['a b'] },
      { owners: undefined },
      { owners: {} },
      { owners: [owner.with(0, 'a.b')] },
      { owners: [owner.with(1, 1)] },
      { owners: [owner.with(2, '1')] },
      { owners: [owner.with(4, 0)] },
      { owners: [owner.with(6, [1])] },
    ].map((changes) => JSON.stringify({ ...whole, ...changes })),
  ]

  it('is read where nothing is wrong with it', () => {
    mkdirSync(slotPath(), { recursive: true })
    const plan = { wire, list: [] }
    writeFileSync(statePath(), JSON.stringify({ ...whole, plan, owners: [owner], revocations: ['AAAA'] }))
    const state = open()
    expect([versionOf(state.plan), state.owners.size, state.revocations.length]).toEqual([1, 1, 1])
    state.close()
  })

  it.each(damaged)('is refused, and not taken for a new one: %j', (text) => {
    mkdirSync(slotPath(), { recursive: true })
    writeFileSync(statePath(), text)
    expect(hintOf(() => open())).toContain('guards against being shown an old plan')
    // It let go of the lock: with the file mended it opens.
    rmSync(statePath())
    open().close()
  })

  it('is refused when another slot is damaged: its plan may have been the newest', () => {
    const first = open()
    mkdirSync(join(root, REALM, 'alice', '5'))
    writeFileSync(join(root, REALM, 'alice', '5', 'state.json'), '{')
    first.close()
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })

  it('is refused when it is there and cannot be read', () => {
    mkdirSync(statePath(), { recursive: true })
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })

  it('is refused when it cannot be made', () => {
    writeFileSync(join(root, REALM), 'a file')
    expect(codeOf(() => open())).toBe('ERR_STATE')
  })
})
