import { PLAIN, prove, sealedTo, startPipe } from './lib/pipe.mjs'

const [size = '128', which = 'channel,session', profile] = process.argv.slice(2)
const V = {
  plain: { name: 'plain', way: { mode: 'plain', subject: PLAIN }, subscribers: 1, burst: 256 },
  channel: { name: 'channel', way: { mode: 'channel', subject: sealedTo(1) }, subscribers: 1, burst: 256 },
  session: { name: 'session', way: { mode: 'session', subject: sealedTo(3) }, subscribers: 1, burst: 256 },
  many: {
    name: 'many',
    way: { mode: 'session', many: 64, subject: sealedTo(1) },
    subscribers: 1,
    burst: 256,
  },
  one: { name: 'one', way: { mode: 'session', subject: sealedTo(1) }, subscribers: 1, burst: 1 },
}
const names = ['plain', ...which.split(',')]
const pipe = await startPipe({ profile })
const counts = { plain: 300000, channel: 200000, session: 80000, many: 1200000, one: 10000 }
const scale = Number(size) > 2000 ? 0.03 : Number(size) > 500 ? 0.3 : 1
const all = {}
for (let r = 0; r < 7; r++) {
  for (const n of names) {
    const f = await pipe.flow(V[n], { size: Number(size), count: 64 * Math.round((counts[n] * scale) / 64) })
    if (r >= 2) (all[n] ??= []).push(f)
  }
}
const med = (a) => a.toSorted((x, y) => x - y)[a.length >> 1]
for (const n of names) {
  const ratio = med(all[n].map((f, i) => f.rate / all.plain[i].rate))
  console.log(
    n.padEnd(10),
    Math.round(med(all[n].map((f) => f.rate)))
      .toString()
      .padStart(8),
    ratio.toFixed(3),
    'pub',
    med(all[n].map((f) => f.publisherUs)).toFixed(2),
    'sub',
    med(all[n].map((f) => f.subscriberUs)).toFixed(2),
  )
}
await pipe.stop()
