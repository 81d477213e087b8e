import { Pkcs11Error } from './pkcs11-error.ts'

/** So many at a time, and so many that wait for it, for so long. */
export interface TurnBounds {
  readonly running: number
  readonly waiting: number
  readonly waitMs: number
}

/**
 * Runs steps, so many at a time. A step that has its turn keeps it until it has settled, however long that takes: a call into
 * the module cannot be interrupted, and keeps its thread.
 *
 * @returns what runs a step @throws Pkcs11Error PKCS11_BUSY
 */
export function makeTurns({ running, waiting, waitMs }: TurnBounds) {
  const queue: (() => void)[] = []
  let taken = 0
  const release = (): void => {
    const next = queue.shift()
    if (next === undefined) taken -= 1
    else next()
  }
  const turn = (): Promise<void> => {
    if (taken < running) {
      taken += 1
      return Promise.resolve()
    }
    if (queue.length >= waiting) throw new Pkcs11Error('PKCS11_BUSY', 'too many wait for the token')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      queue.splice(queue.indexOf(called), 1)
      reject(new Pkcs11Error('PKCS11_BUSY', `no turn within ${waitMs} ms`))
    }, waitMs)
    const called = (): void => {
      clearTimeout(timer)
      resolve()
    }
    queue.push(called)
    return promise
  }
  return async <T>(step: () => Promise<T>, onTurn: (settling: Promise<T>) => Promise<T>) => {
    await turn()
    const settling = step()
    settling.then(release, release)
    return onTurn(settling)
  }
}
