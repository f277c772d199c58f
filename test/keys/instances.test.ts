import { describe, expect, it } from 'vitest'
import { type InstanceOf, Instances } from '../../src/keys/instances.ts'

const identityOf = (i: number): string => `U${i % 2}`

function filled(count: number): Instances<InstanceOf> {
  const instances = new Instances<InstanceOf>()
  for (let i = 0; i < count; i++) instances.add({ identity: identityOf(i), id: String(i) })
  return instances
}

const idsOf = (instances: Instances<InstanceOf>): string[] => [...instances].map(({ id }) => id)

describe('the instances of a name', () => {
  it.each([0, 1, 7, 8, 9, 100])('are found and listed in their order where there are %i', (count) => {
    const instances = filled(count)
    expect(idsOf(instances)).toEqual(Array.from({ length: count }, (_, i) => String(i)))
    for (let i = 0; i < count; i++) {
      expect(instances.find(identityOf(i), String(i))?.id).toBe(String(i))
      expect(instances.find(identityOf(i + 1), String(i))).toBeUndefined()
    }
    expect(instances.find('U0', 'none')).toBeUndefined()
  })

  it('are taken out, few or many, and come again', () => {
    for (const count of [3, 20]) {
      const instances = filled(count)
      for (const instance of [...instances]) {
        instances.delete(instance)
        expect(instances.find(instance.identity, instance.id)).toBeUndefined()
      }
      expect(idsOf(instances)).toEqual([])
      instances.add({ identity: 'U0', id: 'again' })
      expect(instances.find('U0', 'again')).toBeDefined()
    }
  })

  it('are found at once however many there are', () => {
    let looks = 0
    const instances = new Instances<InstanceOf>()
    for (let i = 0; i < 4000; i++) {
      instances.find('U', String(i))
      instances.add({
        identity: 'U',
        get id() {
          looks++
          return String(i)
        },
      })
    }
    expect(looks).toBeLessThan(2 * 4000)
  })
})
