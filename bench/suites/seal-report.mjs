import { bytes, duration, note, ratioText, table } from '../lib/report.ts'

/** @param {readonly Awaited<ReturnType<typeof import('./seal.mjs').againstPrimitives>>[]} results */
export function printPrimitives(results) {
  table(
    'seal, one recipient, against its bare primitives',
    ['', 'seal', 'primitives', 'open', 'primitives', 'ratio, median [quartiles]'],
    results.map(({ engine, size, seal, bareSeal, open, bareOpen, ratio }) => [
      `${engine}, ${bytes(size)}`,
      ...[seal, bareSeal, open, bareOpen].map(({ median }) => duration(median)),
      ratioText(ratio),
    ]),
  )
}

/** @param {readonly Awaited<ReturnType<typeof import('./seal.mjs').againstAgreements>>[]} results */
export function printAgreements(results) {
  table(
    'seal, libsodium, against as many bare key agreements (X25519)',
    ['recipients', 'seal', 'agreements', 'ratio, median [quartiles]'],
    results.map(({ recipients, seal, agreements: bare, ratio }) => [
      `${recipients}`,
      duration(seal.median),
      duration(bare.median),
      ratioText(ratio),
    ]),
  )
}

/** @param {readonly Awaited<ReturnType<typeof import('./seal.mjs').frameCosts>>[]} results */
export function printFrames(results) {
  table(
    'one frame of a session that is open, libsodium',
    ['', 'seal', 'open'],
    results.flatMap(({ size, kinds }) =>
      kinds.map(({ name, seal, open }) => [
        `${name}, ${bytes(size)}`,
        duration(seal.median),
        duration(open.median),
      ]),
    ),
  )
}

/** @param {Awaited<ReturnType<typeof import('./seal.mjs').againstPeers>>} result */
export function printPeers({ recipients, payload, rows, missing }) {
  table(
    `seal, ${bytes(payload)} to ${recipients}, against other packages`,
    ['', 'seal', 'open', '× own, median [quartiles]', 'bytes', 'signed', 'ephemeral'],
    rows.map(({ name, seal, open, timesOwn, sealedBytes, properties }) => [
      name,
      duration(seal.median),
      duration(open.median),
      ratioText(timesOwn),
      sealedBytes.toLocaleString('en'),
      properties?.senderSigned === false ? 'no' : 'yes',
      properties?.freshEphemeral === false ? 'no' : 'yes',
    ]),
  )
  for (const { name, addMemberUs } of rows)
    if (addMemberUs !== undefined) note(`${name}: adding a member takes ${duration(addMemberUs)} more`)
  for (const name of missing) note(`${name}: not installed (npm ci --prefix bench)`)
}
