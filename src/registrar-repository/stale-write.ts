/** Thrown within a transaction to undo it: what was read before it is no longer so. */
export class StaleWrite extends Error {}
