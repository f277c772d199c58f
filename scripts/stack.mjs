import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findNatsServer } from '../dist/setup/nats-server.js'
import { readComposeFile } from './stack/compose-file.mjs'
import { RunningService } from './stack/running-service.mjs'

/**
 * `npm run stack`: the services of docker-compose.yml as plain processes on this machine, without Docker. Its volumes
 * are folders, its broker listens on a free port of 127.0.0.1. Ctrl-C stops everything in order.
 *
 *   npm run stack                    in a temporary folder, which is removed at the end
 *   npm run stack -- --dir ./realm   in a folder that stays: the next time it is the same realm
 */

/** @typedef {import('./stack/compose-file.mjs').Service} Service */

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
/** Where docker-compose.yml mounts the volumes. */
const MOUNTED = '/volumes'
const LOOPBACK = '127.0.0.1'
const HEALTH_INTERVAL_MS = 300
const HEALTH_TIMEOUT_MS = 60_000

const options = parseOptions()
const dir = options.dir === undefined ? mkdtempSync(join(tmpdir(), 'subrosa-stack-')) : resolve(options.dir)
const { services, volumes } = readComposeFile(join(REPOSITORY, 'docker-compose.yml'), process.env)
const width = Math.max(...services.map(({ name }) => name.length))
const monitor = `${LOOPBACK}:${await freePort()}`
const setup = { STACK_HOST: LOOPBACK, STACK_PORT: String(await freePort()), STACK_MONITOR: monitor }
const program = await findNatsServer({ onProgress: (message) => say('stack', message) })
const guard = startGuard()

/** @type {Map<string, Promise<RunningService>>} */
const starting = new Map()
/** @type {Map<string, Promise<void>>} */
const healthy = new Map()
/** @type {RunningService[]} */
const running = []
let isStopping = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => void stop())
say('stack', `the volumes are in ${dir}`)
for (const volume of volumes) mkdirSync(join(dir, volume), { recursive: true, mode: 0o700 })
try {
  await Promise.all(services.map(start))
  if (!isStopping) say('stack', 'everything runs: Ctrl-C stops it')
} catch (error) {
  if (!isStopping) say('stack', `error: ${error instanceof Error ? error.message : 'unknown'}`)
  process.exitCode = 1
  await stop()
}

function parseOptions() {
  try {
    return parseArgs({ options: { dir: { type: 'string' } } }).values
  } catch (error) {
    console.error(`stack: error: ${error instanceof Error ? error.message : 'unknown'}`)
    process.exit(2)
  }
}

/**
 * Starts a service when all that it depends on is as far as it asks.
 *
 * @param {Service} service
 * @returns {Promise<RunningService>}
 */
function start(service) {
  const known = starting.get(service.name)
  if (known !== undefined) return known
  const started = startAfter(service)
  starting.set(service.name, started)
  return started
}

/** @param {Service} service */
async function startAfter(service) {
  await Promise.all(
    service.dependsOn.map(async ({ service: name, condition }) => {
      const other = services.find((candidate) => candidate.name === name)
      if (other === undefined) throw new Error(`${service.name} depends on ${name}, which is not there`)
      await reaches(other, condition)
    }),
  )
  if (isStopping) throw new Error('stopped')
  const { name, restarts } = service
  const onPid = (/** @type {string} */ change, /** @type {number} */ pid) =>
    void guard.stdin?.write(`${change}${pid}\n`)
  const process = new RunningService({
    name,
    ...here(service.command),
    ...surroundings(service),
    restarts,
    say,
    onPid,
  })
  running.push(process)
  return process
}

/**
 * Resolves when a service is as far as those that depend on it ask.
 *
 * @param {Service} service
 * @param {string} condition
 */
async function reaches(service, condition) {
  const process = await start(service)
  if (condition === 'service_completed_successfully') {
    const code = await process.ended()
    if (code !== 0) throw new Error(`${service.name} has ended with ${code}`)
    return
  }
  const known = healthy.get(service.name) ?? becomesHealthy(service, process)
  healthy.set(service.name, known)
  await known
}

/**
 * @param {Service} service
 * @param {RunningService} process
 */
async function becomesHealthy(service, process) {
  const deadline = performance.now() + HEALTH_TIMEOUT_MS
  while (!(await isHealthy(service))) {
    if (isStopping) throw new Error('stopped')
    if (process.failure !== undefined) throw process.failure
    if (performance.now() > deadline) throw new Error(`${service.name} does not become healthy`)
    await pause(HEALTH_INTERVAL_MS)
  }
  say('stack', `${service.name} is healthy`)
}

/** @param {Service} service */
async function isHealthy(service) {
  const { healthcheck = [] } = service
  const url = healthcheck.at(-1) ?? ''
  if (healthcheck[0] === 'wget') {
    // The broker tells its health where setup was told to have it.
    const { pathname } = new URL(url)
    return fetch(`http://${monitor}${pathname}`).then(
      ({ ok }) => ok,
      () => false,
    )
  }
  const { command, args } = here(healthcheck)
  return new Promise((done) =>
    execFile(command, args, surroundings(service), (error) => done(error === null)),
  )
}

/**
 * A command of a container, as it is here.
 *
 * @param {readonly string[]} containers
 */
function here(containers) {
  const [command = '', ...args] = containers.map((word) => word.replaceAll(MOUNTED, dir))
  if (command === 'nats-server') return { command: program.command, args: [...program.args, ...args] }
  if (command === 'subrosa') return { command: process.execPath, args: ['dist/cli/main.js', ...args] }
  return { command: command === 'node' ? process.execPath : command, args }
}

/**
 * What a container would have: nothing that this user has set for subrosa or for NATS reaches the services.
 *
 * @param {Service} service
 */
function surroundings({ name, environment }) {
  const own = Object.entries(environment).map(([key, value]) => [key, value.replaceAll(MOUNTED, dir)])
  const ours = Object.entries(process.env).filter(([key]) => !/^(SUBROSA|NATS)_|^XDG_/.test(key))
  const env = {
    ...Object.fromEntries([...ours, ...own]),
    XDG_CONFIG_HOME: dir,
    ...(name === 'setup' ? setup : {}),
  }
  return { cwd: REPOSITORY, env }
}

/** Stops what depends on others before the others. */
async function stop() {
  if (isStopping) return
  isStopping = true
  say('stack', 'stopping')
  for (const process of running.reverse()) await process.stop()
  say('stack', 'stopped')
  guard.stdin?.end()
}

function startGuard() {
  const script = fileURLToPath(new URL('stack/guard.mjs', import.meta.url))
  const temporary = options.dir === undefined ? [dir] : []
  const child = spawn(process.execPath, [script, ...temporary], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  child.stdin?.on('error', () => {})
  return child
}

/**
 * @param {string} source
 * @param {string} line
 */
function say(source, line) {
  console.log(`${source.padEnd(width)} | ${line}`)
}

/** @returns {Promise<number>} a port that was free a moment ago */
async function freePort() {
  const server = createServer()
  await new Promise((done) => server.listen(0, LOOPBACK, () => done(undefined)))
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new TypeError('no free port')
  return address.port
}
