// pins.ts: two agents that have pinned each other's keys, and no authority. Arguments: [FOLDER [SERVER]]
import { connect } from '@nats-io/transport-node'
import { fileRotationStore, fingerprint, loadIdentity, loadPins, secure, startRotationService } from 'subrosa'

const [dir = 'pinned', servers = '127.0.0.1:4222'] = process.argv.slice(2)
const trust = await loadPins(`${dir}/subrosa-pins.json`)

const nc = await connect({ servers })
const service = await startRotationService(nc, {
  identity: await loadIdentity(`file:${dir}/rotator.identity`),
  trust,
  store: fileRotationStore(`${dir}/rotation`),
})

async function join(name: string) {
  const identity = await loadIdentity(`file:${dir}/${name}.identity`)
  console.log(name, 'is', fingerprint(identity.publicKey))
  return secure(await connect({ servers }), { identity, trust })
}

const bob = await join('bob')
const greetings = bob.subscribe('greetings', { max: 1 })
await bob.flush()

const alice = await join('alice')
alice.publish('greetings', 'hello', { to: ['bob'] }) // under pins every publish names its recipients
for await (const m of greetings) console.log(m.sender.name, 'says', m.string())

await Promise.all([alice.drain(), bob.drain()])
service.close()
await nc.close()
