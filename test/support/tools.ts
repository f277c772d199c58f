import { spawnSync } from 'node:child_process'

/** Whether a program is installed. Where one is not, tests fall back on keys that it has made earlier, and say so. */
export function isInstalled(command: string): boolean {
  const { error } = spawnSync(command, ['-?'], { stdio: 'ignore' })
  return error === undefined
}

/** What a program prints; fails when it fails. */
export function outputOf(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`)
  return stdout
}
