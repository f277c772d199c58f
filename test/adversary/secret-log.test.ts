import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SecretLog } from './secret-log.ts'

describe('the log of secrets', () => {
  it.each([
    ['raw', (secret: Buffer) => secret],
    ['in hexadecimal', (secret: Buffer) => Buffer.from(secret.toString('hex'))],
    ['in base64url', (secret: Buffer) => Buffer.from(secret.toString('base64url'))],
    ['in base64', (secret: Buffer) => Buffer.from(secret.toString('base64'))],
  ])(
    'finds a secret %s at the beginning, in the midst and at the end of what was recorded',
    (form, write) => {
      const log = new SecretLog()
      // Written in characters that the two forms of base64 do not share.
      const secret = Buffer.concat([Buffer.of(0xfb, 0xef, 0xbe), randomBytes(29)])
      log.note(randomBytes(32))
      log.note(secret)
      const written = write(secret)
      const around = randomBytes(1000)
      for (const at of [0, 500, 1000]) {
        const bytes = Buffer.concat([around.subarray(0, at), written, around.subarray(at)])
        expect(log.findIn(bytes)).toBe(form)
      }
    },
  )

  it('finds nothing where there is no secret, or only a part of one', () => {
    const log = new SecretLog()
    const secret = randomBytes(32)
    log.note(secret)
    const part = Buffer.concat([randomBytes(500), secret.subarray(0, 31), randomBytes(500)])
    expect(log.findIn(part)).toBeUndefined()
    expect(log.findIn(secret.subarray(0, 31))).toBeUndefined()
  })

  it('takes a long draw for as many secrets as are whole in it', () => {
    const log = new SecretLog()
    const draw = randomBytes(80)
    log.note(draw)
    expect(log.findIn(draw.subarray(32, 64))).toBe('raw')
    expect(log.findIn(draw.subarray(48))).toBeUndefined()
  })
})
