import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

const PACKAGES = ['docker.io', 'docker-compose', 'busybox-static']
const FETCH_TIMEOUT_MS = 300_000

/** Why no engine can be started on this machine. */
export class NoEngine extends Error {}

/**
 * The environment in which Debian's docker.io, docker-compose 1.29 and busybox run from a cache folder: nothing is
 * installed, and no service is started. What the machine has installed already is used from where it is.
 *
 * @returns {NodeJS.ProcessEnv}
 * @throws {NoEngine} that says what is missing
 */
export function findPrograms() {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'subrosa', 'docker')
  const root = join(cache, 'packages')
  if (!existsSync(root)) unpack(cache, root)
  const libraries = ['usr/lib', 'lib'].flatMap((folder) => librariesIn(join(root, folder)))
  const env = {
    ...process.env,
    PATH: [
      ...['usr/local', 'usr/bin', 'usr/sbin', 'bin', 'sbin'].map((folder) => join(root, folder)),
      ...(process.env['PATH'] ?? '').split(delimiter),
      '/usr/sbin',
      '/sbin',
    ].join(delimiter),
    LD_LIBRARY_PATH: libraries.join(delimiter),
    // iptables loads its extensions from here.
    XTABLES_LIBDIR: libraries.map((folder) => join(folder, 'xtables')).find(existsSync),
    PYTHONPATH: join(root, 'usr', 'lib', 'python3', 'dist-packages'),
    DOCKER_BUILDKIT: '0',
    COMPOSE_DOCKER_CLI_BUILD: '0',
  }
  for (const program of ['dockerd', 'containerd', 'runc', 'docker-compose', 'busybox', 'iptables', 'unshare'])
    pathOf(program, env)
  return env
}

/**
 * @param {string} program
 * @param {NodeJS.ProcessEnv} env
 */
export function pathOf(program, env) {
  const folders = (env['PATH'] ?? '').split(delimiter)
  const path = folders.map((folder) => join(folder, program)).find(existsSync)
  if (path === undefined) throw new NoEngine(`there is no ${program}`)
  return path
}

/**
 * @param {string} cache
 * @param {string} root
 */
function unpack(cache, root) {
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'work-'))
  try {
    for (const archive of download(work)) run('dpkg', ['-x', archive, join(work, 'packages')], work)
    const bin = join(work, 'packages', 'usr', 'local')
    mkdirSync(bin, { recursive: true })
    // Debian makes these links when the package is configured.
    for (const name of ['iptables', 'ip6tables']) symlinkSync(`../sbin/${name}-nft`, join(bin, name))
    renameSync(join(work, 'packages'), root)
  } catch (error) {
    throw new NoEngine(
      `Debian's packages cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : ''}`,
    )
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * The packages and what they need beyond what is installed, with package lists of one's own.
 *
 * @param {string} work
 */
function download(work) {
  const archives = join(work, 'cache', 'archives')
  mkdirSync(join(archives, 'partial'), { recursive: true })
  mkdirSync(join(work, 'lists', 'partial'), { recursive: true })
  const own = [
    '-o',
    'APT::Sandbox::User=',
    '-o',
    'Debug::NoLocking=1',
    '-o',
    `Dir::Cache=${join(work, 'cache')}`,
  ]
  const lists = ['-o', `Dir::State::lists=${join(work, 'lists')}`]
  run('apt-get', [...own, ...lists, 'update'], work)
  const install = ['install', '--yes', '--download-only', '--no-install-recommends', ...PACKAGES]
  run('apt-get', [...own, ...lists, ...install], work)
  return readdirSync(archives)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(archives, name))
}

/**
 * @param {string} folder
 * @returns {readonly string[]} the folders of libraries in it: Debian has one for each kind of machine
 */
function librariesIn(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(folder, name))
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 */
function run(program, args, cwd) {
  execFileSync(program, args, { cwd, stdio: 'pipe', timeout: FETCH_TIMEOUT_MS })
}
