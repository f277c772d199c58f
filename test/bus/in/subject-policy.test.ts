import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SubjectMappings, SubjectPolicy } from '../../../src/bus/in/subject-policy.ts'
import { findNatsServer } from '../../../src/setup/nats-server.ts'
import { connectClient } from '../../support/client.ts'
import { may } from '../../support/identities.ts'
import { startTestServer, type TestServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

/** A server's configuration with these mappings. */
const inConfig = (mappings: SubjectMappings): string => `mappings ${JSON.stringify(mappings)}`

/** Mappings of many shapes that do not touch each other, and what is published under them. */
const SHAPES: SubjectMappings = {
  'plain.one': 'plain.two',
  'longer.one': 'longer.two.three.four',
  'token.*': 'renamed.$1',
  'function.*': 'renamed.by.{{wildcard(1)}}',
  'spaced.*': 'renamed.spaced.{{ wildcard( 1 ) }}',
  'swap.*.*': 'swapped.$2.$1',
  'middle.*.end': 'middle.is.$1',
  'twice.*': 'doubled.$1.$1',
  'mixed.*.*': 'mixed.{{wildcard(2)}}.$1.end',
  'front.*': '$1.front',
  'alone.*': '$1',
  'rest.>': 'the.rest.>',
  'both.*.>': 'of.both.$1.>',
  'into.rest.>': '>',
  'ten.*.*.*.*.*.*.*.*.*.*': 'tenth.$10.$1.$2.$3.$4.$5.$6.$7.$8.$9',
}
const PUBLISHED = [
  'plain.one',
  'longer.one',
  'token.a',
  'token.$1',
  'function.a',
  'spaced.a',
  'swap.a.b',
  'swap.a.a',
  'middle.x.end',
  'twice.a',
  'mixed.a.b',
  'front.a',
  'alone.z',
  'rest.a',
  'rest.a.b.c.d',
  'both.a.b',
  'both.a.b.c',
  'into.rest.a.b',
  'ten.1.2.3.4.5.6.7.8.9.0',
]
/** Like what is mapped, and not mapped. */
const UNTOUCHED = [
  'plain.two',
  'plain.one.more',
  'token',
  'token.a.b',
  'swap.a',
  'middle.x.other',
  'rest',
  'both.a',
  'other.x',
]

describe('the subject policy, beside a server with the same mappings', () => {
  const arrivals = new Map<string, string>()
  const policy = new SubjectPolicy(SHAPES)
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer(inConfig(SHAPES))
    const nc = await connectClient({ servers: server.url })
    nc.subscribe('>', { callback: (_error, m) => void arrivals.set(m.string(), m.subject) })
    for (const subject of [...PUBLISHED, ...UNTOUCHED]) nc.publish(subject, subject)
    await until('all have arrived', () => arrivals.size === PUBLISHED.length + UNTOUCHED.length)
    await nc.close()
  })
  afterAll(() => server.stop())

  it('accepts what arrives where the server has moved it', () => {
    for (const subject of PUBLISHED) {
      const delivered = arrivals.get(subject) ?? ''
      expect(delivered).not.toBe(subject)
      expect(policy.accepts(subject, delivered), `${subject} as ${delivered}`).toBe(true)
    }
  })

  it('accepts what arrives where it was published, and nothing that arrives where something else belongs', () => {
    for (const subject of [...PUBLISHED, ...UNTOUCHED]) {
      expect(policy.accepts(subject, subject)).toBe(true)
      for (const delivered of [...arrivals.values(), ...PUBLISHED, ...UNTOUCHED]) {
        const isRight = delivered === subject || delivered === arrivals.get(subject)
        expect(policy.accepts(subject, delivered), `${subject} as ${delivered}`).toBe(isRight)
      }
    }
  })

  it('accepts nothing backwards: what the mapping makes is not what it is made of', () => {
    for (const subject of PUBLISHED) {
      const delivered = arrivals.get(subject) ?? ''
      if (delivered !== arrivals.get(delivered)) expect(policy.accepts(delivered, subject)).toBe(false)
    }
  })

  it('accepts nothing but the sealed subject where there are no mappings', () => {
    for (const strict of [new SubjectPolicy(), new SubjectPolicy({})]) {
      for (const subject of PUBLISHED) {
        expect(strict.accepts(subject, subject)).toBe(true)
        expect(strict.accepts(subject, arrivals.get(subject) ?? '')).toBe(false)
      }
    }
  })
})

