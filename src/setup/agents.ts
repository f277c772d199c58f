import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_FORMER_OWNERS, MAX_MAX_INSTANCES, MAX_REVOCATION_MS, MAX_TOKEN_BYTES } from '../base/limits.ts'
import { isPattern } from '../base/subject.ts'
import { engineFor } from '../crypto/engine.ts'
import { fingerprint } from '../identity/fingerprint.ts'
import { encodeIdentityFile, generateIdentityKey, parseIdentityFile } from '../identity/identity.ts'
import { readSecretFile } from '../identity/keyfiles/key-file.ts'
import type { Permissions } from '../identity/permissions.ts'
import { AGENT_NAME_RULE, isAgentName, issueToken, type Role, readClaims } from '../identity/token.ts'
import { clientPermissions, type McpPermissions, serverPermissions } from '../mcp/session/subjects.ts'
import { type AgentRecord, cutShort, findAgent, KEY_MADE_HERE, listAgents } from './agent-records.ts'
import { issueCreds } from './broker-login.ts'
import { agentBrokerPermissions } from './broker-permissions.ts'
import { createFile, readFileIfAny, removeFile, replaceFile } from './files.ts'
import { agentPaths } from './layout.ts'
import { findPlan } from './plan-records.ts'
import type { Realm } from './realm.ts'
import { listRevocations } from './revocation-records.ts'
import { loadAccount, loadAuthority } from './signers.ts'

export { addBrokerUser } from './broker-users.ts'
export { revokeAgent } from './revocations.ts'

const DEFAULT_LIFETIME_MS = 90 * 86_400_000
/** No revocation lasts longer, and it must outlast every token. A day less: clocks differ. */
export const MAX_LIFETIME_MS = MAX_REVOCATION_MS - 86_400_000

/** What an agent may be, and for how long. */
export interface AgentRequest {
  /** 1 to 64 letters, digits, `_` or `-`. */
  readonly name: string
  /** A public key that was made elsewhere, `U…`: its private half stays there. Default a new key. */
  readonly key?: string
  /** Patterns of subjects that it may publish to. Default none; with `renew`, what it had. */
  readonly pub?: readonly string[]
  /** Patterns of subjects that it may read. Default none; with `renew`, what it had. */
  readonly sub?: readonly string[]
  readonly denyPub?: readonly string[]
  readonly denySub?: readonly string[]
  readonly roles?: readonly Role[]
  /** Whether it runs the MCP server of its own name: adds what that needs to what it may publish and read. */
  readonly mcpServe?: boolean
  /** The MCP servers that it uses, `*` for every one: adds what that needs. */
  readonly mcpUse?: readonly string[]
  /** How many instances may be live at once. Default 16; with `renew`, what it had. */
  readonly maxInstances?: number
  /** How long its token and its login last, in milliseconds: at most 399 days. Default 90 days. */
  readonly expiresInMs?: number
  /** Gives an agent that is there a new token and a new login. Its identity key stays. */
  readonly renew?: boolean
  /**
   * Gives the name to a new identity. Called when everything else is checked, and before anything is written: it has to
   * revoke the one that has it, see {@link revokeAgent}.
   */
  readonly succeed?: () => Promise<unknown>
  readonly clock?: Clock
}

/** What {@link addAgent} has added. */
export interface AddedAgent extends AgentRecord {
  /** Its identity file, or `undefined` where its private key is kept elsewhere. */
  readonly identityPath: string | undefined
}

/**
 * Adds an agent to a realm, or renews it: writes its identity file, its login to the broker and its public token.
 * Of an agent whose key was made elsewhere there is no identity file: it needs its key and the token. A name whose
 * identity was revoked gets a new identity. One whose adding was cut short is added by the same request again: with the key
 * that is there, or with a new one where its key was never written.
 *
 * @throws SubrosaError ERR_SETUP (there already, or not there to renew, or denied what it needs, or the key of
 *   another), ERR_REVOKED (a revoked identity is not renewed), ERR_KEY_INVALID, ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 * @throws TypeError, RangeError when an option is none
 *
 * @example
 * ```ts
 * await addAgent(await openRealm('./subrosa-realm'), { name: 'billing', sub: ['orders.>'] })
 * ```
 */
