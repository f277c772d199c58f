// Over 300 lines: what can happen next is one list, best read beside the rules that it goes by.
import { Completeness, type PlannedServices, type Word } from '../../src/rotation/completeness.ts'

/** A plan of a search: services are numbers, and the plan's own place in the list makes its version. */
export interface SearchedPlan {
  readonly rotators: readonly number[]
  readonly threshold: number
  /** Made when the former services are lost, by the operator's word: what travels beside it is all that is taken over. */
  readonly isLost?: boolean
  /** Whether the revocation is in the list beside the plan. */
  readonly isListed?: boolean
}

/** What is searched: one revocation, changes of plan, and a broker that delivers what it likes. */
export interface HandoverSearch {
  /** One after the other. Those of the first plan begin with records, complete. */
  readonly plans: readonly SearchedPlan[]
  /** Run by the attacker: they say what is worst, to everybody. */
  readonly stolen?: readonly number[]
  /** How many records may be lost. Default: none. */
  readonly losses?: number
  /** Rules that are taken out. */
  readonly without?: readonly Rule[]
  /**
   * Whether what nobody gains by putting off may be put off all the same. Default: it is not, which leaves much fewer states. A
   * test compares both.
   */
  readonly isPatient?: boolean
}

/**
 * What makes handing over safe, each a rule that a search can do without:
 *
 * - `sealed`: what a former service named before it took up the new plan counts for nothing.
 * - `all ask`: those that stay ask too.
 * - `own loss known`: a service whose record was begun again does not count itself as a former one.
 * - `begun are silent`: nor does it say anything before it is complete.
 * - `begun again later`: a lost record is begun again under a later plan, or where the plan before has named the service too:
 *   then it has to ask those that are complete.
 * - `two rounds`: a revocation is confirmed when a threshold of processes has named it twice, all of them before the second time.
 * - `confirmed before`: a plan is made when a threshold has spoken under the former one.
 */
export type Rule =
  | 'sealed'
  | 'all ask'
  | 'own loss known'
  | 'begun are silent'
  | 'begun again later'
  | 'two rounds'
  | 'confirmed before'

/** What has come of a search, and in how many states. */
export interface Searched {
  readonly outcome: 'holds' | 'violated' | 'unfinished'
  readonly states: number
  /** What led to the violation, one thing after the other. */
  readonly steps: readonly string[]
}

const MAX_STATES = 6_000_000
const MAX_PLANS = 3
const MAX_SERVICES = 8

/** What a service has for a record. */
const RECORD = { none: 0, begun: 1, whole: 2 } as const
/** What it has heard of another one that has taken up its plan. */
const HEARD = { nothing: 0, sealed: 1, complete: 3 } as const
/** How often it has named the revocation, by the same process, to whoever confirms it. */
const TWICE = 2

// One service in one state is a number, of these bits: there are millions of them.
const HOLDS = 1
/** Whether it ever had a record. */
const BEGUN = 1 << 1
const RECORD_AT = 2
/** Which plan it has taken up: a place in the list. */
const PLAN_AT = 4
/** How often it has named the revocation under each plan. */
const NAMED_AT = 6
/** Whether it has spoken under each plan. */
const SPOKE_AT = NAMED_AT + 2 * MAX_PLANS
/** What it has heard of each service. */
const HEARD_AT = SPOKE_AT + MAX_PLANS
const WHAT_IT_HEARD = (2 ** (2 * MAX_SERVICES) - 1) << HEARD_AT

/** All services, and how many records were lost so far as the last number. */
type State = readonly number[]

const recordOf = (service: number): number => (service >>> RECORD_AT) & 3
const planOf = (service: number): number => (service >>> PLAN_AT) & 3
const namedOf = (service: number, plan: number): number => (service >>> (NAMED_AT + 2 * plan)) & 3
const heardOf = (service: number, other: number): number => (service >>> (HEARD_AT + 2 * other)) & 3
const spokeUnder = (service: number, plan: number): boolean => ((service >>> (SPOKE_AT + plan)) & 1) === 1

/** The same service, of which two bits are others. */
function put(service: number, at: number, value: number): number {
  return (service & ~(3 << at)) | (value << at)
}

/**
 * Searches every order in which one revocation, changes of plan, losses of records and whatever a broker delivers can follow
 * each other, by the rules that services go by. A violation: the revocation was confirmed, and a threshold of services that
 * count do not hold it.
 */
export function searchHandover(search: HandoverSearch): Searched {
  return new Search(search).run()
}

