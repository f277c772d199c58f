import { afterEach, describe, expect, it } from 'vitest'
import { TestRealm } from '../../support/realm.ts'

let realm: TestRealm
afterEach(() => realm.stop())

describe('joining', () => {
  it('works with services', async () => {
    realm = await TestRealm.start({ rotators: 3, threshold: 2 })
    for (const s of realm.services) console.log(s?.standing, s?.planVersion)
    for (let i = 0; i < 5; i++) {
      const before = performance.now()
      const alice = await realm.agent('alice' + i)
      console.log('joined after', performance.now() - before, alice.epoch, alice.planVersion)
    }
  })
  it('works with one', async () => {
    realm = await TestRealm.start({})
    for (let i = 0; i < 5; i++) {
      const before = performance.now()
      const alice = await realm.agent('alice' + i)
      console.log('joined after', performance.now() - before, alice.epoch, alice.planVersion)
    }
  })
})
