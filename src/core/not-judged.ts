/** What a proof throws when it could not be made: a program, memory or a key is missing. It says nothing against what was to be proven. */
export class NotJudgedError extends Error {}