export async function addAgent(realm: Realm, asked: AgentRequest): Promise<AddedAgent> {
  checkRequest(asked)
  const request = await asRepair(realm, asked)
  const { name, clock = systemClock, expiresInMs = DEFAULT_LIFETIME_MS } = request
  const former = await findAgent(realm, name)
  const key = request.renew
    ? await keyToRenew(realm, request, former)
    : await keyToAdd(realm, request, former)

  const engine = engineFor()
  const issuedAtMs = clock.now()
  const expiresAtMs = issuedAtMs + expiresInMs
  const rights = requestedRights(request, request.renew ? former : undefined)
  // Whoever was issued the name first has it: a renewal must not make anybody later.
  const since = request.renew ? former?.claims.since : undefined
  const succeeds = request.renew ? former?.claims.succeeds : await formerIdentities(realm, name, former)
  // Of an agent without state no broker makes one that goes by an older plan.
  const plan = (await findPlan(realm))?.plan.version
  const { roles, permissions } = rights
  const brokerPermissions = agentBrokerPermissions({ realm: realm.key, name, roles, permissions })
  const token = issueToken(
    engine,
    {
      realm: realm.key,
      name,
      identity: key.identity,
      ...rights,
      ...(since !== undefined && { since }),
      ...(succeeds !== undefined && { succeeds }),
      ...(plan !== undefined && { plan }),
      expiresAtMs,
    },
    { signer: await loadAuthority(realm), issuedAtMs },
  )
  if (token.length > MAX_TOKEN_BYTES)
    throw new SubrosaError(
      'ERR_SETUP',
      `the identity token of ${name} would be over ${MAX_TOKEN_BYTES} bytes`,
      {
        hint: 'use fewer and wider patterns',
      },
    )
  const creds = issueCreds(
    engine,
    { name, permissions: brokerPermissions, expiresAtMs },
    { signer: await loadAccount(realm), issuedAtMs },
  )

  await request.succeed?.()

  const paths = agentPaths(realm.dir, name)
  if (!request.renew) {
    await replaceFile(paths.adding, `${key.file === undefined ? key.identity : KEY_MADE_HERE}\n`, {
      secret: false,
    })
    // That of a revoked identity. The new one is written last: without it the agent is not whole.
    await removeFile(paths.creds)
  }
  const write = former === undefined ? createFile : replaceFile
  const earlier = request.renew ? unexpired(former, issuedAtMs) : []
  // First what a revocation needs to know: no token is about that this folder has not heard of.
  await write(paths.tokens, `${[token, ...earlier].join('\n')}\n`, { secret: false })
  if (key.file !== undefined) await write(paths.identity, key.file(token), { secret: true })
  // That of a revoked identity: it must not be taken for the key that was made elsewhere.
  else await removeFile(paths.identity)
  await replaceFile(paths.creds, creds, { secret: true })
  await removeFile(paths.adding)
  const added = await findAgent(realm, name)
  if (added === undefined) throw new SubrosaError('ERR_SETUP', `${paths.tokens} has vanished`)
  return { ...added, identityPath: key.file && paths.identity }
}

/**
 * The request that makes an agent whole whose adding was cut short: its key stays where it can be there, and is a new one where it was
 * lost with the process that made it.
 */
