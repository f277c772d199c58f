// An agent that answers each order with an invoice.
import { joinRealm, received, send } from './join.mjs'

const bus = await joinRealm('billing')
bus.subscribe('orders.>', {
  callback: (error, message) => {
    if (error) return
    void received(message)
    send(bus, 'invoices.new', { for: message.json(), total: 4200 })
  },
})
