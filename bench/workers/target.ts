import { join } from './agent.mjs'
import { serve } from './serve.mjs'

/** What came of a while in which this agent was flooded. */
export interface Flooded {
  /** How long each honest message took, from its publish until the handler, in microseconds. */
  readonly delays: readonly number[]
  /** Messages of the flood that a handler got: there must be none. */
  readonly strange: number
  /** Refused since the last call, by reason. */
  readonly rejections: Readonly<Record<string, number>>
}

/** By which the library is told its engine. */
const ENGINE = 'SUBROSA_ENGINE'

type Agent = Awaited<ReturnType<typeof join>>

/** An honest message is the time of its publish, on the clock that all processes of a machine share. */
const TIME_BYTES = 8

let agent: Agent
let cpu = process.cpuUsage()
let before: Readonly<Record<string, number>> = {}
let delays: number[] = []
let strange = 0

serve({
  async join({ subject, engine, ...who }: { subject: string; engine: string } & Parameters<typeof join>[0]) {
    process.env[ENGINE] = engine
    agent = await join(who)
    agent.bus.subscribe(subject, {
      callback: (_error: unknown, message: { readonly data: Uint8Array }) => {
        const { data } = message
        if (data.length !== TIME_BYTES) strange++
        else delays.push(Number(process.hrtime.bigint() - Buffer.from(data).readBigUInt64BE()) / 1000)
      },
    })
    await agent.bus.flush()
  },
  begin() {
    before = agent.bus.rejections()
    delays = []
    strange = 0
    cpu = process.cpuUsage()
  },
  /** Waits until everything that the server had for it has been taken. @returns CPU time of the process, in microseconds */
  async caughtUp(): Promise<number> {
    await agent.bus.flush()
    const { user, system } = process.cpuUsage(cpu)
    return user + system
  },
  end(): Flooded {
    const now: readonly [string, number][] = Object.entries(agent.bus.rejections())
    const since = now.map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
    const rejections = Object.fromEntries(since.filter(([, count]) => count > 0))
    return { delays, strange, rejections }
  },
})
