import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'

/**
 * A test file and every file below `test/` that it imports, directly or not.
 *
 * @param root the repository
 * @param test path below the root
 * @returns paths below the root, the test first
 */
export function filesOfTest(root: string, test: string): readonly string[] {
  const files = new Set([test])
  for (const file of files) {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'), true, true)
    for (const { fileName } of importedFiles) {
      if (!fileName.startsWith('.')) continue
      const path = relative(root, join(root, dirname(file), fileName))
      if (path.startsWith('test/') && existsSync(join(root, path))) files.add(path)
    }
  }
  return [...files]
}

/** Whether a test runs what was built: whether it, or what it imports, names `dist/`. */
export function needsBuild(root: string, test: string): boolean {
  return filesOfTest(root, test).some((file) => readFileSync(join(root, file), 'utf8').includes('dist/'))
}
