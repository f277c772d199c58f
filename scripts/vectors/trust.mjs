// Plans, epochs, ticks, queries and buckets, computed from SPEC.

import {
  bigEndian,
  fixed,
  hexBytes,
  labelled,
  merklePath,
  merkleRoot,
  pack,
  sha256,
  signer,
  uint64,
  wire,
  withBytes,
} from './primitives.mjs'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const PERIOD_MS = 55 * MINUTE_MS
/** Number of the first epoch of the second schedule. */
const SECOND_FIRST = 40
const HASH_BYTES = 32

/** The plans of one realm, and one under pins. */
export function makePlans({ startMs, authority, rotators, revocations }) {
  const realm = authority.public
  const [first] = rotators
  const ascending = (keys) => keys.map((key) => key.public).sort()
  const hourly = schedule({ first: 1, origin: startMs, period: PERIOD_MS, lead: 5 * MINUTE_MS })
  const frequent = schedule({
    first: SECOND_FIRST,
    origin: startMs + (SECOND_FIRST - 1) * PERIOD_MS,
    period: 20 * MINUTE_MS,
    lead: MINUTE_MS,
  })
  const made = startMs - DAY_MS
  const one = plan('the first plan', authority, {
    fields: {
      realm,
      version: 1,
      made,
      until: made + 400 * DAY_MS,
      rotators: ascending([first]),
      threshold: 1,
      former: null,
      schedules: [hourly],
    },
    numbers: [1, 2],
    times: [startMs, startMs + PERIOD_MS - 1, startMs + PERIOD_MS],
  })
  const madeLater = startMs + 30 * MINUTE_MS
  const three = plan('a plan with three services, of which two, and two schedules', authority, {
    fields: {
      realm,
      version: 2,
      made: madeLater,
      until: madeLater + 90 * DAY_MS,
      rotators: ascending(rotators.slice(0, 3)),
      threshold: 2,
      former: [1, ascending([first]), 1],
      schedules: [hourly, frequent],
    },
    list: revocations,
    numbers: [2, SECOND_FIRST - 1, SECOND_FIRST, SECOND_FIRST + 1],
    times: [startMs, frequent[1] - 1, frequent[1], frequent[1] + frequent[2]],
  })
  const lost = plan('a plan whose former services are lost', authority, {
    fields: {
      realm,
      version: 3,
      made: frequent[1] + DAY_MS,
      until: frequent[1] + DAY_MS + 400 * DAY_MS,
      rotators: ascending(rotators.slice(1, 5)),
      threshold: 3,
      former: null,
      schedules: [frequent],
    },
    list: revocations.slice(0, 1),
    numbers: [SECOND_FIRST],
    times: [frequent[1]],
  })
  const pinned = signer('U', 'realm under pins')
  const underPins = plan('a plan under pins', pinned, {
    fields: {
      realm: pinned.public,
      version: 1,
      made,
      until: made + 400 * DAY_MS,
      rotators: [pinned.public],
      threshold: 1,
      former: null,
      schedules: [hourly],
    },
    numbers: [1],
    times: [startMs],
  })
  return { one, three, lost, underPins }
}

/** A schedule as it stands in a plan. */
function schedule({ first, origin, period, lead }) {
  return [first, origin, period, lead, lead, [1], fixed(`salt of ${first}`, 16)]
}

function plan(name, key, { fields: given, list = [], numbers, times }) {
  const fields = { ...given, revocations_hash: listHash(list) }
  const structure = pack(Object.values(fields))
  const signed = Buffer.concat([labelled('pln'), structure])
  const signature = key.sign(signed)
  return {
    name,
    fields,
    list: list.map((revocation) => revocation.wire),
    structure,
    hash: sha256(structure),
    signer: key.public,
    signed,
    signature,
    wire: wire(11, [structure, signature, null]),
    epochs: numbers.map((number) => epoch(fields, number)),
    times: times.map((at) => ({ at, number: numberAt(fields.schedules, at) })),
  }
}

