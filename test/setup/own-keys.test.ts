import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { readPublicKey } from '../../src/identity/keyfiles/public-key.ts'
import {
  loadIdentity,
  loadPins,
  type RotationService,
  type SecureConnection,
  type SecureOptions,
  secure,
  startRotationService,
} from '../../src/index.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { createIdentity } from '../../src/setup/identities.ts'
import { agentPaths } from '../../src/setup/layout.ts'
import { pinKey } from '../../src/setup/pins.ts'
import { PASSPHRASE, sample } from '../identity/sample-keys.ts'
import { connectClient } from '../support/client.ts'
import { startTestServer } from '../support/server.ts'
import { isInstalled, outputOf } from '../support/tools.ts'
import { RunningRealm, temporaryFolder } from './running-realm.ts'

/** A key pair as a person has it. */
interface KeyPair {
  /** `file:` and the path of the private key. */
  readonly key: string
  readonly publicKey: string
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let ssh: KeyPair
let pem: KeyPair
const open: { close: () => unknown }[] = []
beforeAll(async () => {
  folder = await temporaryFolder()
  ssh = await opensshKey(join(folder.path, 'id_ed25519'))
  pem = await pkcs8Key(join(folder.path, 'key.pem'))
})
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close()
})
afterAll(() => folder.remove())

/** A key with a passphrase: a new one, or where ssh-keygen is not installed one that it has made. */
async function opensshKey(path: string): Promise<KeyPair> {
  const isMadeNow = isInstalled('ssh-keygen')
  if (isMadeNow) outputOf('ssh-keygen', '-q', '-t', 'ed25519', '-N', PASSPHRASE, '-f', path)
  else await writeFile(path, sample('openssh-encrypted'), { mode: 0o600 })
  const line = isMadeNow ? await readFile(`${path}.pub`, 'utf8') : sample('openssh.pub')
  return { key: `file:${path}`, publicKey: readPublicKey(line, 'the public key') }
}

/** A key without a passphrase: a new one, or where openssl is not installed one that it has made. */
async function pkcs8Key(path: string): Promise<KeyPair> {
  const isMadeNow = isInstalled('openssl')
  await writeFile(path, sample('pkcs8.pem'), { mode: 0o600 })
  if (isMadeNow) outputOf('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', path)
  const text = isMadeNow ? outputOf('openssl', 'pkey', '-in', path, '-pubout') : sample('pkcs8.pub.pem')
  return { key: `file:${path}`, publicKey: readPublicKey(text, 'the public key') }
}

/** Sends an order, and expects that it comes. */
async function exchange(orders: SecureConnection, billing: SecureConnection): Promise<void> {
  const messages = billing.subscribe('orders.>', { max: 1 })
  await billing.flush()
  await orders.waitForAudience('orders.new')
  orders.publish('orders.new', 'an order', { to: ['billing'] })
  const seen: unknown[] = []
  for await (const { sender, subject, data } of messages)
    seen.push([sender.name, subject, Buffer.from(data).toString()])
  expect(seen).toEqual([['orders', 'orders.new', 'an order']])
}

function closeLater<T extends RotationService | SecureConnection>(opened: T): T {
  open.push(opened)
  return opened
}

describe('agents that bring their own keys', () => {
  test('exchange sealed messages under an authority that never sees their private keys', async () => {
    const running = await RunningRealm.create()
    open.push({ close: () => running.stop() })
    const { realm } = running
    await addAgent(realm, { name: 'orders', pub: ['orders.>'], key: pem.publicKey })
    await addAgent(realm, { name: 'billing', sub: ['orders.>'], key: ssh.publicKey })
    await running.startServer()

    const trust = { authority: realm.authority }
    const token = (name: string) => `file:${agentPaths(realm.dir, name).tokens}`
    const enter = async (name: string, identity: SecureOptions['identity']) =>
      closeLater(await secure(await running.login({ agent: name }), { identity, trust, state: 'memory' }))
    await running.startService()
    const passphrase = async () => PASSPHRASE
    const billing = await enter(
      'billing',
      await loadIdentity({ key: ssh.key, token: token('billing') }, { passphrase }),
    )
    const orders = await enter('orders', await loadIdentity({ key: pem.key, token: token('orders') }))
    await exchange(orders, billing)
  })

  test('exchange sealed messages by pins that were exchanged by hand', async () => {
    const server = await startTestServer()
    open.push({ close: () => server.stop() })
    const connection = async () => {
      const nc = await connectClient({ servers: server.url })
      open.push(nc)
      return nc
    }
    const rotator = await createIdentity({ path: join(folder.path, 'rotator.identity'), name: 'rotator' })
    const realm = rotator.publicKey
    const path = join(folder.path, 'pins.json')
    await pinKey({ path, name: 'rotator', key: realm, rotator: true })
    await pinKey({ path, name: 'orders', key: pem.publicKey, pub: ['orders.>'] })
    await pinKey({ path, name: 'billing', key: ssh.publicKey, sub: ['orders.>'] })

    const trust = await loadPins(path)
    const store = memoryRotationStore()
    closeLater(await startRotationService(await connection(), { identity: rotator, trust, store }))
    const enter = async (identity: SecureOptions['identity']) =>
      closeLater(await secure(await connection(), { identity, trust, state: 'memory' }))
    const passphrase = () => PASSPHRASE
    const billing = await enter(await loadIdentity({ key: ssh.key, name: 'billing', realm }, { passphrase }))
    const orders = await enter(await loadIdentity({ key: pem.key, name: 'orders', realm }))
    await exchange(orders, billing)
  })
})
