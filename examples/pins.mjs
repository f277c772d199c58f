// pins.mjs: agents that have pinned each other's keys, and no authority. Arguments: [FOLDER [SERVER]]
import { connect } from '@nats-io/transport-node'
import { fileRotationStore, loadIdentity, loadPins, secure, startRotationService } from 'subrosa'

const [dir = 'pinned', servers = '127.0.0.1:4222'] = process.argv.slice(2)
process.chdir(dir)

// #region readme
const trust = await loadPins('subrosa-pins.json')
// #endregion

const rotator = await connect({ servers })
const service = await startRotationService(rotator, {
  identity: await loadIdentity('file:rotator.identity'),
  trust,
  store: fileRotationStore('rotation'),
})

const billing = await secure(await connect({ servers }), {
  identity: await loadIdentity('file:billing.identity'),
  trust,
})
const orders = billing.subscribe('orders.>', { max: 1 })
await billing.flush()

const nc = await connect({ servers })
// #region readme
const identity = await loadIdentity({ key: 'file:orders.key', name: 'orders', realm: trust.realm })
const bus = await secure(nc, { identity, trust })
bus.publish('orders.new', 'hello', { to: ['billing'] })
// #endregion
for await (const m of orders) console.log(m.sender.name, 'says', m.string(), 'on', m.subject)

await Promise.all([bus.drain(), billing.drain()])
service.close()
await rotator.close()
