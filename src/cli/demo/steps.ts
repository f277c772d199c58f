import { stat } from 'node:fs/promises'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { fromUtf8 } from '../../base/bytes.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import { loadIdentity } from '../../identity/keyfiles/key-file.ts'
import { agentPaths, realmLayout } from '../../setup/layout.ts'
import { check, pause, until } from './checks.ts'
import type { Screen } from './screen.ts'
import { type BrokerView, DEMO_TIMES, type DemoWorld, isContent, tap } from './world.ts'

/** The agents of the demo, connected. */
export interface Cast {
  readonly orders: SecureConnection
  readonly billing: SecureConnection
  readonly audit: SecureConnection
  readonly broker: NatsConnection
}

const ORDER = { order: 7, card: '4111 1111 1111 1111', total: '99.50' }
const OTHERS = 0o077
const PUBLISH_EVERY_MS = 2
const ROTATIONS = 3

/** Two agents make key pairs, and the authority says whose they are. */
export async function makeKeys(screen: Screen, world: DemoWorld): Promise<void> {
  screen.step('Each agent makes a key pair, and the authority signs whose it is')
  await world.register('orders', { pub: ['orders.>', 'invoices.get'], sub: ['orders.status'] })
  await world.register('billing', { pub: ['orders.status'], sub: ['orders.>', 'invoices.>'] })
  await world.register('audit', { pub: [], sub: ['orders.>'] })
  const keys = new Set<string>()
  let isPrivate = true
  for (const name of ['orders', 'billing']) {
    const path = agentPaths(world.realm.dir, name).identity
    const { publicKey } = await loadIdentity(`file:${path}`)
    keys.add(publicKey)
    isPrivate &&= ((await stat(path)).mode & OTHERS) === 0
    screen.fact(name, publicKey)
  }
  screen.fact('authority', world.realm.key)
  check(screen, keys.size === 2 && isPrivate, 'private keys stay in files that only their owner can read')
}

/** TLS to the broker, and what happens without. */
export async function connectByTls(screen: Screen, world: DemoWorld): Promise<NatsConnection> {
  screen.step('They connect to the broker by TLS, each with a login of its own')
  const broker = await world.broker()
  check(screen, broker.info?.tls_required === true, 'the broker speaks TLS only', world.realm.server)
  const attempt = async (options: object): Promise<boolean> => {
    try {
      const connection = await connectNats({ servers: world.realm.server, reconnect: false, ...options })
      await connection.close()
      return true
    } catch {
      return false
    }
  }
  const tls = { caFile: realmLayout(world.realm.dir).caCertificate }
  check(screen, !(await attempt({ tls })), 'a client without a login is refused')
  const withLogin = await world.connect(agentPaths(world.realm.dir, 'orders').creds)
  check(screen, !withLogin.isClosed(), 'a client with a signed login is let in')
  await withLogin.close()
  check(screen, !(await attempt({})), 'a client that does not know the certificate authority goes no further')
  return broker
}

/** Announcements, the directory, and who trusts whom. */
export async function announce(screen: Screen, world: DemoWorld, broker: NatsConnection): Promise<Cast> {
  screen.step('They announce their public keys, signed, and check each other')
  const service = await world.startRotation()
  const announced = await tap(broker, `subrosa.v1.${world.realm.key}.announce.>`)
  const [orders, billing, audit] = await Promise.all([
    world.join('orders'),
    world.join('billing'),
    world.join('audit'),
  ])
  await orders.waitForAudience('orders.new', { atLeast: 2 })
  await until('the broker has passed on three announcements', () => announced.length >= 3)
  for (const { subject } of announced.slice(0, 3)) {
    const [name, instance] = subject.split('.').slice(-2)
    screen.fact('announced', `${name}, instance ${instance}, epoch ${service.epoch}`)
  }
  const readers = orders
    .audience('orders.new')
    .map(({ name }) => name)
    .sort()
  check(
    screen,
    readers.join() === 'audit,billing',
    'orders has verified who may read "orders.new"',
    readers.join(', '),
  )
  const mayAsk = orders.audience('invoices.get').map(({ name }) => name)
  check(screen, mayAsk.join() === 'billing', 'and who may read "invoices.get"', mayAsk.join(', '))
  return { orders, billing, audit, broker }
}

/** A request and its response, and what the broker saw of them. */
export async function request(screen: Screen, { orders, billing, broker }: Cast): Promise<void> {
  screen.step('A request and its reply, sealed')
  const seen = await tap(broker, 'invoices.get')
  const replies = await tap(broker, '_INBOX.>')
  billing.subscribe('invoices.get', {
    callback: (_error, m) => m.respond(`invoice for ${m.json<{ order: number }>().order}: 99.50`),
  })
  await billing.flush()
  const reply = await orders.request('invoices.get', JSON.stringify({ order: 7 }), { timeout: 2000 })
  await until('the broker saw both', () => seen.some(isContent) && replies.some(isContent))
  screen.sideBySide(
    ['the broker saw', dump(seen.find(isContent))],
    ['billing read', ['{"order":7}', 'from orders, verified']],
  )
  screen.sideBySide(
    ['the broker saw', dump(replies.find(isContent))],
    ['orders read', [reply.string(), 'from billing, verified']],
  )
  check(screen, reply.sender.name === 'billing', 'the reply is from an agent that was asked')
  check(
    screen,
    !leaks([...seen, ...replies], ['invoice for', '"order"', '99.50']),
    'no word of it is in what the broker saw',
  )
}

