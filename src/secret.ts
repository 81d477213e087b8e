import { inspect } from 'node:util'

const SHOWN = '[secret]'

/**
 * A value that cannot be printed by accident: its string, JSON and inspected forms are `[secret]`,
 * so that no log line, error message or status page can carry it.
 */
export class Secret<T> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  /** The value itself. Call it only where the value is used: a reply body, a header, a MAC key. */
  reveal(): T {
    return this.#value
  }

  toString(): string {
    return SHOWN
  }

  toJSON(): string {
    return SHOWN
  }

  [inspect.custom](): string {
    return SHOWN
  }
}
