// overview.mjs: the calls of a sealed connection. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
// #region readme
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, secure } from 'subrosa'

// #endregion

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))
const servers = url ?? server
const caFile = `${dir}/tls/ca.crt`
const creds = await readFile(`${dir}/agents/shop.creds`)

// #region readme
const nc = await connect({ servers, tls: { caFile }, authenticator: credsAuthenticator(creds) })
const bus = await secure(nc, {
  identity: await loadIdentity(`file:${dir}/agents/shop.identity`),
  trust: { authority }, // ['A…']
})

const orders = bus.subscribe('orders.>', { max: 2 })
bus.publish('orders.new', JSON.stringify({ id: 7 })) // sealed to every agent allowed to read it
bus.publish('orders.new', new Uint8Array(8), { to: ['shop'] }) // or to some of them
for await (const m of orders) {
  console.log(m.sender.name, m.subject, m.data.length, m.epoch) // the sender is verified
}
// #endregion

// #region modes
bus.publish('orders.new', 'to one instance', { mode: 'channel', to: ['shop'] })
bus.publish('orders.new', 'on its own', { mode: 'message' })
bus.publishMany('orders.new', ['one', 'two', 'three']) // three messages, sealed together
// #endregion

// #region readme
bus.subscribe('tools.search', { queue: 'workers', callback: (_err, m) => m.respond('result') })
await bus.flush() // now it is in the queue group
const reply = await bus.request('tools.search', 'query', { timeout: 1000 })
console.log(reply.string())

await bus.drain()
// #endregion
