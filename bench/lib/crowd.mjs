import { engineFor } from '../../dist/crypto/engine.js'
import { parseIdentityFile } from '../../dist/identity/identity.js'
import { epochHash } from '../../dist/keys/epochs.js'
import { Keyring } from '../../dist/keys/keyring.js'
import { protocolSubjects } from '../../dist/keys/subjects.js'
import { decodeEpoch } from '../../dist/wire/plans.js'

const INSTANCE_BYTES = 8

/**
 * Announcements of one epoch, ready to publish.
 *
 * @typedef {readonly { readonly subject: string, readonly bytes: Uint8Array }[]} Announcements
 */

/**
 * Instances that have announced their keys and do nothing else. Whoever seals to them cannot tell them from instances
 * that are listening, and they cost no process. `--against` takes this from each checkout.
 *
 * @param {string} authority
 * @param {readonly string[]} identityFiles
 */
export function makeCrowd(authority, identityFiles) {
  const engine = engineFor()
  const subjects = protocolSubjects(engine, authority)
  const members = identityFiles.map((file) => {
    const identity = parseIdentityFile(engine, file)
    return { identity, keyring: new Keyring(engine, identity, engine.randomBytes(INSTANCE_BYTES)) }
  })
  let seq = 0
  return {
    /**
     * Makes everyone's keys for an epoch: the first ones, and each time after that fresh ones.
     *
     * @param {Uint8Array} epochBytes the epoch as it is hashed
     * @returns {Announcements}
     */
    announce(epochBytes) {
      const terms = decodeEpoch(epochBytes)
      const epoch = { ...terms, hash: epochHash(engine, terms) }
      seq++
      return members.flatMap(({ identity, keyring }) => {
        const at = { notBeforeMs: Date.now(), lateMs: performance.now() }
        const announcement = keyring.renew(epoch, { at, seq })
        const subject = subjects.announce(identity.name, keyring.instance)
        return announcement === undefined ? [] : [{ subject, bytes: announcement.bytes }]
      })
    },
  }
}
