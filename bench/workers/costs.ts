import { importFrom } from '../lib/checkout.ts'
import { type FrameWork, type MessageWork, proveFrames, proveMessage } from '../lib/proof.ts'
import { type SlicePlan, type Times, timed, type Work } from '../lib/slices.ts'
import { serve } from './serve.mjs'

type EngineName = 'libsodium' | 'noble'

interface Engine {
  randomBytes(length: number): Uint8Array
}

/** What is called of a checkout, in the file of its own that knows its layout: bench/lib/own.mjs. */
interface Own {
  makeRecipients(engine: Engine, count: number): readonly unknown[]
  messageWork(
    engine: Engine,
    of: { readonly recipients: readonly unknown[]; readonly payload: Uint8Array },
  ): MessageWork
  frameWork(
    engine: Engine,
    of: { readonly mode: 'session' | 'channel'; readonly batch: number; readonly payload: Uint8Array },
  ): FrameWork
}

interface Engines {
  chooseEngine(name: EngineName): Engine
}

/** Something to seal and to open: a message to so many, or a batch of frames of a session. */
export type Kind = { readonly engine: EngineName; readonly size: number } & (
  | { readonly recipients: number }
  | { readonly mode: 'session' | 'channel'; readonly batch: number }
)

/** A round: microseconds for one message, or for one batch. */
export interface CostRound {
  readonly before: Times
  readonly after: Times
}

interface Task {
  readonly kind: Kind
  readonly plan: SlicePlan
  /** Where the checkouts are, the first one first. */
  readonly folders: readonly { readonly name: 'before' | 'after'; readonly folder: string }[]
}

/** A message is tried with so many of its bytes changed in turn: one in this many. */
const PROOF_STEP = 16

const proven = new Map<string, Promise<Pick<Work, 'seal' | 'open'>>>()

serve({
  /** What keeps this checkout from being measured, if anything does: it lacks a part, or its proof fails. */
  async obstacle({ folder, kind }: { readonly folder: string; readonly kind: Kind }) {
    try {
      await workOf(folder, kind)
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  },
  async measure({ kind, plan, folders }: Task): Promise<readonly CostRound[]> {
    const works: Work[] = []
    for (const { name, folder } of folders) works.push({ name, ...(await workOf(folder, kind)) })
    return (await timed(works, plan)).map(({ before, after }) => {
      if (before === undefined || after === undefined) throw new Error('a round is not complete')
      return { before, after }
    })
  },
})

/** The work of a checkout. Before it is timed it is shown to open what it seals, and to refuse what was changed. */
function workOf(folder: string, kind: Kind) {
  const key = JSON.stringify([folder, kind])
  const known = proven.get(key) ?? provenWork(folder, kind)
  proven.set(key, known)
  return known
}

async function provenWork(folder: string, kind: Kind): Promise<Pick<Work, 'seal' | 'open'>> {
  const engines = await importFrom<Engines>(folder, 'dist/crypto/engine.js', ['chooseEngine'])
  const parts = ['makeRecipients', 'messageWork', 'frameWork'] as const
  const own = await importFrom<Own>(folder, 'bench/lib/own.mjs', parts)
  const engine = engines.chooseEngine(kind.engine)
  const payload = engine.randomBytes(kind.size)
  if ('recipients' in kind) {
    const work = own.messageWork(engine, { recipients: own.makeRecipients(engine, kind.recipients), payload })
    proveMessage(work, payload, PROOF_STEP)
    return work
  }
  const work = own.frameWork(engine, { mode: kind.mode, batch: kind.batch, payload })
  proveFrames(work, payload)
  return work
}