/** SHA-256 over the sorted hashes of revocations. */
function listHash(revocations) {
  return sha256(...revocations.map(({ hash }) => hash).sort(Buffer.compare))
}

function numberAt(schedules, at) {
  const [first, origin, period] = schedules.findLast(([, begin]) => begin <= at)
  return first + Math.floor((at - origin) / period)
}

/** The epoch of a number: the schedule is the last one that begins with it or before. */
function epoch({ realm, schedules }, number) {
  const [first, origin, period, lead, grace, suites, salt] = schedules.findLast(([least]) => least <= number)
  const notBefore = origin + (number - first) * period
  const fields = {
    realm,
    number,
    not_before: notBefore,
    not_after: notBefore + period + lead,
    grace_ms: grace,
    suites,
    salt,
  }
  const structure = pack(Object.values(fields))
  return { fields, structure, hash: sha256(labelled('epo'), structure) }
}

/** Ticks of a service of a plan, and what each asker gets. */
export function makeTicks({ rotator, plan: { fields: planFields }, revocations, directoryRoot, nowMs }) {
  const tick = (name, { nonces, standing = 1, known = revocations, answered = nonces.keys() }) => {
    const leaves = nonces.map((nonce) => sha256(Buffer.of(0), labelled('png'), nonce))
    const fields = {
      realm: planFields.realm,
      plan_version: planFields.version,
      rotator: rotator.public,
      standing,
      process: fixed('process', 8),
      now: nowMs,
      revocations_hash: listHash(known),
      directory_root: directoryRoot,
      storage_root: Buffer.alloc(HASH_BYTES),
      leaves: nonces.length,
      nonce_root: leaves.length === 0 ? Buffer.alloc(HASH_BYTES) : merkleRoot(leaves),
    }
    const structure = pack(Object.values(fields))
    const signed = Buffer.concat([labelled('tic'), structure])
    const signature = rotator.sign(signed)
    const answer = (index) => {
      const path = Buffer.concat(merklePath(index, leaves))
      return {
        nonce: nonces[index],
        leaf: leaves[index],
        index,
        path,
        wire: wire(4, [structure, signature, nonces[index], index, path]),
      }
    }
    return {
      name,
      fields,
      structure,
      hash: sha256(structure),
      signer: rotator.public,
      signed,
      signature,
      answers: [...answered].map(answer),
      broadcast: nonces.length === 0 ? wire(4, [structure, signature, null, null, null]) : null,
    }
  }
  const many = (count) => Array.from({ length: count }, (_, i) => fixed(`ping ${count} ${i}`, 16))
  return [
    tick('a tick for one nonce', { nonces: many(1) }),
    tick('a tick for five nonces', { nonces: many(5) }),
    tick('a tick for 4096 nonces, of which the first and the last are answered', {
      nonces: many(4096),
      answered: [0, 4095],
    }),
    tick('a tick of a service that is not complete, without revocations', {
      nonces: many(2),
      standing: 0,
      known: [],
    }),
    tick('a broadcast', { nonces: [] }),
  ]
}

