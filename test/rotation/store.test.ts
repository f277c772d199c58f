import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { beginRecord, fileRotationStore } from '../../src/rotation/file-store.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { Child } from '../support/child.ts'
import { codeOf } from '../support/statements.ts'

let folder: string
const children: Child[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'subrosa-rotation-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) await child.kill()
  rmSync(folder, { recursive: true, force: true })
})

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const path = (): string => join(folder, 'revocations')

function holdElsewhere(wanted: object): Child {
  const child = Child.start('hold-folder.mjs', 'rotation', folder, JSON.stringify(wanted))
  children.push(child)
  return child
}

describe('a store in a folder', () => {
  const plan = { plan: bytes(1, 2), list: [bytes(3), bytes(4)] }

  it('has no record before one is begun, and none is made by looking', () => {
    const store = fileRotationStore(folder)
    expect(store.load()).toBeUndefined()
    expect(codeOf(() => store.append([bytes(1)]))).toBe('ERR_STATE')
    expect(store.load()).toBeUndefined()
    store.close()
  })

  it('is begun by hand, once, and not while a service has it', () => {
    beginRecord(folder)
    expect(codeOf(() => beginRecord(folder))).toBe('ERR_STATE')
    const store = fileRotationStore(folder)
    expect(store.load()).toEqual({ revocations: [], plan: undefined, completeUnder: 0 })
    store.close()
    rmSync(path())
    const other = fileRotationStore(folder)
    expect(codeOf(() => beginRecord(folder))).toBe('ERR_STATE')
    other.close()
  })

  it('is begun again where that was cut short', () => {
    beginRecord(folder)
    renameSync(path(), `${path()}.new`)
    expect(readdirSync(folder).sort()).toEqual(['lock', 'plans', 'revocations.new'])
    beginRecord(folder)
    const store = fileRotationStore(folder)
    expect(store.load()).toEqual({ revocations: [], plan: undefined, completeUnder: 0 })
    store.close()
  })

  it('is begun in an empty folder alone: where a part of a record is left, it was lost', () => {
    for (const left of ['plans/1', 'announcements', 'revocations', 'anything']) {
      beginRecord(folder)
      const store = fileRotationStore(folder)
      store.load()
      store.close()
      for (const file of readdirSync(folder)) rmSync(join(folder, file), { recursive: true })
      mkdirSync(join(folder, left), { recursive: true })
      expect(
        codeOf(() => beginRecord(folder)),
        left,
      ).toBe('ERR_STATE')
      rmSync(join(folder, left), { recursive: true })
    }
  })

  it('is refused where a part of it is gone', () => {
    beginRecord(folder)
    rmSync(join(folder, 'plans'), { recursive: true })
    const store = fileRotationStore(folder)
    expect(codeOf(() => store.load())).toBe('ERR_STATE')
    store.close()
  })

  it('does not believe what another record has left: no plan, and not that it was complete', () => {
    beginRecord(folder)
    const store = fileRotationStore(folder)
    store.load()
    store.keepPlan(2, plan)
    store.keepComplete(2)
    store.setAnnouncements([bytes(5)])
    store.close()
    rmSync(path())
    const elsewhere = join(folder, 'elsewhere')
    beginRecord(elsewhere)
    renameSync(join(elsewhere, 'revocations'), path())
    const other = fileRotationStore(folder)
    expect(other.load()).toEqual({ revocations: [], plan: undefined, completeUnder: 0 })
    expect(other.planOf(2)).toBeUndefined()
    expect(other.loadAnnouncements()).toEqual([])
    other.keepPlan(1, plan)
    expect(other.load()).toEqual({ revocations: [], plan, completeUnder: 0 })
    other.close()
  })

  it('gives back what it was given, and every plan by its version', () => {
    beginRecord(folder)
    const store = fileRotationStore(folder)
    store.load()
    store.append([bytes(9)])
    store.keepPlan(1, { plan: bytes(7), list: [] })
    store.keepPlan(10, plan)
    store.keepComplete(9)
    store.close()
    const again = fileRotationStore(folder)
    expect(again.load()).toEqual({ revocations: [bytes(9)], plan, completeUnder: 9 })
    expect(again.planOf(1)).toEqual({ plan: bytes(7), list: [] })
    expect(again.planOf(10)).toEqual(plan)
    expect(again.planOf(2)).toBeUndefined()
    again.close()
  })

  it('is readable by its owner alone', () => {
    beginRecord(folder)
    const store = fileRotationStore(folder)
    store.load()
    store.keepPlan(1, plan)
    store.keepComplete(1)
    store.loadAnnouncements()
    store.addAnnouncement(bytes(1))
    for (const file of ['revocations', 'plans/1', 'plans/1.complete', 'announcements', 'lock'])
      expect(statSync(join(folder, file)).mode & 0o077, file).toBe(0)
    store.close()
  })

  it('is refused while a service of this process has it', () => {
    const store = fileRotationStore(folder)
    expect(codeOf(() => fileRotationStore(folder))).toBe('ERR_STATE')
    store.close()
    fileRotationStore(folder).close()
  })

  it('is refused while a service of another process has it, and free when that one is killed', async () => {
    const child = holdElsewhere({ begins: true })
    expect(await child.message('it holds the store', (m) => 'held' in m)).toEqual({ held: true })
    expect(codeOf(() => fileRotationStore(folder))).toBe('ERR_STATE')
    await child.kill()
    const store = fileRotationStore(folder)
    expect(store.load()?.revocations).toEqual([])
    store.close()
  })

  it('has everything that was confirmed when a process is killed while it writes', async () => {
    for (let round = 0; round < 3; round++) {
      const child = holdElsewhere({ begins: round === 0, from: round * 1_000_000, keepsWriting: true })
      const { wrote } = await child.message('it writes', (m) => 'wrote' in m)
      await child.kill()
      const store = fileRotationStore(folder)
      const last = store.load()?.revocations.at(-1) ?? bytes()
      expect(Number(Buffer.from(last).toString('hex'))).toBeGreaterThanOrEqual(Number(wrote))
      store.close()
    }
  })

  it('does without an announcement that a crash has cut short, and without any where they are damaged', () => {
    beginRecord(folder)
    const store = fileRotationStore(folder)
    expect(store.loadAnnouncements()).toEqual([])
    store.addAnnouncement(bytes(1, 2, 3))
    appendFileSync(join(folder, 'announcements'), 'AQI')
    expect(store.loadAnnouncements()).toEqual([bytes(1, 2, 3)])
    appendFileSync(join(folder, 'announcements'), '\n')
    expect(store.loadAnnouncements()).toEqual([])
    store.setAnnouncements([bytes(4)])
    expect(store.loadAnnouncements()).toEqual([bytes(4)])
    store.close()
  })

  it.each(['', '{', 'null', 'subrosa statements 2\n', 'HEAD0123456789abcdef AQ==\n'])(
    'is refused when its plan is damaged, and is not taken for a new one: %j',
    (text) => {
      beginRecord(folder)
      const store = fileRotationStore(folder)
      store.keepPlan(1, plan)
      const [head] = readFileSync(path(), 'utf8').split('\n')
      writeFileSync(join(folder, 'plans', '1'), text.replace('HEAD', `${head}\n`))
      expect(codeOf(() => store.load())).toBe('ERR_STATE')
      store.close()
    },
  )

  it('is refused where there can be no folder', () => {
    const file = join(folder, 'a-file')
    writeFileSync(file, '')
    expect(codeOf(() => fileRotationStore(file))).toBe('ERR_STATE')
    expect(codeOf(() => fileRotationStore(join(file, 'below')))).toBe('ERR_STATE')
  })
})

describe('a store in memory', () => {
  it('gives back what it was given, for as long as it lives', () => {
    const store = memoryRotationStore()
    expect(store.load()).toEqual({ revocations: [], plan: undefined, completeUnder: 0 })
    const plan = { plan: bytes(1), list: [] }
    store.append([bytes(1), bytes(2)])
    store.replace([bytes(2)])
    store.keepPlan(3, plan)
    store.keepComplete(3)
    store.addAnnouncement(bytes(1))
    store.close()
    expect(store.load()).toEqual({ revocations: [bytes(2)], plan, completeUnder: 3 })
    expect(store.planOf(3)).toEqual(plan)
    expect(store.planOf(2)).toBeUndefined()
    expect(store.loadAnnouncements()).toEqual([bytes(1)])
    store.setAnnouncements([])
    expect(store.loadAnnouncements()).toEqual([])
  })

  it('has no record where none was begun', () => {
    expect(memoryRotationStore({ isBegun: false }).load()).toBeUndefined()
  })
})