/** One publish, several readers, and the broker. */
export async function publish(screen: Screen, { orders, billing, audit, broker }: Cast): Promise<void> {
  screen.step('One publish, sealed to everyone who may read it')
  const seen = await tap(broker, 'orders.new')
  const read = new Map<string, SecureMessage>()
  const subscriptions = [billing, audit].map((bus) =>
    bus.subscribe('orders.new', { callback: (_error, m) => read.set(bus.name, m) }),
  )
  await Promise.all([billing.flush(), audit.flush()])
  orders.publish('orders.new', JSON.stringify(ORDER))
  await until('both have read it', () => read.size === 2 && seen.some(isContent))
  const texts = [...read].flatMap(([name, m]) => [`${name}:`, ...split(m.string(), 34)])
  screen.sideBySide(['the broker saw', dump(seen.find(isContent), 6)], ['the agents read', texts])
  const isWhole = [...read.values()].every(
    (m) => m.string() === JSON.stringify(ORDER) && m.sender.name === 'orders',
  )
  check(screen, isWhole, 'both read the same, from orders')
  check(
    screen,
    !leaks(seen, ['4111', 'orders', 'billing', 'total']),
    'payload and sender are not in what the broker saw',
  )
  for (const subscription of subscriptions) subscription.unsubscribe()
}

/** Keys change while numbered messages flow. */
export async function rotate(screen: Screen, { orders, billing }: Cast): Promise<void> {
  screen.step('Keys rotate while messages flow')
  const { periodMs, leadMs, graceMs } = DEMO_TIMES
  const epochMs = periodMs + leadMs
  screen.say(
    `Epochs last ${epochMs / 1000} s here and overlap by ${leadMs / 1000} s; usual are an hour and five minutes.`,
  )
  const destroyed: number[] = []
  void collectDestroyed(billing, destroyed)
  const received: number[] = []
  const epochs = new Set<number>()
  const subscription = billing.subscribe('orders.flow', {
    callback: (_error, m) => {
      received.push(Number(m.string()))
      epochs.add(m.epoch)
    },
  })
  await billing.flush()
  let sent = 0
  const deadline = performance.now() + (ROTATIONS + 1) * epochMs
  while ((epochs.size <= ROTATIONS || destroyed.length < 1) && performance.now() < deadline) {
    orders.publish('orders.flow', String(sent++))
    await pause(PUBLISH_EVERY_MS)
  }
  await orders.flush()
  await until('the last message came', () => received.length >= sent)
  subscription.unsubscribe()
  const inOrder = received.every((value, i) => value === i)
  screen.fact('epochs', [...epochs].join(' → '))
  screen.fact('sent', String(sent))
  screen.fact('received', String(received.length))
  check(
    screen,
    received.length === sent && inOrder,
    `none lost, none twice, none out of order: ${sent} of ${sent}`,
  )
  check(screen, epochs.size > ROTATIONS, `keys changed ${epochs.size - 1} times on the way`)
  check(
    screen,
    destroyed.length > 0,
    'old keys were destroyed',
    `epochs ${destroyed.join(', ')}, ${graceMs / 1000} s after their end`,
  )
}

async function collectDestroyed(bus: SecureConnection, destroyed: number[]): Promise<void> {
  for await (const event of bus.status()) if (event.type === 'destroyed') destroyed.push(event.epoch)
}

function leaks(seen: readonly BrokerView[], words: readonly string[]): boolean {
  return seen.some(({ data }) => words.some((word) => Buffer.from(data).includes(word)))
}

/** The first bytes of a message as hexadecimal, and how many there are. */
function dump(view: BrokerView | undefined, rows = 2): readonly string[] {
  if (view === undefined) return []
  const lines = [view.subject.length > 34 ? `${view.subject.slice(0, 31)}...` : view.subject]
  for (let row = 0; row < rows; row++) {
    const bytes = view.data.subarray(row * 11, (row + 1) * 11)
    lines.push([...bytes].map((value) => value.toString(16).padStart(2, '0')).join(' '))
  }
  return [
    ...lines,
    `... ${view.data.length} bytes, ${fromUtf8(view.data) === undefined ? 'no text' : 'text'}`,
  ]
}

function split(text: string, width: number): readonly string[] {
  const lines: string[] = []
  for (let at = 0; at < text.length; at += width) lines.push(`  ${text.slice(at, at + width)}`)
  return lines
}
