// orders.cjs: sends one sealed order, from CommonJS. Arguments: [REALM-FOLDER [SERVER]]
const { readFile } = require('node:fs/promises')
const { connect, credsAuthenticator } = require('@nats-io/transport-node')
const { loadIdentity, secure } = require('subrosa')

async function main() {
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
}

main()
