// What the broker sees: everything that passes in five seconds, by a login that may read every subject, and no key of
// the realm. It runs in a container with the volume of the realm, and prints one line of JSON.
import { setTimeout as pause } from 'node:timers/promises'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { issueBrokerUser } from '../../dist/setup/broker-users.js'
import { realmLayout } from '../../dist/setup/layout.js'
import { openRealm } from '../../dist/setup/realm.js'

const SECRET = 'a well-kept secret'
const CONTROL = 'tap.control'

const realm = await openRealm(process.env['SUBROSA_REALM'] ?? '')
const nc = await connect({
  servers: realm.server,
  tls: { caFile: realmLayout(realm.dir).caCertificate },
  authenticator: credsAuthenticator(new TextEncoder().encode(await issueBrokerUser(realm, 'tap'))),
})

/** @type {Record<string, number>} */
const seen = {}
/** @type {string[]} */
const plain = []
nc.subscribe('>', {
  callback: (_error, { subject, data }) => {
    seen[subject] = (seen[subject] ?? 0) + 1
    if (Buffer.from(data).includes(SECRET)) plain.push(subject)
  },
})
await nc.flush()
// Would it notice? This one is not sealed.
nc.publish(CONTROL, SECRET)
await pause(5000)
await nc.close()
const { [CONTROL]: control = 0, 'orders.new': orders = 0, 'invoices.new': invoices = 0 } = seen
console.log(
  JSON.stringify({ control, orders, invoices, plain: plain.filter((subject) => subject !== CONTROL).length }),
)
