import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Installs the peers by their lockfile, where they are not there yet. Without a network the run goes on without them.
 */
export function installPeers() {
  const folder = new URL('../', import.meta.url)
  if (existsSync(new URL('node_modules', folder))) return
  console.log('installing the peers: npm ci in bench')
  try {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], {
      cwd: fileURLToPath(folder),
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  } catch {
    console.log('they cannot be installed now: their rows will be missing')
  }
}
