import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathOf } from './programs.mjs'

/** @typedef {import('./engine.mjs').Engine} Engine */

/**
 * Imports an image made of this machine's own files under a name that docker-compose.yml or the Dockerfile uses, so
 * that nothing has to be pulled.
 *
 * @param {Engine} engine
 * @param {string} name
 * @param {{ readonly fill: (root: string) => void, readonly env?: Readonly<Record<string, string>> }} content
 */
export function importImage(engine, name, { fill, env = {} }) {
  const root = join(engine.folder, 'root')
  mkdirSync(join(root, 'tmp'), { recursive: true, mode: 0o1777 })
  try {
    addBusybox(engine, root)
    fill(root)
    const archive = join(engine.folder, 'root.tar')
    execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', archive, '.'])
    const changes = Object.entries(env).flatMap(([key, value]) => ['--change', `ENV ${key}=${value}`])
    engine.run('docker', ['import', ...changes, archive, name])
    rmSync(archive)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/**
 * A program with the libraries that it is linked with.
 *
 * @param {string} root
 * @param {string} program where it is
 * @param {string} path where it shall be
 */
export function addProgram(root, program, path) {
  addFile(root, realpathSync(program), path)
  for (const [, library] of execFileSync('ldd', [program])
    .toString()
    .matchAll(/(\/[^\s]+) \(0x/g))
    if (library !== undefined) addFile(root, realpathSync(library), library)
}

/**
 * Node and npm, with all that npm has in its cache: what it would fetch otherwise.
 *
 * @param {string} root
 */
export function addNode(root) {
  addProgram(root, process.execPath, '/usr/local/bin/node')
  const modules = '/usr/local/lib/node_modules'
  const npm = join(npmSays('root', '--global'), 'npm')
  cpSync(npm, join(root, modules, 'npm'), { recursive: true, verbatimSymlinks: true })
  symlinkSync(`${modules}/npm/bin/npm-cli.js`, join(root, 'usr/local/bin/npm'))
  cpSync(join(npmSays('config', 'get', 'cache'), '_cacache'), join(root, 'npm-cache', '_cacache'), {
    recursive: true,
  })
}

/** How npm in such an image finds its cache, and asks nobody. */
export function npmOffline() {
  return {
    npm_config_offline: 'true',
    npm_config_cache: '/npm-cache',
    // Under this name the cache has what it has.
    npm_config_registry: npmSays('config', 'get', 'registry'),
  }
}

/**
 * Shell and tools, as in Alpine's images.
 *
 * @param {Engine} engine
 * @param {string} root
 */
function addBusybox(engine, root) {
  const busybox = pathOf('busybox', engine.env)
  addFile(root, busybox, '/bin/busybox')
  for (const name of execFileSync(busybox, ['--list']).toString().trim().split('\n'))
    if (name !== 'busybox') symlinkSync('busybox', join(root, 'bin', name))
  mkdirSync(join(root, 'usr', 'bin'), { recursive: true })
  symlinkSync('/bin/env', join(root, 'usr', 'bin', 'env'))
  mkdirSync(join(root, 'etc'))
  writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0::/:/bin/sh\nnode:x:1000:1000::/tmp:/bin/sh\n')
}

/**
 * @param {string} root
 * @param {string} source
 * @param {string} path
 */
function addFile(root, source, path) {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  cpSync(source, join(root, path))
}

/** @param {...string} args */
function npmSays(...args) {
  return execFileSync('npm', args, { stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim()
}
