import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createFile, replaceFile } from '../../src/setup/files.ts'
import { failure } from '../support/until.ts'
import { temporaryFolder } from './running-realm.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let path: string
beforeEach(async () => {
  folder = await temporaryFolder()
  path = join(folder.path, 'file')
})
afterEach(() => folder.remove())

describe('a file that is created', () => {
  test('has its name when it is whole, and not before', async () => {
    let names: readonly string[] = []
    // As a full disk: the first bytes are written, and the others are not.
    async function* half() {
      yield 'half'
      names = await readdir(folder.path)
      throw new Error('no space is left')
    }
    const error = await failure(() => createFile(path, half() as unknown as string, { secret: true }))
    expect(names).not.toContain('file')
    expect(error).toMatchObject({ code: 'ERR_SETUP', message: `cannot write ${path}` })
    expect(await readdir(folder.path)).toEqual([])
    await writeFile(`${path}.0a1b2c3d.new`, 'what a kill leaves')
    await createFile(path, 'whole', { secret: true })
    expect(await readFile(path, 'utf8')).toBe('whole')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test('takes the place of nothing, and goes where no link leads', async () => {
    await writeFile(path, 'mine')
    const message = `${path} exists already`
    expect(await failure(() => createFile(path, 'yours', { secret: false }))).toMatchObject({ message })
    expect(await readFile(path, 'utf8')).toBe('mine')
    const link = join(folder.path, 'link')
    await symlink('target', link)
    expect(await failure(() => createFile(link, 'yours', { secret: false }))).toMatchObject({
      message: `${link} exists already`,
    })
    expect(await readdir(folder.path)).toEqual(['file', 'link'])
  })

  test('leaves nothing beside it', async () => {
    await createFile(path, 'one', { secret: false })
    await replaceFile(path, 'two', { secret: false })
    expect(await readdir(folder.path)).toEqual(['file'])
    expect(await readFile(path, 'utf8')).toBe('two')
  })
})
