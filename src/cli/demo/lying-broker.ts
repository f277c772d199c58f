import { readFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { concat, fromUtf8, utf8 } from '../../base/bytes.ts'
import { realmLayout } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'

const LOOPBACK = '127.0.0.1'
const CRLF = utf8('\r\n')

/**
 * A broker that lies: it has the server's certificate and key, stands in front of the real server, and writes another
 * subscription id on what it delivers. A client looks for the handler by that id alone.
 */
export class LyingBroker {
  /** Where clients connect to. */
  readonly address: string
  readonly #server: Server
  readonly #sockets = new Set<Socket | TLSSocket>()
  /** The ids of subscriptions, by their subjects. */
  readonly #sids = new Map<string, string>()
  #lie: { readonly subject: string; readonly handler: string } | undefined

  static async start(realm: Realm): Promise<LyingBroker> {
    const { serverCertificate, serverKey, caCertificate } = realmLayout(realm.dir)
    const cert = await readFile(serverCertificate)
    const key = await readFile(serverKey)
    const ca = await readFile(caCertificate)
    const { hostname, port } = new URL(realm.server)
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
    const broker = new LyingBroker(server, hostname)
    server.on('connection', (client) => {
      broker.#serve(client, connect(Number(port), LOOPBACK), { cert, key, ca, host: hostname })
    })
    return broker
  }

  private constructor(server: Server, hostname: string) {
    this.#server = server
    const address = server.address()
    if (address === null || typeof address === 'string') throw new TypeError('no free port')
    this.address = `tls://${hostname}:${address.port}`
  }

  /** From now on, whatever is published on `subject` goes to the handler of another subscription. */
  reroute(subject: string, handler: string): void {
    this.#lie = { subject, handler }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  /** The server speaks first, in clear; then both sides go over to TLS. */
  #serve(client: Socket, upstream: Socket, tls: Tls): void {
    for (const socket of [client, upstream]) this.#keep(socket)
    upstream.once('data', (info) => {
      client.write(info)
      const { toClient, toServer } = secureBoth(client, upstream, tls)
      for (const socket of [toClient, toServer]) this.#keep(socket)
      const fromClient = new Operations((line, payload) => {
        const [verb, subject = '', ...rest] = line.split(' ')
        if (verb === 'SUB') this.#sids.set(subject, rest.at(-1) ?? '')
        toServer.write(encode(line, payload))
      })
      const fromServer = new Operations((line, payload) => toClient.write(encode(this.#lied(line), payload)))
      toClient.on('data', (chunk) => fromClient.push(chunk))
      toServer.on('data', (chunk) => fromServer.push(chunk))
    })
  }

  #lied(line: string): string {
    const [verb = '', subject, , ...rest] = line.split(' ')
    const sid = this.#sids.get(this.#lie?.handler ?? '')
    const isLie = /^H?MSG$/.test(verb) && subject === this.#lie?.subject && sid !== undefined
    return isLie ? [verb, subject, sid, ...rest].join(' ') : line
  }

  #keep(socket: Socket | TLSSocket): void {
    this.#sockets.add(socket)
    socket.on('error', () => this.close())
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

/** The operations of the NATS protocol in one direction: a line, and what follows it. */
class Operations {
  readonly #take: (line: string, payload: Uint8Array | undefined) => void
  #rest: Uint8Array = new Uint8Array(0)

  constructor(take: (line: string, payload: Uint8Array | undefined) => void) {
    this.#take = take
  }

  push(chunk: Uint8Array): void {
    this.#rest = concat(this.#rest, chunk)
    for (;;) {
      const end = this.#rest.indexOf(CRLF[1] ?? 0) - 1
      if (end < 0) return
      const line = fromUtf8(this.#rest.subarray(0, end)) ?? ''
      const start = end + CRLF.length
      if (!/^H?(PUB|MSG) /.test(line)) {
        this.#rest = this.#rest.slice(start)
        this.#take(line, undefined)
        continue
      }
      const payloadEnd = start + Number(line.slice(line.lastIndexOf(' ') + 1))
      if (this.#rest.length < payloadEnd + CRLF.length) return
      const payload = this.#rest.slice(start, payloadEnd)
      this.#rest = this.#rest.slice(payloadEnd + CRLF.length)
      this.#take(line, payload)
    }
  }
}

function encode(line: string, payload: Uint8Array | undefined): Uint8Array {
  return payload === undefined ? concat(utf8(line), CRLF) : concat(utf8(line), CRLF, payload, CRLF)
}

/** What both sides of the broker need for TLS. */
interface Tls {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer
  readonly host: string
}

function secureBoth(
  client: Socket,
  upstream: Socket,
  { cert, key, ca, host }: Tls,
): { readonly toClient: TLSSocket; readonly toServer: TLSSocket } {
  return {
    toClient: new TLSSocket(client, { isServer: true, cert, key }),
    toServer: connectTls({ socket: upstream, ca, host }),
  }
}
