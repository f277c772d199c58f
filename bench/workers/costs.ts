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
  readonly folders: { readonly before: string; readonly after: string }
  readonly kind: Kind
  readonly plan: SlicePlan
}

serve({
  /** What keeps this checkout from being measured, if anything does: it lacks a part, or its proof fails. */
  async obstacle(task: { readonly folder: string; readonly kind: Kind }): Promise<string | undefined> {
    try {
      await provenWork(task.folder, task.kind)
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  },
  async measure({ folders, kind, plan }: Task): Promise<readonly CostRound[]> {
    const works: readonly Work[] = [
      { name: 'before', ...(await provenWork(folders.before, kind)) },
      { name: 'after', ...(await provenWork(folders.after, kind)) },
    ]
    return (await timed(works, plan)).map(({ before, after }) => {
      if (before === undefined || after === undefined) throw new Error('a round is not complete')
      return { before, after }
    })
  },
})

/** The work of a checkout, once it is shown that it opens what it seals and refuses what was changed. */
async function provenWork(folder: string, kind: Kind): Promise<Pick<Work, 'seal' | 'open'>> {
  const engines = await importFrom<Engines>(folder, 'dist/crypto/engine.js', ['chooseEngine'])
  const own = await importFrom<Own>(folder, 'bench/lib/own.mjs', [
    'makeRecipients',
    'messageWork',
    'frameWork',
  ])
  const engine = engines.chooseEngine(kind.engine)
  const payload = engine.randomBytes(kind.size)
  if ('recipients' in kind) {
    const work = own.messageWork(engine, { recipients: own.makeRecipients(engine, kind.recipients), payload })
    proveMessage(work, payload)
    return work
  }
  const work = own.frameWork(engine, { mode: kind.mode, batch: kind.batch, payload })
  proveFrames(work, payload)
  return work
}
