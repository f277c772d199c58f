/** @throws RangeError that names the option, for anything but a whole number from 1 to `max` */
export function assertCount(option: string, value: number, max: number): void {
  if (!(Number.isInteger(value) && value >= 1 && value <= max))
    throw new RangeError(`${option} must be a whole number from 1 to ${max}`)
}
