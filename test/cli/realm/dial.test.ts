import { readFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectBroker } from '../../../src/cli/realm/dial.ts'
import { issueBrokerUser } from '../../../src/setup/broker-users.ts'
import { realmLayout } from '../../../src/setup/layout.ts'
import { createRealm, type Realm } from '../../../src/setup/realm.ts'
import { freePort, RunningRealm } from '../../setup/running-realm.ts'
import { startTestServer } from '../../support/server.ts'
import { failure } from '../../support/until.ts'

let running: RunningRealm
let other: Realm
beforeAll(async () => {
  running = await RunningRealm.create()
  other = await createRealm({ dir: join(running.folder, 'other') })
  await running.startServer()
})
afterAll(() => running.stop())

async function login(options: { server?: string; realm?: Realm; caOf?: Realm } = {}) {
  const { server = running.realm.server, realm = running.realm, caOf = running.realm } = options
  const creds = await issueBrokerUser(realm, 'test')
  return connectBroker({ server, creds, caPath: realmLayout(caOf.dir).caCertificate, name: 'test' })
}

async function answering(greeting: string): Promise<{ url: string; server: Server }> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {})
    socket.end(greeting)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return { url: `tls://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`, server }
}

describe('connectBroker', () => {
  test('connects by TLS', async () => {
    const connection = await login()
    expect(connection.info?.tls_required).toBe(true)
    await connection.close()
  })

  test('says that nothing listens', async () => {
    const server = `tls://127.0.0.1:${await freePort()}`
    expect(await failure(() => login({ server }))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: `cannot connect to ${server}: nothing listens there`,
      hint: expect.stringContaining('nats-server -c'),
    })
  })

  test('says that the certificate is not of this realm', async () => {
    expect(await failure(() => login({ caOf: other }))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining('its certificate is not of this realm'),
    })
  })

  test('says that the login is refused', async () => {
    expect(await failure(() => login({ realm: other }))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining('the broker refuses this login'),
      hint: expect.stringContaining('--renew'),
    })
  })

  test('does not go on without TLS', async () => {
    const plain = await startTestServer()
    try {
      for (const server of [`tls://${plain.url}`, `nats://${plain.url}`, plain.url]) {
        const error = await failure(() => login({ server }))
        expect(error).toMatchObject({
          code: 'ERR_CONNECTION',
          message: expect.stringContaining('it offers no TLS'),
        })
      }
    } finally {
      await plain.stop()
    }
  })

  test('tells other servers from NATS', async () => {
    for (const greeting of ['', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'INFO {\r\n']) {
      const { url, server } = await answering(greeting)
      const error = await failure(() => login({ server: url }))
      server.close()
      expect(error).toMatchObject({
        code: 'ERR_CONNECTION',
        message: expect.stringContaining('it does not answer as a NATS server does'),
      })
    }
  })

  test('says that there is no such host', async () => {
    expect(await failure(() => login({ server: 'tls://broker.invalid:4222' }))).toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringContaining('no such host'),
    })
  })

  test('needs the certificate authority', async () => {
    const creds = await issueBrokerUser(running.realm, 'test')
    const caPath = join(running.folder, 'none.crt')
    const options = { server: running.realm.server, creds, caPath, name: 'test' }
    expect(await failure(() => connectBroker(options))).toMatchObject({ code: 'ERR_SETUP' })
  })

  test('names no secret in its errors', async () => {
    const seed = (await readFile(realmLayout(other.dir).accountSeed, 'utf8')).trim()
    const error = await failure(() => login({ realm: other }))
    const text = `${error.message} ${error.hint} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`
    expect(text).not.toContain(seed)
    expect(text).not.toMatch(/S[UA][A-Z2-7]{56}|eyJ/)
  })
})
