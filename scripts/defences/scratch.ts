import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import ts from 'typescript'
import type { Row } from './list.ts'

/** What is not part of the source: the same as in .gitignore. */
const LEFT_OUT = new Set(['.git', 'node_modules', 'dist', 'dist-docs', 'coverage'])

/** Complaints about style, which a replacement may give cause for. */
const LENIENT = { noUnusedLocals: false, noUnusedParameters: false, noImplicitReturns: false, noEmit: false }

/**
 * A copy of the repository in which defences are taken out one after the other. It links to the repository's
 * node_modules. The caller removes it.
 */
export class Scratch {
  /** The copy. */
  readonly folder: string
  readonly #compiler: Compiler
  #isBuilt = false

  /** @param root the repository */
  constructor(root: string) {
    this.folder = join(mkdtempSync(join(tmpdir(), 'subrosa-defences-')), 'subrosa')
    cpSync(root, this.folder, { recursive: true, filter: (source) => !LEFT_OUT.has(basename(source)) })
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'), 'dir')
    this.#compiler = new Compiler(this.folder)
  }

  /** Builds `dist`, once. */
  build(): void {
    if (this.#isBuilt) return
    const args = [join(this.folder, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json']
    const { status, stdout } = spawnSync(process.execPath, args, { cwd: this.folder, encoding: 'utf8' })
    if (status !== 0) throw new Error(`the copy cannot be built: ${stdout}`)
    this.#isBuilt = true
  }

  /**
   * Takes a defence out, in the source and in what was built of it. The anchor must occur exactly once.
   *
   * @returns puts it back
   * @throws Error when the file does not compile without it
   */
  takeOut({ file, takeOut, putIn }: Pick<Row, 'file' | 'takeOut' | 'putIn'>): () => void {
    const path = join(this.folder, file)
    const built = join(this.folder, 'dist', file.replace(/^src\//, '').replace(/\.ts$/, '.js'))
    const before = [path, ...(this.#isBuilt ? [built] : [])].map((name) => ({
      name,
      text: readFileSync(name, 'utf8'),
    }))
    const restore = () => {
      for (const { name, text } of before) writeFileSync(name, text)
      this.#compiler.changed(path)
    }
    writeFileSync(
      path,
      readFileSync(path, 'utf8').replace(takeOut, () => putIn),
    )
    this.#compiler.changed(path)
    const { error, code } = this.#compiler.compile(path)
    if (error !== undefined) {
      restore()
      throw new Error(`it does not compile without the defence: ${error}`)
    }
    if (this.#isBuilt) writeFileSync(built, code)
    return restore
  }

  remove(): void {
    rmSync(dirname(this.folder), { recursive: true, force: true })
  }
}

/** The compiler over `src` of a copy, which reads again only what has changed. */
class Compiler {
  readonly #folder: string
  readonly #versions = new Map<string, number>()
  #service: ts.LanguageService | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  changed(path: string): void {
    this.#versions.set(path, (this.#versions.get(path) ?? 0) + 1)
  }

  /** The first error in a file, and the JavaScript of it. */
  compile(path: string): { readonly error: string | undefined; readonly code: string } {
    this.#service ??= this.#start()
    const diagnostics = [
      ...this.#service.getSyntacticDiagnostics(path),
      ...this.#service.getSemanticDiagnostics(path),
    ]
    const [first] = diagnostics.map(
      ({ code, messageText }) => `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    )
    const files = this.#service.getEmitOutput(path).outputFiles
    return { error: first, code: files.find(({ name }) => name.endsWith('.js'))?.text ?? '' }
  }

  #start(): ts.LanguageService {
    const config = join(this.#folder, 'tsconfig.build.json')
    const { config: json } = ts.readConfigFile(config, ts.sys.readFile)
    const { options, fileNames } = ts.parseJsonConfigFileContent(json, ts.sys, this.#folder)
    return ts.createLanguageService({
      getCompilationSettings: () => ({ ...options, ...LENIENT }),
      getScriptFileNames: () => fileNames,
      getScriptVersion: (path) => String(this.#versions.get(path) ?? 0),
      getScriptSnapshot: (path) =>
        existsSync(path) ? ts.ScriptSnapshot.fromString(readFileSync(path, 'utf8')) : undefined,
      getCurrentDirectory: () => this.#folder,
      getDefaultLibFileName: ts.getDefaultLibFilePath,
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
      readDirectory: ts.sys.readDirectory,
      directoryExists: ts.sys.directoryExists,
      getDirectories: ts.sys.getDirectories,
    })
  }
}
