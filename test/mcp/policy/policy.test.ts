import { describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import { encodeMessage } from '../../../src/mcp/policy/json-rpc.ts'
import { readPolicy, type ServerPolicy } from '../../../src/mcp/policy/policy.ts'

function policyOf(agents: unknown): ServerPolicy {
  return readPolicy(JSON.stringify({ agents }))
}

function faultOf(text: string): SubrosaError {
  try {
    readPolicy(text)
  } catch (error) {
    if (error instanceof SubrosaError) return error
    throw error
  }
  throw new Error('the policy was read')
}

function passes(policy: ServerPolicy, agent: string, method: string, params: object): boolean | undefined {
  const message = encodeMessage({ jsonrpc: '2.0', id: 1, method, params })
  const filter = policy.filterFor(agent)
  return filter && filter.toServer(message).forward === message
}

function calls(policy: ServerPolicy, agent: string, name: string): boolean | undefined {
  return passes(policy, agent, 'tools/call', { name })
}

describe('a policy', () => {
  it('says for each agent what it may use', () => {
    const policy = policyOf({
      laptop: { tools: { allow: ['read_*'], deny: ['read_secret'] }, resources: ['file:///srv/*'] },
      phone: { prompts: { allow: ['greet'] } },
    })
    expect(calls(policy, 'laptop', 'read_file')).toBe(true)
    expect(calls(policy, 'laptop', 'read_secret')).toBe(false)
    expect(passes(policy, 'laptop', 'resources/read', { uri: 'file:///srv/x' })).toBe(true)
    expect(passes(policy, 'laptop', 'prompts/get', { name: 'greet' })).toBe(false)
    expect(calls(policy, 'phone', 'read_file')).toBe(false)
    expect(passes(policy, 'phone', 'prompts/get', { name: 'greet' })).toBe(true)
    expect(passes(policy, 'phone', 'resources/read', { uri: 'file:///srv/x' })).toBe(false)
  })

  it('does not admit who is not named', () => {
    const policy = policyOf({ laptop: { tools: ['*'] } })
    for (const agent of [
      'phone',
      'Laptop',
      'laptop2',
      'lap',
      '',
      '*',
      '__proto__',
      'constructor',
      'toString',
    ])
      expect(policy.filterFor(agent)).toBeUndefined()
    expect(policyOf({}).filterFor('laptop')).toBeUndefined()
  })

  it('holds for everyone who is not named under "*", and for nobody who is', () => {
    const policy = policyOf({ '*': { tools: ['read'] }, laptop: { tools: ['write'] }, guest: {} })
    expect([calls(policy, 'phone', 'read'), calls(policy, 'phone', 'write')]).toEqual([true, false])
    expect([calls(policy, 'laptop', 'read'), calls(policy, 'laptop', 'write')]).toEqual([false, true])
    expect([calls(policy, 'guest', 'read'), calls(policy, 'guest', 'write')]).toEqual([false, false])
  })

  it('takes the name of an agent for itself, whatever it is to JavaScript', () => {
    const policy = readPolicy('{"agents":{"__proto__":{"tools":["a"]},"constructor":{"tools":["b"]}}}')
    expect([calls(policy, '__proto__', 'a'), calls(policy, '__proto__', 'b')]).toEqual([true, false])
    expect([calls(policy, 'constructor', 'a'), calls(policy, 'constructor', 'b')]).toEqual([false, true])
    expect(policy.filterFor('laptop')).toBeUndefined()
  })

  it.each([
    ['an agent without rules', {}],
    ['no rules for tools', { prompts: ['*'], resources: ['*'] }],
    ['an empty list', { tools: [] }],
    ['empty rules', { tools: {} }],
    ['an empty list of what is allowed', { tools: { allow: [] } }],
    ['only what is denied', { tools: { deny: ['x'] } }],
  ])('allows nothing with %s', (_, entry) => {
    const policy = policyOf({ laptop: entry })
    for (const name of ['', '*', 'x', 'y']) expect(calls(policy, 'laptop', name)).toBe(false)
  })

  it.each([
    ['', 'the policy is no JSON'],
    ['{"agents":{}', 'the policy is no JSON'],
    ['\uFEFF{"agents":{}}', 'the policy is no JSON'],
    ['// all\n{"agents":{}}', 'the policy is no JSON'],
    ['[]', 'the policy is no object'],
    ['null', 'the policy is no object'],
    ['"*"', 'the policy is no object'],
    ['{}', 'the policy does not say "agents"'],
    ['{"agents":null}', 'the policy at agents is no object'],
    ['{"agents":["laptop"]}', 'the policy at agents is no object'],
    ['{"agents":{},"agent":{}}', 'the policy has a key "agent" that is not known'],
    ['{"Agents":{}}', 'the policy has a key "Agents" that is not known'],
    ['{"agents":{},"agents":{}}', 'the policy names "agents" twice in one object'],
    ['{"agents":{"a":{},"\\u0061":{}}}', 'the policy names "a" twice in one object'],
    ['{"agents":{"a":{"tools":[],"tools":["*"]}}}', 'the policy names "tools" twice in one object'],
    [
      '{"agents":{"la ptop":{}}}',
      'the policy at agents names "la ptop", which is neither the name of an agent nor "*"',
    ],
    ['{"agents":{"":{}}}', 'the policy at agents names "", which is neither the name of an agent nor "*"'],
    [
      '{"agents":{"lap*":{}}}',
      'the policy at agents names "lap*", which is neither the name of an agent nor "*"',
    ],
    ['{"agents":{"laptop":null}}', 'the policy at agents.laptop is no object'],
    ['{"agents":{"laptop":["*"]}}', 'the policy at agents.laptop is no object'],
    ['{"agents":{"laptop":true}}', 'the policy at agents.laptop is no object'],
    ['{"agents":{"*":{"tool":["*"]}}}', 'the policy at agents.* has a key "tool" that is not known'],
    ['{"agents":{"laptop":{"tools":"*"}}}', 'the policy at agents.laptop.tools is no object'],
    ['{"agents":{"laptop":{"tools":null}}}', 'the policy at agents.laptop.tools is no object'],
    [
      '{"agents":{"laptop":{"tools":{"Deny":["x"],"allow":["*"]}}}}',
      'the policy at agents.laptop.tools has a key "Deny" that is not known',
    ],
    [
      '{"agents":{"laptop":{"tools":{"allow":"*"}}}}',
      'the policy at agents.laptop.tools.allow is no list of patterns',
    ],
    [
      '{"agents":{"laptop":{"prompts":{"allow":["*"],"deny":null}}}}',
      'the policy at agents.laptop.prompts.deny is no list of patterns',
    ],
    [
      '{"agents":{"laptop":{"tools":{"allow":["a","b",3]}}}}',
      'the policy at agents.laptop.tools.allow[2] is no text',
    ],
    ['{"agents":{"laptop":{"tools":["a",["b"]]}}}', 'the policy at agents.laptop.tools[1] is no text'],
    [
      '{"agents":{"laptop":{"tools":[""]}}}',
      'the policy at agents.laptop.tools[0] can match nothing that is let through',
    ],
    [
      '{"agents":{"laptop":{"tools":{"deny":["secret "]}}}}',
      'the policy at agents.laptop.tools.deny[0] can match nothing that is let through',
    ],
    [
      '{"agents":{"laptop":{"prompts":["a\\u0000"]}}}',
      'the policy at agents.laptop.prompts[0] can match nothing that is let through',
    ],
    [
      '{"agents":{"laptop":{"resources":{"allow":["*"],"deny":["file:///srv/../secret"]}}}}',
      'the policy at agents.laptop.resources.deny[0] can match nothing that is let through',
    ],
    [
      '{"agents":{"laptop":{"resources":["file:///a%2e%2e/", "file:///a/%2e%2e/"]}}}',
      'the policy at agents.laptop.resources[1] can match nothing that is let through',
    ],
    [
      `{"agents":{"laptop":{"tools":["${'x'.repeat(1025)}"]}}}`,
      'the policy at agents.laptop.tools[0] is longer than 1024 characters',
    ],
  ])('is not read from %s', (text, message) => {
    const fault = faultOf(text)
    expect(fault.message).toBe(message)
    expect(fault.code).toBe('ERR_SETUP')
    expect(fault.hint).toContain('{"agents":')
  })

  it('quotes little of what is wrong, and nothing that a terminal acts on', () => {
    const { message } = faultOf(`{"agents":{},"\\u001b[2J${'x'.repeat(10_000)}":1}`)
    expect(message.length).toBeLessThan(150)
    expect(message).toContain('\\u001b[2J')
  })

  it('is read with patterns that hold asterisks and dots', () => {
    const policy = policyOf({ laptop: { resources: ['file:///srv/*.*', '*.md'], tools: ['*.*'] } })
    expect(passes(policy, 'laptop', 'resources/read', { uri: 'file:///srv/a.b' })).toBe(true)
    expect(calls(policy, 'laptop', 'a.b')).toBe(true)
  })
})
