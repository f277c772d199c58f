const SECRET_BYTES = 32

/** Secrets of one schedule: secret keys, seeds, and what contents are sealed under. */
export class SecretLog {
  readonly #secrets: Buffer[] = []

  /** Notes every whole secret that these bytes are made of. What is shorter is none. */
  note(bytes: Uint8Array): void {
    for (let at = 0; at + SECRET_BYTES <= bytes.length; at += SECRET_BYTES)
      this.#secrets.push(Buffer.from(bytes.subarray(at, at + SECRET_BYTES)))
  }

  /** In which form a secret is found in bytes, where one is: as it is, in hexadecimal or in base64url. */
  findIn(bytes: Buffer): string | undefined {
    return new Search(this.#secrets.flatMap(writtenForms)).findIn(bytes)
  }
}

interface Form {
  readonly name: string
  readonly bytes: Buffer
}

/** Bytes as they are, and as they stand in any text that has them in it, wherever they begin in it. */
export function writtenForms(bytes: Buffer): readonly Form[] {
  return [
    { name: 'raw', bytes },
    { name: 'in hexadecimal', bytes: Buffer.from(bytes.toString('hex')) },
    { name: 'in hexadecimal', bytes: Buffer.from(bytes.toString('hex').toUpperCase()) },
    ...(['base64', 'base64url'] as const).flatMap((code) =>
      [0, 1, 2].map((before) => ({ name: `in ${code}`, bytes: innerBase64(bytes, before, code) })),
    ),
  ]
}

/** The characters that these bytes alone decide, where others stand before them. */
function innerBase64(bytes: Buffer, before: number, code: 'base64' | 'base64url'): Buffer {
  const whole = bytes.subarray(0, bytes.length - ((before + bytes.length) % 3))
  const text = Buffer.concat([Buffer.alloc(before), whole]).toString(code)
  return Buffer.from(text.slice(before === 0 ? 0 : before + 1))
}

const PREFIX_VALUES = 2 ** 16
const BEGINNING_BYTES = 4

/** Looks for many byte strings at once, by how they begin. */
class Search {
  /** Whether a string begins with these two bytes. */
  readonly #isBeginning = new Uint8Array(PREFIX_VALUES)
  readonly #byBeginning = new Map<number, Form[]>()

  constructor(forms: readonly Form[]) {
    for (const form of forms) {
      const beginning = form.bytes.readUInt32BE(0)
      this.#isBeginning[beginning >>> 16] = 1
      this.#byBeginning.set(beginning, [...(this.#byBeginning.get(beginning) ?? []), form])
    }
  }

  findIn(bytes: Buffer): string | undefined {
    for (let at = 0; at + BEGINNING_BYTES <= bytes.length; at++) {
      const first = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
      if (this.#isBeginning[first] === 0) continue
      const forms = this.#byBeginning.get(bytes.readUInt32BE(at)) ?? []
      const found = forms.find((form) => bytes.subarray(at, at + form.bytes.length).equals(form.bytes))
      if (found !== undefined) return found.name
    }
    return undefined
  }
}
