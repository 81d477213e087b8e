import type { Model, Step } from './machine.ts'
import { inWords } from './machine.ts'

/** The product's own parts, made to take a model's steps. */
export interface Real<Action extends string> extends AsyncDisposable {
  /** Takes an action, and says what is answered in the model's words. */
  readonly take: Readonly<Record<Action, (...args: string[]) => string | Promise<string>>>
  /** What can be seen of the state, in the model's words. */
  shows(): string | Promise<string>
}

/**
 * Takes a trace's steps with the real parts. What they answer and show has to be what the model says: one that
 * allows less than the product does fails here, and so does one that allows more.
 *
 * @throws Error with the trace up to the step that differs
 */
export async function replay<State, Action extends string>(
  { shows }: Model<State, Action>,
  trace: readonly Step<State>[],
  start: () => Promise<Real<Action>>,
): Promise<void> {
  await using real = await start()
  const takes: Readonly<Record<string, (...args: string[]) => string | Promise<string>>> = real.take
  for (const [at, { action, args, says, next }] of trace.entries()) {
    const take = takes[action]
    if (take === undefined) throw new Error(`nothing replays '${action}'`)
    const [said, shown] = [await take(...args), await real.shows()]
    if (said === says && shown === shows(next)) continue
    const way = inWords(trace.slice(0, at + 1))
    throw new Error(`${way}\nbut it says '${said}' and shows '${shown}', not '${shows(next)}'`)
  }
}
