// orders-nats.mjs: sends one sealed order. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator } from 'nats'
import { loadIdentity, secure } from 'subrosa'

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))
const nc = await connect({
  servers: url ?? server,
  tls: { caFile: `${dir}/tls/ca.crt` },
  authenticator: credsAuthenticator(await readFile(`${dir}/agents/orders.creds`)),
})
const bus = await secure(nc, {
  identity: await loadIdentity(`file:${dir}/agents/orders.identity`),
  trust: { authority },
})

await bus.waitForAudience('orders.new')
bus.publish('orders.new', JSON.stringify({ id: 7 }))
console.log('sent order 7')
await bus.drain()