describe('mappings that are none', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'subrosa-mappings-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const wrong: SubjectMappings[] = [
    { 'a.*': 'b.*' },
    { 'a.*': 'b.$2' },
    { 'a.*': 'b.{{wildcard(2)}}' },
    { 'a.*': 'b.{{wildcard()}}' },
    { 'a.*': 'b.{{wildcard(1,2)}}' },
    { 'a.*': 'b.{{nothing(1)}}' },
    { 'a.*': 'b.{{wildcard(1)}' },
    { 'a.>': 'b' },
    { 'a.b': 'b.>' },
    { 'a.*': 'b.$1.>' },
    { 'a.>': 'b.>.c' },
    { 'a.>': '$1.>' },
    { 'a.b': '' },
    { '': 'b' },
    { 'a..b': 'c' },
    { 'a.b': 'c..d' },
    { 'a b': 'c' },
    { 'a.b': 'c d' },
  ]

  it.each(wrong.map((mappings) => [JSON.stringify(mappings), mappings] as const))(
    'are refused by a server and by the policy: %s',
    async (_text, mappings) => {
      const { command, args } = await findNatsServer()
      const path = join(folder, 'server.conf')
      await writeFile(path, inConfig(mappings))
      expect(spawnSync(command, [...args, '-t', '-c', path]).status).not.toBe(0)
      expect(() => new SubjectPolicy(mappings)).toThrow(TypeError)
      const [source = ''] = Object.keys(mappings)
      expect(() => new SubjectPolicy(mappings)).toThrow(`"${source}" cannot be mapped to`)
      // One bad mapping among good ones is refused too.
      expect(() => new SubjectPolicy({ 'x.*': 'y.$1', ...mappings })).toThrow(TypeError)
    },
  )

  it('are refused where a server would choose or compute what the policy cannot know', () => {
    for (const target of [
      'b.{{partition(3,1)}}',
      'b.{{partition(3,1)}}.$1',
      'b.{{SplitFromLeft(1,2)}}',
      'b.$0',
      'b.{{wildcard(0)}}',
      'b.$99999999999999999999',
    ])
      expect(() => new SubjectPolicy({ 'a.*': target })).toThrow(TypeError)
  })

  it('are refused where the option or a target is of another type', () => {
    const options: unknown[] = [
      null,
      'a',
      'ab',
      7,
      true,
      [],
      ['a.b'],
      [['a.b', 'c.d']],
      new Map([['a.b', 'c.d']]),
      () => ({ 'a.b': 'c.d' }),
      { 'a.b': 7 },
      { 'a.b': null },
      { 'a.b': undefined },
      { 'a.b': ['c.d'] },
      { 'a.b': { destination: 'c.d', weight: '50%' } },
      { 'a.b': Symbol('c') },
      { 'a.b': () => 'c.d' },
    ]
    for (const option of options)
      expect(() => new SubjectPolicy(option as SubjectMappings), String(option)).toThrow(TypeError)
  })

  it('leave what was given as it is, and do not look at it again', () => {
    const mappings: Record<string, string> = { 'a.*': 'b.$1' }
    const policy = new SubjectPolicy(mappings)
    mappings['a.*'] = 'evil.$1'
    mappings['>'] = '>'
    expect(policy.accepts('a.x', 'b.x')).toBe(true)
    expect(policy.accepts('a.x', 'evil.x')).toBe(false)
  })
})

describe('whether a subscription can receive anything', () => {
  const policy = new SubjectPolicy({ 'orders.*': 'b.orders.$1', 'logs.>': 'b.logs.>' })
  const { sub } = may([], ['orders.new', 'logs.>'])

  it.each([
    ['orders.new', true],
    ['orders.*', true],
    ['b.orders.new', true],
    ['b.orders.*', true],
    ['b.>', true],
    ['b.logs.x.y', true],
    ['*.logs.x', true],
    ['>', true],
    ['orders.old', false],
    ['b.orders', false],
    ['b.orders.new.x', false],
    ['b.other', false],
    ['c.orders.new', false],
    ['b.payroll.>', false],
  ])('to "%s": %s', (pattern, expected) => {
    expect(policy.mayReceive(sub, pattern)).toBe(expected)
  })

  it('is decided by the sealed subject: leave to read the new name alone is worth nothing', () => {
    const onlyNewName = may([], ['b.payroll.>']).sub
    const mapped = new SubjectPolicy({ 'payroll.*': 'b.payroll.$1' })
    expect(mapped.mayReceive(may([], ['payroll.>']).sub, 'b.payroll.all')).toBe(true)
    expect(new SubjectPolicy().mayReceive(may([], ['payroll.>']).sub, 'b.payroll.all')).toBe(false)
    expect(mapped.mayReceive({ allow: ['payroll.>'], deny: ['payroll.*'] }, 'b.payroll.all')).toBe(false)
    // It may be sealed for that very name.
    expect(mapped.mayReceive(onlyNewName, 'b.payroll.all')).toBe(true)
  })
})
