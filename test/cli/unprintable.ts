/** Anything that a terminal obeys, or that reorders or hides what stands around it. */
export const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
