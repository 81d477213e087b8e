/** What the runner of Stryker tells the worker of vitest, a line of JSON each. */
export interface Order {
  readonly files: readonly {
    /** Relative to the sandbox. */
    readonly path: string
    /** The tests to run; all if undefined. */
    readonly ids?: readonly string[]
    /** How long each may take; as the configuration says if undefined. */
    readonly timeoutMs?: number
  }[]
  /** The mutant; without one, which mutants are reached is counted. */
  readonly mutant?: {
    readonly id: string
    /** Whether it is there while modules are loaded, or from the first hook on. */
    readonly whileLoading: boolean
    /** How often it may be reached: more is an endless loop. */
    readonly hitsMax?: number
  }
}

export interface RanTest {
  readonly id: string
  readonly name: string
  /** Where it stands in its file, from 1 on. */
  readonly at?: { readonly line: number; readonly column: number }
  readonly state: 'pass' | 'fail' | 'skip'
  readonly ms: number
  readonly error?: string
}

export interface Coverage {
  readonly static: Readonly<Record<string, number>>
  readonly perTest: Readonly<Record<string, Readonly<Record<string, number>>>>
}

export interface Answer {
  readonly tests: readonly RanTest[]
  /** What failed outside of any test: a file that cannot be loaded, a rejection that nobody waits for. */
  readonly errors: readonly string[]
  /** Whether one of them was thrown by what nobody waits for, which may be running still. */
  readonly isLeftRunning: boolean
  readonly hits: number
  readonly coverage?: Coverage
}
