import { afterEach, describe, expect, it } from 'vitest'
import { secure } from '../../src/bus/secure.ts'
import { TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

const TWO = `accounts {
  HOME {
    users: [{ user: home, password: p }]
    exports: [
      { stream: "subrosa.v1.*.tick" }
      { stream: "subrosa.v1.*.epoch" }
      { stream: "subrosa.v1.*.inbox.*" }
      { stream: "subrosa.v1.*.announce.*.*" }
      { service: "subrosa.v1.*.announce.*.*" }
      { service: "subrosa.v1.*.revoke" }
    ]
    imports: [{ stream: { account: AWAY, subject: "subrosa.v1.*.query" } }]
  }
  AWAY {
    users: [{ user: away, password: p }]
    exports: [{ stream: "subrosa.v1.*.query" }]
    imports: [
      { stream: { account: HOME, subject: "subrosa.v1.*.tick" } }
      { stream: { account: HOME, subject: "subrosa.v1.*.epoch" } }
      { stream: { account: HOME, subject: "subrosa.v1.*.inbox.*" } }
      { stream: { account: HOME, subject: "subrosa.v1.*.announce.*.*" } }
      { service: { account: HOME, subject: "subrosa.v1.*.announce.*.*" } }
      { service: { account: HOME, subject: "subrosa.v1.*.revoke" } }
    ]
  }
}
no_auth_user: home
`
let realm: TestRealm
afterEach(() => realm.stop())
describe('x', () => {
  it('y', async () => {
    realm = await TestRealm.start({ serverConfig: TWO })
    const a = await realm.agent('a')
    const nc = await realm.connection({ user: 'away', pass: 'p' })
    const b = await secure(nc, { identity: realm.identity('b'), trust: realm.trust, state: 'memory' })
    await b.waitForAudience('x')
    await a.waitForAudience('x')
    const nc2 = await realm.connection({ user: 'away', pass: 'p' })
    const c = await secure(nc2, { identity: realm.identity('c'), trust: realm.trust, state: 'memory' })
    await a.waitForAudience('x', {atLeast: 2})
    await b.waitForAudience('x', {atLeast: 2})
    await c.waitForAudience('x', {atLeast: 2})
    expect(1).toBe(1)
  })
})