/** Told of everything that can happen next, and in which words. */
type Follow = (x: number, next: number, say: () => string, isLoss?: boolean) => void

class Search {
  readonly #search: HandoverSearch
  readonly #without: ReadonlySet<Rule>
  readonly #isStolen: readonly boolean[]
  readonly #count: number
  readonly #plans: readonly PlannedServices[]
  /** Whether a plan names a service, and whether it names it as a former one. */
  readonly #names: readonly (readonly boolean[])[]
  readonly #namesFormer: readonly (readonly boolean[])[]
  readonly #timesToConfirm: number
  /** What the rules say, by what they go by: there is much less of it than states. */
  readonly #complete = new Map<number, boolean>()

  constructor(search: HandoverSearch) {
    const { plans, stolen = [], without = [] } = search
    this.#search = search
    this.#without = new Set(without)
    this.#count = 1 + Math.max(...plans.flatMap(({ rotators }) => rotators))
    if (plans.length > MAX_PLANS || this.#count > MAX_SERVICES) throw new RangeError('more than has room')
    const all = Array.from({ length: this.#count }, (_, x) => x)
    this.#isStolen = all.map((x) => stolen.includes(x))
    this.#plans = plans.map((plan, i) => {
      const before = plans[i - 1]
      const former =
        plan.isLost === true || before === undefined ? undefined : { version: i, ...named(before) }
      return { version: i + 1, ...named(plan), former }
    })
    this.#names = plans.map(({ rotators }) => all.map((x) => rotators.includes(x)))
    this.#namesFormer = this.#plans.map(({ former }) =>
      all.map((x) => former?.rotators.includes(nameOf(x)) === true),
    )
    this.#timesToConfirm = this.#without.has('two rounds') ? 1 : TWICE
  }

  run(): Searched {
    const first = this.#first()
    /** For each state, the one from which it was reached first. */
    const seen = new Map([[keyOf(first), '']])
    const todo = [first]
    for (let state = todo.pop(); state !== undefined; state = todo.pop()) {
      const from = state
      const key = keyOf(from)
      if (this.#isViolated(from))
        return { outcome: 'violated', states: seen.size, steps: this.#stepsTo(key, seen) }
      if (seen.size > MAX_STATES) return { outcome: 'unfinished', states: seen.size, steps: [] }
      this.#follow(from, (x, next, _say, isLoss) => {
        const settled = this.#changed(from, x, next, isLoss)
        const nextKey = keyOf(settled)
        if (seen.has(nextKey)) return
        seen.set(nextKey, key)
        todo.push(settled)
      })
    }
    return { outcome: 'holds', states: seen.size, steps: [] }
  }

