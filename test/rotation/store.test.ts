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
import { fileRotationStore } from '../../src/rotation/file-store.ts'
import { leaveReplicas, memoryRotationStore } from '../../src/rotation/store.ts'
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

function holdElsewhere(wanted: object): Child {
  const child = Child.start('hold-folder.mjs', 'rotation', folder, JSON.stringify(wanted))
  children.push(child)
  return child
}

describe('a store in a folder', () => {
  it('is empty at first, and gives back what it was given', () => {
    const store = fileRotationStore(folder)
    expect(store.load()).toEqual({ epochs: [], revocations: [], tickedUntil: 0 })
    expect(store.loadAnnouncements()).toEqual([])
    const record = { epochs: [bytes(1), bytes(2, 3)], revocations: [bytes(4)], tickedUntil: 99 }
    store.save(record)
    store.addAnnouncement(bytes(5))
    store.addAnnouncement(bytes(6, 7))
    store.close()
    const again = fileRotationStore(folder)
    expect(again.load()).toEqual(record)
    expect(again.loadAnnouncements()).toEqual([bytes(5), bytes(6, 7)])
    again.setAnnouncements([bytes(8)])
    again.addAnnouncement(bytes(9))
    expect(again.loadAnnouncements()).toEqual([bytes(8), bytes(9)])
    again.close()
  })

  it('of a replica is no record to software that knows of none, until it leaves the others', () => {
    const store = fileRotationStore(folder)
    const record = { epochs: [bytes(1)], revocations: [], tickedUntil: 5, pending: bytes(2), isShared: true }
    const format = () => JSON.parse(readFileSync(join(folder, 'rotation.json'), 'utf8')).format
    store.save(record)
    expect(store.load()).toEqual(record)
    expect(format()).toBe(2)
    leaveReplicas(store)
    expect(format()).toBe(1)
    // What was signed and may have been seen stays the next one.
    expect(store.load()).toEqual({ ...record, isShared: undefined })
    store.close()
  })

  it('is readable by its owner alone', () => {
    const store = fileRotationStore(folder)
    store.save({ epochs: [], revocations: [], tickedUntil: 1 })
    store.addAnnouncement(bytes(1))
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o077).toBe(0)
    store.close()
  })

  it('is refused while a service of this process has it', () => {
    const store = fileRotationStore(folder)
    expect(codeOf(() => fileRotationStore(folder))).toBe('ERR_STATE')
    store.close()
    fileRotationStore(folder).close()
  })

  it('is refused while a service of another process has it, and free when that one is killed', async () => {
    const child = holdElsewhere({ tickedUntil: 7 })
    expect(await child.message('it holds the store', (m) => 'held' in m)).toEqual({ held: true })
    expect(codeOf(() => fileRotationStore(folder))).toBe('ERR_STATE')
    await child.kill()
    const store = fileRotationStore(folder)
    expect(store.load().tickedUntil).toBe(7)
    store.close()
  })

  it('leaves a whole record when a process is killed while it writes', async () => {
    for (let round = 0; round < 3; round++) {
      const child = holdElsewhere({ tickedUntil: 1 + round * 1_000_000, keepsWriting: true })
      const { wrote } = await child.message('it writes', (m) => 'wrote' in m)
      await child.kill()
      const store = fileRotationStore(folder)
      const { tickedUntil, epochs } = store.load()
      expect(tickedUntil).toBeGreaterThanOrEqual(Number(wrote))
      expect(epochs).toHaveLength(2000)
      store.close()
    }
  })

  it('does without an announcement that a crash has cut short', () => {
    const store = fileRotationStore(folder)
    store.addAnnouncement(bytes(1, 2, 3))
    appendFileSync(join(folder, 'announcements'), 'AQI')
    expect(store.loadAnnouncements()).toEqual([bytes(1, 2, 3)])
    store.close()
  })

  it.each([
    '',
    '{',
    'null',
    '{"format":3,"epochs":[],"revocations":[],"tickedUntil":1}',
    '{"format":1,"epochs":[],"revocations":[]}',
    '{"format":1,"epochs":{},"revocations":[],"tickedUntil":1}',
    '{"format":1,"epochs":[1],"revocations":[],"tickedUntil":1}',
    '{"format":1,"epochs":[],"revocations":[],"tickedUntil":"1"}',
    '{"format":2,"epochs":[],"revocations":[],"tickedUntil":1,"pending":1}',
  ])('is refused when it is damaged, and not taken for a new one: %j', (text) => {
    writeFileSync(join(folder, 'rotation.json'), text)
    const store = fileRotationStore(folder)
    expect(codeOf(() => store.load())).toBe('ERR_STATE')
    store.close()
  })

  it('is refused where there can be no folder', () => {
    const path = join(folder, 'a-file')
    writeFileSync(path, '')
    expect(codeOf(() => fileRotationStore(path))).toBe('ERR_STATE')
    expect(codeOf(() => fileRotationStore(join(path, 'below')))).toBe('ERR_STATE')
  })
})

describe('a store in memory', () => {
  it('gives back what it was given, for as long as it lives', () => {
    const store = memoryRotationStore()
    expect(store.load()).toEqual({ epochs: [], revocations: [], tickedUntil: 0 })
    const record = { epochs: [bytes(1)], revocations: [], tickedUntil: 5 }
    store.save(record)
    store.addAnnouncement(bytes(1))
    store.close()
    expect(store.load()).toEqual(record)
    store.setAnnouncements([])
    expect(store.loadAnnouncements()).toEqual([])
  })
})
