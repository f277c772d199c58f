import { describe, expect, it } from 'vitest'
import { interleaved, orderOf, ratio } from '../../bench/lib/rounds.ts'
import { timed } from '../../bench/lib/slices.ts'

const variants = [{ name: 'a' }, { name: 'b' }, { name: 'c' }]

describe('interleaved rounds', () => {
  it('begin with another variant each time, and leave none out', () => {
    const orders = [0, 1, 2, 3].map((round) => orderOf(['a', 'b', 'c'], round).join(''))
    expect(orders).toEqual(['abc', 'bca', 'cab', 'abc'])
  })

  it('measure every variant once in each, and count no warm-up', async () => {
    const seen: string[] = []
    const rounds = await interleaved(variants, { rounds: 2, warmUp: 1 }, ({ name }) => {
      seen.push(name)
      return seen.length
    })
    expect(seen.join('')).toBe('abcbcacab')
    expect(rounds).toEqual([
      { a: 6, b: 4, c: 5 },
      { a: 8, b: 9, c: 7 },
    ])
  })

  it('end with the error of a variant that fails', async () => {
    const failing = interleaved(variants, { rounds: 1 }, () => {
      throw new Error('lost')
    })
    await expect(failing).rejects.toThrow('lost')
  })

  it('compare within a round, so that what disturbs a round disturbs no ratio', () => {
    const disturbed = [1, 10, 0.1, 3, 1].map((factor) => ({ plain: 100 * factor, sealed: 25 * factor }))
    expect(ratio(disturbed, 'sealed', 'plain')).toMatchObject({ median: 0.25, min: 0.25, max: 0.25 })
  })

  it('show a slow-down of one round by the spread and not by the median', () => {
    const rounds = [25, 25, 25, 25, 5].map((sealed) => ({ plain: 100, sealed }))
    expect(ratio(rounds, 'sealed', 'plain')).toMatchObject({ median: 0.25, min: 0.05 })
  })

  it('have no ratio to something that was not measured', () => {
    expect(ratio([{ sealed: 1 }], 'sealed', 'plain').median).toBeNaN()
  })
})

describe('slices of work', () => {
  const plan = { rounds: 5, slices: 5, sliceMs: 1, warmUpMs: 20 }
  let sum = 0
  const spin = (turns: number) => () => {
    for (let i = 0; i < turns; i++) sum += Math.sqrt(i)
  }

  it('show a slow-down that was planted, and where', async () => {
    const rounds = await timed(
      [
        { name: 'usual', seal: spin(2000), open: spin(2000) },
        { name: 'planted', seal: spin(2000), open: spin(10_000) },
      ],
      plan,
    )
    const of = (part: 'seal' | 'open') => {
      const values = rounds.map((round) => ({
        usual: round['usual']?.[part] ?? Number.NaN,
        planted: round['planted']?.[part] ?? Number.NaN,
      }))
      return ratio(values, 'planted', 'usual').median
    }
    expect(of('open')).toBeGreaterThan(2.5)
    expect(of('seal')).toBeLessThan(2)
    expect(sum).toBeGreaterThan(0)
  })

  it('open exactly what was sealed in them', async () => {
    let sealed = 0
    const opened: unknown[] = []
    const work = {
      name: 'work',
      seal: () => ++sealed,
      open: (value: unknown) => {
        opened.push(value)
      },
    }
    await timed([work], { ...plan, rounds: 1 })
    expect(opened).toEqual(Array.from({ length: sealed }, (_, i) => i + 1))
  })

  it('wait for work that is asynchronous', async () => {
    let underWay = 0
    const work = {
      name: 'work',
      isAsync: true,
      seal: async () => {
        underWay++
        await Promise.resolve()
        underWay--
      },
      open: () => {
        if (underWay > 0) throw new Error('opened before it was sealed')
      },
    }
    await expect(timed([work], { ...plan, rounds: 1 })).resolves.toHaveLength(1)
  })

  it('call what takes too long once', async () => {
    let calls = 0
    const work = {
      name: 'slow',
      seal: () => {
        calls++
        const until = performance.now() + 5
        while (performance.now() < until) sum++
      },
      open: () => {},
    }
    const rounds = await timed([work], { ...plan, maxCallMs: 1 })
    expect(calls).toBe(1)
    expect(rounds.filter((round) => 'slow' in round)).toHaveLength(1)
  })
})
