import { describe, expect, it } from 'vitest'
import { spread } from '../../bench/lib/stats.ts'
import { judged, peersAlike, targetsOf } from '../../bench/lib/targets.mjs'

/** As much of the results of the pipe as the targets look at. */
function pipeWith(ratios: Readonly<Record<string, number>>) {
  const variants = Object.entries(ratios).map(([name, value]) => ({ name, ratio: spread([value]) }))
  return { pipe: { sizes: [128, 1024, 16_384].map((size) => ({ size, variants })) } }
}

/** A peer that takes so long, with these properties. */
function peer(name: string, us: number, properties?: { senderSigned: boolean; freshEphemeral: boolean }) {
  return { name, sum: spread([us]), timesOwn: spread([us / 100]), properties }
}

describe('a target', () => {
  it.each([
    { direction: 'at least', reached: 0.5, met: true },
    { direction: 'at least', reached: 0.4999, met: false },
    { direction: 'at most', reached: 0.5, met: true },
    { direction: 'at most', reached: 0.5001, met: false },
  ])('is judged as it is written: $reached for $direction 0.5', ({ direction, reached, met }) => {
    expect(judged({ what: 'x', asked: 0.5, direction, unit: 'ratio', reached })).toEqual({
      what: 'x',
      asked: 0.5,
      reached,
      unit: `ratio, ${direction}`,
      met,
    })
  })

  it.each([undefined, Number.NaN, Number.POSITIVE_INFINITY])(
    'that was not measured is not met: %s',
    (reached) => {
      for (const direction of ['at least', 'at most']) {
        const target = judged({ what: 'x', asked: 1, direction, unit: 'ratio', reached })
        expect(target.reached).toBeNull()
        expect(target.met).toBe(false)
      }
    },
  )
})

describe('the targets of a run', () => {
  it('are those of the suites that ran', () => {
    expect(targetsOf({})).toEqual([])
    const whats = targetsOf(pipeWith({ channel: 1 })).map(({ what }: { what: string }) => what)
    expect(whats).toHaveLength(7)
    expect(whats.every((what: string) => what.includes('÷ plaintext'))).toBe(true)
  })

  it('take the ratio of the variant that they name', () => {
    const targets = targetsOf(pipeWith({ channel: 0.55, 'session to 1': 9, 'session to 3': 0.2 }))
    expect(targets.map(({ reached, met }: { reached: number; met: boolean }) => [reached, met])).toEqual([
      [0.55, true],
      [0.55, true],
      [0.55, false],
      [0.2, false],
      [0.2, false],
      [0.2, false],
      [null, false],
    ])
  })

  it('compare a sealed call of a tool with the plaintext pipe and with HTTP', () => {
    const echo = (size: number, p50Ratio: number, p50ToHttp: number) => ({
      size,
      variants: [{ name: 'sealed', p50Ratio: spread([p50Ratio]), p50ToHttp: spread([p50ToHttp]) }],
    })
    const reached = (echoes: object[]) =>
      targetsOf({ mcp: { echoes } }).map(({ reached, met }: { reached: number; met: boolean }) => [
        reached,
        met,
      ])
    expect(reached([echo(65_536, 9, 9), echo(128, 1.3, 0.9)])).toEqual([
      [1.3, true],
      [0.9, true],
    ])
    expect(reached([echo(128, 1.31, 1.01)])).toEqual([
      [1.31, false],
      [1.01, false],
    ])
    expect(reached([])).toEqual([
      [null, false],
      [null, false],
    ])
  })

  it('compare with the fastest peer of the same properties, however fast the others are', () => {
    const peers = [
      {
        recipients: 1,
        rows: [
          peer('own', 100),
          peer('unsigned', 1, { senderSigned: false, freshEphemeral: true }),
          peer('static', 2, { senderSigned: true, freshEphemeral: false }),
          peer('slow', 900, { senderSigned: true, freshEphemeral: true }),
          peer('fast', 80, { senderSigned: true, freshEphemeral: true }),
        ],
      },
    ]
    expect(peersAlike(peers).map(({ name }: { name: string }) => name)).toEqual(['fast', 'slow'])
    const [, fastest, next] = targetsOf({ seal: { peers, agreements: [], primitives: [] } })
    expect(fastest).toMatchObject({ reached: 0.8, met: false })
    expect(next).toMatchObject({ reached: 9, met: false })
  })

  it('are not met where no such peer is installed', () => {
    const [, target] = targetsOf({ seal: { peers: [], agreements: [], primitives: [] } })
    expect(target).toMatchObject({ reached: null, met: false })
    expect(target.what).toContain('none is installed')
  })

  it('hold memory against bytes left behind', () => {
    const memory = { messages: 2_000_000, publisher: { heap: -0.1 }, subscriber: { heap: 16 } }
    expect(targetsOf({ memory }).map(({ met }: { met: boolean }) => met)).toEqual([true, false])
  })
})