/** Queries with the subjects that bind them to their asker, and pages that answer them. */
export function makeQueries({ realm, asker, rotator, plan: { wire: planWire, list }, announcement, hashes }) {
  const root = `subrosa.v1.${realm}`
  const instance = asker.instance.toString('hex')
  const rid = ridOf(rotator.public)
  const to = `${root}.query.${rid}.${asker.name}.${instance}`
  const directory = makeDirectory(hashes)
  const full = directory.filled.slice(0, 2)
  const query = (name, { kind, cursor = null, subject = to }) => {
    const fields = { nonce: fixed(`nonce of ${name}`, 16), kind, cursor }
    const [by, instanceHex] = subject.split('.').slice(-2)
    const box = sha256(Buffer.concat([Buffer.from(`${by}\0`), Buffer.from(instanceHex, 'hex')])).subarray(
      0,
      8,
    )
    const reply = `${root}.inbox.${box.toString('hex')}`
    return { name, subject, reply, fields, wire: wire(7, Object.values(fields)) }
  }
  const page = (asked, statements, next = null) => {
    const fields = { nonce: asked.fields.nonce, kind: asked.fields.kind, statements, next }
    return { answers: asked.name, fields, wire: wire(8, Object.values(fields)) }
  }
  const ping = query('a ping', { kind: 0, subject: `${root}.ping.${asker.name}.${instance}` })
  const watched = query('a ping of somebody without an identity', {
    kind: 0,
    subject: `${root}.ping._.${fixed('observer', 8).toString('hex')}`,
  })
  const all = query('every announcement in use', { kind: 2 })
  const further = query('every announcement, from the second page on', { kind: 2, cursor: bigEndian(8, 100) })
  const revocations = query('the revocations that the tick names', { kind: 3 })
  const some = query('announcements by their hashes', { kind: 4, cursor: Buffer.concat(hashes.slice(0, 2)) })
  const newest = query('the newest plan and its list', { kind: 5 })
  const older = query('a plan by its version', { kind: 5, cursor: bigEndian(8, 1) })
  const rest = query('the rest of its list', {
    kind: 5,
    cursor: Buffer.concat([bigEndian(8, 2), bigEndian(8, 1)]),
  })
  const buckets = query('the hashes of all buckets', { kind: 6 })
  const two = query('what is in two buckets', {
    kind: 6,
    cursor: Buffer.from(full.map(({ index }) => index)),
  })
  const given = query('a hand-over of the own announcement', { kind: 7, cursor: announcement.wire })
  return {
    rids: [rotator].map((key) => ({ rotator: key.public, rid: ridOf(key.public) })),
    queries: [ping, watched, all, further, revocations, some, newest, older, rest, buckets, two, given],
    pages: [
      page(all, [announcement.wire], bigEndian(8, 100)),
      page(further, []),
      page(revocations, list),
      page(some, [announcement.wire]),
      page(newest, [planWire, list[0]], rest.fields.cursor),
      page(older, []),
      page(rest, list.slice(1)),
      page(buckets, [Buffer.concat(directory.all)]),
      page(
        two,
        full.map(({ hashes: inside }) => Buffer.concat(inside)),
      ),
    ],
    directory: { hashes, empty: emptyBucket(), buckets: directory.filled, root: directory.root },
  }
}

/** The root of a directory with these hashes. */
export function directoryRootOf(hashes) {
  return makeDirectory(hashes).root
}

function makeDirectory(hashes) {
  const buckets = Array.from({ length: 256 }, (_, index) => {
    const inside = hashes.filter(([first]) => first === index).sort(Buffer.compare)
    return { index, hashes: inside, hash: sha256(...inside).subarray(0, 16) }
  })
  const all = buckets.map(({ hash }) => hash)
  return { all, filled: buckets.filter(({ hashes: inside }) => inside.length > 0), root: sha256(...all) }
}

function emptyBucket() {
  return sha256().subarray(0, 16)
}

function ridOf(rotator) {
  return sha256(Buffer.from(rotator)).subarray(0, 8).toString('hex')
}

// What must be refused

