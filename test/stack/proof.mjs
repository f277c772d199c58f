import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { findNatsServer } from '../../dist/setup/nats-server.js'
import { addNode, addProgram, importImage, npmOffline } from './images.mjs'
import { NoEngine, reasonOf } from './programs.mjs'
import { Project } from './project.mjs'

const COMPOSE_FILE = fileURLToPath(new URL('../../docker-compose.yml', import.meta.url))
const TAP = fileURLToPath(new URL('tap.mjs', import.meta.url))
const ROTATORS = ['rotator-1', 'rotator-2', 'rotator-3']
const AGENTS = ['orders', 'billing']
const SERVICES = ['nats', ...ROTATORS, ...AGENTS]
/** Ends the process that the container's first process looks after, and says when. */
const CRASH = `
const [child] = require('node:fs').readFileSync('/proc/1/task/1/children', 'utf8').split(' ')
console.log(new Date().toISOString())
// A second later: with it the container ends, and whatever runs in it.
const kill = ['-c', 'sleep 1; kill -KILL ' + Number(child)]
require('node:child_process').spawn('sh', kill, { detached: true, stdio: 'ignore' }).unref()`
const COUNTS = /"event":"standing","standing":1/

/**
 * Everything that docker-compose.yml promises, in one run from nothing to nothing.
 *
 * @param {Project} project
 * @throws {Error} that says what did not hold, {@link NoEngine} where no container can be started
 */
export async function prove(project) {
  const { engine } = project
  const [server, compose] = [
    project.docker(['version', '--format', '{{.Server.Version}}']),
    project.compose(['version', '--short']),
  ]
  console.log(`compose: Docker engine ${server}, docker-compose ${compose}`)
  project.compose(['config', '--quiet'])
  held('docker-compose 1.29 reads the file')
  readByPlugin(project)

  importImage(engine, baseImage(), { fill: addNode, env: npmOffline() })
  const { command, origin } = await findNatsServer()
  importImage(engine, project.image('nats'), {
    fill: (root) => addProgram(root, command, '/usr/local/bin/nats-server'),
  })
  runsContainers(project)
  held(`base images are imported from this machine: Node ${process.version}, nats-server of ${origin}`)

  project.compose(['build', 'setup'])
  held('the image is built as the Dockerfile says')

  project.compose(['up', '--detach'])
  await project.untilHealthy(SERVICES)
  equal(project.inspect('setup', '{{.State.ExitCode}}'), '0', 'the exit code of setup')
  const realm = realmOf(project)
  held(`setup made the realm ${realm} and ended with 0; every other container is healthy`)

  const agents = project.compose(['run', '--rm', '-T', 'setup', 'subrosa', 'agent', 'list'])
  for (const name of [...AGENTS, ...ROTATORS])
    if (!agents.includes(name)) throw new Error(`subrosa agent list does not show ${name}: ${agents}`)
  held('commands of subrosa run in the container of setup')

  await exchange(project, '0')
  held('the agents exchange sealed messages, each with its verified sender')

  confined(project)
  held('no container is root, has a capability, may gain one, or may write outside of its volumes')

  keptApart(project)
  held('the seeds are in the volume of setup alone, and each secret file is for its owner only')

  tapped(project)
  held('a tap on the broker sees the subjects, and no plaintext')

  await keepsOn(project)

  project.compose(['down'])
  project.compose(['up', '--detach'])
  await project.untilHealthy(SERVICES)
  equal(realmOf(project), realm, 'the realm after a restart')
  if (!project.logs('setup').some(({ text }) => text.includes('nothing has changed')))
    throw new Error('setup changed something on its own volumes')
  await exchange(project, '0')
  held('everything was stopped and started: setup changed nothing, the realm is the same, messages flow')

  anotherRealm(project, realm)
  held('volumes of another realm are refused: with a reason, a hint, and nothing written')
}

/** @param {Project} project */
function readByPlugin(project) {
  if (!project.hasPlugin()) {
    console.log('--   docker compose (v2) is not installed here: whether it reads the file was not tried')
    return
  }
  project.docker(['compose', '--file', COMPOSE_FILE, 'config', '--quiet'])
  held('docker compose (v2) reads it too')
}