async function asRepair(realm: Realm, request: AgentRequest): Promise<AgentRequest> {
  const { name, renew = false, succeed } = request
  const source = await cutShort(realm, name)
  const former = source === undefined ? undefined : await findAgent(realm, name)
  if (
    source === undefined ||
    former === undefined ||
    former.revocation !== undefined ||
    succeed !== undefined
  )
    return request
  const path = agentPaths(realm.dir, name).identity
  const text = await readFileIfAny(path)
  const held = text === undefined ? undefined : parseIdentityFile(engineFor(), text).publicKey
  if (held === former.claims.identity) return { ...request, renew: true }
  if (source === former.claims.identity) {
    if (request.key !== source)
      throw new SubrosaError('ERR_SETUP', `the adding of ${name} was cut short`, {
        hint: `repeat it with its key: subrosa agent add ${name} --key ${source}`,
      })
    // What is there is of the identity before it.
    await removeFile(path)
    return { ...request, renew: true }
  }
  if (renew)
    throw new SubrosaError(
      'ERR_SETUP',
      `the adding of ${name} was cut short, and its key was never written`,
      {
        hint: `repeat it without --renew, which makes another key: subrosa agent add ${name}`,
      },
    )
  // Nobody has the key that the recorded token is of: the name is free for another.
  return request
}

/** The identities that had this name before: agents that were away then learn from the new token that they have lost it. */
async function formerIdentities(
  realm: Realm,
  name: string,
  former: AgentRecord | undefined,
): Promise<readonly string[]> {
  const recorded = (await listRevocations(realm, 0)).filter((revocation) => revocation.name === name)
  const all = recorded.sort((a, b) => a.since - b.since).map(({ identity }) => identity)
  const before = former === undefined ? [] : [...former.claims.succeeds, former.claims.identity]
  return [...new Set([...all, ...before])].slice(-MAX_FORMER_OWNERS)
}

/** An identity key that a token can be issued to. */
interface AgentKey {
  /** The public key, `U…`. */
  readonly identity: string
  /** The text of the identity file with this token, a secret; none where the private key is kept elsewhere. */
  readonly file: ((token: string) => string) | undefined
}

async function keyToAdd(
  realm: Realm,
  { name, key, succeed }: AgentRequest,
  former: AgentRecord | undefined,
): Promise<AgentKey> {
  const path = agentPaths(realm.dir, name).identity
  const isLost = (await cutShort(realm, name)) !== undefined
  const isHeld = former !== undefined && former.revocation === undefined && succeed === undefined && !isLost
  const isTaken = former === undefined ? (await readFileIfAny(path)) !== undefined : isHeld
  if (isTaken) {
    throw new SubrosaError('ERR_SETUP', `there is an agent ${name} already`, {
      hint: `to give it a new token: subrosa agent add ${name} --renew; to give its name to a new identity: --succeed`,
    })
  }
  if (key !== undefined) {
    await refuseUsedKey(realm, name, key)
    return { identity: key, file: undefined }
  }
  const { seed, publicKey } = generateIdentityKey(engineFor())
  return {
    identity: publicKey,
    file: (token) => {
      const text = encodeIdentityFile(token, seed)
      engineFor().wipe(seed)
      return text
    },
  }
}

/** A revocation is of a key: two names must not share one, and a revoked key does not come back. */
async function refuseUsedKey(realm: Realm, name: string, key: string): Promise<void> {
  const revocations = await listRevocations(realm, 0)
  if (revocations.some(({ identity }) => identity === key)) {
    throw new SubrosaError('ERR_REVOKED', `the key ${fingerprint(key)} is revoked`, {
      hint: `have a new key made for ${name}`,
    })
  }
  const owner = (await listAgents(realm)).find(({ claims }) => claims.identity === key)
  if (owner !== undefined)
    throw new SubrosaError('ERR_SETUP', `the key ${fingerprint(key)} is that of ${owner.claims.name} already`)
}