/** Encodings of structures by themselves, as [structure, name, bytes]. */
export function badTrustStructures({ plans: { three }, ticks, queries: { queries, pages }, statements }) {
  const ofType = (type) => Object.values(statements.find((made) => made.type === type).fields)
  const fields = {
    plan: Object.values(three.fields),
    epoch: Object.values(three.epochs[0].fields),
    notice: ofType(3),
    tick: Object.values(ticks[0].fields),
    revocation: ofType(5),
    order: ofType(10),
    'signed tick': [
      ticks[1].structure,
      ticks[1].signature,
      ticks[1].answers[4].nonce,
      4,
      ticks[1].answers[4].path,
    ],
    'signed plan': [three.structure, three.signature, null],
    query: Object.values(queries.find(({ fields: { kind } }) => kind === 2).fields),
    page: Object.values(pages[0].fields),
  }
  const types = { 'signed tick': 4, query: 7, page: 8, 'signed plan': 11 }
  const encoded = (structure, array) => (structure in types ? wire(types[structure], array) : pack(array))
  const changed = (structure, place, value) => encoded(structure, fields[structure].with(place, value))
  const raw = (structure, place, bytes) => {
    const array = withBytes(fields[structure], place, bytes)
    return structure in types ? Buffer.concat([Buffer.of(0xc1, 0x01, types[structure]), array]) : array
  }
  const common = Object.entries(fields).flatMap(([structure, array]) => [
    [structure, 'a field too many', encoded(structure, [...array, null])],
    [structure, 'a field too few', encoded(structure, array.slice(0, -1))],
    [structure, 'a byte behind it', Buffer.concat([encoded(structure, array), Buffer.of(0)])],
    [structure, 'a byte too few', encoded(structure, array).subarray(0, -1)],
  ])
  const [, , made, , rotators, , former, schedules] = fields.plan
  const [hourly] = schedules
  const query = (kind, cursor) => wire(7, [fixed('a nonce', 16), kind, cursor])
  return [
    ...common,
    ['plan', 'its making as uint 64', raw('plan', 2, uint64(made))],
    ['plan', 'no rotation service', changed('plan', 4, [])],
    ['plan', 'eight rotation services', changed('plan', 4, Array(8).fill(rotators[0]))],
    ['plan', 'a rotation service of 55 characters', changed('plan', 4, [rotators[0].slice(1)])],
    ['plan', 'a threshold of 8', changed('plan', 5, 8)],
    ['plan', 'former services without a threshold', changed('plan', 6, former.slice(0, 2))],
    ['plan', 'no schedule', changed('plan', 7, [])],
    ['plan', 'three schedules', changed('plan', 7, [...schedules, hourly])],
    ['plan', 'a schedule without a suite', changed('plan', 7, [hourly.with(5, [])])],
    ['plan', 'a schedule with 17 suites', changed('plan', 7, [hourly.with(5, Array(17).fill(1))])],
    ['plan', 'a suite of two bytes', changed('plan', 7, [hourly.with(5, [256])])],
    ['plan', 'a salt of 15 bytes', changed('plan', 7, [hourly.with(6, Buffer.alloc(15))])],
    ['plan', 'a short hash of revocations', changed('plan', 8, Buffer.alloc(31))],
    ['signed plan', 'a token', changed('signed plan', 2, 'a token')],
    ['signed plan', 'a signature of 63 bytes', changed('signed plan', 1, Buffer.alloc(63))],
    ['epoch', 'its beginning as uint 64', raw('epoch', 2, uint64(fields.epoch[2]))],
    ['epoch', 'the form of a former draft', pack([fields.epoch[0], 1, Buffer.alloc(32), 0, 1, 0, [1], []])],
    ['tick', 'its time as uint 64', raw('tick', 5, uint64(fields.tick[5]))],
    ['tick', 'a standing that is not known', changed('tick', 3, 2)],
    ['tick', 'a standing that is a boolean', raw('tick', 3, hexBytes('c3'))],
    ['tick', 'a short process', changed('tick', 4, Buffer.alloc(7))],
    ['tick', '4097 nonces', changed('tick', 9, 4097)],
    ['signed tick', 'a short nonce', changed('signed tick', 2, Buffer.alloc(15))],
    ['signed tick', 'a place and a path, and no nonce', changed('signed tick', 2, null)],
    ['signed tick', 'a place and no path', changed('signed tick', 4, null)],
    ['signed tick', 'a path and no place', changed('signed tick', 3, null)],
    ['signed tick', 'a place of 4096', changed('signed tick', 3, 4096)],
    ['signed tick', 'a path of 13 hashes', changed('signed tick', 4, Buffer.alloc(13 * HASH_BYTES))],
    ['revocation', 'the form of a former draft, without past', pack(fields.revocation.slice(0, 5))],
    ['revocation', 'a past that is not known', changed('revocation', 5, 2)],
    ['order', 'the form of a former draft, without a time', pack(fields.order.slice(0, 3))],
    ['query', 'the kind 1 of a former draft', query(1, null)],
    ['query', 'a kind that is not known', query(8, null)],
    ['query', 'a cursor for a tick', query(0, Buffer.alloc(8))],
    ['query', 'a place of nine bytes', query(2, Buffer.alloc(9))],
    ['query', '65 hashes', query(4, Buffer.alloc(65 * HASH_BYTES))],
    ['query', '17 buckets', query(6, Buffer.alloc(17))],
    ['query', 'a nonce of 15 bytes', wire(7, [Buffer.alloc(15), 2, null])],
    ['page', 'the kind 1 of a former draft', changed('page', 1, 1)],
    ['page', '257 statements', changed('page', 2, Array(257).fill(Buffer.alloc(1)))],
  ]
}

