import { HouseClock } from '../../../src/base/house-clock.ts'
import type { Operator } from '../../../src/cli/realm/operator.ts'
import { ServiceVisit, type ServiceVisitOptions } from '../../../src/cli/realm/service-visit.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { type HeldPlan, verifyPlan } from '../../../src/keys/plan.ts'
import type { KeptPlan } from '../../../src/keys/plan-book.ts'
import { protocolSubjects } from '../../../src/keys/subjects.ts'
import type { ManualClock } from '../../support/clock.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { engine } from '../../support/identities.ts'
import { passing } from '../../support/passing.ts'
import { TestRealm } from '../../support/realm.ts'

/** A realm whose rotation services do what a test tells them to, and whoever runs it. */
export class Visited {
  readonly realm: TestRealm
  readonly hands: readonly HandRotator[]
  readonly #clock: ManualClock

  static async start(clock: ManualClock, rotators = 3): Promise<Visited> {
    const realm = await TestRealm.start({ clock, rotation: false, rotators })
    const hands: HandRotator[] = []
    for (const which of realm.rotators.keys()) hands.push(await HandRotator.start(realm, { which }))
    return new Visited(realm, hands, clock)
  }

  private constructor(realm: TestRealm, hands: readonly HandRotator[], clock: ManualClock) {
    this.realm = realm
    this.hands = hands
    this.#clock = clock
  }

  /** A plan as it is held. */
  held(kept: KeptPlan = this.realm.kept): HeldPlan {
    const trust = new Trust(engine, this.realm.trust)
    return verifyPlan({ engine, trust }, kept.plan, Number.MAX_SAFE_INTEGER)
  }

  /** The public key of a service. */
  key(which: number): string {
    return this.hands[which]?.identity.publicKey ?? ''
  }

  /** Does something as whoever runs the realm, for as long as it takes by a clock that runs. */
  async visit<T>(
    task: (operator: Operator) => Promise<T>,
    options: Partial<Pick<ServiceVisitOptions, 'plans' | 'isRevoked' | 'timeoutMs'>> = {},
  ): Promise<T> {
    const nc = await this.realm.connection()
    const clock = new HouseClock(this.#clock, () => {})
    const subjects = protocolSubjects(engine, this.realm.authority.publicKey)
    const visit = await ServiceVisit.open(nc, {
      engine,
      trust: new Trust(engine, this.realm.trust),
      subjects,
      clock,
      plans: [this.held()],
      isRevoked: () => false,
      timeoutMs: 4000,
      ...options,
    })
    try {
      return await passing(this.#clock, task({ nc, visit, subjects, clock }))
    } finally {
      visit.close()
    }
  }
}
