import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import { MAX_NAMES_REMEMBERED, MAX_STATE_BYTES } from '../base/limits.ts'
import { mergeOwners, type NameOwner } from './name-owners.ts'
import type { KeptPlan } from './plan-book.ts'
import type { AgentState, FormerInstance } from './state.ts'
import { type FormattedState, formatState, parseState, type StoredState, versionOf } from './stored-state.ts'

const MAX_SLOTS = 1024
const WRITE_BY_OTHERS = 0o022

/** Whose state it is, and where. */
export interface StateFolderOptions {
  readonly realm: string
  readonly agent: string
  /** The folder that holds every realm's state; default `$XDG_STATE_HOME/subrosa` or `~/.local/state/subrosa`. */
  readonly root?: string
  /** Brings to the disk which files are in a folder, or throws. */
  readonly syncFolder?: (path: string) => void
}

/**
 * Opens the first slot of this agent that no running process holds. The lock is the operating system's and ends with
 * the process, however it ends. The plan is the newest one of all slots.
 *
 * @throws SubrosaError ERR_STATE when the folder cannot be used or holds damaged state.
 */
export function openStateFolder(options: StateFolderOptions): AgentState {
  const folder = join(options.root ?? defaultRoot(), options.realm, options.agent)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new SubrosaError('ERR_STATE', `cannot make the state folder ${folder}`, {
      cause,
      hint: "set state to a folder that can be written, or to 'memory'",
    })
  }
  for (const path of [join(folder, '..'), folder]) checkFolder(path)
  const { slot, release } = lockSlot(folder)
  try {
    return new SlotState(slot, readStates(folder, slot), {
      release,
      syncFolder: options.syncFolder ?? syncFolder,
    })
  } catch (error) {
    release()
    throw error
  }
}

/** Where the state of every realm is kept, unless it is said. */
export function defaultRoot(): string {
  const home = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state')
  return join(home, 'subrosa')
}

class SlotState implements AgentState {
  readonly former: readonly FormerInstance[]
  readonly #slot: string
  readonly #release: () => void
  readonly #syncFolder: (path: string) => void
  #stored: StoredState

  constructor(
    slot: string,
    stored: StoredState,
    end: { readonly release: () => void; readonly syncFolder: (path: string) => void },
  ) {
    this.#slot = slot
    this.#release = end.release
    this.#syncFolder = end.syncFolder
    this.#stored = stored
    this.former = this.#stored.instances
  }

  get plan(): KeptPlan | undefined {
    return this.#stored.plan
  }

  keepPlan(plan: KeptPlan): void {
    const { plan: before, revocations } = this.#stored
    // What stands beside a plan is not written a second time: that of the one before must not go with it.
    this.#write({ ...this.#stored, plan, revocations: distinct([...(before?.list ?? []), ...revocations]) })
  }

  get owners(): ReadonlyMap<string, NameOwner> {
    return this.#stored.owners
  }

  keepOwners(owners: ReadonlyMap<string, NameOwner>): number {
    return this.#write({ ...this.#stored, owners }).ownersLeftOut
  }

  get revocations(): readonly Uint8Array[] {
    return this.#stored.revocations
  }

  keepRevocations(revocations: readonly Uint8Array[]): number {
    return this.#write({ ...this.#stored, revocations }).revocationsLeftOut
  }

  keepInstance(instance: string): void {
    this.#write({ ...this.#stored, instances: [...this.#stored.instances, { instance }] })
  }

  forgetInstances(): void {
    this.#write({ ...this.#stored, instances: [] })
  }

  close(): void {
    this.#release()
  }