/** Plans that nobody acts on: whole messages with their lists, and why. */
export function badPlans({ authority, identities, plans: { one, three, lost, underPins }, statements }) {
  const [byAuthority, byRevoker] = statements
  const { made, rotators, schedules } = three.fields
  const [hourly, frequent] = schedules
  const sign = (fields, key = authority, label = 'pln') => {
    const structure = pack(Object.values(fields))
    return wire(11, [structure, key.sign(Buffer.concat([labelled(label), structure])), null])
  }
  const bad = (name, reason, changes, { key, label, list = three.list, held = null, now = made } = {}) => ({
    name,
    reason,
    held,
    now,
    list,
    wire: sign({ ...three.fields, ...changes }, key, label),
  })
  const rotator = identities.rotator.public
  return [
    bad('the version 0', 'form', { version: 0, former: null }),
    bad('an end that is its making', 'form', { until: made }),
    bad('services in descending order', 'form', { rotators: rotators.toReversed() }),
    bad('a service twice', 'form', { rotators: [rotators[0], rotators[0], rotators[1]] }),
    bad('a service that is an authority', 'form', { rotators: [authority.public], threshold: 1 }),
    bad('a threshold of 0', 'form', { threshold: 0 }),
    bad('a threshold of half', 'form', { rotators: rotators.slice(0, 2), threshold: 1 }),
    bad('a threshold above the number of services', 'form', { threshold: 4 }),
    bad('a former plan of the same version', 'form', { former: [2, [rotator], 1] }),
    bad('former services in descending order', 'form', { former: [1, rotators.toReversed(), 2] }),
    bad('a former threshold of half', 'form', { former: [1, rotators.slice(0, 2), 1] }),
    bad('a lead of 999 ms', 'form', { schedules: [hourly.with(3, 999)] }),
    bad('a lead that is longer than the period', 'form', { schedules: [hourly.with(2, 299_999)] }),
    bad('epochs of more than a day', 'form', { schedules: [hourly.with(2, DAY_MS)] }),
    bad('a grace of more than 15 minutes', 'form', { schedules: [hourly.with(4, 15 * MINUTE_MS + 1)] }),
    bad('schedules in descending order', 'form', { schedules: [frequent, hourly] }),
    bad('a second schedule beside a boundary of the first', 'form', {
      schedules: [hourly, frequent.with(1, frequent[1] + 1)],
    }),
    bad('a second schedule that repeats a number', 'form', {
      schedules: [hourly, frequent.with(0, SECOND_FIRST - 1)],
    }),
    bad('a second schedule with a period below the lead of the first', 'form', {
      schedules: [hourly, frequent.with(2, 299_999)],
    }),
    bad('the key of another realm', 'realm', { realm: underPins.fields.realm }),
    bad('the signature of a rotation service', 'signature', {}, { key: identities.rotator }),
    bad('a signature under the label of a tick', 'signature', {}, { label: 'tic' }),
    bad('a life of more than 400 days', 'until', { until: made + 400 * DAY_MS + 1 }),
    bad('a making more than 120 s ahead', 'made', {}, { now: made - 120_001 }),
    bad('no list', 'list', {}, { list: [] }),
    bad('a list with one revocation too few', 'list', {}, { list: [byAuthority.wire] }),
    bad(
      'a list with a revocation twice',
      'list',
      {},
      { list: [byAuthority.wire, byRevoker.wire, byRevoker.wire] },
    ),
    bad(
      'a list with a revocation that nobody has signed',
      'list',
      {},
      {
        list: [byAuthority.wire, wire(5, [byRevoker.structure, Buffer.alloc(64), byRevoker.token])],
      },
    ),
    bad(
      'another content than the plan that is held',
      'conflict',
      { until: made + DAY_MS },
      { held: three.name },
    ),
    {
      name: 'a version below the one that is held',
      reason: 'floor',
      held: lost.name,
      now: made,
      list: three.list,
      wire: three.wire,
    },
    {
      name: 'the first version, where a later one is held',
      reason: 'floor',
      held: three.name,
      now: made,
      list: one.list,
      wire: one.wire,
    },
  ]
}