  /** What happened from the beginning to a state, of each of which it is known whence it came. */
  #stepsTo(key: string, seen: ReadonlyMap<string, string>): readonly string[] {
    const keys: string[] = []
    for (let one = key; one !== ''; one = seen.get(one) ?? '') keys.unshift(one)
    let state = this.#first()
    return keys.slice(1).map((wanted) => {
      let found = ''
      const from = state
      this.#follow(from, (x, next, say, isLoss) => {
        const settled = this.#changed(from, x, next, isLoss)
        if (found !== '' || keyOf(settled) !== wanted) return
        found = `${x} ${say()}`
        state = settled
      })
      return found
    })
  }

  #first(): State {
    const services = Array.from({ length: this.#count }, (_, x) => {
      const isFirst = this.#names[0]?.[x] === true
      return this.#withLies(isFirst ? BEGUN | (RECORD.whole << RECORD_AT) : RECORD.none << RECORD_AT)
    })
    return this.#settled([...services, 0])
  }

  /** Those that are stolen have said whatever makes another one complete: nobody gains by putting that off. */
  #withLies(service: number): number {
    let heard = service & ~WHAT_IT_HEARD
    for (const [y, isStolen] of this.#isStolen.entries())
      if (isStolen) heard |= HEARD.complete << (HEARD_AT + 2 * y)
    return heard
  }

  #changed(state: State, x: number, next: number, isLoss = false): State {
    const changed = [...state]
    changed[x] = next
    if (isLoss) changed[this.#count] = at(state, this.#count) + 1
    return this.#settled(changed)
  }

  /** Everything that can happen next. */
  #follow(state: State, go: Follow): void {
    for (let x = 0; x < this.#count; x++) {
      if (this.#isStolen[x]) continue
      const service = at(state, x)
      if (recordOf(service) === RECORD.none) {
        this.#begin(state, x, go)
        continue
      }
      const isComplete = this.#isComplete(x, service)
      if (isComplete && (service & HOLDS) === 0) go(x, service | HOLDS, () => 'takes in the revocation')
      this.#takeUp(state, x, go)
      if (this.#names[planOf(service)]?.[x]) this.#hear(state, x, go)
      if (at(state, this.#count) < (this.#search.losses ?? 0))
        go(x, this.#lossOf(service), () => 'loses its record', true)
    }
  }

  /** An operator begins a record, with a plan that is made. */
  #begin(state: State, x: number, go: Follow): void {
    const service = at(state, x)
    for (const plan of this.#plans.keys()) {
      const isFirst = (service & BEGUN) === 0
      const isLater = plan > planOf(service) || this.#namesFormer[plan]?.[x]
      const mayBegin = isFirst || isLater || this.#without.has('begun again later')
      if (plan < planOf(service) || !mayBegin || !this.#names[plan]?.[x] || !this.#isMade(state, plan))
        continue
      const begun = put(put(service | BEGUN, RECORD_AT, RECORD.begun), PLAN_AT, plan) | this.#listed(plan)
      go(x, this.#withLies(begun), () => `begins under plan ${plan + 1}`)
    }
  }

  #takeUp(state: State, x: number, go: Follow): void {
    const service = at(state, x)
    // A record that was once complete is one for all plans that follow.
    const isWhole = recordOf(service) === RECORD.whole || this.#isComplete(x, service)
    const record = isWhole ? RECORD.whole : recordOf(service)
    for (let plan = planOf(service) + 1; plan < this.#plans.length; plan++) {
      if (!this.#isMade(state, plan)) continue
      const taken = put(put(service, RECORD_AT, record), PLAN_AT, plan) | this.#listed(plan)
      go(x, this.#withLies(taken), () => `takes up plan ${plan + 1}`)
    }
  }

  /** It takes in what another one names, and holds then what that one held. */
  #hear(state: State, x: number, go: Follow): void {
    const service = at(state, x)
    const plan = planOf(service)
    for (let y = 0; y < this.#count; y++) {
      const isOfAny = this.#names[plan]?.[y] || this.#namesFormer[plan]?.[y]
      if (y === x || !isOfAny || this.#isStolen[y]) continue
      const heard = this.#word(plan, y, at(state, y))
      if (heard === undefined) continue
      go(x, put(service, HEARD_AT + 2 * y, heard) | (at(state, y) & HOLDS), () => `takes in the set of ${y}`)
    }
  }

  /** What one says of itself to another one under a plan; `undefined` where it says nothing that counts. */
  #word(plan: number, y: number, speaker: number): number | undefined {
    const isComplete = this.#isComplete(y, speaker)
    if (!this.#speaks(speaker, isComplete)) return undefined
    if (planOf(speaker) === plan) return isComplete ? HEARD.complete : HEARD.sealed
    return planOf(speaker) > plan || this.#without.has('sealed') ? HEARD.sealed : undefined
  }

  #speaks(service: number, isComplete: boolean): boolean {
    if (recordOf(service) === RECORD.none) return false
    return recordOf(service) === RECORD.whole || isComplete || this.#without.has('begun are silent')
  }

  /** What is left: its next process is another one, what it heard is forgotten, and what it named once it never names again. */
  #lossOf(service: number): number {
    let lost = put(service, RECORD_AT, RECORD.none) & ~HOLDS
    for (const plan of this.#plans.keys())
      if (namedOf(service, plan) < this.#timesToConfirm) lost = put(lost, NAMED_AT + 2 * plan, 0)
    return this.#withLies(lost)
  }

  /** Whether an authority can have signed this plan by now. */
  #isMade(state: State, plan: number): boolean {
    const { isLost } = at(this.#search.plans, plan)
    if (plan === 0) return true
    const { rotators: former } = at(this.#search.plans, plan - 1)
    if (isLost === true) return former.every((x) => recordOf(at(state, x)) === RECORD.none)
    return plan === 1 || this.#without.has('confirmed before') || this.#isConfirmed(state, plan - 1)
  }

  #isConfirmed(state: State, plan: number): boolean {
    return this.#areEnough(plan, (x) => spokeUnder(at(state, x), plan))
  }

  /** Whether a threshold of a plan's services do this; those that are stolen do. */
  #areEnough(plan: number, does: (x: number) => boolean): boolean {
    const { rotators, threshold } = at(this.#search.plans, plan)
    let count = 0
    for (const x of rotators) if (this.#isStolen[x] || does(x)) count++
    return count >= threshold
  }

  /**
   * What nobody gains by putting off has happened: who can name the revocation has named it, who can speak has spoken, and who can
   * take in the set of another one without learning of the revocation by it has done that. All of it makes services complete, or
   * the revocation confirmed, and tells nobody of it.
   */
  #settled(state: number[]): State {
    for (let isOver = false; !isOver; ) {
      isOver = true
      for (let x = 0; x < this.#count; x++) {
        const service = at(state, x)
        if (this.#isStolen[x] || recordOf(service) === RECORD.none) continue
        const next = this.#said(x, this.#search.isPatient === true ? service : this.#heard(x, state), state)
        if (next === service) continue
        state[x] = next
        isOver = false
      }
    }
    return state
  }

  /** A service after it has heard everybody who does not tell it of the revocation. */
  #heard(x: number, state: State): number {
    let service = at(state, x)
    this.#hear(state, x, (_x, next) => {
      // Not from the same service as it was: each adds to what the one before has added.
      if ((next & HOLDS) === (service & HOLDS)) service |= next & WHAT_IT_HEARD
    })
    return service
  }

  #said(x: number, service: number, state: State): number {
    if (!this.#isComplete(x, service)) return service
    const plan = planOf(service)
    const times = namedOf(service, plan)
    // When a threshold has named it once, whoever confirms it asks them all again.
    const isAsked =
      times === 0 || (times === 1 && this.#areEnough(plan, (x) => namedOf(at(state, x), plan) >= 1))
    const said = service | (1 << (SPOKE_AT + plan))
    return (service & HOLDS) !== 0 && isAsked ? put(said, NAMED_AT + 2 * plan, times + 1) : said
  }

  #isViolated(state: State): boolean {
    const isNamed = this.#plans.some((_, plan) =>
      this.#areEnough(plan, (x) => namedOf(at(state, x), plan) >= this.#timesToConfirm),
    )
    return (
      isNamed &&
      this.#plans.some((_, plan) => this.#areEnough(plan, (x) => this.#lacks(x, plan, at(state, x))))
    )
  }

  /** Whether a service counts under a plan, and does not hold the revocation. */
  #lacks(x: number, plan: number, service: number): boolean {
    return planOf(service) === plan && (service & HOLDS) === 0 && this.#isComplete(x, service)
  }

  #isComplete(x: number, service: number): boolean {
    const record = recordOf(service)
    const plan = planOf(service)
    if (record === RECORD.none || !this.#names[plan]?.[x]) return false
    const heard = service & WHAT_IT_HEARD
    const key = MAX_SERVICES * (heard | (service & (15 << RECORD_AT))) + x
    const known = this.#complete.get(key)
    if (known !== undefined) return known
    const isComplete = this.#judge(x, service)
    this.#complete.set(key, isComplete)
    return isComplete
  }

  /** By the rules themselves. */
  #judge(x: number, service: number): boolean {
    const at = planOf(service)
    const isWhole = recordOf(service) === RECORD.whole
    if (this.#without.has('all ask') && isWhole && this.#namesFormer[at]?.[x]) return true
    const plan = this.#plans[at]
    if (plan === undefined) return false
    const hasRecord = isWhole || this.#without.has('own loss known')
    const completeness = new Completeness({ plan, own: nameOf(x), hasRecord })
    for (let y = 0; y < this.#count; y++) {
      const heard = heardOf(service, y)
      if (heard !== HEARD.nothing) completeness.noteAsked(nameOf(y), wordOf(heard, plan.version))
    }
    return completeness.isComplete
  }

  #listed(plan: number): number {
    return this.#search.plans[plan]?.isListed === true ? HOLDS : 0
  }
}

function named({ rotators, threshold }: SearchedPlan): Pick<PlannedServices, 'rotators' | 'threshold'> {
  return { rotators: rotators.map(nameOf), threshold }
}

function nameOf(x: number): string {
  return `service ${x}`
}

function wordOf(heard: number, planVersion: number): Word {
  return { standing: heard === HEARD.complete ? 1 : 0, planVersion, process: new Uint8Array(8) }
}

function keyOf(state: State): string {
  let key = ''
  for (const one of state) key += String.fromCharCode(one & 0xffff, one >>> 16)
  return key
}

function at<Item>(items: readonly Item[], i: number): Item {
  const item = items[i]
  if (item === undefined) throw new RangeError(`there is no ${i}`)
  return item
}
