import { SubrosaError } from '../../base/errors.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { readClaims } from '../../identity/token.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'

/** What a token says, whoever signed it. Whether it holds is not looked at. */
export function dissectToken(token: string): Anatomy {
  try {
    const claims = readClaims(token)
    const { name, identity, issuer, realm, roles, permissions, maxInstances, issuedAt, expiresAt } = claims
    return {
      name,
      identity,
      fingerprint: fingerprint(identity),
      issuer,
      realm,
      roles,
      mayPublish: permissions.pub.allow,
      mayNotPublish: permissions.pub.deny,
      mayRead: permissions.sub.allow,
      mayNotRead: permissions.sub.deny,
      maxInstances,
      issued: whenShown(issuedAt * 1000),
      expires: whenShown(expiresAt * 1000),
    }
  } catch (error) {
    if (!(error instanceof SubrosaError)) throw error
    return { unreadable: error.message, bytes: token.length }
  }
}
