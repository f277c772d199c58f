import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

interface Service {
  readonly image: string
  readonly build?: string
  readonly user?: string
  readonly restart?: string
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}

// The program has no types: what is looked at is said here.
const { SHARES } = (await import(String(new URL('../../stack/shares.mjs', import.meta.url)))) as {
  readonly SHARES: readonly { readonly volume: string }[]
}
const text = readFileSync('docker-compose.yml', 'utf8')
const dockerfile = readFileSync('Dockerfile', 'utf8')
const file = parse(text, { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}
const services = Object.entries(file.services).map(([name, service]) => ({ name, ...service }))
const lasting = services.filter(({ name }) => name !== 'setup')
const [setup] = services.filter(({ name }) => name === 'setup')

describe('docker-compose.yml', () => {
  test('has a broker, three rotation services, two agents and a setup', () => {
    expect(services.map(({ name }) => name).sort()).toEqual([
      'billing',
      'nats',
      'orders',
      'rotator-1',
      'rotator-2',
      'rotator-3',
      'setup',
    ])
  })

  test.each(services)('$name runs as nobody special, and may write in its volumes only', (service) => {
    expect(service.user).toBe('1000:1000')
    expect(service.read_only).toBe(true)
    expect(service.cap_drop).toEqual(['ALL'])
    expect(service.security_opt).toEqual(['no-new-privileges:true'])
    for (const key of [
      'privileged',
      'cap_add',
      'network_mode',
      'pid',
      'ipc',
      'ports',
      'devices',
      'userns_mode',
    ])
      expect(service, key).not.toHaveProperty(key)
  })

  test.each(lasting)(
    '$name has a health check, and starts again when it ends',
    ({ healthcheck, restart }) => {
      expect(healthcheck?.test[0]).toBe('CMD')
      expect(healthcheck?.test.length).toBeGreaterThan(1)
      expect(restart).toBe('unless-stopped')
    },
  )

  test('setup runs once, and everything waits until it has ended well', () => {
    expect(setup?.restart).toBe('no')
    const waits = (name: string): boolean => {
      const conditions = Object.entries(file.services[name]?.depends_on ?? {})
      return conditions.some(([other, { condition }]) =>
        other === 'setup'
          ? condition === 'service_completed_successfully'
          : condition === 'service_healthy' && waits(other),
      )
    }
    for (const { name } of lasting) expect(waits(name), name).toBe(true)
  })

  test('holds no secret, and takes none from the environment', () => {
    expect(text).not.toMatch(/-----BEGIN|\bS[UAOX][A-Z2-7]{20}|password|passphrase|\.creds|\.identity/i)
    expect(text.match(/\$\{?\w+/g)).toEqual(['${SUBROSA_REALM_KEY'])
    for (const key of ['secrets', 'env_file', 'configs'])
      expect(text, key).not.toMatch(new RegExp(`^\\s*${key}:`, 'm'))
    for (const { environment = {} } of services)
      for (const name of Object.keys(environment))
        expect(name).toMatch(/^(STACK_[A-Z]+|SUBROSA_REALM(_KEY)?)$/)
  })

  test('mounts named volumes alone, each at one path wherever it is mounted', () => {
    for (const { name, volumes } of services)
      for (const mount of volumes) {
        const [volume = '', path, mode = 'rw'] = mount.split(':')
        expect(Object.keys(file.volumes), name).toContain(volume)
        expect(path).toBe(`/volumes/${volume}`)
        expect(['rw', 'ro']).toContain(mode)
      }
  })

  test('gives the volume with the seeds to setup alone, and each other volume to one container besides', () => {
    const users = (volume: string): readonly string[] =>
      services
        .filter(({ volumes }) => volumes.some((mount) => mount.startsWith(`${volume}:`)))
        .map(({ name }) => name)
    expect(users('realm')).toEqual(['setup'])
    for (const { volume } of SHARES) expect(users(volume), volume).toHaveLength(2)
    for (const volume of Object.keys(file.volumes)) expect(users(volume), volume).toContain('setup')
    expect(file.services['nats']?.volumes).toContain('broker:/volumes/broker:ro')
  })

  test('has the volumes that setup fills and that the image makes folders for', () => {
    const volumes = ['realm', ...SHARES.map(({ volume }) => volume)].sort()
    expect(Object.keys(file.volumes).sort()).toEqual(volumes)
    const [, folders = ''] = /for volume in ([^;]+);/.exec(dockerfile) ?? []
    expect(folders.trim().split(' ').sort()).toEqual(volumes)
  })

  test('names the version of every image that is pulled, and builds the other', () => {
    for (const { image, build } of services) {
      if (build === undefined) expect(image).toMatch(/^nats:2\.\d+(\.\d+)?-alpine$/)
      else expect({ image, build }).toEqual({ image: 'subrosa', build: '.' })
    }
  })

  test('calls programs of the image that are there', () => {
    for (const { name, ...service } of services.filter(({ build }) => build !== undefined)) {
      const { command, healthcheck } = service as Service & { readonly command: readonly string[] }
      for (const [program = '', argument = ''] of [
        command,
        healthcheck?.test.slice(1) ?? ['node', 'stack/setup.mjs'],
      ]) {
        expect(['node', 'subrosa'], name).toContain(program)
        if (program === 'node') expect(() => readFileSync(argument), name).not.toThrow()
      }
    }
  })
})

describe('the Dockerfile', () => {
  test('ends as somebody who is not root, on a base of a named version', () => {
    expect(dockerfile.match(/^USER .*$/gm)?.at(-1)).toBe('USER 1000:1000')
    const bases = dockerfile.match(/^FROM \S+/gm) ?? []
    expect(new Set(bases)).toEqual(new Set(['FROM node:20-bookworm-slim']))
  })

  test('copies what .dockerignore lets through, and nothing of the realm or of the tools', () => {
    const ignored = readFileSync('.dockerignore', 'utf8').split('\n')
    const allowed = ignored.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    expect(ignored).toContain('*')
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources = '']) =>
      sources.split(' '),
    )
    expect(new Set(copies)).toEqual(new Set(allowed))
  })
})
