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
import { fromHex, hex } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_NAMES_REMEMBERED } from '../base/limits.ts'
import { isAgentName } from '../identity/token.ts'
import type { EpochFloor } from './epochs.ts'
import { mergeOwners, type NameOwner } from './name-owners.ts'
import type { AgentState, FormerInstance } from './state.ts'

const MAX_SLOTS = 1024
const WRITE_BY_OTHERS = 0o022
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const FORMAT = 1

/** Whose state it is, and where. */
export interface StateFolderOptions {
  readonly realm: string
  readonly agent: string
  /** The folder that holds every realm's state; default `$XDG_STATE_HOME/subrosa` or `~/.local/state/subrosa`. */
  readonly root?: string
}

interface StoredState {
  readonly floor: EpochFloor | undefined
  readonly instances: readonly FormerInstance[]
  readonly owners: ReadonlyMap<string, NameOwner>
  readonly revocations: readonly Uint8Array[]
}

/**
 * Opens the first slot of this agent that no running process holds. The lock is the operating system's and ends with
 * the process, however it ends. The floor is the highest of all slots.
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
    return new SlotState(slot, readStates(folder, slot), release)
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
  #stored: StoredState

  constructor(slot: string, stored: StoredState, release: () => void) {
    this.#slot = slot
    this.#release = release
    this.#stored = stored
    this.former = this.#stored.instances
  }

  get owners(): ReadonlyMap<string, NameOwner> {
    return this.#stored.owners
  }

  keepOwners(owners: ReadonlyMap<string, NameOwner>): void {
    this.#write({ ...this.#stored, owners })
  }

  get revocations(): readonly Uint8Array[] {
    return this.#stored.revocations
  }

  keepRevocations(revocations: readonly Uint8Array[]): void {
    this.#write({ ...this.#stored, revocations })
  }

  get floor(): EpochFloor | undefined {
    return this.#stored.floor
  }

  keepFloor(floor: EpochFloor): void {
    this.#write({ ...this.#stored, floor })
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

  #write(stored: StoredState): void {
    const { floor, instances, owners, revocations } = stored
    const json = JSON.stringify({
      format: FORMAT,
      floor: floor === undefined ? undefined : { number: floor.number, hash: hex(floor.hash) },
      instances,
      owners: [...owners].map(([name, { identity, since, issuedAt, isRotator, isOver, former }]) => [
        name,
        identity,
        since,
        issuedAt,
        isRotator,
        isOver,
        former,
      ]),
      revocations: revocations.map((bytes) => Buffer.from(bytes).toString('base64')),
    })
    writeDurably(statePath(this.#slot), json)
    this.#stored = stored
  }
}

/** Replaces a file so that a crash, or a disk that is full, leaves the old text or the new one, and nothing in between. */
export function writeDurably(path: string, text: string): void {
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
    syncFolder(join(path, '..'))
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

function syncFolder(path: string): void {
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

/** What all processes of this agent know: the highest floor, all that was seen of revocations and names; instances of a slot. */
function readStates(folder: string, own: string): StoredState {
  let highest: EpochFloor | undefined
  const owners = new Map<string, NameOwner>()
  const revocations = new Map<string, Uint8Array>()
  let instances: readonly FormerInstance[] = []
  for (const name of readdirSync(folder)) {
    const slot = join(folder, name)
    const stored = readState(slot)
    if (stored === undefined) continue
    const { floor } = stored
    if (slot === own) instances = stored.instances
    if (floor !== undefined && (highest === undefined || floor.number > highest.number)) highest = floor
    for (const [name, owner] of stored.owners) {
      const other = owners.get(name)
      if (other !== undefined) owners.set(name, mergeOwners(other, owner))
      else if (owners.size < MAX_NAMES_REMEMBERED) owners.set(name, owner)
    }
    for (const bytes of stored.revocations) revocations.set(hex(bytes), bytes)
  }
  return { floor: highest, instances, owners, revocations: [...revocations.values()] }
}

function statePath(slot: string): string {
  return join(slot, 'state.json')
}

function readState(slot: string): StoredState | undefined {
  let text: string
  try {
    assertOwn(statePath(slot))
    text = readFileSync(statePath(slot), 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR'))
      return undefined
    if (cause instanceof SubrosaError) throw cause
    // To go on without the floor would be to accept a rollback.
    throw new SubrosaError('ERR_STATE', `cannot read ${statePath(slot)}`, { cause })
  }
  const stored = parseState(text)
  if (stored === undefined) {
    throw new SubrosaError('ERR_STATE', `${statePath(slot)} is damaged`, {
      hint: 'it guards against being shown old epochs: find out why, and delete it only then',
    })
  }
  return stored
}

function parseState(text: string): StoredState | undefined {
  try {
    const parsed = JSON.parse(text) as Record<string, unknown>
    const { format, floor, instances } = parsed
    if (format !== FORMAT || !Array.isArray(instances) || !instances.every(isFormer)) return undefined
    const owners = parseOwners(parsed['owners'])
    const revocations = parseRevocations(parsed['revocations'])
    if (owners === undefined || revocations === undefined) return undefined
    if (floor === undefined) return { floor: undefined, instances, owners, revocations }
    const { number, hash } = floor as Record<string, unknown>
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) return undefined
    if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return undefined
    return { floor: { number, hash: fromHex(hash) }, instances, owners, revocations }
  } catch {
    return undefined
  }
}

/** @param listed absent in a file of before names were remembered */
function parseOwners(listed: unknown = []): ReadonlyMap<string, NameOwner> | undefined {
  if (!Array.isArray(listed)) return undefined
  const owners = new Map<string, NameOwner>()
  for (const entry of listed) {
    const [name, identity, since, issuedAt, isRotator, isOver, former] = Array.isArray(entry) ? entry : []
    if (typeof name !== 'string' || !isAgentName(name) || typeof identity !== 'string') return undefined
    if (![since, issuedAt].every(Number.isSafeInteger)) return undefined
    if (typeof isRotator !== 'boolean' || typeof isOver !== 'boolean') return undefined
    if (!Array.isArray(former) || !former.every((other) => typeof other === 'string')) return undefined
    owners.set(name, { identity, since, issuedAt, isRotator, isOver, former })
  }
  return owners
}

/** @param listed absent in a file of before revocations were kept */
function parseRevocations(listed: unknown = []): readonly Uint8Array[] | undefined {
  if (!Array.isArray(listed)) return undefined
  if (!listed.every((text) => typeof text === 'string' && BASE64.test(text))) return undefined
  return listed.map((text: string) => new Uint8Array(Buffer.from(text, 'base64')))
}

function isFormer(value: unknown): value is FormerInstance {
  if (typeof value !== 'object' || value === null || !('instance' in value)) return false
  return typeof value.instance === 'string' && /^[0-9a-f]{16}$/.test(value.instance)
}
