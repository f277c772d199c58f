import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { generateIdentityKey } from '../../src/identity/identity.ts'
import { encodeSeed } from '../../src/identity/nkey.ts'
import { temporaryFolder } from '../setup/running-realm.ts'
import { engine } from '../support/identities.ts'
import { PinnedRealm, selfSigned } from '../support/pinned.ts'
import { until } from '../support/until.ts'
import { start } from './run.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let realm: PinnedRealm
let bob: SecureConnection
let env: Record<string, string>
beforeAll(async () => {
  folder = await temporaryFolder()
  const ann = generateIdentityKey(engine)
  const rotator = selfSigned('rotator')
  const bobs = selfSigned('bob', { realm: rotator.publicKey })
  const pins = { ann: ann.publicKey, bob: bobs.publicKey }
  realm = await PinnedRealm.start(rotator, pins)
  bob = await realm.agent(bobs, pins)
  const key = join(folder.path, 'ann.seed')
  await writeFile(key, `${encodeSeed('U', ann.seed)}\n`, { mode: 0o600 })
  const file = join(folder.path, 'pins.json')
  await writeFile(file, JSON.stringify({ realm: rotator.publicKey, pins }), { mode: 0o600 })
  env = {
    NATS_URL: realm.server.url,
    SUBROSA_PINS: file,
    SUBROSA_IDENTITY: key,
    SUBROSA_AGENT: 'ann',
    SUBROSA_STATE: 'memory',
  }
})
afterAll(async () => {
  await realm.stop()
  await folder.remove()
})

const run = (...argv: readonly string[]) => start(argv, env).outcome

describe('trust by pins', () => {
  it('needs no realm folder and no authority: a private key, its name and the pins do', async () => {
    const heard: string[] = []
    bob.subscribe('hello.>', {
      callback: (_, message) => {
        heard.push(`${message.sender.name} ${message.string()}`)
        message.respond('hi')
      },
    })
    await bob.flush()
    expect(await run('pub', 'hello.x', 'one', '--to', 'bob', '-q')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
    expect(await run('request', 'hello.x', 'two', '--to', 'bob', '-r')).toMatchObject({
      code: 0,
      stdout: 'hi',
    })
    expect(heard).toEqual(['ann one', 'ann two'])
  })

  it.each(['pub', 'request'])('lets %s name its recipients, and sends nothing without', async (command) => {
    expect(await run(command, 'hello.x', 'secret')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('--to'),
    })
  })

  it('takes replies on an inbox of its own choice', async () => {
    const replies: (string | undefined)[] = []
    const answering = bob.subscribe('inbox.>', {
      callback: (_, message) => {
        replies.push(message.reply)
        message.respond('hi')
      },
    })
    await bob.flush()
    const argv = ['request', 'inbox.x', '', '--to', 'bob', '-r', '--inbox-prefix', '_MINE.ann']
    expect(await run(...argv)).toMatchObject({ code: 0, stdout: 'hi' })
    expect(replies).toEqual([expect.stringMatching(/^_MINE\.ann\./)])
    answering.unsubscribe()
  })

  it('hears those that are pinned', async () => {
    const command = start(['sub', 'hello.>', '--raw', '--count', '1'], env)
    await until('it listens', () => command.said.some((line) => line.includes('subscribed')))
    await until('bob knows it', () => bob.audience('hello.x').some(({ name }) => name === 'ann'))
    bob.publish('hello.x', 'to ann', { to: ['ann'] })
    expect(await command.outcome).toMatchObject({ code: 0, stdout: 'to ann' })
  })

  it('does not go with an authority', async () => {
    expect(await run('sub', 'x', '--authority', realm.rotator.publicKey)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('not by both'),
    })
  })

  it('says that the key is not the one that is pinned for the name', async () => {
    const other = join(folder.path, 'other.seed')
    await writeFile(other, encodeSeed('U', generateIdentityKey(engine).seed), { mode: 0o600 })
    expect(await run('sub', 'x', '--identity', other)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_PIN_MISMATCH'),
    })
  })
})
