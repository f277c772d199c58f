import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { beginRecord } from '../../../dist/rotation/file-store.js'
import { addAgent, addBrokerUser } from '../../../dist/setup/agents.js'
import { realmLayout, rotationRecordPath } from '../../../dist/setup/layout.js'
import { findNatsServer } from '../../../dist/setup/nats-server.js'
import { createRealm } from '../../../dist/setup/realm.js'
import { addRotators, ROTATOR_NAME } from '../../../dist/setup/rotators.js'
import { startNatsServer } from '../../../dist/setup/run-server.js'

/** @typedef {Awaited<ReturnType<typeof startMcpWorld>>} McpWorld */

const MAIN = script('../../../dist/cli/main.js')
const ECHO = script('../../workers/mcp-echo.mjs')
const PLAIN_SERVE = script('../../workers/mcp-plain-serve.mjs')
const PLAIN_CONNECT = script('../../workers/mcp-plain-connect.mjs')

/** The agents: who serves sealed, who serves in plaintext, and who uses both. */
const SEALED = 'sealed'
const PLAIN = 'plain'
const HOST = 'host'

/**
 * A realm as its user would make it, on a real nats-server with TLS and logins, in which the echo server is served by
 * `subrosa mcp serve` and, beside it, by the same pipe with nothing sealed. Nothing is read or written outside of its
 * folder.
 *
 * @param {{ readonly profile?: string | undefined }} [options]
 */
export async function startMcpWorld({ profile } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-bench-'))
  const home = join(folder, 'home')
  await mkdir(home)
  const realm = await createRealm({
    dir: join(folder, 'realm'),
    port: await freePort(),
    furnish: (made) => addRotators(made),
  })
  beginRecord(rotationRecordPath(realm.dir, ROTATOR_NAME))
  for (const name of [SEALED, PLAIN]) await addAgent(realm, { name, mcpServe: true })
  await addAgent(realm, { name: HOST, mcpUse: [SEALED, PLAIN] })
  const layout = realmLayout(realm.dir)
  const broker = await startNatsServer({
    program: await findNatsServer(),
    configPath: layout.serverConfig,
    folder,
  })
  const { PATH = '' } = process.env
  const env = { HOME: home, PATH }
  const node = [process.execPath, ...profileFlags(profile)]
  const subrosa = (/** @type {readonly string[]} */ ...words) => [
    ...node,
    MAIN,
    ...words,
    '--realm',
    realm.dir,
  ]
  /** @type {Running[]} */
  const running = []
  const run = async (/** @type {readonly string[]} */ command, /** @type {string} */ sign) => {
    running.push(await start(command, { env, sign }))
  }
  const stop = async () => {
    for (const { stop: end } of running.toReversed()) await end()
    await broker.stop()
    await rm(folder, { recursive: true, force: true })
  }
  const echo = [process.execPath, ECHO]
  try {
    await run(subrosa('rotator'), 'the rotation service rotator of')
    await run([...subrosa('mcp', 'serve', SEALED, '--as', SEALED), '--', ...echo], 'serving')
    await run([...node, PLAIN_SERVE, realm.dir, PLAIN, ...echo], 'serving')
  } catch (error) {
    await stop()
    throw error
  }
  return {
    env,
    /** What a host starts: the server itself, or what stands in for it. */
    commands: {
      direct: echo,
      plain: [...node, PLAIN_CONNECT, realm.dir, HOST, PLAIN],
      sealed: subrosa('mcp', 'connect', SEALED, '--as', HOST),
    },
    /** A connection that sees what the broker sees. */
    async tap() {
      const creds = await readFile(await addBrokerUser(realm, 'tap'))
      const ca = await readFile(layout.caCertificate, 'utf8')
      return connect({ servers: realm.server, authenticator: credsAuthenticator(creds), tls: { ca } })
    },
    stop,
  }
}

/** @typedef {{ readonly stop: () => Promise<void> }} Running */

/**
 * Starts a process, and resolves when it has said that it is ready. It ends with this one at the latest.
 *
 * @param {readonly string[]} command
 * @param {{ readonly env: Readonly<Record<string, string>>, readonly sign: string }} options
 * @returns {Promise<Running>}
 */
function start([program = '', ...args], { env, sign }) {
  const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const endWithProcess = () => void child.kill('SIGKILL')
  process.once('exit', endWithProcess)
  /** @type {Promise<void>} */
  const exited = new Promise((resolve) => {
    child.once('error', () => resolve())
    child.once('exit', () => resolve())
  })
  const stop = async () => {
    process.removeListener('exit', endWithProcess)
    child.kill('SIGTERM')
    await exited
  }
  return new Promise((resolve, reject) => {
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said += text
      if (said.includes(sign)) resolve({ stop })
    })
    void exited.then(() => reject(new Error(`${args.join(' ')} has ended\n${said}`)))
  })
}

/** @param {string | undefined} profile */
function profileFlags(profile) {
  return profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
}

/** @returns {Promise<number>} a port that was free a moment ago */
async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new TypeError('no free port')
  return address.port
}

/** @param {string} path */
function script(path) {
  return fileURLToPath(new URL(path, import.meta.url))
}
