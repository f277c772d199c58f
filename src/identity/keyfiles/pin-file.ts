import { SubrosaError } from '../../base/errors.ts'
import { isObject } from '../../json/objects.ts'
import { parseStrictJson } from '../../json/strict.ts'
import { decodeNkey } from '../nkey.ts'
import { parseRules, type SubjectRules } from '../permissions.ts'
import type { Pin, PinTrust } from '../pins.ts'
import { isAgentName } from '../token.ts'
import { readTrustFile } from './text-file.ts'

/** What a file of pins holds: the realm may be missing while it is put together. */
export interface PinFile {
  readonly realm: string | undefined
  readonly pins: PinTrust['pins']
}

/**
 * Loads the pins that `subrosa pin` has written: the `trust` of {@link secure}. Whoever writes this file decides whom
 * the agent trusts, so group and others must not be able to.
 *
 * @throws SubrosaError ERR_KEY_FILE (missing, damaged, or without the key of the rotation service),
 *   ERR_KEY_FILE_PERMISSIONS (others can write it)
 *
 * @example
 * ```ts
 * const bus = await secure(nc, { identity, trust: await loadPins('subrosa-pins.json') })
 * ```
 */
export async function loadPins(path: string): Promise<PinTrust> {
  const { realm, pins } = await readPinFile(path)
  if (realm === undefined) {
    throw new SubrosaError('ERR_KEY_FILE', `${path} does not say which key the rotation service has`, {
      hint: `subrosa pin --rotator NAME KEY --file ${path}`,
    })
  }
  return { realm, pins }
}

/** Reads a file of pins that may not name a realm yet. @throws SubrosaError as {@link loadPins} */
export async function readPinFile(path: string): Promise<PinFile> {
  const file = parsePins(await readTrustFile(path))
  if (file === undefined) {
    throw new SubrosaError('ERR_KEY_FILE', `${path} is no file of pins, or it is damaged`, {
      hint: 'pins are written by: subrosa pin NAME KEY',
    })
  }
  return file
}

function parsePins(text: string): PinFile | undefined {
  const file = parseStrictJson(text)
  if (!isObject(file)) return undefined
  const { realm, pins, ...others } = file
  if (!isObject(pins) || Object.keys(others).length > 0) return undefined
  if (realm !== undefined && !isPublicKey(realm)) return undefined
  const entries: (readonly [string, string | Pin])[] = []
  for (const [name, value] of Object.entries(pins)) {
    const pin = isPublicKey(value) ? value : parsePin(value)
    if (!isAgentName(name) || pin === undefined) return undefined
    entries.push([name, pin])
  }
  // Not assigned one by one: `__proto__` is a name too.
  return { realm, pins: Object.fromEntries(entries) }
}

function parsePin(value: unknown): Pin | undefined {
  if (!isObject(value)) return undefined
  const { key, pub, sub, ...others } = value
  if (!isPublicKey(key) || Object.keys(others).length > 0) return undefined
  try {
    return { key, ...rules('pub', pub), ...rules('sub', sub) }
  } catch {
    return undefined
  }
}

function rules(
  direction: 'pub' | 'sub',
  value: unknown,
): { readonly pub?: SubjectRules; readonly sub?: SubjectRules } {
  return value === undefined ? {} : { [direction]: parseRules(value) }
}

function isPublicKey(value: unknown): value is string {
  if (typeof value !== 'string') return false
  try {
    decodeNkey('U', value)
    return true
  } catch {
    return false
  }
}
