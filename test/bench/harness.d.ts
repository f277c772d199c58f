/** The benchmark is JavaScript that is checked by itself: here its modules have no types. */
declare module '*.mjs'
