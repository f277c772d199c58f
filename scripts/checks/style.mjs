import { filesBelow, objectionsTo, runTool } from './run.mjs'

/**
 * Biome: format, lint and order of imports. Warnings count, and it must have looked at least at every program of ours.
 *
 * @param {string} directory
 */
export function checkStyle(directory) {
  const programs = ['src', 'test', 'bench', 'conformance', 'scripts', 'stack', 'examples'].map(
    (folder) => filesBelow(directory, folder, (name) => /\.(ts|mjs|cjs)$/.test(name)).length,
  )
  const expected = programs.reduce((sum, count) => sum + count, 0)
  const { status, output } = runTool(
    '@biomejs/biome/bin/biome',
    ['check', '--error-on-warnings', '--colors=off', '.'],
    directory,
  )
  const checked = Number(/Checked (\d+) files?/.exec(output)?.[1] ?? 0)
  const objections = status === 0 ? [] : [output]
  if (programs[0] === 0) objections.push('there is no file in src')
  if (checked <= expected)
    objections.push(`biome looked at ${checked} files, and there are ${expected} programs`)
  return objectionsTo(objections, `${checked} files`)
}
