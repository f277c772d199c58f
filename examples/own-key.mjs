// own-key.mjs: an agent whose identity is an SSH key with a passphrase. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { fingerprint, loadIdentity, secure } from 'subrosa'

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))

// #region readme
const identity = await loadIdentity(
  { key: 'file:shipping.key', token: `file:${dir}/agents/shipping.jwt` },
  { passphrase: 'env:KEY_PASSPHRASE' }, // or 'file:PATH', or an async function
)
// #endregion
console.log(identity.name, 'is', fingerprint(identity.publicKey))

const nc = await connect({
  servers: url ?? server,
  tls: { caFile: `${dir}/tls/ca.crt` },
  authenticator: credsAuthenticator(await readFile(`${dir}/agents/shipping.creds`)),
})
const bus = await secure(nc, { identity, trust: { authority } })
console.log('joined in epoch', bus.epoch)
await bus.drain()
