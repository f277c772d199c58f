import { samePublic } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { encodeIdentityFile, parseIdentityFile } from '../identity/identity.ts'
import { findAgent } from './agent-records.ts'
import type { Bundle } from './bundle.ts'
import { readFileIfAny, replaceFile } from './files.ts'
import {
  type AgentHome,
  chooseDefault,
  findInstalledRealm,
  type InstalledAgent,
  installedRealmDir,
} from './installed.ts'
import { agentPaths, planPath, realmLayout } from './layout.ts'
import { findPlan, formatPlan, type PlanRecord } from './plan-records.ts'
import { formatDescription, type Realm } from './realm.ts'

/** How a bundle is installed. */
export interface InstallOptions {
  /** The seed of the private key, where it was made elsewhere: 32 bytes and a secret, which the caller wipes. */
  readonly seed?: Uint8Array
  /** Takes what the bundle says of a realm that is installed already, and a token that is older than the one there. */
  readonly replace?: boolean
  readonly clock?: Clock
}

/**
 * Writes the files of a bundle's agent under a user's folder, for the owner alone, and makes the agent the default. A
 * newer token replaces an older one.
 *
 * @throws SubrosaError ERR_TOKEN_EXPIRED; ERR_SETUP when the private key is missing or there is one too many, when the
 *   bundle names another broker or authority than is installed of the realm, or an older token; ERR_TOKEN_INVALID when
 *   the key is another one; ERR_PLAN_CONFLICT when another plan of its version is installed; ERR_KEY_FILE_PERMISSIONS
 *   when somebody else could write there
 *
 * @example
 * ```ts
 * await installBundle(home, parseBundle(await readSecretFile('files.subrosa'), 'files.subrosa'))
 * ```
 */
export async function installBundle(
  home: AgentHome,
  bundle: Bundle,
  options: InstallOptions = {},
): Promise<InstalledAgent> {
  const { seed, replace = false, clock = systemClock } = options
  const { name, realm: key, expiresAt } = bundle.claims
  const identity = identityText(bundle, seed)
  if (expiresAt * 1000 <= clock.now()) {
    throw new SubrosaError('ERR_TOKEN_EXPIRED', `the token of ${name} in the bundle has expired`, {
      hint: `where the realm is: subrosa agent add ${name} --renew --bundle FILE`,
    })
  }
  const dir = installedRealmDir(home, key)
  const layout = realmLayout(dir)
  const realm = { dir, key, authority: bundle.authority, server: bundle.server }
  // This looks at who may write there, also where nothing is installed yet.
  const former = await findInstalledRealm(home, key)
  if (former !== undefined && !replace) await refuseChanges(former, bundle)
  const formerPlan = former && (await findPlan(former))
  if (formerPlan !== undefined) refuseOtherPlan(formerPlan, bundle)

  const paths = agentPaths(dir, name)
  await replaceFile(layout.caCertificate, bundle.ca, { secret: true })
  await replaceFile(paths.identity, identity, { secret: true })
  await replaceFile(paths.creds, bundle.creds, { secret: true })
  await replaceFile(paths.tokens, `${bundle.token}\n`, { secret: true })
  // An old bundle takes nobody back to an old plan.
  if (bundle.planVersion > (formerPlan?.plan.version ?? 0))
    await replaceFile(planPath(dir, bundle.planVersion), formatPlan(bundle.plan), { secret: true })
  // The last file of the realm: with it the realm is whole.
  await replaceFile(layout.description, formatDescription(realm), { secret: true })
  await chooseDefault(home, { realm: key, name })
  return { realm, name }
}

/** The text of the identity file, a secret. */
function identityText({ identity, token, claims: { name } }: Bundle, seed: Uint8Array | undefined): string {
  if (identity !== undefined) {
    if (seed === undefined) return identity
    throw new SubrosaError('ERR_SETUP', `the bundle of ${name} has its private key in it: no other is taken`)
  }
  if (seed === undefined) {
    throw new SubrosaError('ERR_SETUP', `the private key of ${name} is not in its bundle`, {
      hint: 'it was made elsewhere: name its file with --key',
    })
  }
  const text = encodeIdentityFile(token, seed)
  // It throws for the key of another.
  parseIdentityFile(engineFor(), text)
  return text
}

/** Whoever can make a bundle for a realm must not exchange its broker or its authorities unseen. */
async function refuseChanges(former: Realm, bundle: Bundle): Promise<void> {
  const { name, issuedAt } = bundle.claims
  const ca = await readFileIfAny(realmLayout(former.dir).caCertificate)
  const changed = [
    ...(former.authority.join() === bundle.authority.join() ? [] : ['another authority']),
    ...(former.server === bundle.server ? [] : ['another broker']),
    ...(ca === bundle.ca ? [] : ['another certificate authority']),
  ]
  if (changed.length > 0) {
    throw new SubrosaError(
      'ERR_SETUP',
      `the bundle names ${changed.join(' and ')} than what is installed of realm ${former.key}`,
      { hint: 'ask whoever runs the realm whether that is right; after that: --replace' },
    )
  }
  const installed = await findAgent(former, name)
  if (installed !== undefined && installed.claims.issuedAt > issuedAt) {
    throw new SubrosaError('ERR_SETUP', `a newer token of ${name} is installed already`, {
      hint: 'this bundle is an old one; to go back to it all the same: --replace',
    })
  }
}

/** Of two plans of one version at most one is the authority's wish, and nobody here can say which. */
function refuseOtherPlan({ plan, kept }: PlanRecord, bundle: Bundle): void {
  if (plan.version !== bundle.planVersion || samePublic(kept.plan, bundle.plan.plan)) return
  throw new SubrosaError(
    'ERR_PLAN_CONFLICT',
    `the bundle has another plan ${plan.version} than is installed of realm ${plan.realm}`,
    {
      hint: 'the authority has signed two plans of one version: ask whoever runs the realm, and install a bundle with a newer one',
    },
  )
}
