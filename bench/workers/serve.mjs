/**
 * Answers the calls of the process that started this one, and ends with it.
 *
 * @param {Readonly<Record<string, (argument: any) => unknown>>} methods
 */
export function serve(methods) {
  process.on('disconnect', () => process.exit())
  process.on('message', (/** @type {{ id: number, method: string, argument: unknown }} */ message) => {
    void answer(methods, message).then((reply) => process.send?.(reply))
  })
}

/**
 * @param {Readonly<Record<string, (argument: any) => unknown>>} methods
 * @param {{ readonly id: number, readonly method: string, readonly argument: unknown }} message
 */
async function answer(methods, { id, method, argument }) {
  try {
    const run = methods[method]
    if (run === undefined) throw new Error(`there is no method ${method}`)
    return { id, result: await run(argument) }
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}
