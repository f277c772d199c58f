import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { engineFor } from '../../dist/crypto/engine.js'
import { findNatsServer } from '../../dist/setup/nats-server.js'

const OWN = new URL('../../', import.meta.url)
const BENCH = new URL('../', import.meta.url)
const BUSY_SHARE = 0.5

/**
 * What figures depend on: the machine, and the versions of everything that is measured.
 *
 * @typedef {Awaited<ReturnType<typeof describeMachine>>} Machine
 */
export async function describeMachine() {
  const ours = [
    'sodium-native',
    '@noble/curves',
    '@noble/ciphers',
    '@nats-io/transport-node',
    '@modelcontextprotocol/client',
    '@modelcontextprotocol/server',
    '@modelcontextprotocol/sdk',
  ]
  return {
    cpu: cpus()[0]?.model ?? 'unknown processor',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    openssl: process.versions.openssl ?? 'unknown',
    natsServer: await natsServerVersion(),
    engine: engineFor().name,
    subrosa: read(new URL('package.json', OWN)).version ?? 'unknown',
    packages: Object.fromEntries(ours.map((name) => [name, installedVersion(name, OWN)])),
    peers: Object.fromEntries(peerNames().map((name) => [name, installedVersion(name, BENCH)])),
  }
}

/**
 * Prints what figures depend on most.
 *
 * @param {Machine} machine
 * @param {boolean} quick
 */
export function printMachine({ cpu, cores, memoryGiB, platform, node, openssl, ...versions }, quick) {
  const { natsServer, subrosa, engine } = versions
  const now = load()
  console.log(`${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}`)
  console.log(`Node ${node} (OpenSSL ${openssl}), ${natsServer}, subrosa ${subrosa} on ${engine}`)
  console.log(`load ${now}${quick ? '; quick: shorter and noisier' : ''}`)
  if (now > cores * BUSY_SHARE) console.log('the machine is busy: figures will be worse, and spread wider')
}

/** The load of the last minute: how many processes wanted a core. */
export function load() {
  return Math.round((loadavg()[0] ?? Number.NaN) * 100) / 100
}

/** @returns {readonly string[]} the packages that bench/package.json asks for */
function peerNames() {
  return Object.keys(read(new URL('package.json', BENCH)).dependencies ?? {})
}

/**
 * @param {string} name
 * @param {URL} folder
 */
function installedVersion(name, folder) {
  return read(new URL(`node_modules/${name}/package.json`, folder)).version ?? 'not installed'
}

/**
 * @param {URL} file
 * @returns {{ readonly version?: string, readonly dependencies?: Record<string, string> }}
 */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return {}
  }
}

async function natsServerVersion() {
  try {
    const { command, args } = await findNatsServer()
    return execFileSync(command, [...args, '--version'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}