  #write(stored: StoredState): FormattedState {
    const path = statePath(this.#slot)
    const formatted = formatState(stored)
    if (formatted === undefined) {
      throw new SubrosaError('ERR_STATE', `the plan and its list have no room in ${path}`, {
        hint: `a state has at most ${MAX_STATE_BYTES} bytes: make a plan with a shorter list of revocations`,
      })
    }
    try {
      writeDurably(path, formatted.text, this.#syncFolder)
    } catch (error) {
      // It may be there all the same: what is written next must not take it back.
      if (isWritten(path, formatted.text)) this.#stored = stored
      throw error
    }
    this.#stored = stored
    return formatted
  }
}

/**
 * Replaces a file so that a crash, or a disk that is full, leaves the old text or the new one, and nothing in between. Where it
 * throws, either one may be there: whoever goes on has to look.
 *
 * @param sync brings what has changed in a folder to the disk, or throws
 * @throws SubrosaError ERR_STATE
 */
export function writeDurably(path: string, text: string, sync: (folder: string) => void = syncFolder): void {
  const temporary = `${path}.new`
  try {
    // What a crash has left, or a link that somebody has put there, is not written to.
    rmSync(temporary, { force: true })
    const file = openSync(temporary, 'wx', 0o600)
    try {
      // Not writeSync: that may write less than all of it, and says so by a number alone.
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    sync(join(path, '..'))
  } catch (cause) {
    rmSync(temporary, { force: true })
    throw new SubrosaError('ERR_STATE', `cannot write ${path}`, { cause })
  }
}

/**
 * Whoever can write to a folder can put an older state there: from now on that is its owner alone.
 *
 * @throws SubrosaError ERR_STATE where it belongs to somebody else
 */
function checkFolder(path: string): void {
  // Windows has no such bits: there the folder's access list decides.
  if (process.platform === 'win32') return
  const { mode } = assertOwn(path)
  if ((mode & WRITE_BY_OTHERS) === 0) return
  // A volume may be mounted so. What others have put there is told by whose it is.
  chmodSync(path, mode & ~WRITE_BY_OTHERS)
}

function assertOwn(path: string): Stats {
  const stats = statSync(path)
  const { uid } = stats
  if (process.platform === 'win32' || uid === 0 || uid === process.getuid?.()) return stats
  throw new SubrosaError('ERR_STATE', `${path} belongs to somebody else, who can change it`, {
    hint: 'see what is in it, and then make it your own',
  })
}

/** Brings to the disk which files are in a folder. */
export function syncFolder(path: string): void {
  // Windows cannot open folders; there the rename itself is durable.
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/**
 * Takes the lock on a file, which ends with this process at the latest.
 *
 * @returns how to release it, or `undefined` where another process holds it
 * @throws SubrosaError ERR_STATE when files cannot be locked here
 */
export function lockFile(path: string): (() => void) | undefined {
  const tryLock = loadLock()
  const file = openSync(path, 'a+', 0o600)
  if (tryLock(file)) return () => closeSync(file)
  closeSync(file)
  return undefined
}

function lockSlot(folder: string): { readonly slot: string; readonly release: () => void } {
  for (let number = 0; number < MAX_SLOTS; number++) {
    const slot = join(folder, String(number))
    mkdirSync(slot, { recursive: true, mode: 0o700 })
    checkFolder(slot)
    const release = lockFile(join(slot, 'lock'))
    if (release !== undefined) return { slot, release }
  }
  throw new SubrosaError('ERR_STATE', `all ${MAX_SLOTS} slots under ${folder} are in use`)
}

function loadLock(): (file: number) => boolean {
  try {
    // An optional native dependency: a static import would make its absence fatal.
    const { tryLock } = createRequire(import.meta.url)('fs-native-extensions') as {
      tryLock(file: number): boolean
    }
    return tryLock
  } catch (cause) {
    throw new SubrosaError('ERR_STATE', 'the module that locks the state folder does not load', {
      cause,
      hint: "install the optional dependency fs-native-extensions, or set state to 'memory'",
    })
  }
}

/** What all processes of this agent know: the newest plan, all that was seen of revocations and names; instances of a slot. */
function readStates(folder: string, own: string): StoredState {
  let newest: KeptPlan | undefined
  const owners = new Map<string, NameOwner>()
  const revocations: Uint8Array[] = []
  let instances: readonly FormerInstance[] = []
  for (const name of readdirSync(folder)) {
    const slot = join(folder, name)
    const stored = readState(slot)
    if (stored === undefined) continue
    const { plan } = stored
    if (slot === own) instances = stored.instances
    if (plan !== undefined && (newest === undefined || versionOf(plan) > versionOf(newest))) newest = plan
    for (const [name, owner] of stored.owners) {
      const other = owners.get(name)
      if (other !== undefined) owners.set(name, mergeOwners(other, owner))
      else if (owners.size < MAX_NAMES_REMEMBERED) owners.set(name, owner)
    }
    // Its list too: another slot may have a newer plan, whose list has not all of them.
    for (const bytes of [...(plan?.list ?? []), ...stored.revocations]) revocations.push(bytes)
  }
  return { plan: newest, instances, owners, revocations: distinct(revocations) }
}

function distinct(all: readonly Uint8Array[]): readonly Uint8Array[] {
  return [...new Map(all.map((bytes) => [Buffer.from(bytes).toString('latin1'), bytes])).values()]
}

function isWritten(path: string, text: string): boolean {
  try {
    return readFileSync(path, 'utf8') === text
  } catch {
    return false
  }
}

function statePath(slot: string): string {
  return join(slot, 'state.json')
}

function readState(slot: string): StoredState | undefined {
  const path = statePath(slot)
  let text: string
  try {
    if (assertOwn(path).size > MAX_STATE_BYTES) throw tooLarge(path)
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR'))
      return undefined
    if (cause instanceof SubrosaError) throw cause
    // To go on without the plan would be to accept a rollback.
    throw new SubrosaError('ERR_STATE', `cannot read ${path}`, { cause })
  }
  const stored = parseState(text)
  if (stored === undefined) {
    throw new SubrosaError('ERR_STATE', `${path} is damaged, or of another version of this software`, {
      hint: 'it guards against being shown an old plan, and holds revocations: find out why, and delete it only then',
    })
  }
  return stored
}

function tooLarge(path: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `${path} is longer than ${MAX_STATE_BYTES} bytes`, {
    hint: 'nothing that this agent has to remember is as long: find out who has made it so, and delete it only then',
  })
}
