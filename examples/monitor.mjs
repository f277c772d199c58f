// monitor.mjs: watches what is rejected, and why. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, secure } from 'subrosa'

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))
const nc = await connect({
  servers: url ?? server,
  tls: { caFile: `${dir}/tls/ca.crt` },
  authenticator: credsAuthenticator(await readFile(`${dir}/agents/audit.creds`)),
})
const bus = await secure(nc, {
  identity: await loadIdentity(`file:${dir}/agents/audit.identity`),
  trust: { authority },
})
const events = bus.status()
bus.subscribe('orders.>', { callback: (_err, m) => console.log('delivered', m.string()) })

// What somebody can do who has a login to the broker and no keys: send again what has passed, and send plaintext.
nc.subscribe('orders.new', { max: 1, callback: (_err, m) => nc.publish(m.subject, m.data) })
bus.publish('orders.new', 'order 9')
await bus.flush()
nc.publish('orders.new', 'order 8, in clear')

let wanted = 2
for await (const event of events) {
  if (event.type !== 'rejected') continue
  console.log('rejected on', event.subject, 'because of', event.reason)
  wanted--
  if (wanted === 0) break
}
console.log(bus.rejections())
await bus.drain()
