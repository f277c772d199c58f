import { describe, expect, it } from 'vitest'
import { hasLookAlike } from '../../src/json/look-alikes.ts'

const NAMES = ['name', 'uri', 'resourceSubscriptions', 'kind']

describe('keys that some readers take for others', () => {
  it.each([
    'Name',
    'NAME',
    'namE',
    'URI',
    'ur\u0130',
    'Uri',
    'resourcesubscriptions',
    're\u017fourceSub\u017fcription\u017f',
    'resource_subscriptions',
    'resource-subscriptions',
    '\u212aind',
    '\uff4e\uff41\uff4d\uff45',
    'name\0',
    'name\0x',
    'name ',
    ' name',
    'name\ud800',
    'na\u200dme',
    'n.a.m.e',
    '__proto__',
  ])('%j is one', (key) => {
    expect(hasLookAlike(JSON.parse(`{"name":"x",${JSON.stringify(key)}:1}`), NAMES)).toBe(true)
  })

  it.each([
    'name',
    'uri',
    'names',
    'fullName',
    '_meta',
    'arguments',
    'task',
    'x\0name',
    '',
    'constructor',
    'ñame',
  ])('%j is none', (key) => {
    expect(hasLookAlike({ [key]: 1 }, NAMES)).toBe(false)
  })
})
