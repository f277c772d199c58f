import { describe, expect, it } from 'vitest'
import { inTurns, startBoth } from '../../bench/against/turns.ts'

const rows = [{ name: 'x' }, { name: 'y' }]

/** The order in which rows and checkouts are measured, as text. */
async function orderOf(first: number): Promise<string> {
  const seen: string[] = []
  await inTurns(rows, { rounds: 2, warmUp: 1, first }, async ({ name }, side) => {
    seen.push(`${name}${side === 'before' ? 'A' : 'B'}`)
  })
  return seen.join(' ')
}

describe('two checkouts in turns', () => {
  it('are measured one right after the other, A B in one round and B A in the next', async () => {
    expect(await orderOf(0)).toBe('xA xB yA yB yB yA xB xA xA xB yA yB')
  })

  it('change places where a sitting begins with the other', async () => {
    expect(await orderOf(1)).toBe('xB xA yB yA yA yB xA xB xB xA yB yA')
  })

  it('give a pair for each round, and none for the warm-up', async () => {
    let calls = 0
    const measured = await inTurns([{ name: 'x' }], { rounds: 2, warmUp: 1, first: 0 }, async () => ++calls)
    expect([...measured.values()]).toEqual([
      [
        { before: 4, after: 3 },
        { before: 5, after: 6 },
      ],
    ])
  })

  it('end with the error of either', async () => {
    const failing = inTurns(rows, { rounds: 1, warmUp: 0, first: 0 }, async (_row, side) => {
      if (side === 'after') throw new Error('lost')
    })
    await expect(failing).rejects.toThrow('lost')
  })

  it('are stopped together', async () => {
    const stopped: string[] = []
    const both = await startBoth({ before: 'a', after: 'b' }, async (name) => ({
      stop: async () => {
        stopped.push(name)
      },
    }))
    await both.stop()
    expect(stopped).toEqual(['a', 'b'])
  })

  it('leave nothing running where the second does not start', async () => {
    const stopped: string[] = []
    const starting = startBoth({ before: 'a', after: 'b' }, async (name) => {
      if (name === 'b') throw new Error('no port')
      return {
        stop: async () => {
          stopped.push(name)
        },
      }
    })
    await expect(starting).rejects.toThrow('no port')
    expect(stopped).toEqual(['a'])
  })
})
