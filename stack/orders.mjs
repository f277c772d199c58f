// An agent that sends an order each second, and takes the invoices that come back.
import { joinRealm, received, send } from './join.mjs'

const bus = await joinRealm('orders')
bus.subscribe('invoices.>', { callback: (error, message) => void (error ?? received(message)) })

let id = 0
setInterval(() => send(bus, 'orders.new', { order: ++id, item: 'a well-kept secret' }), 1000)
