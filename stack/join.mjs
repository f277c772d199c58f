import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, SubrosaError, secure } from 'subrosa'

const dir = process.env['SUBROSA_REALM'] ?? '.'

/**
 * Joins the realm as this agent, with the files in the folder that SUBROSA_REALM names. The process ends well when it
 * is asked to, and with an error when the realm cannot be joined or the broker sends it away.
 *
 * @param {string} name
 */
export async function joinRealm(name) {
  try {
    const { authority, server } = JSON.parse(await readFile(join(dir, 'realm.json'), 'utf8'))
    const nc = await connect({
      name,
      servers: server,
      tls: { caFile: join(dir, 'tls', 'ca.crt') },
      authenticator: credsAuthenticator(await readFile(join(dir, 'agents', `${name}.creds`))),
      maxReconnectAttempts: -1,
    })
    const bus = await secure(nc, {
      identity: await loadIdentity(`file:${join(dir, 'agents', `${name}.identity`)}`),
      trust: { authority },
      state: join(dir, 'state'),
    })
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => bus.drain())
    void nc.closed().then((error) => process.exit(error ? 1 : 0))
    console.log(`joined ${server} as ${name}, instance ${bus.instance}`)
    return bus
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : 'unknown'}`)
    if (error instanceof SubrosaError && error.hint !== undefined) console.error(`hint: ${error.hint}`)
    process.exit(1)
  }
}

/**
 * Says what has come, and from whom: the sender of a sealed message is verified. What the health check looks at is
 * that messages come.
 *
 * @param {import('subrosa').SecureMessage} message
 */
export async function received(message) {
  console.log(
    `received ${message.subject} ${message.string()} from ${message.sender.name}, epoch ${message.epoch}`,
  )
  await writeFile(join(dir, 'alive'), '')
}

/**
 * Publishes, and says so. Without an audience, or without fresh word from the rotation services, nothing is sent: then
 * it says why.
 *
 * @param {import('subrosa').SecureConnection} bus
 * @param {string} subject
 * @param {unknown} data
 */
export function send(bus, subject, data) {
  const text = JSON.stringify(data)
  try {
    bus.publish(subject, text)
    console.log(`sent ${subject} ${text}`)
  } catch (error) {
    if (!(error instanceof SubrosaError)) throw error
    console.log(`not sent: ${error.message}`)
  }
}
