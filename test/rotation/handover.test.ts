import { describe, expect, it } from 'vitest'
import { type HandoverSearch, type Rule, type SearchedPlan, searchHandover } from './handover-search.ts'

/** A plan of these services, of which more than half must be heard. */
function plan(...rotators: readonly number[]): SearchedPlan {
  return { rotators, threshold: Math.floor(rotators.length / 2) + 1 }
}

const ONE = plan(0)
const THREE = plan(0, 1, 2)
const FOUR = { rotators: [0, 1, 2, 3], threshold: 3 }

interface Row extends HandoverSearch {
  readonly what: string
}

/** No order of events loses a revocation that was confirmed. */
const HOLDS: readonly Row[] = [
  { what: 'one of three is replaced', plans: [THREE, plan(1, 2, 3)] },
  { what: 'two of three are replaced', plans: [THREE, plan(2, 3, 4)] },
  { what: 'all three are replaced', plans: [THREE, plan(3, 4, 5)] },
  { what: 'three shrink to one', plans: [THREE, plan(2)] },
  { what: 'one grows to three', plans: [ONE, THREE] },
  { what: 'a plan is renewed', plans: [THREE, THREE] },
  { what: 'a plan of four is renewed, and one is stolen', plans: [FOUR, FOUR], stolen: [0] },
  {
    what: 'the stolen one of four is replaced',
    plans: [FOUR, { rotators: [1, 2, 3, 4], threshold: 3 }],
    stolen: [0],
  },
  { what: 'one loses its record and is replaced', plans: [THREE, plan(1, 2, 3)], losses: 1 },
  { what: 'two lose their records, and one is replaced', plans: [THREE, plan(1, 2, 3)], losses: 2 },
  { what: 'a lost record is begun again under a later plan', plans: [THREE, THREE], losses: 1 },
  { what: 'three records are lost, one after the other or together', plans: [THREE, THREE], losses: 3 },
  {
    what: 'a lost record is begun again while another service is replaced',
    plans: [THREE, plan(0, 1, 3)],
    losses: 1,
  },
  {
    what: 'all are lost, and the operator has the revocation',
    plans: [THREE, { ...plan(3), isLost: true, isListed: true }],
    losses: 3,
  },
  { what: 'three shrink to one, which is replaced', plans: [THREE, plan(2), plan(3)] },
  { what: 'one of three is replaced, and then another one', plans: [THREE, plan(1, 2, 3), plan(2, 3, 4)] },
  {
    what: 'a plan is renewed twice, and a record lost on the way',
    plans: [THREE, THREE, THREE],
    losses: 1,
  },
]

interface Attack extends Row {
  /** What the last steps must be, so that it is the attack that is meant. */
  readonly by: RegExp
}

/** Each is lost in some order of events: so the search sees it, and the rule is needed. */
const VIOLATED: readonly Attack[] = [
  {
    what: 'one of three is replaced, and what former services named before they took up the plan counts',
    plans: [THREE, plan(1, 2, 3)],
    without: ['sealed'],
    by: /takes in the revocation$/,
  },
  {
    what: 'three shrink to one, which stays and does not ask',
    plans: [THREE, plan(2)],
    without: ['all ask'],
    by: /takes in the revocation$/,
  },
  {
    what: 'one of three is stolen',
    plans: [THREE, THREE],
    stolen: [0],
    by: /takes in the revocation$/,
  },
  { what: 'two of four are stolen', plans: [FOUR, FOUR], stolen: [0, 1], by: /takes in the revocation$/ },
  {
    what: 'a record is begun again in the first version',
    plans: [THREE, THREE],
    losses: 1,
    without: ['begun again later'],
    by: /loses its record; \d begins under plan 1/,
  },
  {
    what: 'a new service loses its record, and begins again under the same plan',
    plans: [THREE, plan(1, 2, 3)],
    losses: 1,
    without: ['begun again later'],
    by: /3 loses its record; 3 begins under plan 2/,
  },
  {
    what: 'a service whose record was begun again speaks before it is complete',
    plans: [THREE, plan(0, 1, 3)],
    losses: 1,
    without: ['begun are silent'],
    by: /0 loses its record; 0 begins under plan 2/,
  },
  {
    what: 'a service whose record was begun again counts itself as a former one',
    plans: [THREE, THREE],
    losses: 1,
    without: ['own loss known'],
    by: /loses its record; \d begins under plan 2/,
  },
  {
    what: 'a revocation counts as confirmed when each has named it once, and a record was lost in between',
    plans: [THREE, THREE],
    losses: 1,
    without: ['two rounds'],
    by: /loses its record; \d begins under plan 2.*takes in the revocation$/,
  },
  {
    what: 'all are lost, and nobody has the revocation any more',
    plans: [THREE, { ...plan(3), isLost: true }],
    losses: 3,
    by: /3 begins under plan 2$/,
  },
  {
    what: 'a plan is made before the one before is confirmed',
    plans: [THREE, plan(2), plan(3)],
    without: ['confirmed before'],
    by: /takes up plan 3/,
  },
]

/** Rows that are small enough to be searched with everything put off that can be. */
const SMALL = [...HOLDS, ...VIOLATED].filter(
  ({ plans, losses = 0 }) =>
    plans.length === 2 && losses <= 1 && plans.every(({ rotators }) => isSmall(rotators)),
)

function isSmall(rotators: readonly number[]): boolean {
  return rotators.length <= 3 && rotators.every((x) => x <= 2)
}

describe('a revocation that was confirmed stays with a threshold in every order of events', () => {
  it.each(HOLDS)('where $what', ({ what: _what, ...search }) => {
    expect(searchHandover(search)).toMatchObject({ outcome: 'holds', steps: [] })
  })
})

describe('the search finds how a confirmed revocation is lost', () => {
  it.each(VIOLATED)('where $what', ({ what: _what, by, ...search }) => {
    const { outcome, steps } = searchHandover(search)
    expect(outcome).toBe('violated')
    expect(steps.join('; ')).toMatch(by)
  })

  it('for each of its rules', () => {
    const rules: readonly Rule[] = [
      'sealed',
      'all ask',
      'own loss known',
      'begun are silent',
      'begun again later',
      'two rounds',
      'confirmed before',
    ]
    expect(new Set(VIOLATED.flatMap(({ without = [] }) => without))).toEqual(new Set(rules))
  })
})

describe('that nothing is put off which nobody gains by putting off', () => {
  it.each(SMALL)('changes no outcome where $what', ({ what: _what, ...search }) => {
    const quick = searchHandover(search)
    const patient = searchHandover({ ...search, isPatient: true })
    expect(patient.outcome).toBe(quick.outcome)
    if (quick.outcome === 'holds') expect(patient.states).toBeGreaterThan(quick.states)
  })
})
