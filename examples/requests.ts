// requests.ts: three workers share the requests of one asker. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, secure } from 'subrosa'

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))

async function join(name: string) {
  const nc = await connect({
    servers: url ?? server,
    tls: { caFile: `${dir}/tls/ca.crt` },
    authenticator: credsAuthenticator(await readFile(`${dir}/agents/${name}.creds`)),
  })
  return secure(nc, {
    identity: await loadIdentity(`file:${dir}/agents/${name}.identity`),
    trust: { authority },
  })
}

const workers = await Promise.all([join('worker'), join('worker'), join('worker')])
for (const worker of workers) {
  worker.subscribe('tools.search', {
    queue: 'workers',
    callback: (err, m) => {
      if (err) console.error(err.message)
      else m.respond(`${m.string()}: found`)
    },
  })
}
// A member of a queue group takes part from one second after its announcement on.
await Promise.all(workers.map((worker) => worker.flush()))

const asker = await join('asker')
await asker.waitForAudience('tools.search', { atLeast: 3 })
const answering = new Set<string>()
for (const query of ['tea', 'sugar', 'milk', 'cups', 'spoons', 'biscuits']) {
  const reply = await asker.request('tools.search', query, { timeout: 5000 })
  console.log(reply.string(), 'by', reply.sender.name)
  answering.add(reply.sender.instance)
}
console.log('six answers from', answering.size, 'of 3 workers')
await Promise.all([asker, ...workers].map((bus) => bus.drain()))
