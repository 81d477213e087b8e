import type { Model, Taken } from './machine.ts'

/**
 * Commands of lockdown, by their transactions: the rules, which the kernel changes whole, and the route by which
 * containers' packets are the host's. Two commands may run at once, and one that no other has met may be killed
 * between any two of its steps.
 */

export const COMMANDS = ['on-redirect', 'on-refuse', 'off'] as const
export type CommandName = (typeof COMMANDS)[number]
type Part = 'take-route' | 'make-rules' | 'remove-rules' | 'leave-route' | 'mend-route'

export const PARTS: Readonly<Record<CommandName, readonly Part[]>> = {
  'on-redirect': ['take-route', 'make-rules', 'mend-route'],
  'on-refuse': ['make-rules', 'leave-route', 'mend-route'],
  off: ['remove-rules', 'leave-route', 'mend-route'],
}

interface Running {
  readonly command: CommandName
  readonly done: number
  readonly isAlone: boolean
}

export interface Lockdown {
  readonly rules: 'none' | 'refuse' | 'redirect'
  readonly hasRoute: boolean
  /** Commands that run, and how many of their parts are done. */
  readonly running: readonly Running[]
}

export type LockdownAction = 'begin' | 'step' | 'kill'

export const LOCKDOWN_GUARDS = {
  /** The route is there before rules that need it. */
  routeFirst: true,
  /** A command looks at the end whether another came between. */
  mending: true,
}
type Guards = typeof LOCKDOWN_GUARDS

export function lockdown(guards = LOCKDOWN_GUARDS): Model<Lockdown, LockdownAction> {
  return {
    initial: { rules: 'none', hasRoute: false, running: [] },
    actions: {
      begin: (state) =>
        state.running.length === 2 ? [] : COMMANDS.map((command) => begin(state, command)),
      step: (state) => state.running.map((_, at) => step(guards, state, at)),
      kill: (state) =>
        state.running.some(({ isAlone }) => isAlone)
          ? [does(['0'], 'killed', { ...state, running: [] })]
          : [],
    },
    never: {
      'rules send containers where no route is': (_, { next }) =>
        next.running.length === 0 && next.rules === 'redirect' && !next.hasRoute,
    },
    shows: ({ rules, hasRoute }) => `rules ${rules}, route ${hasRoute}`,
  }
}

function does(args: readonly string[], says: string, next: Lockdown): Taken<Lockdown> {
  return { args, says, next }
}

function begin(state: Lockdown, command: CommandName): Taken<Lockdown> {
  const others = state.running.map((one) => ({ ...one, isAlone: false }))
  const running = [...others, { command, done: 0, isAlone: others.length === 0 }]
  return does([command], 'begins', { ...state, running })
}

function partsOf({ routeFirst, mending }: Guards, command: CommandName): readonly Part[] {
  const parts = PARTS[command].filter((part) => mending || part !== 'mend-route')
  return routeFirst || command !== 'on-redirect'
    ? parts
    : parts.toSorted((one) => (one === 'make-rules' ? -1 : 1))
}

function step(guards: Guards, state: Lockdown, at: number): Taken<Lockdown> {
  const { command = 'off', done = 0, isAlone = false } = state.running[at] ?? {}
  const parts = partsOf(guards, command)
  const part = parts[done]
  const isLast = done + 1 === parts.length
  const running = isLast
    ? state.running.filter((_, other) => other !== at)
    : state.running.map((one, other) => (other === at ? { command, done: done + 1, isAlone } : one))
  return does([String(at)], part ?? '', { ...after(state, command, part), running })
}

function after(state: Lockdown, command: CommandName, part: Part | undefined): Lockdown {
  switch (part) {
    case 'take-route':
      return { ...state, hasRoute: true }
    case 'make-rules':
      return { ...state, rules: command === 'on-redirect' ? 'redirect' : 'refuse' }
    case 'remove-rules':
      return { ...state, rules: 'none' }
    case 'leave-route':
      return { ...state, hasRoute: false }
    default:
      return { ...state, hasRoute: state.hasRoute || state.rules === 'redirect' }
  }
}
