import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SubrosaError } from 'subrosa'
import { checkVolumes, realmKeyIn } from './check-volumes.mjs'
import { share, writeIfOther } from './share.mjs'
import {
  AGENTS,
  BROKER_VOLUME,
  JETSTREAM_VOLUME,
  REALM_VOLUME,
  ROTATORS,
  SHARES,
  THRESHOLD,
} from './shares.mjs'

/**
 * The one-shot container of docker-compose.yml. It makes a realm in the volume `realm` where there is none, adds the
 * agents that are missing, and gives every other volume its files. On volumes that are as they should be it changes
 * nothing. A volume of another realm ends it, and nothing is written.
 *
 *   STACK_VOLUMES     the folder under which all volumes are mounted
 *   STACK_HOST        by which name the others reach the broker
 *   STACK_PORT        on which port
 *   STACK_MONITOR     where the broker tells its health
 *   SUBROSA_REALM_KEY the realm that this must be, when it is set
 */

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

const {
  STACK_VOLUMES: volumes = '/volumes',
  STACK_HOST: host = 'nats',
  STACK_PORT: port = '4222',
  STACK_MONITOR: monitor = '127.0.0.1:8222',
  SUBROSA_REALM_KEY: expected,
} = process.env
const realm = join(volumes, REALM_VOLUME)

try {
  checkVolumes(volumes, expected || undefined)
  const changes = [
    makeRealm(),
    ...AGENTS.map(addAgent),
    ...SHARES.map(giveShare),
    ...ROTATORS.map(beginRecord),
    configureBroker(),
  ].flat()
  for (const change of changes) console.error(`setup: ${change}`)
  if (changes.length === 0) console.error('setup: everything was there already: nothing has changed')
  console.log(realmKeyIn(volumes, REALM_VOLUME))
} catch (error) {
  if (!(error instanceof SubrosaError)) throw error
  const { cause } = error
  const reason = cause instanceof Error && 'syscall' in cause && 'code' in cause ? ` (${cause.code})` : ''
  console.error(`setup: error: ${error.message}${reason} [${error.code}]`)
  if (error.hint !== undefined) console.error(`setup: hint: ${error.hint}`)
  process.exitCode = 1
}

function makeRealm() {
  if (realmKeyIn(volumes, REALM_VOLUME) !== undefined) return []
  const broker = join(volumes, BROKER_VOLUME)
  const services = ['--rotators', String(ROTATORS.length), '--threshold', String(THRESHOLD)]
  subrosa(realm, 'init', '--host', host, '--port', port, '--broker-dir', broker, ...services)
  return [`made the realm ${realmKeyIn(volumes, REALM_VOLUME)}`]
}

/** @param {(typeof AGENTS)[number]} agent */
function addAgent({ name, options }) {
  const file = (/** @type {string} */ suffix) => existsSync(join(realm, 'agents', `${name}.${suffix}`))
  // The login is written last: without it an earlier run was cut short.
  if (file('creds')) return []
  subrosa(realm, 'agent', 'add', name, ...(file('identity') ? ['--renew'] : options))
  return [`added the agent ${name}`]
}

function configureBroker() {
  const text = `# nats-server.conf, with streams in a volume of their own: this one is read-only to the broker. And where the
# broker tells its health: to its own container only.
include "nats-server.conf"
jetstream { store_dir: ${JSON.stringify(join(volumes, JETSTREAM_VOLUME))} }
http: ${JSON.stringify(monitor)}
`
  return writeIfOther(join(volumes, BROKER_VOLUME), 'broker.conf', text)
}

/**
 * Begins the record of a rotation service: once, since one that has lost its record must not begin again unseen.
 *
 * @param {string} rotator
 */
function beginRecord(rotator) {
  const begun = join(realm, 'begun', rotator)
  if (existsSync(begun)) return []
  const volume = join(volumes, rotator)
  // An earlier run may have been cut short between the two.
  if (!existsSync(join(volume, 'rotation', rotator, 'revocations'))) subrosa(volume, 'rotator', 'begin')
  writeIfOther(realm, join('begun', rotator), '')
  return [`began the record of ${rotator}`]
}

/** @param {(typeof SHARES)[number]} what */
function giveShare({ volume, files }) {
  return share(realm, join(volumes, volume), files)
}

/**
 * Runs the command line as a person would.
 *
 * @param {string} folder that of the realm, or a volume with a part of it
 * @param {...string} args
 */
function subrosa(folder, ...args) {
  const { status, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    env: { ...process.env, SUBROSA_REALM: folder },
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (status === 0) return
  const [, message = `subrosa ${args[0]} ended with ${status}`] =
    /^subrosa: error: (.*?)( \[\w+\])?$/m.exec(stderr) ?? []
  const [, hint] = /^subrosa: hint: (.*)$/m.exec(stderr) ?? []
  throw new SubrosaError('ERR_SETUP', message, hint === undefined ? {} : { hint })
}
