import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { repository } from './run.mjs'

/** What is not part of the source: the same as in .gitignore. */
const LEFT_OUT = new Set(['.git', 'node_modules', 'dist', 'dist-docs', 'coverage', '.DS_Store'])

/**
 * A copy of a source tree in a folder of its own, with a link to this repository's node_modules. It shows the tools
 * what is in the repository and nothing else, and can be broken without harm. The caller removes it.
 *
 * @param {string} directory
 * @returns {string} the path of the copy
 */
export function copyTree(directory) {
  const copy = join(mkdtempSync(join(tmpdir(), 'subrosa-verify-')), 'subrosa')
  cpSync(directory, copy, {
    recursive: true,
    filter: (source) => {
      const path = relative(directory, source)
      return !LEFT_OUT.has(basename(path)) && !path.endsWith('.tgz')
    },
  })
  symlinkSync(join(repository, 'node_modules'), join(copy, 'node_modules'), 'dir')
  return copy
}

/**
 * Removes a copy that {@link copyTree} made.
 *
 * @param {string} copy
 */
export function removeCopy(copy) {
  rmSync(join(copy, '..'), { recursive: true, force: true })
}
