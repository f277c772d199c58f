// Opens a state folder or a rotation store in a process of its own and holds it until it is killed.
// Arguments: 'state' or 'rotation', the folder, and what to write as JSON. It runs on the built package.
import { openStateFolder } from '../../dist/keys/state-folder.js'
import { fileRotationStore } from '../../dist/rotation/file-store.js'

const [kind, folder, json] = process.argv.slice(2)
const wanted = JSON.parse(json ?? '{}')
const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))

try {
  if (kind === 'state') {
    const state = openStateFolder({ root: folder, realm: wanted.realm, agent: wanted.agent })
    if (wanted.floor) state.keepFloor({ number: wanted.floor.number, hash: bytes(wanted.floor.hash) })
    if (wanted.instance) state.keepInstance(wanted.instance)
    process.send({ held: true, former: state.former, floor: state.floor?.number })
  } else {
    const store = fileRotationStore(folder)
    if (wanted.tickedUntil)
      store.save({ epochs: [bytes('01')], revocations: [], tickedUntil: wanted.tickedUntil })
    process.send({ held: true })
    // Until it is killed in the middle of it.
    let tickedUntil = wanted.tickedUntil
    if (wanted.keepsWriting) {
      const write = () => {
        for (let i = 0; i < 20; i++)
          store.save({
            epochs: Array.from({ length: 2000 }, () => bytes('02'.repeat(200))),
            revocations: [],
            tickedUntil: ++tickedUntil,
          })
        process.send({ wrote: tickedUntil })
        setImmediate(write)
      }
      write()
    }
  }
} catch (error) {
  process.send({ held: false, code: error.code })
}
process.on('disconnect', () => process.exit())
