// A process as `subrosa mcp serve` or `connect` is one, as far as pipes and processes go. Arguments: what it is, and
// what that needs as JSON. It runs on the built package.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../dist/base/clock.js'
import { ChildPipe } from '../../dist/cli/mcp/child/child-pipe.js'
import { Guardian } from '../../dist/cli/mcp/child/guardian.js'
import { watchParent } from '../../dist/cli/mcp/child/parent-watch.js'
import { StdioPipe } from '../../dist/cli/mcp/child/stdio-pipe.js'
import { OutputClosed } from '../../dist/cli/terminal/terminal.js'

const [kind, json] = process.argv.slice(2)

/** As main.ts has it. */
const terminal = {
  env: process.env,
  say: (line) => process.stderr.write(`${line}\n`),
  write: (data) =>
    new Promise((resolve, reject) => {
      process.stdout.write(data, (error) => (error ? reject(new OutputClosed()) : resolve()))
    }),
  input: { isTyped: false, read: () => process.stdin },
  interrupted: () => new Promise((resolve) => process.once('SIGTERM', resolve)),
}
process.stdout.on('error', () => {})

const kinds = {
  /** Runs MCP servers, each given as its command and arguments. */
  async serve() {
    const tell = (message) => process.send(message)
    const said = { ...terminal, say: (line) => tell({ said: line }) }
    const guardian = new Guardian(said)
    const env = { PATH: process.env.PATH }
    const pipes = JSON.parse(json).map(
      ([command, ...args]) => new ChildPipe(said, { name: 'tools', command, args, env, guardian }),
    )
    for (const pipe of pipes)
      await pipe.open({
        message(message) {
          tell({ message: JSON.parse(Buffer.from(message).toString()) })
        },
        closed: (error) => tell({ closed: error?.message ?? '' }),
      })
    tell({ serves: process.pid })
    const leave = () => process.exit()
    process.once('disconnect', leave)
    process.on('message', async ({ close }) => {
      if (!close) leave()
      // From here on nothing keeps it alive but the servers.
      process.channel.unref()
      await Promise.all(pipes.map((pipe) => pipe.close()))
      terminal.say('all are gone')
    })
  },

  /** Sends back what it gets. */
  async echo() {
    const host = new StdioPipe(terminal)
    await host.open({
      message: (message) => host.send(message).catch(() => {}),
      closed: (error) => {
        terminal.say(`ended: ${error?.message ?? 'well'}`)
        process.stdin.destroy()
      },
    })
  },

  /** Ends when its parent has died, or at the end of its input. */
  async watch() {
    const watch = watchParent(terminal, { clock: systemClock })
    process.stdin.resume()
    process.stdout.write(`${process.pid}\n`)
    await watch.over
    watch.stop()
    process.stdin.destroy()
  },

  /** Starts the above with its own input and output. */
  async parent() {
    spawn(process.execPath, [fileURLToPath(import.meta.url), 'watch'], { stdio: 'inherit' })
  },
}
await kinds[kind]()
