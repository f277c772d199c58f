import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { beginRecord, fileRotationStore } from '../../src/rotation/file-store.ts'
import { StatementFile } from '../../src/rotation/statement-file.ts'
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

describe('a file of statements', () => {
  function begun(): StatementFile {
    const file = new StatementFile(path())
    file.begin()
    expect(file.read()).toEqual([])
    return file
  }

  it('gives back everything that was ever appended, in its order', () => {
    const file = begun()
    file.append([bytes(1), bytes(2, 3)])
    file.append([bytes(4)])
    const again = new StatementFile(path())
    expect(again.read()).toEqual([bytes(1), bytes(2, 3), bytes(4)])
    again.append([bytes(5)])
    expect(new StatementFile(path()).read()).toEqual([bytes(1), bytes(2, 3), bytes(4), bytes(5)])
  })

  it('cuts off a line that a crash has torn, before the next one is written', () => {
    begun().append([bytes(1)])
    const whole = readFileSync(path(), 'utf8')
    const line = whole.split('\n')[1] ?? ''
    for (let length = 1; length <= line.length; length++) {
      writeFileSync(path(), whole + line.slice(0, length))
      const file = new StatementFile(path())
      expect(file.read()).toEqual([bytes(1)])
      file.append([bytes(2)])
      const again = new StatementFile(path())
      expect(() => again.read()).not.toThrow()
      expect(again.read()).toEqual([bytes(1), bytes(2)])
    }
  })

  it('takes back what could not be brought to the disk: it must not come back after a restart', () => {
    begun().append([bytes(1)])
    let isFull = true
    const file = new StatementFile(path(), () => {
      if (isFull) throw new Error('ENOSPC')
    })
    file.read()
    expect(codeOf(() => file.append([bytes(2), bytes(3)]))).toBe('ERR_STATE')
    expect(new StatementFile(path()).read()).toEqual([bytes(1)])
    isFull = false
    file.append([bytes(4)])
    expect(new StatementFile(path()).read()).toEqual([bytes(1), bytes(4)])
  })

  it('is damaged where any whole line is not as it was written', () => {
    begun().append([bytes(1, 2, 3), bytes(4, 5, 6)])
    const whole = readFileSync(path())
    for (let at = 0; at < whole.length; at++) {
      // The end of the last line is where a crash can have torn it.
      if (at === whole.length - 1) continue
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      writeFileSync(path(), flipped)
      expect(
        codeOf(() => new StatementFile(path()).read()),
        `byte ${at}`,
      ).toBe('ERR_STATE')
    }
  })

  it('is damaged where a line was taken out of it that ends with half of another', () => {
    begun().append([bytes(1)])
    appendFileSync(path(), '\n')
    expect(codeOf(() => new StatementFile(path()).read())).toBe('ERR_STATE')
    writeFileSync(path(), '')
    expect(codeOf(() => new StatementFile(path()).read())).toBe('ERR_STATE')
  })

  it('is never made but by being begun: what is gone while a service runs takes nothing more', () => {
    const file = begun()
    rmSync(path())
    expect(codeOf(() => file.append([bytes(1)]))).toBe('ERR_STATE')
    expect(readdirSync(folder)).toEqual([])
    expect(new StatementFile(path()).read()).toBeUndefined()
  })

  it('takes nothing where somebody has cut it while a service runs', () => {
    const file = begun()
    file.append([bytes(1)])
    const whole = readFileSync(path())
    writeFileSync(path(), whole.subarray(0, whole.length - 5))
    expect(codeOf(() => file.append([bytes(2)]))).toBe('ERR_STATE')
  })

  it('is begun once', () => {
    begun().append([bytes(1)])
    expect(codeOf(() => new StatementFile(path()).begin())).toBe('ERR_STATE')
    expect(new StatementFile(path()).read()).toEqual([bytes(1)])
  })

  it('is replaced as a whole, and goes on from there', () => {
    const file = begun()
    file.append([bytes(1), bytes(2)])
    file.replace([bytes(2)])
    file.append([bytes(3)])
    expect(new StatementFile(path()).read()).toEqual([bytes(2), bytes(3)])
  })
})

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

  it.each(['', '{', 'null', 'subrosa statements 2\n', 'subrosa statements 1\n0123456789abcdef AQ==\n'])(
    'is refused when its plan is damaged, and is not taken for a new one: %j',
    (text) => {
      beginRecord(folder)
      const store = fileRotationStore(folder)
      store.keepPlan(1, plan)
      writeFileSync(join(folder, 'plans', '1'), text)
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
