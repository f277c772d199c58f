import type { Msg, NatsConnection, SubscriptionOptions } from '@nats-io/transport-node'

/** What becomes of a message on its way in. A held one waits for `release()`. */
export type Fate = 'pass' | 'drop' | 'hold' | 'twice'

/** Somebody in the line between a server and one agent, who does with what comes in as a test likes. */
export class Tampering {
  /** The connection that the agent gets. */
  readonly connection: NatsConnection
  /** Asked about every message. Default: all pass. */
  decide: (message: Msg) => Fate = () => 'pass'
  readonly #held: (() => void)[] = []

  constructor(nc: NatsConnection) {
    this.connection = new Proxy(nc, {
      get: (target, name) => {
        if (name === 'subscribe')
          return (subject: string, options?: SubscriptionOptions) => this.#subscribe(target, subject, options)
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  /** How many messages are held. */
  get held(): number {
    return this.#held.length
  }

  /** Hands out what was held, in the order in which it came, or in another one. */
  release(order: (held: readonly (() => void)[]) => readonly (() => void)[] = (held) => held): void {
    for (const deliver of order(this.#held.splice(0))) deliver()
  }

  #subscribe(nc: NatsConnection, subject: string, options: SubscriptionOptions = {}) {
    const { callback } = options
    if (callback === undefined) return nc.subscribe(subject, options)
    return nc.subscribe(subject, {
      ...options,
      callback: (error, message) => {
        const fate = error === null ? this.decide(message) : 'pass'
        const deliver = (): void => {
          callback(error, message)
        }
        if (fate === 'hold') this.#held.push(deliver)
        if (fate === 'pass' || fate === 'twice') deliver()
        if (fate === 'twice') deliver()
      },
    })
  }
}
