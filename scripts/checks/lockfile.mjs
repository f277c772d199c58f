import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { objectionsTo } from './run.mjs'

const MIN_PACKAGES = 100
const KINDS = /** @type {const} */ ([
  'dependencies',
  'devDependencies',
  'optionalDependencies',
  'peerDependencies',
])
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall']

/**
 * @typedef {{
 *   readonly version?: string, readonly resolved?: string, readonly integrity?: string,
 *   readonly link?: boolean, readonly hasInstallScript?: boolean,
 *   readonly dependencies?: Record<string, string>, readonly devDependencies?: Record<string, string>,
 *   readonly optionalDependencies?: Record<string, string>, readonly peerDependencies?: Record<string, string>,
 * }} Locked
 */

/**
 * The lockfile: it fits package.json, pins every package by its hash, names no host, and no package runs a script when
 * it is installed.
 *
 * @param {string} directory
 */
export function checkLockfile(directory) {
  const manifest = read(directory, 'package.json')
  const lock = read(directory, 'package-lock.json')
  const { '': root, ...packages } = /** @type {Record<string, Locked>} */ (lock.packages ?? {})
  const names = Object.keys(packages)
  const objections = Object.entries(packages).flatMap(([path, locked]) => [
    ...judge(path, locked),
    ...scripts(directory, { path, locked, allowed: manifest.allowScripts ?? {} }),
  ])
  for (const kind of KINDS)
    if (JSON.stringify(sorted(root?.[kind])) !== JSON.stringify(sorted(manifest[kind])))
      objections.push(`${kind} differ between package.json and the lockfile`)
  if (lock.lockfileVersion !== 3) objections.push('the lockfile is not of version 3')
  if (names.length < MIN_PACKAGES)
    objections.push(`the lockfile has ${names.length} packages; fewer than ${MIN_PACKAGES} cannot be right`)
  return objectionsTo(objections, `${names.length} packages`)
}

/**
 * @param {string} directory
 * @param {string} file
 */
function read(directory, file) {
  return JSON.parse(readFileSync(join(directory, file), 'utf8'))
}

/**
 * @param {string} path
 * @param {Locked} locked
 */
function judge(path, locked) {
  const objections = []
  if (locked.resolved !== undefined || locked.link)
    objections.push(`${path}: the lockfile says where it comes from`)
  if (!/^sha512-/.test(locked.integrity ?? '')) objections.push(`${path}: the lockfile has no SHA-512 of it`)
  return objections
}

/**
 * A registry may leave `hasInstallScript` out, so the installed package is asked as well.
 *
 * @param {string} directory
 * @param {{ readonly path: string, readonly locked: Locked, readonly allowed: Record<string, boolean> }} of
 */
function scripts(directory, { path, locked, allowed }) {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const folder = join(directory, path)
  const installed = existsSync(join(folder, 'package.json')) ? read(folder, 'package.json') : {}
  const hasScript =
    locked.hasInstallScript === true ||
    existsSync(join(folder, 'binding.gyp')) ||
    INSTALL_SCRIPTS.some((script) => installed.scripts?.[script] !== undefined)
  return hasScript && allowed[name] !== false
    ? [`${path}: it has an install script, and allowScripts does not say false`]
    : []
}

/** @param {Record<string, string> | undefined} record */
function sorted(record) {
  return Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
}
