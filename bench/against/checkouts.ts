import { cp, mkdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CommandFailed, run } from './command.ts'
import type { Pair } from './ratios.ts'

/** A checkout that is built, in a folder of its own. */
export interface Built {
  readonly folder: string
  /** What it is, for people. */
  readonly title: string
}

/** Something that the one who asked can mend: its message says what. */
export class Unprepared extends Error {
  override readonly name = 'Unprepared'
}

interface Preparation {
  /** Empty, and removed by the caller. */
  readonly folder: string
  readonly signal: AbortSignal
  readonly say: (text: string) => void
}

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const LOCKFILE = 'package-lock.json'
/** What a run needs of the working tree: its build, and the files that know its layout. */
const COPIED = ['package.json', 'dist', 'bench/lib']

/**
 * Puts both checkouts into folders: the commit as it is in the repository, built by its own script, with the packages
 * of its own lockfile; and a copy of the working tree's build, so that work can go on during a run.
 *
 * @throws Unprepared where the commit is not known or cannot be built
 */
export async function prepare(ref: string, preparation: Preparation): Promise<Pair<Built>> {
  const { folder, signal, say } = preparation
  const git = (...args: string[]) => run('git', args, { cwd: REPOSITORY, signal })
  const commit = await commitOf(ref, git)
  const title = await git('log', '-1', '--format=%h %s', commit)
  const changed = (await git('status', '--porcelain', '--', '.')) === '' ? '' : ', with changes'
  const own = `working tree at ${await git('log', '-1', '--format=%h %s')}${changed}`
  const [before, after] = [join(folder, 'before'), join(folder, 'after')]

  await mkdir(before)
  const archive = join(folder, 'before.tar')
  await git('archive', '--format=tar', `--output=${archive}`, commit)
  await run('tar', ['-xf', archive, '-C', before], { cwd: folder, signal })
  await installPackages(before, { ref, signal, say })
  say(`building ${ref}`)
  await attempt(`${ref} cannot be built`, () =>
    run('npm', ['run', '--silent', 'build'], { cwd: before, signal }),
  )

  for (const path of COPIED) await cp(join(REPOSITORY, path), join(after, path), { recursive: true })
  await linkPackages(after)
  return { before: { folder: before, title }, after: { folder: after, title: own } }
}

async function commitOf(ref: string, git: (...args: string[]) => Promise<string>): Promise<string> {
  return attempt(`${ref} is not a commit, branch or tag of this repository`, () =>
    git('rev-parse', '--verify', '--end-of-options', `${ref}^{commit}`),
  )
}

/** The packages of the working tree serve a commit with the same lockfile. */
async function installPackages(
  folder: string,
  { ref, signal, say }: Omit<Preparation, 'folder'> & { readonly ref: string },
): Promise<void> {
  const [own, other] = await Promise.all(
    [REPOSITORY, folder].map((root) => readFile(join(root, LOCKFILE), 'utf8').catch(() => undefined)),
  )
  if (own !== undefined && own === other) return linkPackages(folder)
  say(`installing the packages of ${ref}: its ${LOCKFILE} differs`)
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await attempt(`the packages of ${ref} cannot be installed`, () =>
    run('npm', ['ci', ...flags], { cwd: folder, signal }),
  )
}

async function linkPackages(folder: string): Promise<void> {
  await symlink(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'), 'dir')
}

/** Runs a command; where it fails, says what that means, and what the command said. */
async function attempt(meaning: string, command: () => Promise<string>): Promise<string> {
  try {
    return await command()
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error
    throw new Unprepared(`${meaning}: ${error.message}\n${error.output}`)
  }
}
