import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listContexts, loadContext, selectedContext } from '../../../src/cli/realm/contexts.ts'
import { temporaryFolder } from '../../setup/running-realm.ts'
import { failure } from '../../support/until.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let env: Record<string, string>
beforeEach(async () => {
  folder = await temporaryFolder()
  env = { HOME: folder.path }
  await mkdir(join(folder.path, '.config', 'nats', 'context'), { recursive: true })
})
afterEach(() => folder.remove())

const write = (name: string, text: string) =>
  writeFile(join(folder.path, '.config', 'nats', 'context', `${name}.json`), text)
const save = (name: string, fields: Record<string, unknown>) => write(name, JSON.stringify(fields))

describe('loadContext', () => {
  it('reads what the nats command writes, with its empty fields', async () => {
    await save('local', {
      description: 'here',
      url: 'nats://127.0.0.1:4222',
      socks_proxy: '',
      token: '',
      user: 'ann',
      password: 'secret',
      creds: '',
      nkey: '',
      cert: '',
      key: '',
      ca: '',
      nsc: '',
      jetstream_domain: 'hub',
      jetstream_api_prefix: '',
      jetstream_event_prefix: '',
      inbox_prefix: '_MINE',
      user_jwt: '',
      user_seed: '',
      color_scheme: 'red',
      tls_first: false,
      windows_cert_store: '',
      windows_ca_certs_match: null,
    })
    expect(await loadContext(env, 'local')).toEqual({
      name: 'local',
      path: join(folder.path, '.config/nats/context/local.json'),
      url: 'nats://127.0.0.1:4222',
      user: 'ann',
      password: 'secret',
      inboxPrefix: '_MINE',
      tlsFirst: false,
      unknown: [],
    })
  })

  it('looks in XDG_CONFIG_HOME where that is set', async () => {
    await mkdir(join(folder.path, 'xdg/nats/context'), { recursive: true })
    await writeFile(join(folder.path, 'xdg/nats/context/there.json'), '{"url":"tls://x:1"}')
    const xdg = { ...env, XDG_CONFIG_HOME: join(folder.path, 'xdg') }
    expect((await loadContext(xdg, 'there')).url).toBe('tls://x:1')
    expect(await listContexts(xdg)).toEqual(['there'])
  })

  it('takes the path of a file', async () => {
    const path = join(folder.path, 'one.json')
    await writeFile(path, '{"token":"t"}')
    expect(await loadContext(env, path)).toMatchObject({ path, token: 't' })
  })

  it('replaces the home folder and variables in paths, and nowhere else', async () => {
    await save('paths', {
      creds: '~/a.creds',
      nkey: '$DIR/a.nk',
      ca: `file://${'$'}{DIR}/ca.crt`,
      cert: '~ann/x',
      password: '~$DIR',
    })
    expect(await loadContext({ ...env, DIR: '/keys' }, 'paths')).toMatchObject({
      creds: `${folder.path}/a.creds`,
      nkey: '/keys/a.nk',
      ca: '/keys/ca.crt',
      cert: '~ann/x',
      password: '~$DIR',
    })
  })

  it('names the contexts that there are when there is no such one', async () => {
    await save('prod', {})
    await save('dev', {})
    expect(await failure(() => loadContext(env, 'staging'))).toMatchObject({
      code: 'ERR_SETUP',
      message: 'there is no context "staging"',
      hint: 'there are: dev, prod',
    })
  })

  it('says how to make one when there is none at all, and without a home', async () => {
    for (const nothing of [{ HOME: join(folder.path, 'none') }, {}]) {
      expect(await failure(() => loadContext(nothing, 'x'))).toMatchObject({
        code: 'ERR_SETUP',
        hint: expect.stringContaining('nats context add'),
      })
    }
  })

  it.each(['../x', 'a/b', 'a\\b', '', '..'])('does not leave the folder for "%s"', async (name) => {
    await writeFile(join(folder.path, '.config', 'nats', 'x.json'), '{}')
    expect(await failure(() => loadContext(env, name))).toMatchObject({ code: 'ERR_SETUP' })
  })

  it.each([
    ['nsc', 'nsc://op/acc/user'],
    ['socks_proxy', 'socks5://127.0.0.1:1080'],
    ['windows_cert_store', 'user'],
    ['windows_ca_certs_match', ['x']],
  ])('refuses %s, which would change how to connect', async (field, value) => {
    await save('x', { url: 'nats://127.0.0.1:4222', [field]: value })
    expect(await failure(() => loadContext(env, 'x'))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining(`has ${field}, which is not supported here`),
      hint: expect.stringContaining('--no-context'),
    })
  })

  it.each([
    ['creds', 'op://vault/item'],
    ['password', 'env://PASSWORD'],
    ['token', 'data:;base64,c2VjcmV0'],
    ['nkey', 'nsc://op/acc/user'],
  ])('refuses what %s refers to, and does not show it', async (field, value) => {
    await save('x', { [field]: value })
    const error = await failure(() => loadContext(env, 'x'))
    expect(error).toMatchObject({ code: 'ERR_SETUP' })
    expect(`${error.message} ${error.hint}`).toContain(field)
    expect(`${error.message} ${error.hint}`).not.toContain(value)
  })

  it.each(['', 'secret', '[]', 'null', '"x"', '{"url":'])('refuses a file with %j', async (text) => {
    await write('x', text)
    const error = await failure(() => loadContext(env, 'x'))
    expect(error).toMatchObject({ code: 'ERR_SETUP', message: expect.stringContaining('is no JSON object') })
    expect(error.cause).toBeUndefined()
  })

  it('refuses a field that is no text', async () => {
    await save('x', { url: 4222 })
    expect(await failure(() => loadContext(env, 'x'))).toMatchObject({
      message: expect.stringContaining('url in the context'),
    })
  })

  it('names fields that nobody knows, where they say something', async () => {
    await save('x', { url: 'nats://127.0.0.1', carrier_pigeon: 'yes', other: '' })
    expect((await loadContext(env, 'x')).unknown).toEqual(['carrier_pigeon'])
  })
})

describe('selectedContext', () => {
  it('is the name in context.txt', async () => {
    await writeFile(join(folder.path, '.config/nats/context.txt'), 'dev\n')
    expect(await selectedContext(env)).toBe('dev')
  })

  it('is none where nothing is selected', async () => {
    expect(await selectedContext(env)).toBeUndefined()
    expect(await selectedContext({})).toBeUndefined()
    await writeFile(join(folder.path, '.config/nats/context.txt'), '\n')
    expect(await selectedContext(env)).toBeUndefined()
  })
})
