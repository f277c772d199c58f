// Pins tools in a process of its own, as soon as it is told to, and says what is pinned then.
// Arguments: the folder, the server's identity, and the tools that this process has seen as JSON. It runs on the built package.

import { filePinStore } from '../../dist/cli/mcp/pins/pin-store.js'
import { nobleEngine } from '../../dist/crypto/noble.js'
import { readExactJson } from '../../dist/json/exact.js'
import { listedTool, pinsOf } from '../../dist/mcp/pins/tool-pins.js'

const [root, identity, json] = process.argv.slice(2)
const store = filePinStore({ engine: nobleEngine, realm: 'REALM', agent: 'laptop', server: 'fs', root })
const tools = readExactJson(json ?? '[]').map((tool) => listedTool(nobleEngine, tool))

process.on('message', async () => {
  const pins = pinsOf({ identity, tools })
  const pinned = await store.create(pins)
  process.send({ isFirst: pinned === pins, names: [...pinned.tools.keys()] })
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
