/** Runs steps one after the other in the order of asking, whatever becomes of each of them. */
export type Queue = <T>(step: () => Promise<T>) => Promise<T>

export function makeQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve()
  return (step) => {
    const result = last.then(step)
    last = result.catch(() => undefined)
    return result
  }
}
