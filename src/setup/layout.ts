import { join } from 'node:path'

/** Where everything stands in a realm's folder. */
export interface RealmLayout {
  /** Public: what the realm is called and where its broker is. */
  readonly description: string
  /** Secret: whoever has it says who is who in this realm. */
  readonly authoritySeed: string
  /** Secret: signs the broker's accounts. */
  readonly operatorSeed: string
  /** Secret: signs logins to the broker. */
  readonly accountSeed: string
  readonly caCertificate: string
  readonly caKey: string
  readonly serverCertificate: string
  readonly serverKey: string
  readonly serverConfig: string
  /** What the broker's JetStream keeps. */
  readonly jetStream: string
  readonly agents: string
  readonly brokerUsers: string
  readonly revocations: string
  /** Public: the plans of the realm, each with its list of revocations. */
  readonly plans: string
  /** The records of the rotation services that run on this folder. */
  readonly rotation: string
  /** Locked by the one command that changes who is who. */
  readonly lock: string
  /** There while the realm is being made, and locked by the command that makes it. */
  readonly unfinished: string
}

/** The paths of a realm's folder. */
export function realmLayout(dir: string): RealmLayout {
  return {
    description: join(dir, 'realm.json'),
    authoritySeed: join(dir, 'authority.seed'),
    operatorSeed: join(dir, 'operator.seed'),
    accountSeed: join(dir, 'account.seed'),
    caCertificate: join(dir, 'tls', 'ca.crt'),
    caKey: join(dir, 'tls', 'ca.key'),
    serverCertificate: join(dir, 'tls', 'server.crt'),
    serverKey: join(dir, 'tls', 'server.key'),
    serverConfig: join(dir, 'nats-server.conf'),
    jetStream: join(dir, 'jetstream'),
    agents: join(dir, 'agents'),
    brokerUsers: join(dir, 'broker-users'),
    revocations: join(dir, 'revocations'),
    plans: join(dir, 'plans'),
    rotation: join(dir, 'rotation'),
    lock: join(dir, 'lock'),
    unfinished: join(dir, 'unfinished'),
  }
}

/** The files of one agent. */
export interface AgentPaths {
  /** Secret: who the agent is. */
  readonly identity: string
  /** Secret: its login to the broker. */
  readonly creds: string
  /** Public: its identity tokens that have not expired, the newest first, one a line. */
  readonly tokens: string
  /** There while the agent is being added: it says whether its key was made here, or which one it is. */
  readonly adding: string
}

/** The paths of an agent's files. */
export function agentPaths(dir: string, name: string): AgentPaths {
  const { agents } = realmLayout(dir)
  return {
    identity: join(agents, `${name}.identity`),
    creds: join(agents, `${name}.creds`),
    tokens: join(agents, `${name}.jwt`),
    adding: join(agents, `${name}.adding`),
  }
}

/** The path of the revocation of one identity of an agent: a name may get a new identity after it. */
export function revocationPath(dir: string, name: string, identity: string): string {
  return join(realmLayout(dir).revocations, `${name}.${identity}.json`)
}

/** The path of one plan of a realm. */
export function planPath(dir: string, version: number): string {
  return join(realmLayout(dir).plans, `${version}.json`)
}

/** The folder of the record of one rotation service that runs on a realm's folder. */
export function rotationRecordPath(dir: string, name: string): string {
  return join(realmLayout(dir).rotation, name)
}