async function keyToRenew(
  realm: Realm,
  { name, key }: AgentRequest,
  former: AgentRecord | undefined,
): Promise<AgentKey> {
  if (former === undefined) {
    throw new SubrosaError('ERR_SETUP', `there is no agent ${name} to renew`, {
      hint: `to add it: subrosa agent add ${name}`,
    })
  }
  if (former.revocation !== undefined) {
    throw new SubrosaError('ERR_REVOKED', `the identity of ${name} is revoked, and is not renewed`, {
      hint: `to give the name a new identity: subrosa agent add ${name}, without --renew`,
    })
  }
  const { identity: known } = former.claims
  if (key !== undefined && key !== known) {
    throw new SubrosaError(
      'ERR_SETUP',
      `the key of ${name} is ${fingerprint(known)}, and ${fingerprint(key)} is another one`,
      {
        hint: `to give the name another key: subrosa agent add ${name} --succeed --key …`,
      },
    )
  }
  const path = agentPaths(realm.dir, name).identity
  // Without an identity file here, the agent has its key elsewhere: all it needs is the new token.
  if ((await readFileIfAny(path)) === undefined) return { identity: known, file: undefined }
  const text = await readSecretFile(path)
  const identity = parseIdentityFile(engineFor(), text)
  if (identity.publicKey !== known)
    throw new SubrosaError('ERR_SETUP', `the identity file of ${name} holds another key than its token`)
  return {
    identity: identity.publicKey,
    // The seed stays where it is in the text: it is not taken out and put in again.
    file: (token) => text.replace(identity.token, token),
  }
}

interface Rights {
  readonly roles: readonly Role[]
  readonly permissions: Permissions
  readonly maxInstances?: number
}

function requestedRights(request: AgentRequest, former: AgentRecord | undefined): Rights {
  const had = former?.claims
  const maxInstances = request.maxInstances ?? had?.maxInstances
  const mcp = mcpPermissions(request)
  return {
    roles: request.roles ?? had?.roles.filter(isRole) ?? [],
    permissions: {
      pub: {
        allow: joined(request.pub ?? had?.permissions.pub.allow, mcp.pub),
        deny: request.denyPub ?? had?.permissions.pub.deny ?? [],
      },
      sub: {
        allow: joined(request.sub ?? had?.permissions.sub.allow, mcp.sub),
        deny: request.denySub ?? had?.permissions.sub.deny ?? [],
      },
    },
    ...(maxInstances === undefined ? {} : { maxInstances }),
  }
}

function mcpPermissions({ name, mcpServe = false, mcpUse = [] }: AgentRequest): McpPermissions {
  const all = [...(mcpServe ? [serverPermissions(name)] : []), ...mcpUse.map(clientPermissions)]
  return { pub: all.flatMap(({ pub }) => pub), sub: all.flatMap(({ sub }) => sub) }
}

/** Each pattern once: a renewal adds what may be there already. */
function joined(allowed: readonly string[] | undefined, added: readonly string[]): readonly string[] {
  return [...new Set([...(allowed ?? []), ...added])]
}

function isRole(role: string): role is Role {
  return role === 'rotator' || role === 'revoker'
}

/** A revocation has to reach every token that is still good. */
function unexpired(former: AgentRecord | undefined, nowMs: number): readonly string[] {
  return (former?.tokens ?? []).filter((token) => readClaims(token).expiresAt * 1000 > nowMs)
}

function checkRequest(request: AgentRequest): void {
  const {
    name,
    pub = [],
    sub = [],
    denyPub = [],
    denySub = [],
    mcpUse = [],
    maxInstances = 1,
    expiresInMs = 1000,
  } = request
  if (!isAgentName(name)) throw new TypeError(`name must be ${AGENT_NAME_RULE}`)
  for (const pattern of [...pub, ...sub, ...denyPub, ...denySub]) {
    if (!isPattern(pattern)) throw new TypeError(`"${pattern}" is no pattern of subjects`)
  }
  for (const server of mcpUse) {
    if (server !== '*' && !isAgentName(server)) throw new TypeError(`"${server}" is no name of an MCP server`)
  }
  if (!Number.isInteger(maxInstances) || maxInstances < 1 || maxInstances > MAX_MAX_INSTANCES)
    throw new RangeError(`maxInstances must be 1 to ${MAX_MAX_INSTANCES}`)
  if (!(expiresInMs >= 1000 && Number.isSafeInteger(expiresInMs)))
    throw new RangeError('expiresInMs must be at least 1000')
  if (expiresInMs > MAX_LIFETIME_MS)
    throw new RangeError('a token lasts at most 399d: a revocation must outlast it')
}
