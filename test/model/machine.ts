/** A small state machine, written down beside the product to say what it does and what it must never do. */
export interface Model<State, Action extends string = string> {
  readonly initial: State
  /** Per action, each way of taking it in a state; none if it cannot be taken there. */
  readonly actions: Readonly<Record<Action, (state: State) => readonly Taken<State>[]>>
  /** Per sentence of what must never happen, whether it has just happened. */
  readonly never: Readonly<Record<string, (before: State, step: Step<State>) => boolean>>
  /** What can be seen of a state from outside, in words. */
  readonly shows: (state: State) => string
}

/** One way of taking an action. */
export interface Taken<State> {
  readonly args: readonly string[]
  /** What is answered. */
  readonly says: string
  readonly next: State
}

export interface Step<State> extends Taken<State> {
  readonly action: string
  /** The key of the state after it. */
  readonly to: string
}

/** Every state that can be reached, and every step between them. */
export interface Explored<State> {
  readonly states: ReadonlyMap<string, Reached<State>>
  readonly transitions: number
  /** The shortest way to something that must never happen. */
  readonly broken: { readonly never: string; readonly trace: readonly Step<State>[] } | undefined
}

interface Reached<State> {
  readonly state: State
  readonly steps: readonly Step<State>[]
  /** How it was reached first, and so by the fewest steps. */
  readonly by: { readonly from: string; readonly step: Step<State> } | undefined
}

/** Two states are one if they read the same: their members must stand in one order. */
function keyOf(state: unknown): string {
  return JSON.stringify(state)
}

/**
 * Breadth first, so that what is found is found by the shortest way.
 *
 * @throws Error beyond `statesMax`: a bound that is not the model's own would leave something unseen
 */
export function explore<State>(model: Model<State>, statesMax = 100_000): Explored<State> {
  const states = new Map<string, Reached<State>>()
  const found = new Map<string, Pick<Reached<State>, 'state' | 'by'>>()
  found.set(keyOf(model.initial), { state: model.initial, by: undefined })
  let transitions = 0
  // A Map hands out what is added to it while it is walked, in the order of adding.
  for (const [key, { state, by }] of found) {
    const steps = stepsFrom(model, state)
    states.set(key, { state, steps, by })
    transitions += steps.length
    for (const step of steps) {
      const never = Object.entries(model.never).find(([, happens]) => happens(state, step))?.[0]
      if (never !== undefined) {
        return { states, transitions, broken: { never, trace: [...wayTo(states, key), step] } }
      }
      if (!found.has(step.to)) found.set(step.to, { state: step.next, by: { from: key, step } })
    }
    if (found.size > statesMax) throw new Error(`more than ${statesMax} states`)
  }
  return { states, transitions, broken: undefined }
}

function stepsFrom<State>(model: Model<State>, state: State): Step<State>[] {
  return Object.entries(model.actions).flatMap(([action, ways]) =>
    ways(state).map((taken) => ({ action, ...taken, to: keyOf(taken.next) })),
  )
}

function wayTo<State>(states: Explored<State>['states'], key: string): Step<State>[] {
  const way: Step<State>[] = []
  for (let at = states.get(key)?.by; at !== undefined; at = states.get(at.from)?.by) {
    way.unshift(at.step)
  }
  return way
}

/** Traces from the first state on that take every step between two states once at least. */
export function* traces<State>(explored: Explored<State>): Generator<readonly Step<State>[]> {
  const { states } = explored
  const untaken = new Map([...states].map(([key, { steps }]) => [key, [...steps]]))
  for (const key of states.keys()) {
    while ((untaken.get(key)?.length ?? 0) > 0) {
      const trace = wayTo(states, key)
      let at = key
      for (let way = wayToUntaken(states, untaken, at); way !== undefined; ) {
        for (const step of way) {
          trace.push(step)
          at = step.to
        }
        way = wayToUntaken(states, untaken, at)
      }
      yield trace
    }
  }
}

// Beyond, it is as near to begin again.
const LOOKED_AT_MAX = 50

/** The steps to the nearest step that was not taken, which is the last of them; undefined if none is near. */
function wayToUntaken<State>(
  states: Explored<State>['states'],
  untaken: ReadonlyMap<string, Step<State>[]>,
  from: string,
): Step<State>[] | undefined {
  const ways = new Map<string, Step<State>[]>([[from, []]])
  for (const [key, way] of ways) {
    const left = untaken.get(key)
    // A step that leads nowhere else first: the others lead on.
    const own = left?.findIndex(({ to }) => to === key) ?? -1
    const [step] = left?.splice(Math.max(own, 0), 1) ?? []
    if (step !== undefined) return [...way, step]
    for (const other of states.get(key)?.steps ?? []) {
      if (ways.size < LOOKED_AT_MAX && !ways.has(other.to)) ways.set(other.to, [...way, other])
    }
  }
  return undefined
}

/**
 * As few of the shortest traces as take each action with each answer that it gives: where each step is dear.
 *
 * @param kindOf states of one kind count as one
 */
export function tracesOfAnswers<State>(
  { states }: Explored<State>,
  kindOf: (state: State) => string,
): (readonly Step<State>[])[] {
  const shortest = new Map<string, readonly Step<State>[]>()
  for (const [key, { state, steps }] of states) {
    for (const step of steps) {
      const answer = `${kindOf(state)} ${step.action} ${step.says}`
      if (!shortest.has(answer)) shortest.set(answer, [...wayTo(states, key), step])
    }
  }
  const all = [...shortest.values()]
  const isBeginningOf = (one: readonly Step<State>[], other: readonly Step<State>[]) =>
    one.length < other.length && one.every((step, at) => step === other[at])
  return all.filter((one) => !all.some((other) => isBeginningOf(one, other)))
}

export function inWords<State>(trace: readonly Step<State>[]): string {
  return trace.map(({ action, args, says }) => `${[action, ...args].join(' ')}: ${says}`).join('\n')
}
