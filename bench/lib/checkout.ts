import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { makeCrowd } from './crowd.mjs'
import { startWorld } from './world.mjs'

/** How another process reaches a world. */
interface Connection {
  readonly servers: string
  readonly tls?: { readonly ca: string }
}

/** Where an agent in another process joins, and by which build. */
export interface Place {
  readonly connection: Connection
  readonly authority: string
  /** URL of the index.js that the agent loads. */
  readonly library: string
}

interface May {
  readonly pub?: readonly string[]
  readonly sub?: readonly string[]
}

/** The part of a world that the benchmark uses of any checkout. */
export interface World {
  /** A connection that sees what the server sees. */
  readonly nc: {
    publish(subject: string, data: Uint8Array): void
    flush(): Promise<void>
    subscribe(
      subject: string,
      options: { callback: (error: Error | null, message: { readonly data: Uint8Array }) => void },
    ): { unsubscribe(): void }
  }
  readonly place: Omit<Place, 'library'>
  /** The text of an identity file. */
  identity(name: string, may?: May): string
  epochBytes(): Uint8Array
  stop(): Promise<void>
}

interface Crowd {
  announce(epochBytes: Uint8Array): readonly { readonly subject: string; readonly bytes: Uint8Array }[]
}

/**
 * A checkout with its build: agents load its public entry, and its realms are made by its own copy of `bench/lib`,
 * which knows where it keeps what is not public. So nothing here depends on the layout of another commit, and agents
 * and the rotation service of one realm always speak one wire format.
 */
export interface Checkout {
  /** URL of the index.js of its build. */
  readonly library: string
  startWorld(options?: { readonly tls?: boolean }): Promise<World>
  makeCrowd(authority: string, identityFiles: readonly string[]): Crowd
}

const LIBRARY = 'dist/index.js'
const WORLD = 'bench/lib/world.mjs'
const CROWD = 'bench/lib/crowd.mjs'

/** The checkout that this file is in. */
export const ownCheckout: Checkout = {
  library: new URL(`../../${LIBRARY}`, import.meta.url).href,
  startWorld,
  makeCrowd,
}

/**
 * Loads the checkout in a folder, which must be built.
 *
 * @throws Error that names what it does not have
 */
export async function loadCheckout(folder: string): Promise<Checkout> {
  const { startWorld: start } = await importFrom<Pick<Checkout, 'startWorld'>>(folder, WORLD, ['startWorld'])
  const { makeCrowd: make } = await importFrom<Pick<Checkout, 'makeCrowd'>>(folder, CROWD, ['makeCrowd'])
  return { library: pathToFileURL(join(folder, LIBRARY)).href, startWorld: start, makeCrowd: make }
}

/**
 * Imports a module of the checkout in a folder.
 *
 * @param functions what must be in it
 * @throws Error that names what is not there
 */
export async function importFrom<Module>(
  folder: string,
  path: string,
  functions: readonly (keyof Module & string)[],
): Promise<Module> {
  const file = join(folder, path)
  if (!existsSync(file)) throw new Error(`it has no ${path}`)
  const module = await import(pathToFileURL(file).href)
  for (const name of functions)
    if (typeof module[name] !== 'function') throw new Error(`its ${path} does not export ${name}`)
  return module
}
