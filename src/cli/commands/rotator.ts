import type { NatsConnection } from '@nats-io/transport-node'
import type { Command } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { engineFor } from '../../crypto/engine.ts'
import { loadIdentity, readSecretFile } from '../../identity/keyfiles/key-file.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { protocolSubjects } from '../../keys/subjects.ts'
import { fileRotationStore } from '../../rotation/file-store.ts'
import type { RotationOptions } from '../../rotation/service.ts'
import { type RotationService, startRotationService } from '../../rotation/service.ts'
import { realmLayout } from '../../setup/layout.ts'
import { findPlan } from '../../setup/plan-records.ts'
import { openRealm, type Realm } from '../../setup/realm.ts'
import { listRevocations } from '../../setup/revocation-records.ts'
import { connectBroker } from '../realm/dial.ts'
import {
  findOwnRotator,
  type OwnRotatorOptions,
  ownRotatorOption,
  recordOption,
} from '../realm/own-rotator.ts'
import { addLogOptions, type LogOptions, openLog } from '../terminal/log.ts'
import { addExamples, realmOption, serverOption } from '../terminal/options.ts'
import { planRemarks } from '../terminal/plan-view.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { registerRotatorBegin } from './rotator-begin.ts'

interface RotatorOptions extends OwnRotatorOptions, LogOptions {
  readonly realm: string
  readonly server?: string
}

/** Registers `subrosa rotator`. */
export function registerRotator(program: Command, terminal: Terminal): void {
  const command = program
    .command('rotator')
    .description('run a rotation service of a realm until interrupted; its record must have been begun')
    .addOption(realmOption(terminal))
    .addOption(ownRotatorOption())
    .option('--identity <file>', 'its identity, where it is not in that folder')
    .option('--creds <file>', 'its login to the broker, where it is not in that folder')
    .addOption(serverOption())
  recordOption(command)
  addLogOptions(command, 'info').action((options: RotatorOptions) => rotate(terminal, options))
  addExamples(
    command,
    'subrosa rotator',
    'subrosa rotator --realm /etc/subrosa --as rotator-2 --state /var/lib/subrosa',
  )
  registerRotatorBegin(command, terminal)
}

async function rotate(terminal: Terminal, options: RotatorOptions): Promise<void> {
  const realm = await openRealm(options.realm)
  const { server = realm.server } = options
  const { name, identity, creds, state } = await findOwnRotator(realm, options)
  const record = await findPlan(realm)
  for (const remark of record === undefined ? [] : planRemarks(record.plan, Date.now()))
    note(terminal, remark)
  const parts = {
    identity: await loadIdentity(`file:${identity}`),
    trust: { authority: realm.authority },
    log: await openLog(terminal, options),
    // The folder is the operator's: a record that was just begun believes nobody else.
    ...(record !== undefined && { plan: record.kept }),
  }
  const nc = await connectBroker({
    server,
    creds: await readSecretFile(creds),
    caPath: realmLayout(realm.dir).caCertificate,
    name: `subrosa ${name}`,
    reconnect: true,
  })
  // From here on an interrupt ends the service in order.
  const interrupted = terminal.interrupted()
  try {
    const service = await start(nc, { ...parts, store: fileRotationStore(state) })
    try {
      await publishRecorded(nc, realm)
      note(
        terminal,
        `the rotation service ${name} of ${realm.key} runs on ${server}, ${standingText(service, record?.plan)}`,
      )
      await ending(nc, { interrupted, name })
    } finally {
      await service.close()
    }
  } finally {
    await nc.close()
  }
  note(terminal, 'stopped')
}

/** A service that does not start leaves its record to the next one. */
async function start(nc: NatsConnection, options: RotationOptions): Promise<RotationService> {
  try {
    return await startRotationService(nc, options)
  } catch (error) {
    options.store.close()
    throw error
  }
}

/** @param recorded the newest plan of the folder */
function standingText({ standing, planVersion }: RotationService, recorded: HeldPlan | undefined): string {
  if (standing === 1) return `under plan ${planVersion}`
  if (recorded?.version === planVersion && recorded.until <= Date.now())
    return `and counts for nobody: plan ${planVersion} has ended`
  return `and hands over under plan ${planVersion}, until it holds what the others hold`
}

/** Revocations that were signed here while nothing ran. Those that are known already change nothing. */
async function publishRecorded(nc: NatsConnection, realm: Realm): Promise<void> {
  const { revoke } = protocolSubjects(engineFor(), realm.key)
  for (const { statement } of await listRevocations(realm, Date.now())) nc.publish(revoke, statement)
}

/** Resolves when somebody asks for the end. @throws SubrosaError ERR_CONNECTION when the broker sends us away */
async function ending(
  nc: NatsConnection,
  { interrupted, name }: { readonly interrupted: Promise<void>; readonly name: string },
): Promise<void> {
  const closed = nc.closed().then((cause) => {
    throw new SubrosaError('ERR_CONNECTION', 'the broker ended the connection', {
      hint: `its login may have expired: subrosa agent add ${name} --renew`,
      cause,
    })
  })
  await Promise.race([interrupted, closed])
}
