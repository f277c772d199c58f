import type { CryptoEngine } from '../crypto/engine.ts'
import { signJwt } from '../identity/jwt.ts'
import type { Permissions, SubjectRules } from '../identity/permissions.ts'
import { generateSigningKey, type Signer } from '../identity/signing-key.ts'

const UNLIMITED = -1

/** How a token of the broker is signed. */
export interface SignOptions {
  readonly signer: Signer
  readonly issuedAtMs: number
}

/** A login that an account grants. */
export interface LoginRequest {
  readonly name: string
  readonly permissions: Permissions
  readonly expiresAtMs: number
}

/** The broker's operator, in NATS's JWT form, signed by itself. */
export function issueOperatorJwt(engine: CryptoEngine, name: string, options: SignOptions): string {
  return signJwt(
    engine,
    { sub: options.signer.publicKey, name, nats: { type: 'operator', version: 2 } },
    options,
  )
}

/**
 * An account without limits, signed by the operator. In version 2 a limit that is left out is zero: a system account
 * must have no streams, or the server does not start.
 */
export function issueAccountJwt(
  engine: CryptoEngine,
  account: { readonly name: string; readonly publicKey: string; readonly hasStreams: boolean },
  options: SignOptions,
): string {
  const limits = {
    subs: UNLIMITED,
    data: UNLIMITED,
    payload: UNLIMITED,
    imports: UNLIMITED,
    exports: UNLIMITED,
    wildcards: true,
    conn: UNLIMITED,
    leaf: UNLIMITED,
  }
  const streams = {
    mem_storage: UNLIMITED,
    disk_storage: UNLIMITED,
    streams: UNLIMITED,
    consumer: UNLIMITED,
  }
  const { name, publicKey, hasStreams } = account
  const nats = {
    type: 'account',
    version: 2,
    limits: { ...limits, ...(hasStreams && streams) },
    default_permissions: { pub: {}, sub: {} },
  }
  return signJwt(engine, { sub: publicKey, name, nats }, options)
}

/**
 * A login to the broker with a key of its own, as the text of a creds file. It is a secret.
 *
 * An identity key never logs in: a broker chooses the bytes that a login signs.
 */
export function issueCreds(engine: CryptoEngine, request: LoginRequest, options: SignOptions): string {
  const { name, permissions, expiresAtMs } = request
  const { key, seedText } = generateSigningKey(engine, 'U')
  const jwt = signJwt(
    engine,
    {
      sub: key.publicKey,
      name,
      exp: Math.floor(expiresAtMs / 1000),
      nats: {
        type: 'user',
        version: 2,
        pub: brokerRules(permissions.pub),
        sub: brokerRules(permissions.sub),
        subs: UNLIMITED,
        data: UNLIMITED,
        payload: UNLIMITED,
      },
    },
    options,
  )
  return formatCreds(jwt, seedText)
}

/** Whether a text has the form of a creds file. What is inside is not looked at. */
export function isCreds(text: string): boolean {
  return /BEGIN NATS USER JWT-+\s+\S+\s+-+END/.test(text) && /BEGIN USER NKEY SEED-+\s+\S+\s+-+END/.test(text)
}

/** To NATS an empty allow list allows everything: here it allows nothing. */
function brokerRules({ allow, deny }: SubjectRules): SubjectRules {
  return allow.length === 0 ? { allow: [], deny: ['>'] } : { allow, deny }
}

function formatCreds(jwt: string, seedText: string): string {
  return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
${seedText}
------END USER NKEY SEED------

*************************************************************
`
}
