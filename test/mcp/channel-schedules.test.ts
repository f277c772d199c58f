import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { DEFAULT_MCP_HEARTBEAT_MS, MCP_CHUNK_BYTES, MCP_WINDOW_BYTES } from '../../src/base/limits.ts'
import { MCP_FRAME_HEADER_BYTES } from '../../src/mcp/session/frames.ts'
import { engine } from '../support/identities.ts'
import { ChannelPair, type Line, type Side, turn } from './channel-pair.ts'

type Who = 'client' | 'server'

type Step =
  | { readonly kind: 'send'; readonly who: Who; readonly length: number }
  | { readonly kind: 'carry'; readonly to: Who; readonly count: number }
  | { readonly kind: 'stop' | 'go on'; readonly who: Who }
  | { readonly kind: 'limit'; readonly from: Who; readonly bytes: number }
  | { readonly kind: 'time'; readonly ms: number }

const who = fc.constantFrom<Who>('client', 'server')
const length = fc.oneof(
  fc.nat({ max: 300 }),
  fc.constantFrom(0, MCP_CHUNK_BYTES - 1, MCP_CHUNK_BYTES, MCP_CHUNK_BYTES + 1),
  fc.constantFrom(0, 1, 2).map((more) => MCP_WINDOW_BYTES - MCP_FRAME_HEADER_BYTES - 1 + more),
  fc.nat({ max: 3 * MCP_WINDOW_BYTES }),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('send' as const), who, length }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('carry' as const), to: who, count: fc.nat({ max: 40 }) }),
  },
  fc.record({ kind: fc.constantFrom('stop' as const, 'go on' as const), who }),
  fc.record({
    kind: fc.constant('limit' as const),
    from: who,
    bytes: fc.integer({ min: 400, max: 100_000 }),
  }),
  fc.record({ kind: fc.constant('time' as const), ms: fc.nat({ max: DEFAULT_MCP_HEARTBEAT_MS / 2 }) }),
)
const schedule = fc.array(step, { maxLength: 60 })

/** A pair that does what a schedule says, and what each of its sides has sent. */
class Play {
  readonly pair = new ChannelPair()
  readonly sent = { client: [] as Uint8Array[], server: [] as Uint8Array[] }
  /** How many messages of each side could not be sent. */
  readonly refused = { client: 0, server: 0 }
  #count = 0

  /** The line to a side. */
  to(side: Who): Line {
    return side === 'server' ? this.pair.toServer : this.pair.toClient
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      this.#do(step)
      await turn()
    }
  }

  send(from: Who, length: number): void {
    const bytes = new Uint8Array(length).fill(++this.#count)
    this.sent[from].push(bytes)
    this.pair[from].channel.send(bytes).catch(() => {
      this.refused[from]++
    })
  }

  #do(step: Step): void {
    switch (step.kind) {
      case 'send':
        return this.send(step.who, step.length)
      case 'carry':
        return this.pair[step.to].take(this.to(step.to), step.count)
      case 'stop':
        return this.pair[step.who].stopReading()
      case 'go on':
        return this.pair[step.who].goOn()
      case 'limit':
        this.pair[step.from].sent.maxPayload = step.bytes
        return
      case 'time':
        this.pair.clock.advance(step.ms)
        // Signs of life are not what is tested here: nobody is kept from them.
        this.pair.server.take(this.pair.toServer)
        this.pair.client.take(this.pair.toClient)
    }
  }
}

const digests = (messages: readonly Uint8Array[]): string[] =>
  messages.map((bytes) => `${bytes.length} ${hex(engine.sha256(bytes))}`)

/** What one side was handed is the beginning of what the other has sent. */
function expectBeginning(got: Side, sent: readonly Uint8Array[]): void {
  expect(digests(got.got)).toEqual(digests(sent.slice(0, got.got.length)))
}

test('under any schedule each message arrives once, whole and in order, and the session goes on', async () => {
  await fc.assert(
    fc.asyncProperty(schedule, async (steps) => {
      const play = new Play()
      const { client, server } = play.pair
      await play.run(steps)
      for (const side of [client, server]) side.goOn()
      await play.pair.flow()
      expect(digests(server.got)).toEqual(digests(play.sent.client))
      expect(digests(client.got)).toEqual(digests(play.sent.server))
      expect([play.refused, client.closed, server.closed]).toEqual([{ client: 0, server: 0 }, [], []])
    }),
    { numRuns: 60 },
  )
})

test('under any schedule an end on purpose loses nothing that had gone before it', async () => {
  await fc.assert(
    fc.asyncProperty(schedule, who, async (steps, by) => {
      const play = new Play()
      const { client, server } = play.pair
      await play.run(steps)
      const other = by === 'client' ? 'server' : 'client'
      await play.pair[by].channel.close()
      for (const side of [client, server]) side.goOn()
      await play.pair.flow()
      expect([client.closed, server.closed]).toEqual([[undefined], [undefined]])
      expectBeginning(client, play.sent.server)
      expectBeginning(server, play.sent.client)
      expect(play.pair[other].got).toHaveLength(play.sent[by].length - play.refused[by])
    }),
    { numRuns: 60 },
  )
})

test('whatever is done to the frames, nothing but the beginning arrives, and both sides end', async () => {
  const harm = fc.record({
    to: who,
    kind: fc.constantFrom<'drop' | 'repeat' | 'swap' | 'late'>('drop', 'repeat', 'swap', 'late'),
    at: fc.nat(),
  })
  await fc.assert(
    fc.asyncProperty(schedule, harm, schedule, async (steps, { to, kind, at }, more) => {
      const play = new Play()
      const { client, server } = play.pair
      await play.run(steps)
      const line = play.to(to)
      const from = to === 'client' ? 'server' : 'client'
      const kept = line.frames[0]
      play.pair[from].channel.send(new Uint8Array(0)).catch(() => {})
      play.sent[from].push(new Uint8Array(0))
      // Something must be there to be harmed.
      fc.pre(line.frames.length >= 2 && kept !== undefined)
      const index = at % (line.frames.length - 1)
      const [frame = kept] = line.frames.slice(index)
      if (kind === 'drop') line.frames.splice(index, 1)
      if (kind === 'repeat') line.frames.splice(index, 0, frame)
      if (kind === 'swap') line.frames.splice(index, 2, ...line.frames.slice(index, index + 2).reverse())
      if (kind === 'late') line.frames.push(frame)
      await play.run(more)
      for (const side of [client, server]) side.goOn()
      await play.pair.flow()
      await play.pair.pass(5 * DEFAULT_MCP_HEARTBEAT_MS)
      for (const side of [client, server]) {
        expect(side.closed).toHaveLength(1)
        expect(side.error).toMatchObject({ code: 'ERR_MCP_ENDED' })
        expect(side.ends).toBe(1)
      }
      expectBeginning(client, play.sent.server)
      expectBeginning(server, play.sent.client)
    }),
    { numRuns: 60 },
  )
})
