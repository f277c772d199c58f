import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeIdentityFile } from '../../../src/identity/identity.ts'
import { loadIdentity, readSecretFile } from '../../../src/identity/keyfiles/key-file.ts'
import {
  loadPins as loadPinsWithoutFiles,
  loadIdentity as loadWithoutFiles,
} from '../../../src/identity/keyfiles/key-file-absent.ts'
import { encodeSeed } from '../../../src/identity/nkey.ts'
import { agent, issue } from '../tokens.ts'

const code = (expected: string) => expect.objectContaining({ name: 'SubrosaError', code: expected })
let folder: string
let path: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-key-file-'))
  path = join(folder, 'billing.identity')
  await writeFile(path, encodeIdentityFile(issue(), agent.seed))
})

afterAll(async () => {
  await rm(folder, { recursive: true })
})

describe.skipIf(process.platform === 'win32')('the permissions of an identity file', () => {
  it.each(['600', '400', '700'])('may be %s', async (mode) => {
    await chmod(path, Number.parseInt(mode, 8))
    expect((await loadIdentity(`file:${path}`)).name).toBe('billing')
  })

  it.each(['644', '640', '604', '660', '606', '610', '601', '620', '602', '777', '444'])(
    'may not be %s',
    async (mode) => {
      await chmod(path, Number.parseInt(mode, 8))
      await expect(loadIdentity(`file:${path}`)).rejects.toThrow(
        expect.objectContaining({
          code: 'ERR_KEY_FILE_PERMISSIONS',
          message: expect.stringContaining(path),
          hint: expect.stringContaining(`chmod 600 ${path}`),
        }),
      )
    },
  )

  it('are those of the file that a link points to', async () => {
    await chmod(path, 0o644)
    await symlink(path, join(folder, 'link'))
    await expect(loadIdentity(`file:${join(folder, 'link')}`)).rejects.toThrow(
      code('ERR_KEY_FILE_PERMISSIONS'),
    )
    await chmod(path, 0o600)
    expect((await loadIdentity(`file:${join(folder, 'link')}`)).name).toBe('billing')
  })
})

describe('loading an identity', () => {
  it('fails with the path where there is no such file', async () => {
    const missing = join(folder, 'missing')
    await expect(loadIdentity(`file:${missing}`)).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KEY_FILE', message: expect.stringContaining(missing) }),
    )
  })

  it('fails on a folder', async () => {
    const inner = join(folder, 'inner')
    await mkdir(inner, { mode: 0o700 })
    await expect(loadIdentity(`file:${inner}`)).rejects.toThrow(code('ERR_KEY_FILE'))
  })

  it.each(['billing.identity', '/etc/passwd', 'http://x/y', 'env:', 'file:', 'FILE:x', ''])(
    'refuses the source %j, which is of no known kind',
    async (source) => {
      await expect(loadIdentity(source)).rejects.toThrow(TypeError)
    },
  )

  it('quotes no seed of a file that it refuses', async () => {
    const broken = join(folder, 'broken')
    const seed = encodeSeed('U', agent.seed)
    await writeFile(broken, `${seed}\n`, { mode: 0o600 })
    const error: Error = await loadIdentity(`file:${broken}`).then(
      () => expect.unreachable(),
      (reason) => reason,
    )
    expect(error).toEqual(code('ERR_KEY_FILE'))
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(seed.slice(2, 30))
  })

  it('fails where there is no file system', async () => {
    await expect(loadWithoutFiles('file:x')).rejects.toThrow(code('ERR_KEY_FILE'))
    await expect(loadPinsWithoutFiles('x')).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KEY_FILE', hint: expect.stringContaining('trust: {') }),
    )
  })
})

describe('reading a secret file', () => {
  it('gives its text', async () => {
    const secret = join(folder, 'secret')
    await writeFile(secret, 'text\n', { mode: 0o600 })
    expect(await readSecretFile(secret)).toBe('text\n')
  })

  it('reads no more than a secret has', async () => {
    const large = join(folder, 'large')
    await writeFile(large, Buffer.alloc(16 * 1024 * 1024 + 1, 'x'), { mode: 0o600 })
    await expect(readSecretFile(large)).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_KEY_FILE', message: `the key file ${large} is too large` }),
    )
  })

  it.skipIf(process.platform === 'win32')('does not read what others can write without end', async () => {
    await expect(readSecretFile('/dev/zero')).rejects.toThrow(code('ERR_KEY_FILE_PERMISSIONS'))
  })
})