/** @param {Project} project */
function runsContainers(project) {
  try {
    project.docker(['run', '--rm', '--network', 'none', baseImage(), 'node', '--version'])
  } catch (error) {
    throw new NoEngine(`it starts no container: ${reasonOf(error)}`)
  }
}

/** @param {Project} project */
function realmOf(project) {
  const key = project.logs('setup').find(({ text }) => /^A[A-Z2-7]{55}$/.test(text))?.text
  if (key === undefined) throw new Error('setup did not say which realm this is')
  return key
}

/**
 * @param {Project} project
 * @param {string} since
 */
async function exchange(project, since) {
  const says = (/** @type {string} */ service, /** @type {RegExp} */ pattern) =>
    project.until(`${service} says ${pattern.source}`, () =>
      project.logs(service, since).some(({ text }) => pattern.test(text)),
    )
  await says('billing', /^received orders\.new \{"order":\d+,.*\} from orders, epoch \d+$/)
  await says('orders', /^received invoices\.new \{"for":\{"order":\d+,.*\} from billing, epoch \d+$/)
}

/** @param {Project} project */
function confined(project) {
  const writable =
    'for f in / /app /etc /tmp /volumes/*; do touch $f/x 2>/dev/null && rm $f/x && echo $f; done'
  for (const service of SERVICES) {
    const said = project.exec(service, 'sh', '-c', `cat /proc/1/status; echo; ${writable}; true`)
    const [status = '', folders = ''] = said.split('\n\n')
    const value = (/** @type {string} */ name) =>
      new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim()
    for (const ids of ['Uid', 'Gid']) equal(value(ids), '1000\t1000\t1000\t1000', `${ids} of ${service}`)
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd'])
      equal(value(set), '0000000000000000', `${set} of ${service}`)
    equal(value('NoNewPrivs'), '1', `NoNewPrivs of ${service}`)
    equal(folders, `/volumes/${service === 'nats' ? 'jetstream' : service}`, `where ${service} may write`)
  }
}

/** @param {Project} project */
function keptApart(project) {
  const names = ['*.seed', '*.key', '*.identity', '*.creds'].map((name) => `-name "${name}"`).join(' -o ')
  for (const service of SERVICES) {
    const found = project.exec(
      service,
      'sh',
      '-c',
      `find / -type f \\( ${names} \\) 2>/dev/null | xargs stat -c "%a %n"`,
    )
    const agent = `600 /volumes/${service}/agents/${service}`
    const expected =
      service === 'nats' ? ['600 /volumes/broker/tls/server.key'] : [`${agent}.creds`, `${agent}.identity`]
    equal(found.split('\n').sort().join(' '), expected.join(' '), `the secrets of ${service}`)
  }
}

/** @param {Project} project */
function tapped(project) {
  const mounts = [
    '-v',
    `${project.volume('realm')}:/volumes/realm:ro`,
    '-v',
    `${TAP}:/app/test/stack/tap.mjs:ro`,
  ]
  const options = ['--rm', '--network', project.network, ...mounts, '--env', 'SUBROSA_REALM=/volumes/realm']
  const seen = JSON.parse(project.docker(['run', ...options, 'subrosa', 'node', 'test/stack/tap.mjs']))
  equal(seen.control, 1, 'the unsealed messages that the tap sees')
  if (!(seen.orders >= 3 && seen.invoices >= 3))
    throw new Error(`the tap saw too little: ${JSON.stringify(seen)}`)
  equal(seen.plain, 0, 'the messages of the agents that the tap can read')
}

/**
 * Of three rotation services one may be gone: nobody notices, and revocations are confirmed.
 *
 * @param {Project} project
 */
async function keepsOn(project) {
  const [killed = '', other = ''] = ROTATORS
  const since = new Date().toISOString()
  // What is killed on request the engine does not start again.
  project.compose(['kill', '-s', 'KILL', killed])
  await exchange(project, new Date().toISOString())
  subrosa(project, 'agent', 'add', 'guest')
  const revoked = subrosa(project, 'agent', 'revoke', 'guest')
  if (!revoked.includes('that is confirmed: 2 rotation services'))
    throw new Error(`the revocation is not confirmed: ${revoked}`)
  const unsent = AGENTS.flatMap((agent) => project.logs(agent, since)).filter(({ text }) =>
    text.startsWith('not sent'),
  )
  equal(unsent.length, 0, 'what could not be sent while one of three was gone')
  held(`${killed} was killed: messages flow, and a revocation is confirmed by the two others`)

  project.compose(['kill', '-s', 'KILL', other])
  const status = project.composeFails([
    'run',
    '--rm',
    '-T',
    'setup',
    'subrosa',
    'rotate',
    'status',
    '--as',
    'orders',
  ])
  if (!status.includes('1 of 3 rotation services count, and it takes 2'))
    throw new Error(`the status does not say that too few answer: ${status}`)
  held('with two of three gone the status says so, and ends with an error')

  project.compose(['start', killed, other])
  for (const service of [killed, other]) await untilCounts(project, service, since)
  const restarts = Number(project.inspect(killed, '{{.RestartCount}}'))
  const crashedAt = project.exec(killed, 'node', '--eval', CRASH)
  await project.until(
    'the engine starts it again',
    () => Number(project.inspect(killed, '{{.RestartCount}}')) > restarts,
  )
  await untilCounts(project, killed, crashedAt)
  await project.untilHealthy(SERVICES)
  await exchange(project, new Date().toISOString())
  held(`both are back and count; the process of ${killed} was killed, and the engine has started it again`)
}

/**
 * A command in the realm's folder.
 *
 * @param {Project} project
 * @param {...string} args
 */
function subrosa(project, ...args) {
  return project.compose(['run', '--rm', '-T', 'setup', 'sh', '-c', 'subrosa "$@" 2>&1', 'sh', ...args])
}

/**
 * @param {Project} project
 * @param {string} service
 * @param {string} since
 */
async function untilCounts(project, service, since) {
  await project.until(`${service} counts`, () =>
    project.logs(service, since).some(({ text }) => COUNTS.test(text)),
  )
}

/**
 * @param {Project} project
 * @param {string} realm
 */
function anotherRealm(project, realm) {
  const refused = (/** @type {NodeJS.ProcessEnv} */ env, /** @type {readonly string[]} */ ...parts) => {
    const said = project.composeFails(['run', '--rm', '-T', 'setup'], env)
    for (const part of ['setup: error: ', 'setup: hint: ', '[ERR_SETUP]', ...parts])
      if (!said.includes(part)) throw new Error(`setup did not say "${part}" but: ${said}`)
  }
  project.compose(['down'])
  const other = `A${'B'.repeat(55)}`
  refused({ SUBROSA_REALM_KEY: other }, realm, other)

  // A volume of a stack that was made before, with a realm of its own.
  const earlier = new Project(project.engine, 'subrosa-earlier')
  earlier.compose(['run', '--rm', '-T', 'setup'])
  earlier.compose(['down'])
  project.replaceVolume('orders', earlier.volume('orders'))
  refused({}, 'the volume orders belongs to the realm', realm)
  const up = project.composeFails(['up', '--detach'])
  if (!up.includes('setup')) throw new Error(`docker-compose does not say why: ${up}`)
  const running = project.compose(['ps', '--services', '--filter', 'status=running'])
  equal(running, '', 'what runs on volumes that do not belong together')

  project.compose(['down'])
  project.docker(['volume', 'rm', project.volume('realm')])
  refused({}, 'the volume realm is empty')
  for (const one of [project, earlier]) one.compose(['down', '--volumes'])
  equal(project.docker(['volume', 'ls', '--quiet']), '', 'the volumes that are left')
}

/** The image that the Dockerfile builds on. */
function baseImage() {
  const dockerfile = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')
  const base = /^FROM (\S+)/m.exec(dockerfile)?.[1]
  if (base === undefined) throw new Error('the Dockerfile names no base')
  return base
}

/**
 * @param {unknown} actual
 * @param {unknown} expected
 * @param {string} what
 */
function equal(actual, expected, what) {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)}, and not ${String(expected)}`)
}

/** @param {string} what */
function held(what) {
  console.log(`ok   ${what}`)
}
