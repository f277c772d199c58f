// billing.ts: waits for one sealed order. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, secure } from 'subrosa'

interface Order {
  readonly id: number
}

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))
const nc = await connect({
  servers: url ?? server,
  tls: { caFile: `${dir}/tls/ca.crt` },
  authenticator: credsAuthenticator(await readFile(`${dir}/agents/billing.creds`)),
})
const bus = await secure(nc, {
  identity: await loadIdentity(`file:${dir}/agents/billing.identity`),
  trust: { authority },
})

// #region readme
const orders = bus.subscribe('orders.>', { max: 1, timeout: 60_000 })
await bus.flush()
console.log('waiting for an order')
for await (const m of orders) {
  const order = m.json<Order>()
  console.log(m.sender.name, m.subject, order, m.epoch)
}
await bus.drain()
// #endregion
