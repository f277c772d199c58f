/**
 * Who gets which files of the realm. Each container has a volume of its own with what it needs and no more: the
 * authority's seed, and everything else that signs, stay in the volume `realm`, which only setup mounts.
 *
 * @typedef {{ readonly volume: string, readonly files: readonly string[] }} Share
 */

/** The realm itself, with every secret. */
export const REALM_VOLUME = 'realm'

/** What the broker reads. */
export const BROKER_VOLUME = 'broker'

/** Where its streams are. */
export const JETSTREAM_VOLUME = 'jetstream'

/** In place of the file of the newest plan, whose name says its version. */
export const NEWEST_PLAN = 'plans/*.json'

/** The public description of a realm. Each volume holds it: so a volume of another realm is known as such. */
export const DESCRIPTION = 'realm.json'

/** The rotation services, of which {@link THRESHOLD} must answer. `subrosa init` makes them, each with this name. */
export const ROTATORS = ['rotator-1', 'rotator-2', 'rotator-3']
export const THRESHOLD = 2

/** The agents of this stack, and how `subrosa agent add` is told about them. */
export const AGENTS = [
  { name: 'orders', options: ['--pub', 'orders.>', '--sub', 'invoices.>'] },
  { name: 'billing', options: ['--pub', 'invoices.>', '--sub', 'orders.>'] },
]

/** @type {readonly Share[]} */
export const SHARES = [
  { volume: BROKER_VOLUME, files: ['nats-server.conf', 'tls/server.crt', 'tls/server.key'] },
  { volume: JETSTREAM_VOLUME, files: [] },
  ...[...ROTATORS, ...AGENTS.map(({ name }) => name)].map((name) => ({ volume: name, files: login(name) })),
]

/** @param {string} agent */
function login(agent) {
  return [`agents/${agent}.identity`, `agents/${agent}.creds`, 'tls/ca.crt', NEWEST_PLAN]
}

/**
 * Whether only its owner may read a file.
 *
 * @param {string} file
 */
export function isSecret(file) {
  return /\.(identity|creds|key)$/.test(file)
}
