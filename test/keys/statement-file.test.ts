import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StatementFile, type StatementFileOptions } from '../../src/keys/statement-file.ts'
import { codeOf } from '../support/statements.ts'

const RECORD = '0123456789abcdef'.repeat(2)

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'subrosa-statements-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const path = (): string => join(folder, 'revocations')
const open = (options: StatementFileOptions = {}): StatementFile => new StatementFile(path(), RECORD, options)

describe('a file of statements', () => {
  function begun(): StatementFile {
    const file = open()
    file.replace([])
    expect(file.read()).toEqual([])
    return file
  }

  it('gives back everything that was ever appended, in its order', () => {
    const file = begun()
    file.append([bytes(1), bytes(2, 3)])
    file.append([bytes(4)])
    const again = open()
    expect(again.read()).toEqual([bytes(1), bytes(2, 3), bytes(4)])
    again.append([bytes(5)])
    expect(open().read()).toEqual([bytes(1), bytes(2, 3), bytes(4), bytes(5)])
  })

  it('cuts off a line that a crash has torn, before the next one is written', () => {
    begun().append([bytes(1)])
    const whole = readFileSync(path(), 'utf8')
    const line = whole.split('\n')[1] ?? ''
    for (let length = 1; length < line.length; length++) {
      writeFileSync(path(), whole + line.slice(0, length))
      const file = open()
      expect(file.read()).toEqual([bytes(1)])
      file.append([bytes(2)])
      const again = open()
      expect(() => again.read()).not.toThrow()
      expect(again.read()).toEqual([bytes(1), bytes(2)])
    }
  })

  it('has a last line that is whole, whatever has become of its end', () => {
    begun().append([bytes(1), bytes(2)])
    const whole = readFileSync(path())
    for (const end of ['', '*', '\0', '\r']) {
      writeFileSync(path(), whole.subarray(0, whole.length - 1))
      appendFileSync(path(), end)
      const file = open()
      expect(file.read(), JSON.stringify(end)).toEqual([bytes(1), bytes(2)])
      file.append([bytes(3)])
      expect(open().read()).toEqual([bytes(1), bytes(2), bytes(3)])
    }
  })

  it('takes nothing before it was read: where it ends is not known', () => {
    begun().append([bytes(1)])
    expect(codeOf(() => open().append([bytes(2)]))).toBe('ERR_STATE')
    expect(open().read()).toEqual([bytes(1)])
  })

  it('of another record is none', () => {
    begun().append([bytes(1)])
    const other = new StatementFile(path(), 'f'.repeat(32))
    expect(other.read()).toBeUndefined()
    expect(codeOf(() => other.append([bytes(2)]))).toBe('ERR_STATE')
    expect(StatementFile.recordOf(path())).toBe(RECORD)
    expect(StatementFile.recordOf(join(folder, 'none'))).toBeUndefined()
  })

  it('that was replaced, but not for good, goes on once it is, from what is there then', () => {
    let isBroken = false
    const file = open({
      syncFolder: () => {
        if (isBroken) throw new Error('EIO')
      },
    })
    file.replace([bytes(1), bytes(2)])
    isBroken = true
    expect(codeOf(() => file.replace([bytes(2)]))).toBe('ERR_STATE')
    // A crash could bring back the old file, without what is appended now.
    expect(codeOf(() => file.append([bytes(3)]))).toBe('ERR_STATE')
    expect(open().read()).toEqual([bytes(2)])
    isBroken = false
    file.append([bytes(3)])
    expect(open().read()).toEqual([bytes(2), bytes(3)])
  })

  it('takes back what could not be brought to the disk: it must not come back after a restart', () => {
    begun().append([bytes(1)])
    let isFull = true
    const file = open({
      sync: () => {
        if (isFull) throw new Error('ENOSPC')
      },
    })
    file.read()
    expect(codeOf(() => file.append([bytes(2), bytes(3)]))).toBe('ERR_STATE')
    expect(open().read()).toEqual([bytes(1)])
    isFull = false
    file.append([bytes(4)])
    expect(open().read()).toEqual([bytes(1), bytes(4)])
  })

  it('is damaged where any whole line is not as it was written', () => {
    begun().append([bytes(1, 2, 3), bytes(4, 5, 6)])
    const whole = readFileSync(path())
    for (let at = 0; at < whole.length; at++) {
      // The end of the last line is where a crash can have torn it: the line is whole.
      if (at === whole.length - 1) continue
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      writeFileSync(path(), flipped)
      expect(
        codeOf(() => open().read()),
        `byte ${at}`,
      ).toBe('ERR_STATE')
    }
  })

  it('is damaged where a line was taken out of it that ends with half of another', () => {
    begun().append([bytes(1)])
    appendFileSync(path(), '\n')
    expect(codeOf(() => open().read())).toBe('ERR_STATE')
    writeFileSync(path(), '')
    expect(codeOf(() => open().read())).toBe('ERR_STATE')
  })

  it('is never made but by being begun: what is gone while a service runs takes nothing more', () => {
    const file = begun()
    rmSync(path())
    expect(codeOf(() => file.append([bytes(1)]))).toBe('ERR_STATE')
    expect(readdirSync(folder)).toEqual([])
    expect(open().read()).toBeUndefined()
  })

  it('takes nothing where somebody has cut it while a service runs', () => {
    const file = begun()
    file.append([bytes(1)])
    const whole = readFileSync(path())
    writeFileSync(path(), whole.subarray(0, whole.length - 5))
    expect(codeOf(() => file.append([bytes(2)]))).toBe('ERR_STATE')
  })

  it('is replaced as a whole, and goes on from there', () => {
    const file = begun()
    file.append([bytes(1), bytes(2)])
    file.replace([bytes(2)])
    file.append([bytes(3)])
    expect(open().read()).toEqual([bytes(2), bytes(3)])
  })
})
