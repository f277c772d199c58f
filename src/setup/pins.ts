import { SubrosaError } from '../base/errors.ts'
import { fingerprint } from '../identity/fingerprint.ts'
import { type PinFile, readPinFile } from '../identity/keyfiles/pin-file.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { SubjectRules } from '../identity/permissions.ts'
import type { Pin } from '../identity/pins.ts'
import { AGENT_NAME_RULE, isAgentName } from '../identity/token.ts'
import { readFileIfAny, replaceFile } from './files.ts'

const EVERYTHING: SubjectRules = { allow: ['>'], deny: [] }
const NOTHING: SubjectRules = { allow: [], deny: [] }

/** A key to pin. */
export interface PinRequest {
  /** The file of pins. It is made where it is not there. */
  readonly path: string
  /** 1 to 64 letters, digits, `_` or `-`. */
  readonly name: string
  /** The public key, `U…`. */
  readonly key: string
  /** Patterns of subjects. Of a new pin without any it is every subject; what a pin had and is not given stays. */
  readonly pub?: readonly string[]
  readonly sub?: readonly string[]
  readonly denyPub?: readonly string[]
  readonly denySub?: readonly string[]
  /** Whether it is the rotation service's key, which names the realm. */
  readonly rotator?: boolean
  /** Pins this key even where another one is pinned. */
  readonly replace?: boolean
}

/**
 * The pins in a file, none where there is no such file.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 */
export async function readPins(path: string): Promise<PinFile> {
  if ((await readFileIfAny(path)) === undefined) return { realm: undefined, pins: {} }
  return readPinFile(path)
}

/**
 * Pins a key under a name.
 *
 * @throws SubrosaError ERR_PIN_MISMATCH when another key is pinned there, ERR_KEY_INVALID, ERR_KEY_FILE,
 *   ERR_KEY_FILE_PERMISSIONS, ERR_SETUP
 * @throws TypeError when the name is none
 *
 * @example
 * ```ts
 * await pinKey({ path: 'subrosa-pins.json', name: 'billing', key: 'U…', sub: ['orders.>'] })
 * ```
 */
export async function pinKey(request: PinRequest): Promise<void> {
  const { path, name, key, rotator = false, replace = false } = request
  if (!isAgentName(name)) throw new TypeError(`name must be ${AGENT_NAME_RULE}`)
  decodeNkey('U', key)
  const file = await readPins(path)
  const former = new Map(Object.entries(file.pins)).get(name)
  const pinned = former && keyOf(former)
  if (pinned !== undefined && pinned !== key && !replace) throw mismatch(name, pinned, key)
  if (rotator && file.realm !== undefined && file.realm !== key && !replace)
    throw mismatch('the rotation service', file.realm, key)
  const pins = new Map<string, string | Pin>(Object.entries(file.pins)).set(name, toPin(request, former))
  const realm = rotator ? key : file.realm
  await replaceFile(path, format({ realm, pins: Object.fromEntries(pins) }), { secret: false })
}

function toPin(request: PinRequest, former: string | Pin | undefined): string | Pin {
  const { key, pub, sub, denyPub, denySub, rotator } = request
  const given = [pub, sub, denyPub, denySub].some((patterns) => patterns !== undefined)
  if (!given && former !== undefined) return typeof former === 'string' ? key : { ...former, key }
  // The rotation service sends and reads nothing of the agents unless it is said.
  if (!given) return rotator ? { key } : key
  const had = typeof former === 'string' ? { pub: EVERYTHING, sub: EVERYTHING } : former
  const rules = (before: Partial<SubjectRules> = NOTHING, allow = before.allow, deny = before.deny) => ({
    allow: allow ?? [],
    deny: deny ?? [],
  })
  return { key, pub: rules(had?.pub, pub, denyPub), sub: rules(had?.sub, sub, denySub) }
}

function keyOf(pin: string | Pin): string {
  return typeof pin === 'string' ? pin : pin.key
}

function mismatch(name: string, pinned: string, given: string): SubrosaError {
  return new SubrosaError(
    'ERR_PIN_MISMATCH',
    `the key pinned for ${name} is ${fingerprint(pinned)}, and this one is ${fingerprint(given)}`,
    { hint: 'ask its owner whether the key has changed; after comparing the new fingerprint: --replace' },
  )
}

function format({ realm, pins }: PinFile): string {
  const sorted = Object.fromEntries(Object.entries(pins).sort(([a], [b]) => (a < b ? -1 : 1)))
  return `${JSON.stringify({ realm, pins: sorted }, null, 2)}\n`
}
