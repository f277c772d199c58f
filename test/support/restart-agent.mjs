// An agent in a process of its own, to be killed. Arguments: server, identity file, authority, state folder.
// It runs on the built package, tells its parent what it reads, and publishes what it is told to.
import { connect } from '@nats-io/transport-node'
import { loadIdentity, secure } from '../../dist/index.js'

const [servers, identityFile, authority, state] = process.argv.slice(2)
const bus = await secure(await connect({ servers }), {
  identity: await loadIdentity(`file:${identityFile}`),
  trust: { authority: [authority] },
  state,
  capturedSubjects: process.env['SUBROSA_TEST_MODE'] === 'message' ? ['>'] : [],
})
bus.subscribe('orders.>', {
  callback: (_error, m) => process.send({ got: m.string(), from: m.sender.name }),
})
await bus.flush()
process.on('message', ({ say, report }) => {
  if (say) bus.publish('replies.new', say)
  if (report) process.send({ rejections: bus.rejections() })
})
process.on('disconnect', () => process.exit())
process.send({ joined: bus.instance, epoch: bus.epoch })
