import { SubrosaError } from '../base/errors.ts'
import { DEFAULT_MAX_INSTANCES } from '../base/limits.ts'
import { fingerprint } from './fingerprint.ts'
import { decodeNkey } from './nkey.ts'
import { parseRules, type SubjectRules } from './permissions.ts'
import { AGENT_NAME_RULE, type IdentityClaims, isAgentName, type Role } from './token.ts'

/** One agent whose key is pinned, and what it may do. A direction that is left out allows nothing. */
export interface Pin {
  /** Its public identity key, `U…`. */
  readonly key: string
  /** What it may publish. */
  readonly pub?: Partial<SubjectRules>
  /** What it may read: only then is anything sealed to it. */
  readonly sub?: Partial<SubjectRules>
}

/**
 * Trust by keys that people have exchanged and compared by their fingerprints, without an authority. What an agent
 * says of itself grants it nothing: permissions are those given here, and every publish names its recipients.
 */
export interface PinTrust {
  /** The public key of the rotation service, `U…`: it names the realm, and alone rotates and revokes. */
  readonly realm: string
  /** Agents by name: a public key alone may publish and read every subject. */
  readonly pins: Readonly<Record<string, string | Pin>>
}

const EVERYTHING: SubjectRules = { allow: ['>'], deny: [] }
const NOTHING: SubjectRules = { allow: [], deny: [] }
const ROTATES_AND_REVOKES: readonly Role[] = ['rotator', 'revoker']

/** The pins of one agent, checked. SPEC, "Pins". */
export class Pins {
  readonly #realm: string
  readonly #byName: ReadonlyMap<string, Grant>
  /** For each pinned name, the last other key that has signed a token for it. */
  readonly #mismatches = new Map<string, string>()

  /** @throws TypeError or SubrosaError ERR_KEY_INVALID, ERR_TOKEN_INVALID when a name, key or rule has the wrong form */
  constructor({ realm, pins }: PinTrust) {
    decodeNkey('U', realm)
    this.#realm = realm
    this.#byName = new Map(Object.entries(pins).map(([name, pin]) => [name, toGrant(name, pin)]))
  }

  /**
   * What a self-signed token is worth here, whose signature holds: the claims with the permissions and roles that the pins
   * give. That another key came by a pinned name is remembered.
   *
   * @throws SubrosaError ERR_NOT_PINNED, ERR_PIN_MISMATCH
   */
  grant(claims: IdentityClaims): IdentityClaims {
    const { name, identity } = claims
    const pin = this.#byName.get(name)
    // The rotation service needs no name: its key is that of the realm.
    if (pin === undefined && identity !== this.#realm) throw notPinned(name)
    if (pin !== undefined && pin.key !== identity) {
      this.#mismatches.set(name, identity)
      throw mismatch(name, pin.key, identity)
    }
    return {
      ...claims,
      roles: identity === this.#realm ? ROTATES_AND_REVOKES : [],
      permissions: { pub: pin?.pub ?? NOTHING, sub: pin?.sub ?? NOTHING },
      maxInstances: DEFAULT_MAX_INSTANCES,
    }
  }

  /**
   * Whether a token with these claims is worth a signature check: of a pinned key, or the first of another key under a pinned
   * name. People are told of that one, and not of a key that somebody has only written down.
   */
  mayMatter({ name, identity }: IdentityClaims): boolean {
    return this.#byName.has(name) ? this.#mismatches.get(name) !== identity : identity === this.#realm
  }

  /**
   * These pins and the agent's own key, where they do not name it.
   *
   * @throws SubrosaError ERR_PIN_MISMATCH when they name another key for it
   */
  static withOwn(trust: PinTrust, own: { readonly name: string; readonly publicKey: string }): PinTrust {
    // An agent may be called as what every object has.
    const pin = Object.hasOwn(trust.pins, own.name) ? trust.pins[own.name] : undefined
    if (pin === undefined) return { ...trust, pins: { ...trust.pins, [own.name]: own.publicKey } }
    const { key } = toGrant(own.name, pin)
    if (key !== own.publicKey) throw mismatch(own.name, key, own.publicKey)
    return trust
  }

  /** Why nothing can be sealed to this name, as far as the pins know. */
  absence(name: string): string | undefined {
    const pin = this.#byName.get(name)
    if (pin === undefined) return `no key is pinned for ${name}: subrosa pin ${name} KEY`
    const other = this.#mismatches.get(name)
    return other === undefined ? undefined : mismatch(name, pin.key, other).message
  }
}

type Grant = { readonly key: string; readonly pub: SubjectRules; readonly sub: SubjectRules }

function toGrant(name: string, pin: string | Pin): Grant {
  if (!isAgentName(name)) throw new TypeError(`a name in trust.pins must be ${AGENT_NAME_RULE}`)
  if (typeof pin === 'string') {
    decodeNkey('U', pin)
    return { key: pin, pub: EVERYTHING, sub: EVERYTHING }
  }
  decodeNkey('U', pin.key)
  return { key: pin.key, pub: parseRules(pin.pub), sub: parseRules(pin.sub) }
}

function notPinned(name: string): SubrosaError {
  return new SubrosaError('ERR_NOT_PINNED', `no key is pinned for ${name}`, {
    hint: `compare its fingerprint over a channel that you trust, then: subrosa pin ${name} KEY`,
  })
}

function mismatch(name: string, pinned: string, found: string): SubrosaError {
  return new SubrosaError(
    'ERR_PIN_MISMATCH',
    `the key pinned for ${name} is ${fingerprint(pinned)}, and another one came: ${fingerprint(found)}`,
    { hint: 'ask its owner whether the key has changed; after comparing: subrosa pin --replace NAME KEY' },
  )
}
