/**
 * What a command of subrosa talks to, on the streams of this process.
 *
 * @returns {import('../../../dist/cli/terminal/terminal.js').Terminal}
 */
export function ownTerminal() {
  return {
    data: (line) => void process.stdout.write(`${line}\n`),
    write: (data) =>
      new Promise((resolve, reject) => {
        process.stdout.write(data, (error) => (error ? reject(error) : resolve()))
      }),
    showsData: false,
    say: (line) => void process.stderr.write(`${line}\n`),
    input: { isTyped: false, read: () => process.stdin },
    env: process.env,
    interrupted: () => new Promise((resolve) => process.once('SIGTERM', () => resolve())),
  }
}
