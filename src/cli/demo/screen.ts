const WIDTH = 78
const LEFT = 38

/** Writes the demo's page: numbered steps, facts, checks, and what two parties see side by side. */
export class Screen {
  readonly #write: (text: string) => void
  readonly #hasColour: boolean
  #step = 0

  constructor(write: (text: string) => void, hasColour: boolean) {
    this.#write = write
    this.#hasColour = hasColour
  }

  title(text: string): void {
    this.#line(this.#paint('1', text))
  }

  step(text: string): void {
    this.#step++
    this.#line('')
    this.#line(`${this.#paint('1;36', String(this.#step).padStart(2))}  ${this.#paint('1', text)}`)
  }

  say(text: string): void {
    for (const line of wrap(text, WIDTH - 4)) this.#line(`    ${line}`)
  }

  fact(name: string, value: string): void {
    this.#line(`    ${this.#paint('2', name.padEnd(18))}${value}`)
  }

  check(text: string, detail = ''): void {
    this.#line(`    ${this.#paint('32', '✓')} ${text}${detail === '' ? '' : `  ${this.#paint('2', detail)}`}`)
  }

  failed(text: string): void {
    this.#line(`    ${this.#paint('31', '✗')} ${text}`)
  }

  /** Two columns: what the broker saw, what the agents read. */
  sideBySide(left: readonly [string, readonly string[]], right: readonly [string, readonly string[]]): void {
    this.#line(
      `    ${this.#paint('4', left[0])}${' '.repeat(LEFT - left[0].length)}${this.#paint('4', right[0])}`,
    )
    const rows = Math.max(left[1].length, right[1].length)
    for (let i = 0; i < rows; i++) {
      this.#line(`    ${(left[1][i] ?? '').padEnd(LEFT)}${right[1][i] ?? ''}`.trimEnd())
    }
  }

  #paint(code: string, text: string): string {
    return this.#hasColour ? `\u001b[${code}m${text}\u001b[0m` : text
  }

  #line(text: string): void {
    this.#write(`${text}\n`)
  }
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > width && line !== '') {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
