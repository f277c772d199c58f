// Opens a state folder or a rotation store in a process of its own and holds it until it is killed.
// Arguments: 'state' or 'rotation', the folder, and what to write as JSON. It runs on the built package.
import { openStateFolder } from '../../dist/keys/state-folder.js'
import { beginRecord, fileRotationStore } from '../../dist/rotation/file-store.js'

const [kind, folder, json] = process.argv.slice(2)
const wanted = JSON.parse(json ?? '{}')
const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))

try {
  if (kind === 'state') {
    const state = openStateFolder({ root: folder, realm: wanted.realm, agent: wanted.agent })
    const base64 = (text) => new Uint8Array(Buffer.from(text, 'base64'))
    const { plan, instance } = wanted
    if (plan) state.keepPlan({ plan: base64(plan.wire), list: plan.list.map(base64) })
    if (instance) state.keepInstance(instance)
    process.send({ held: true })
  } else {
    if (wanted.begins) beginRecord(folder)
    const store = fileRotationStore(folder)
    store.load()
    process.send({ held: true })
    // Until it is killed in the middle of it.
    let written = wanted.from ?? 0
    if (wanted.keepsWriting) {
      const write = () => {
        for (let i = 0; i < 20; i++) store.append([bytes(String(++written).padStart(400, '0'))])
        process.send({ wrote: written })
        setImmediate(write)
      }
      write()
    }
  }
} catch (error) {
  process.send({ held: false, code: error.code })
}
process.on('disconnect', () => process.exit())
