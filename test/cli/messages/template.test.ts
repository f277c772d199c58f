import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { expandTemplate } from '../../../src/cli/messages/template.ts'

const zone = process.env['TZ']
beforeEach(() => {
  process.env['TZ'] = 'UTC'
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 2, 15, 4, 5, 678), toFake: ['Date'] })
})
afterEach(() => {
  vi.useRealTimers()
  if (zone === undefined) delete process.env['TZ']
  else process.env['TZ'] = zone
})

describe('expandTemplate', () => {
  it.each([
    ['Message {{Count}}', 'Message 7'],
    ['{{.Count}} {{ Cnt }} {{- .Cnt -}}', '7 7 7'],
    ['{{Unix}}', '1767366245'],
    ['{{UnixNano}}', '1767366245678000000'],
    ['{{TimeStamp}}', '2026-01-02T15:04:05Z'],
    ['{{Time}}', '3:04PM'],
    ['{"a":{"b":1}}', '{"a":{"b":1}}'],
    ['{ {Count} }', '{ {Count} }'],
    ['', ''],
  ])('makes of "%s"', (text, expanded) => {
    expect(expandTemplate(text, { count: 7 })).toBe(expanded)
  })

  it('shows the time of the zone', () => {
    process.env['TZ'] = 'Asia/Kolkata'
    expect(expandTemplate('{{TimeStamp}} {{Time}}', { count: 1 })).toBe('2026-01-02T20:34:05+05:30 8:34PM')
    process.env['TZ'] = 'America/St_Johns'
    expect(expandTemplate('{{TimeStamp}} {{Time}}', { count: 1 })).toBe('2026-01-02T11:34:05-03:30 11:34AM')
  })

  it('calls noon and midnight twelve', () => {
    vi.setSystemTime(Date.UTC(2026, 0, 2, 0, 5))
    expect(expandTemplate('{{Time}}', { count: 1 })).toBe('12:05AM')
    vi.setSystemTime(Date.UTC(2026, 0, 2, 12, 0))
    expect(expandTemplate('{{Time}}', { count: 1 })).toBe('12:00PM')
  })

  it('makes what is unique', () => {
    expect(expandTemplate('{{ID}}', { count: 1 })).not.toBe(expandTemplate('{{ID}}', { count: 1 }))
    expect(expandTemplate('{{UUID}}', { count: 1 })).toMatch(/^[0-9a-f-]{36}$/)
  })

  it.each(['{{Random 3 5}}', '{{ Random 5 3 }}', '{{Random(3,5)}}', '{{.Random 3 5}}'])(
    'makes random letters of %s',
    (text) => {
      for (let i = 0; i < 50; i++) expect(expandTemplate(text, { count: 1 })).toMatch(/^[A-Za-z0-9]{3,5}$/)
    },
  )

  it('puts in the request and the tokens of its subject, and looks at neither again', () => {
    const values = { count: 1, request: '{{Count}} {{9}} $& $1', tokens: ['weather', '{{Unix}}'] }
    expect(expandTemplate('{{Request}}|{{.Request}}|{{0}}|{{ 1 }}', values)).toBe(
      '{{Count}} {{9}} $& $1|{{Count}} {{9}} $& $1|weather|{{Unix}}',
    )
  })

  it.each([
    '{{Foo}}',
    '{{}}',
    '{{Count 1 2}}',
    '{{Random}}',
    '{{Random 1}}',
    '{{Random -1 2}}',
    '{{Random 1 99999999999}}',
    '{{Request}}',
    '{{0}}',
    '{{constructor}}',
    '{{range .}}x{{end}}',
  ])('refuses %s', (text) => {
    expect(() => expandTemplate(text, { count: 1 })).toThrow(RangeError)
  })

  it('has no token where the subject has none', () => {
    expect(() => expandTemplate('{{2}}', { count: 1, tokens: ['a', 'b'] })).toThrow(
      /\{\{2\}\} is no template/,
    )
  })
})
