/** What is shown of one part of a message. Texts are as they came: whoever prints them makes them printable. */
export interface Anatomy {
  readonly [field: string]: Shown | undefined
}

/** A value, a list of values, or a part with fields of its own. */
export type Shown = string | number | boolean | Anatomy | readonly (string | number)[] | readonly Anatomy[]
