import { test } from 'vitest'
import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { createRealm } from '../../src/setup/realm.ts'
import { addAgent } from '../../src/setup/agents.ts'
import { realmLayout, agentPaths } from '../../src/setup/layout.ts'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { startNatsServer } from '../../src/setup/run-server.ts'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { execFileSync } from 'node:child_process'

test('x', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'try-'))
  const realm = await createRealm({ dir: join(folder, 'realm'), port: 14999, hosts: ['10.1.2.3', 'nats.example.com'] })
  await addAgent(realm, { name: 'billing', sub: ['orders.>'] })
  console.log(await readFile(realmLayout(realm.dir).serverConfig, 'utf8'))
  console.log(execFileSync('openssl', ['x509', '-in', realmLayout(realm.dir).serverCertificate, '-text', '-noout']).toString())
  console.log(execFileSync('openssl', ['x509', '-in', realmLayout(realm.dir).caCertificate, '-text', '-noout']).toString())
  console.log(execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', realmLayout(realm.dir).caCertificate, realmLayout(realm.dir).serverCertificate]).toString())
  console.log(execFileSync('ls', ['-lR', folder]).toString())
  const server = await startNatsServer({ program: await findNatsServer(), configPath: realmLayout(realm.dir).serverConfig, folder })
  const creds = await readFile(agentPaths(realm.dir, 'billing').creds)
  for (const o of [
    { authenticator: credsAuthenticator(creds), tls: { caFile: realmLayout(realm.dir).caCertificate } },
    { authenticator: credsAuthenticator(creds), tls: {} },
    { tls: { caFile: realmLayout(realm.dir).caCertificate } },
  ]) {
    try { const nc = await connect({ servers: 'tls://127.0.0.1:14999', ...o }); console.log('OK', nc.info?.max_payload); await nc.close() }
    catch (e: any) { console.log(e.constructor.name, e.message, e.code, e.cause?.code) }
  }
  console.log(await readFile(join(folder, 'nats-server.log'), 'utf8'))
  await server.stop()
})
