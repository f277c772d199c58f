/** Where no clock goes on in a suspended machine: browsers, and systems on which no test has shown one. */
export function bootMs(): undefined {
  return undefined
}
