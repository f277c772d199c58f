import { SubrosaError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { BrokerOptions } from '../realm/broker-options.ts'
import { type Joined, joinRealm } from '../realm/join.ts'
import { leave } from '../realm/realm-visit.ts'
import { openLog } from '../terminal/log.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** A realm that is joined when it is needed, and anew when its connection has ended for good. */
export class RealmKeeper {
  readonly #terminal: Terminal
  readonly #options: BrokerOptions
  readonly #purpose: string
  #log: Logger | undefined
  #joined: Joined | undefined
  #joining: Promise<Joined> | undefined
  #isLeft = false

  /** @param purpose what the broker calls the connection, where nobody says it */
  constructor(terminal: Terminal, options: BrokerOptions, purpose: string) {
    this.#terminal = terminal
    this.#options = options
    this.#purpose = purpose
  }

  /**
   * The sealed connection: the one that stands, or a new one.
   *
   * @throws what joinRealm throws, and SubrosaError ERR_CLOSED after the realm was left
   */
  async bus(): Promise<SecureConnection> {
    if (this.#joined !== undefined && !this.#joined.bus.isClosed()) return this.#joined.bus
    this.#joining ??= this.#join().finally(() => {
      this.#joining = undefined
    })
    return (await this.#joining).bus
  }

  /** Leaves the realm in order, and does not come back. */
  async leave(): Promise<void> {
    this.#isLeft = true
    await this.#joining?.catch(() => {})
    if (this.#joined !== undefined) await leave(this.#joined.nc, this.#joined.bus)
  }

  async #join(): Promise<Joined> {
    if (this.#isLeft) throw new SubrosaError('ERR_CLOSED', 'the realm was left')
    await this.#joined?.nc.close()
    this.#log ??= await openLog(this.#terminal, this.#options)
    const joined = await joinRealm(this.#terminal, this.#options, {
      purpose: this.#purpose,
      log: this.#log,
    })
    this.#joined = joined
    return joined
  }
}
