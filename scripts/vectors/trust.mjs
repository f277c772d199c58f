// Plans, epochs, ticks, queries and buckets, computed from SPEC.

import {
  bigEndian,
  fixed,
  labelled,
  merklePath,
  merkleRoot,
  pack,
  sha256,
  signer,
  wire,
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
export function listHash(revocations) {
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
        wire: wire(4, [structure, signature, index, path]),
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
      broadcast: nonces.length === 0 ? wire(4, [structure, signature, null, null]) : null,
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
    const reply = `${root}.inbox.${subject.split('.').at(-1)}`
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
  const buckets = query('the hashes of all buckets', { kind: 6 })
  const two = query('what is in two buckets', {
    kind: 6,
    cursor: Buffer.from(full.map(({ index }) => index)),
  })
  const given = query('a hand-over of the own announcement', { kind: 7, cursor: announcement.wire })
  return {
    rids: [rotator].map((key) => ({ rotator: key.public, rid: ridOf(key.public) })),
    queries: [ping, watched, all, further, revocations, some, newest, buckets, two, given],
    pages: [
      page(all, [announcement.wire], bigEndian(8, 100)),
      page(further, []),
      page(revocations, list),
      page(some, [announcement.wire]),
      page(newest, [planWire, ...list]),
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
