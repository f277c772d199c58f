import type { Command } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { MAX_LIFETIME_MS } from '../../setup/agents.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import type { PlanChange } from '../../setup/plans.ts'
import type { Realm } from '../../setup/realm.ts'
import { inLockedRealm } from '../../setup/realm-lock.ts'
import { listRevocations } from '../../setup/revocation-records.ts'
import { revokeAgent } from '../../setup/revocations.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { addChangeOptions, type ChangePlanOptions, changePlan } from '../realm/change-plan.ts'
import { freeRotatorName, rotatorKeys } from '../realm/plan-rotators.ts'
import { addExamples, parseName } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface ReplaceOptions extends ChangePlanOptions {
  readonly stolen?: true
}

/** Registers `subrosa plan replace-rotator`. */
export function registerPlanReplaceRotator(plan: Command, terminal: Terminal): void {
  const command = plan
    .command('replace-rotator')
    .description(
      'make a plan with another rotation service in the place of one whose record is lost, whose key was stolen, or that moves',
    )
    .argument('<name>', 'the rotation service that goes, or its public key', parseName)
    .argument('[by]', 'the one that comes; default: a new one', parseName)
    .option('--stolen', 'its key is in wrong hands: revoke it too, and take no word of it')
    .action((name: string, by: string | undefined, options: ReplaceOptions) =>
      replace(terminal, { name, by, options }),
    )
  addChangeOptions(command, terminal)
  addExamples(
    command,
    'subrosa plan replace-rotator rotator-2',
    'subrosa plan replace-rotator rotator-2 --stolen',
    'subrosa plan replace-rotator rotator --lost',
  )
}

interface ReplaceArguments {
  readonly name: string
  readonly by: string | undefined
  readonly options: ReplaceOptions
}

async function replace(terminal: Terminal, asked: ReplaceArguments): Promise<void> {
  await inLockedRealm(asked.options.realm, (realm) => replaceIn(realm, terminal, asked))
}

async function replaceIn(
  realm: Realm,
  terminal: Terminal,
  { name, by, options }: ReplaceArguments,
): Promise<void> {
  const former = await newestPlan(realm)
  const gone = await keyOf(realm, former.plan, name)
  const owner = (await rotatorNames(realm)).get(gone)
  const change = async (): Promise<PlanChange> => {
    const comes = by ?? (await freeRotatorName(realm))
    const keys = await rotatorKeys(terminal, realm, [comes])
    if (options.stolen) {
      await revokeStolen(realm, gone, owner)
      // Before anything else can fail: nobody else says it.
      note(
        terminal,
        `the key of ${name} is revoked in this folder, and the plan tells everybody; where none is made, repeat this with ${comes} in its place: subrosa plan replace-rotator ${name} ${comes} --stolen`,
      )
    }
    return { rotators: [...former.plan.rotators.filter((rotator) => rotator !== gone), ...keys] }
  }
  await changePlan(terminal, options, {
    realm,
    former,
    purpose: 'subrosa plan replace-rotator',
    leaving: [gone],
    ...(options.stolen && { stolen: gone }),
    change,
  })
}

/** Revokes a key, unless that is done already. @throws SubrosaError ERR_SETUP when no agent of the folder has it */
async function revokeStolen(realm: Realm, key: string, owner: string | undefined): Promise<void> {
  if (owner !== undefined) {
    await revokeAgent(realm, { name: owner, reason: 'stolen', lastsMs: MAX_LIFETIME_MS })
    return
  }
  if ((await listRevocations(realm, Date.now())).some(({ identity }) => identity === key)) return
  throw new SubrosaError('ERR_SETUP', `no agent of this folder has the key ${key}: it cannot be revoked`, {
    hint: 'restore its token from the newest copy of the folder, or replace the service without --stolen',
  })
}

/** The key of a rotation service of the plan, by its name or as it is. @throws SubrosaError ERR_SETUP when the plan names none */
async function keyOf(realm: Realm, plan: HeldPlan, name: string): Promise<string> {
  const names = await rotatorNames(realm)
  const key = plan.rotators.find((rotator) => names.get(rotator) === name)
  if (key !== undefined) return key
  // One whose name has gone to another identity has no other name.
  if (plan.rotators.includes(name)) return name
  const known = plan.rotators.map((rotator) => names.get(rotator) ?? rotator).join(', ')
  throw new SubrosaError('ERR_SETUP', `${name} is no rotation service of plan ${plan.version}`, {
    hint: `it has: ${known}`,
  })
}
