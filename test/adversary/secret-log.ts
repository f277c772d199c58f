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
    return new Search(this.#secrets.flatMap(formsOf)).findIn(bytes)
  }
}

interface Form {
  readonly name: string
  readonly bytes: Buffer
}

function formsOf(secret: Buffer): readonly Form[] {
  return [
    { name: 'raw', bytes: secret },
    { name: 'in hexadecimal', bytes: Buffer.from(secret.toString('hex')) },
    { name: 'in base64url', bytes: Buffer.from(secret.toString('base64url')) },
  ]
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
