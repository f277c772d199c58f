import { filesBelow, objectionsTo, runTool } from './run.mjs'

/**
 * Biome: format, lint and order of imports. Warnings count, and it must have looked at least at every file of src.
 *
 * @param {string} directory
 */
export function checkStyle(directory) {
  const expected = filesBelow(directory, 'src', (name) => name.endsWith('.ts')).length
  const { status, output } = runTool(
    '@biomejs/biome/bin/biome',
    ['check', '--error-on-warnings', '--colors=off', '.'],
    directory,
  )
  const checked = Number(/Checked (\d+) files?/.exec(output)?.[1] ?? 0)
  const objections = status === 0 ? [] : [output]
  if (expected === 0) objections.push('there is no file in src')
  if (checked <= expected) objections.push(`biome looked at ${checked} files, and src alone has ${expected}`)
  return objectionsTo(objections, `${checked} files`)
}
