import { type Checkout, ownCheckout } from './checkout.ts'
import { startWorker } from './process.mjs'
import { quantile } from './stats.ts'

const PLAIN = 'latency.plain'
const SEALED = 'latency.sealed'

/** A way to request. */
export interface RequestVariant {
  readonly name: string
  readonly mode: 'plain' | 'session' | 'channel' | 'message'
  readonly subject: string
}

/** Microseconds of the request in the middle, and of the slowest hundredth. */
export interface Latency {
  readonly p50: number
  readonly p99: number
}

export const REQUESTS: readonly RequestVariant[] = [
  { name: 'plain', mode: 'plain', subject: PLAIN },
  { name: 'channel', mode: 'channel', subject: SEALED },
  { name: 'session', mode: 'session', subject: SEALED },
  { name: 'message', mode: 'message', subject: SEALED },
]

interface RequestOptions {
  readonly checkout?: Checkout
  /** What is going to be measured. Default: all. */
  readonly variants?: readonly RequestVariant[]
  /** Requests of each variant before anything is measured. Default 1000. */
  readonly warmUp?: number
  readonly tls?: boolean
  readonly profile?: string | undefined
  readonly signal?: AbortSignal
}

/**
 * A requester and a responder, each in a process of its own, with a real nats-server between them, and warm. Each
 * response is compared with its request.
 *
 * @param size bytes of each payload
 */
export async function startRequests(
  size: number,
  {
    checkout = ownCheckout,
    variants = REQUESTS,
    warmUp = 1000,
    tls = false,
    ...options
  }: RequestOptions = {},
) {
  const world = await checkout.startWorld({ tls })
  const requester = startWorker('requester.mjs', options)
  const responder = startWorker('responder.mjs', options)
  const stop = async () => {
    await requester.stop()
    await responder.stop()
    await world.stop()
  }
  /** One request after the other. */
  const request = async (variant: RequestVariant, count: number): Promise<Latency> => {
    const took: readonly number[] = [...(await requester.call('request', { ...variant, size, count }))]
    return { p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
  }
  try {
    const place = { ...world.place, library: checkout.library }
    const may = { pub: [SEALED, '_INBOX.>'], sub: [SEALED, '_INBOX.>'] }
    const answering = world.identity('responder', may)
    await responder.call('join', { place, identity: answering, plain: PLAIN, sealed: SEALED })
    await requester.call('join', { place, identity: world.identity('requester', { pub: [SEALED] }) })
    await requester.call('waitFor', SEALED)
    for (const variant of variants) await request(variant, warmUp)
  } catch (error) {
    await stop()
    throw error
  }
  return { request, stop }
}
