import type { NatsConnection } from '@nats-io/transport-node'
import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import {
  DEFAULT_EPOCH_MS,
  DEFAULT_GRACE_MS,
  DEFAULT_LEAD_MS,
  DEFAULT_LEASE_MS,
  DEFAULT_TICK_MS,
} from '../../base/limits.ts'
import { loadIdentity, readSecretFile } from '../../identity/keyfiles/key-file.ts'
import { protocolSubjects } from '../../keys/subjects.ts'
import { fileRotationStore } from '../../rotation/file-store.ts'
import { jetStreamRotationLog } from '../../rotation/jetstream-log.ts'
import {
  type RotationEvent,
  type RotationOptions,
  type RotationService,
  startRotationService,
} from '../../rotation/service.ts'
import { leaveReplicas, type RotationStore } from '../../rotation/store.ts'
import { agentPaths, realmLayout } from '../../setup/layout.ts'
import { openRealm, type Realm } from '../../setup/realm.ts'
import { listRevocations } from '../../setup/revocation-records.ts'
import { connectBroker } from '../realm/dial.ts'
import { addExamples, parseDuration, realmOption, serverOption } from '../terminal/options.ts'
import { note, reportError, type Terminal } from '../terminal/terminal.ts'

const ROTATOR = 'rotator'

interface RotatorOptions {
  readonly realm: string
  readonly identity?: string
  readonly creds?: string
  readonly server?: string
  readonly state?: string
  readonly epoch: number
  readonly lead: number
  readonly grace: number
  readonly tick: number
  readonly jetstream?: true
  readonly lease: number
  readonly alone?: true
}

/** Registers `subrosa rotator`. */
export function registerRotator(program: Command, terminal: Terminal): void {
  const command = program
    .command('rotator')
    .description(
      'run the rotation service of a realm until interrupted; without --jetstream exactly one may run',
    )
    .addOption(realmOption(terminal))
    .option('--identity <file>', "its identity; default: the realm's agent rotator")
    .option('--creds <file>', "its login to the broker; default: the realm's agent rotator")
    .addOption(serverOption())
    .option('--state <dir>', "what it must not forget; default: rotation in the realm's folder")
    .addOption(durationOption('--epoch', 'how long an epoch lasts', DEFAULT_EPOCH_MS, '1h'))
    .addOption(durationOption('--lead', 'how long an epoch overlaps with the next', DEFAULT_LEAD_MS, '5m'))
    .addOption(durationOption('--grace', 'how late its messages may arrive', DEFAULT_GRACE_MS, '5m'))
    .addOption(durationOption('--tick', 'how often it proves that it lives', DEFAULT_TICK_MS, '15s'))
    .option('--jetstream', 'run as one of several replicas, of which one leads; each has its own --state')
    .addOption(
      durationOption('--lease', 'how long a replica leads without a sign of life', DEFAULT_LEASE_MS, '3s'),
    )
    .addOption(
      new Option(
        '--alone',
        'go back from --jetstream: every other replica is stopped for good, and none had a newer epoch',
      ).conflicts('jetstream'),
    )
    .action((options: RotatorOptions) => rotate(terminal, options))
  addExamples(
    command,
    'subrosa rotator',
    'subrosa rotator --realm /etc/subrosa --epoch 15m --lead 2m',
    'subrosa rotator --jetstream --state /var/lib/subrosa',
  )
}

function durationOption(flag: string, description: string, byDefault: number, shown: string): Option {
  return new Option(`${flag} <duration>`, description).argParser(parseDuration).default(byDefault, shown)
}

async function rotate(terminal: Terminal, options: RotatorOptions): Promise<void> {
  const realm = await openRealm(options.realm)
  const { server = realm.server } = options
  const paths = agentPaths(realm.dir, ROTATOR)
  const identity = await loadIdentity(`file:${options.identity ?? paths.identity}`)
  const nc = await connectBroker({
    server,
    creds: await readSecretFile(options.creds ?? paths.creds),
    caPath: realmLayout(realm.dir).caCertificate,
    name: 'subrosa rotator',
    reconnect: true,
    // The broker lets no agent publish there: nobody else answers for JetStream.
    inboxPrefix: `${protocolSubjects(realm.key).root}.reply`,
  })
  // From here on an interrupt ends the service in order.
  const interrupted = terminal.interrupted()
  try {
    const log = options.jetstream && jetStreamRotationLog(nc, { leaseMs: options.lease })
    const service = await start(nc, options, {
      identity,
      trust: { authority: realm.authority },
      store: fileRotationStore(options.state ?? realmLayout(realm.dir).rotation),
      ...(log && { log }),
      onEvent: (event) => report(terminal, event),
    })
    try {
      await publishRecorded(nc, realm)
      note(terminal, `the rotation service of ${realm.key} runs on ${server}`)
      if (service.role === 'follower') note(terminal, 'this replica follows: it takes over when none leads')
      await ending(terminal, nc, interrupted)
    } finally {
      await service.close()
    }
  } finally {
    await nc.close()
  }
  note(terminal, 'stopped')
}

/** A service that does not start leaves its record to the next one. */
async function start(
  nc: NatsConnection,
  { epoch, lead, grace, tick, alone }: RotatorOptions,
  parts: RotationOptions & { readonly store: RotationStore },
): Promise<RotationService> {
  try {
    if (alone) leaveReplicas(parts.store)
    const times = { epochMs: epoch, leadMs: lead, graceMs: grace, tickMs: tick }
    return await startRotationService(nc, { ...parts, ...times })
  } catch (error) {
    parts.store.close()
    throw error
  }
}

/** Revocations that were signed here while nothing ran. Those that are known already change nothing. */
async function publishRecorded(nc: NatsConnection, realm: Realm): Promise<void> {
  const { revoke } = protocolSubjects(realm.key)
  for (const { statement } of await listRevocations(realm, Date.now())) nc.publish(revoke, statement)
}

/** Resolves when somebody asks for the end. @throws SubrosaError ERR_CONNECTION when the broker sends us away */
async function ending(terminal: Terminal, nc: NatsConnection, interrupted: Promise<void>): Promise<void> {
  void reportStatus(terminal, nc)
  const closed = nc.closed().then((cause) => {
    throw new SubrosaError('ERR_CONNECTION', 'the broker ended the connection', {
      hint: 'its login may have expired: subrosa agent add rotator --renew',
      cause,
    })
  })
  await Promise.race([interrupted, closed])
}

async function reportStatus(terminal: Terminal, nc: NatsConnection): Promise<void> {
  for await (const { type } of nc.status()) {
    if (type === 'disconnect') note(terminal, 'the connection to the broker is lost: trying again')
    if (type === 'reconnect') note(terminal, 'the broker is back')
  }
}

function report(terminal: Terminal, event: RotationEvent): void {
  switch (event.type) {
    case 'epoch':
      note(terminal, `epoch ${event.number} until ${new Date(event.notAfter).toISOString()}`)
      break
    case 'announced':
      note(terminal, `${event.name} ${event.instance} has keys for epoch ${event.epoch}`)
      break
    case 'retired':
      note(terminal, `${event.name} ${event.instance} has retired`)
      break
    case 'revoked':
      note(terminal, `revoked ${event.identity}: ${event.reason || 'no reason given'}`)
      break
    case 'leading':
      note(terminal, 'this replica leads')
      break
    case 'following':
      note(terminal, 'this replica leads no more')
      break
    case 'rejected':
      reportError(terminal, `a message of ${event.subject} was refused unread: ${event.reason}`)
      break
    case 'error':
      reportError(terminal, event.error instanceof Error ? event.error.message : 'unknown')
      break
  }
}
