import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Row } from '../../scripts/defences/list.ts'
import type { Scratch } from '../../scripts/defences/scratch.ts'

/** A defence without which the adversary has to find a violation: what is taken out of a copy, and how soon it is seen. */
export interface Proof extends Pick<Row, 'file' | 'takeOut' | 'putIn'> {
  readonly defence: string
  /** In so many schedules. */
  readonly within: number
  /** Whether these are schedules in which a member is revoked and the realm divided. Default: any. */
  readonly isDividing?: true
}

export const PROOFS: readonly Proof[] = [
  {
    defence: 'what is delivered to a subscription is on a subject that it covers',
    file: 'src/bus/safely.ts',
    takeOut: '!covers(pattern, subject)',
    putIn: '(covers(pattern, subject), false)',
    within: 30,
  },
  {
    defence: 'frames are signed by the session’s sender',
    file: 'src/session/session-auth.ts',
    takeOut: 'if (frames === 1) return isSigned(leaf)',
    putIn: 'if (frames === 1) return isSigned(leaf) || true',
    within: 30,
  },
  {
    defence: 'messages and handshakes are signed by the sender that they name',
    file: 'src/bus/in/sealed-receiver.ts',
    takeOut: 'const isSigned = verifySender(engine, message, sender.announcement.messageKey)',
    putIn: 'const isSigned = verifySender(engine, message, sender.announcement.messageKey) || true',
    within: 30,
  },
  {
    defence: 'nothing is sealed to agents that may not read it',
    file: 'src/keys/directory.ts',
    takeOut: 'const mayRead = (claims: IdentityClaims): boolean => allows(claims.permissions.sub, subject)',
    putIn:
      'const mayRead = (claims: IdentityClaims): boolean => allows(claims.permissions.sub, subject) || true',
    within: 4,
  },
  {
    defence: 'what a sender may not publish is not delivered',
    file: 'src/bus/in/judge.ts',
    takeOut: '!PermittedSubjects.of(sender.claims.permissions.pub).allows(opened.subject)',
    putIn: '!PermittedSubjects.of(sender.claims.permissions.pub).allows(opened.subject) && seq < 0',
    within: 12,
  },
  {
    defence: 'only whoever was asked can respond',
    file: 'src/bus/in/judge.ts',
    takeOut: 'candidate.isMany || !arrival.mayRespond(opened, sender)',
    putIn: 'candidate.isMany || (!arrival.mayRespond(opened, sender) && seq < 0)',
    within: 60,
  },
  {
    defence: 'headers in clear are those that were sealed',
    file: 'src/bus/in/judge.ts',
    takeOut: "if (!clearHeadersMatch(delivered, opened.clearHeaders)) return 'headers'",
    putIn: '',
    within: 60,
  },
  {
    defence: 'what comes too late is not delivered',
    file: 'src/bus/in/judge.ts',
    takeOut: "if (!isInTime(opened.sentAtMs, epoch, { ttlMs, now })) return 'time'",
    putIn: '',
    within: 60,
  },
  {
    defence: 'nothing is delivered twice',
    file: 'src/bus/in/replay.ts',
    takeOut: 'return windows.get(name)?.seen(seq) ?? seq < 1',
    putIn: 'return seq < 1',
    within: 12,
  },
  {
    defence: 'what a subscription got is not delivered to the next one of its pattern',
    file: 'src/bus/in/replay.ts',
    takeOut: 'const windows = this.#closed.get(key) ?? new Map<string, ReplayWindow>()',
    putIn: 'const windows = new Map<string, ReplayWindow>()',
    within: 60,
  },
  {
    defence: 'as many rotation services must have answered as the plan says',
    file: 'src/keys/tick-count.ts',
    takeOut: 'sort((a, b) => b - a)[threshold - 1]',
    putIn: 'sort((a, b) => b - a)[threshold - threshold]',
    within: 16,
    isDividing: true,
  },
  {
    defence: 'a rotation service counts only for whoever holds all revocations that it names',
    file: 'src/bus/realm/named-sets.ts',
    takeOut: 'return this.#options.revocations.holds(tick)',
    putIn: 'return this.#options.revocations.holds(tick) || true',
    within: 16,
    isDividing: true,
  },
  {
    defence: 'an error of the library’s own is not swallowed',
    file: 'src/bus/in/judge.ts',
    takeOut: 'const isResponse = arrival.mayRespond !== undefined',
    putIn:
      "const isResponse = arrival.mayRespond !== undefined\n  if (seq % 7 === 3) throw new TypeError('no')",
    within: 4,
  },
]

/** The first schedule's seed. */
const SEED = 40_000
const TIMEOUT_MS = 600_000

/**
 * Takes a defence out of a copy, runs the adversary there, and puts it back.
 *
 * @returns what the adversary found; `undefined` where it found nothing
 * @throws Error when the text is not there, or the copy does not compile without it
 */
export function prove(proof: Proof, scratch: Scratch): string | undefined {
  const restore = scratch.takeOut(proof)
  try {
    const tsx = join(scratch.folder, 'node_modules/tsx/dist/cli.mjs')
    const script = ['--conditions', 'subrosa-source', 'test/adversary/run.ts']
    const options = ['--schedules', String(proof.within), '--seed', String(SEED), '--shrink', '0']
    if (proof.isDividing) options.push('--dividing')
    const { stdout, stderr } = spawnSync(process.execPath, [tsx, ...script, ...options], {
      cwd: scratch.folder,
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    })
    const done = /^\d+ of \d+ schedules/m.exec(stdout)?.[0]
    const found = /^adversary: error: the schedule of seed .*$/m.exec(stderr)?.[0]
    if (done === undefined) throw new Error(`the adversary did not run: ${stderr}`)
    return found === undefined ? undefined : `${done}: ${found}`
  } finally {
    restore()
  }
}
