import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SubrosaError } from 'subrosa'
import { DESCRIPTION, REALM_VOLUME, SHARES } from './shares.mjs'

const REALM_KEY = /^A[A-Z2-7]{55}$/

/**
 * Refuses volumes that do not belong together, before anything is written to any of them.
 *
 * @param {string} volumes the folder that holds them
 * @param {string | undefined} expected the key of the realm that this must be
 * @throws {SubrosaError} ERR_SETUP that names the volume and both realms
 */
export function checkVolumes(volumes, expected) {
  if (expected !== undefined && !REALM_KEY.test(expected)) {
    throw new SubrosaError('ERR_SETUP', 'SUBROSA_REALM_KEY is no key of a realm', {
      hint: 'it is the line that setup prints on standard output: A and 55 more characters',
    })
  }
  const found = realmKeyIn(volumes, REALM_VOLUME)
  if (expected !== undefined && found !== expected) throw notExpected(found, expected)
  if (found === undefined && existsSync(join(volumes, REALM_VOLUME, 'authority.seed'))) throw halfMade()
  for (const { volume } of SHARES) {
    const other = realmKeyIn(volumes, volume)
    if (other !== undefined && other !== found) throw ofAnotherRealm(volume, other, found)
  }
}

/**
 * The key of the realm that a volume belongs to, or `undefined` where it belongs to none yet.
 *
 * @param {string} volumes
 * @param {string} volume
 * @returns {string | undefined}
 * @throws {SubrosaError} ERR_SETUP when it cannot be read or says something else
 */
export function realmKeyIn(volumes, volume) {
  const path = join(volumes, volume, DESCRIPTION)
  try {
    const realm = JSON.parse(readFileSync(path, 'utf8'))?.realm
    if (typeof realm === 'string' && REALM_KEY.test(realm)) return realm
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    if (!(cause instanceof SyntaxError))
      throw new SubrosaError('ERR_SETUP', `cannot read ${path}`, {
        cause,
        hint: 'every volume belongs to the user of this container',
      })
  }
  throw new SubrosaError('ERR_SETUP', `${path} is damaged, or of a newer version`, {
    hint: `bring the volume ${volume} back from a backup`,
  })
}

/**
 * @param {string | undefined} found
 * @param {string} expected
 */
function notExpected(found, expected) {
  const what =
    found === undefined
      ? `the volume ${REALM_VOLUME} is empty, and a new realm would have another key than SUBROSA_REALM_KEY ${expected}`
      : `the volume ${REALM_VOLUME} holds the realm ${found}, and SUBROSA_REALM_KEY is ${expected}`
  return new SubrosaError('ERR_SETUP', what, {
    hint: 'bring the volume of that realm back, or leave SUBROSA_REALM_KEY unset',
  })
}

function halfMade() {
  return new SubrosaError(
    'ERR_SETUP',
    `the volume ${REALM_VOLUME} has a seed of an authority, and no ${DESCRIPTION}`,
    {
      hint: 'bring that file back from a backup; if the realm was never used, start anew: docker-compose down --volumes',
    },
  )
}

/**
 * @param {string} volume
 * @param {string} other
 * @param {string | undefined} found
 */
function ofAnotherRealm(volume, other, found) {
  if (found === undefined) {
    return new SubrosaError(
      'ERR_SETUP',
      `the volume ${REALM_VOLUME} is empty, and the volume ${volume} belongs to the realm ${other}`,
      {
        hint: `bring back the volume ${REALM_VOLUME} of that realm, or start anew: docker-compose down --volumes`,
      },
    )
  }
  return new SubrosaError(
    'ERR_SETUP',
    `the volume ${volume} belongs to the realm ${other}, and the volume ${REALM_VOLUME} holds ${found}`,
    {
      hint: `bring back the volume ${volume} of this realm, or remove it, and it is written anew: docker volume rm`,
    },
  )
}
