import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { Wire } from '../../../src/bus/out/wire-out.ts'
import type { ClientLine } from '../../support/client.ts'
import { TestRealm } from '../../support/realm.ts'
import { until } from '../../support/until.ts'
import { badSubjects } from '../../wire/subjects.ts'

const lines: readonly ClientLine[] = ['@nats-io', 'nats']
const payload = utf8('x')
const refused = expect.objectContaining({ name: 'SubrosaError', code: 'ERR_MALFORMED' })

let realm: TestRealm
beforeAll(async () => {
  realm = await TestRealm.start({ rotation: false })
})
afterAll(() => realm.stop())

describe.each(lines)('the way out over %s', (client) => {
  it('publishes on valid subjects alone, and writes nothing of others to the server', async () => {
    const wire = new Wire(await realm.connection({ client }))
    const seen = await realm.tap('>')
    for (const text of Object.values(badSubjects)) {
      expect(() => wire.publish({ subject: text, reply: undefined, clear: [] }, payload)).toThrow(refused)
      expect(() => wire.publish({ subject: 'orders.new', reply: text, clear: [] }, payload)).toThrow(refused)
    }
    wire.publish({ subject: 'orders.last', reply: '_INBOX.a', clear: [] }, payload)
    await until('the last message has come', () => seen.some(({ subject }) => subject === 'orders.last'))
    expect(seen.map(({ subject }) => subject)).toEqual(['orders.last'])
  })
})