/** Ticks that count for nobody who has the second plan and this nonce, and why. */
export function badTicks({ authority, identities, plans: { three }, ticks }) {
  const [single, five] = ticks
  const answer = five.answers[4]
  const [sibling] = five.answers
  const bad = (
    name,
    reason,
    { fields = {}, key = identities['second rotator'], label = 'tic', echoed, ...changes } = {},
  ) => {
    const structure = pack(Object.values({ ...five.fields, ...fields }))
    const { nonce, index, path } = { ...answer, ...changes }
    const signature = key.sign(Buffer.concat([labelled(label), structure]))
    return { name, reason, nonce, wire: wire(4, [structure, signature, echoed ?? nonce, index, path]) }
  }
  const outsider = identities['fourth rotator']
  return [
    bad('another nonce', 'nonce', { nonce: sibling.nonce }),
    bad('another nonce than the one that its path proves', 'nonce', { echoed: sibling.nonce }),
    bad('the place of another nonce', 'nonce', { index: 0 }),
    bad('a place that is not in the tree', 'nonce', { index: 5 }),
    bad('the path of another nonce', 'nonce', { path: sibling.path }),
    bad('a path that is too long', 'nonce', { path: Buffer.concat([answer.path, Buffer.alloc(HASH_BYTES)]) }),
    bad('a path that is too short', 'nonce', { path: Buffer.alloc(0) }),
    bad('a leaf for a root', 'nonce', {
      fields: { leaves: 1, nonce_root: sha256(labelled('png'), answer.nonce) },
      index: 0,
      path: Buffer.alloc(0),
    }),
    bad('the root of another tick', 'nonce', { fields: { nonce_root: single.fields.nonce_root } }),
    bad('no leaves', 'nonce', { fields: { leaves: 0 } }),
    bad('a service that is not in the plan', 'service', {
      fields: { rotator: outsider.public },
      key: outsider,
    }),
    bad('the signature of another service of the plan', 'signature', { key: identities.rotator }),
    bad('the signature of the authority', 'signature', { key: authority }),
    bad('a signature under the label of a notice', 'signature', { label: 'ntc' }),
    bad('the version of a former plan', 'version', { fields: { plan_version: three.fields.version - 1 } }),
    bad('the version of a later plan', 'version', { fields: { plan_version: three.fields.version + 1 } }),
  ]
}
