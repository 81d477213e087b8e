import { isHandleGone, isLost } from './ckr.ts'
import { type Connection, connect } from './connection.ts'
import { type KeyPair, makeKeyPair } from './key-pair.ts'
import type { KeyType } from './key-type.ts'
import { destroyObjects } from './objects.ts'
import { ckrOf, Pkcs11Error } from './pkcs11-error.ts'
import { signWith } from './signature.ts'
import { makeTurns } from './turns.ts'

export interface Pkcs11TokenOptions {
  /** Absolute path of the library. */
  readonly module: string
  /** The token's label. */
  readonly label: string
  /** Read for each login; what it returns is cleared afterwards. */
  readonly readPin: () => Buffer
  /** Told once when the token is lost or refuses, and once when it is there again. */
  readonly onChange: (lost: unknown) => void
}

/**
 * A token that is opened when it is first needed, and opened anew when it was lost. Two operations run at a time, each in a
 * session of its own: a session carries one operation (PKCS #11 v2.40, 5.2), a token at the end of a network has more
 * than one under way, and libuv has four threads, of which files and names need some whatever the token does.
 *
 * All methods throw Pkcs11Error.
 */
export interface Pkcs11Token {
  /** Opens it and logs in, if that is not done yet. */
  open(): Promise<void>
  generate(type: KeyType, label: string): Promise<KeyPair>
  sign(key: { readonly id: Buffer; readonly type: KeyType }, bytes: Uint8Array): Promise<Buffer>
  /** @returns how many objects that were: none if they were destroyed before */
  destroy(id: Buffer): Promise<number>
  /** Lets a PIN be tried again after one was refused, if it is another one. */
  takeNewPin(): void
  close(): Promise<void>
}

const TURNS = { running: 2, waiting: 64, waitMs: 5000 }
/** From the turn of an operation to its answer, also if the token has to be opened for it. */
const OPERATION_MS_MAX = 10_000
/** Service managers wait longer; what hangs is not worth more. */
const CLOSE_MS_MAX = 3000
/** Another one for a handle that is none any more, and another one for a token that was opened anew. */
const ATTEMPTS = 3
const BACKOFF_MS_MIN = 1000
const BACKOFF_MS_MAX = 60_000

export function pkcs11Token(options: Pkcs11TokenOptions): Pkcs11Token {
  const { module, label, readPin, onChange } = options
  const inTurn = makeTurns(TURNS)
  let opening: Promise<Connection> | undefined
  let closing: Promise<void> = Promise.resolve()
  /** In a row, since an operation was well. */
  let losses = 0
  let lost: { readonly error: unknown; readonly untilMs: number } | undefined
  let refusedPin: Buffer | undefined
  /** When the token was last opened anew for a key that it did not have. */
  let lookedAnewMs = Number.NEGATIVE_INFINITY

  const failed = (error: unknown): void => {
    if (losses === 0) onChange(error)
    const delayMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.max(0, losses - 1))
    // The first time it is tried again at once: a token that was restarted is there already.
    lost = { error, untilMs: losses === 0 ? 0 : performance.now() + delayMs }
    losses += 1
  }
  const well = (): void => {
    if (losses > 0) onChange(undefined)
    losses = 0
    lost = undefined
  }
  const connectAnew = async (): Promise<Connection> => {
    await closing
    let shown = Buffer.alloc(0)
    try {
      return await connect(module, label, () => {
        const pin = readPin()
        shown = Buffer.from(pin)
        return pin
      })
    } catch (error) {
      if (error instanceof Pkcs11Error && error.code === 'PKCS11_PIN') refusedPin = shown
      opening = undefined
      failed(error)
      throw error
    } finally {
      if (shown !== refusedPin) shown.fill(0)
    }
  }
  const connection = (): Promise<Connection> => {
    if (refusedPin !== undefined) {
      throw new Pkcs11Error('PKCS11_PIN', 'it was refused, and is not tried again')
    }
    if (lost !== undefined && performance.now() < lost.untilMs) {
      throw new Pkcs11Error('PKCS11_AWAY', 'it was lost, and is tried again in a while')
    }
    opening ??= connectAnew()
    return opening
  }
  const giveUp = (one: Connection, current: Promise<Connection>): void => {
    if (opening !== current) return
    opening = undefined
    closing = one.close()
  }
  const attempt = async <T>(operation: Operation<T>): Promise<T> => {
    const current = connection()
    const one = await current
    try {
      const result = await one.inSession((session) => operation(one, session))
      well()
      return result
    } catch (error) {
      if (isHandleGone(ckrOf(error))) one.handles.clear()
      if (isLost(ckrOf(error))) {
        // Of operations that run at the same time one tells of it.
        if (opening === current) failed(error)
        giveUp(one, current)
      }
      if (isMissing(error) && performance.now() - lookedAnewMs > BACKOFF_MS_MAX) {
        // Some modules say so of a token that was taken out.
        lookedAnewMs = performance.now()
        giveUp(one, current)
      }
      throw error
    }
  }
  /** Whether the same may go well at once, after what `attempt` has done. */
  const mayHelp = (error: unknown): boolean =>
    isHandleGone(ckrOf(error)) ||
    (isMissing(error) && opening === undefined) ||
    (isLost(ckrOf(error)) && losses === 1)
  const attempts = async <T>(operation: Operation<T>): Promise<T> => {
    for (let count = 1; ; count += 1) {
      try {
        return await attempt(operation)
      } catch (error) {
        if (count === ATTEMPTS || !mayHelp(error)) throw error
      }
    }
  }
  const run = <T>(operation: Operation<T>): Promise<T> =>
    inTurn(
      () => attempts(operation),
      (settling) => withDeadline(settling, OPERATION_MS_MAX),
    )
  return {
    open: () => run(async () => undefined),
    generate: (type, name) => run((one, session) => makeKeyPair(one, session, type, name)),
    sign: (key, bytes) => run((one, session) => signWith(one, session, key, bytes)),
    destroy: (id) => run((one, session) => destroyObjects(one, session, id)),
    takeNewPin: () => {
      if (refusedPin === undefined) return
      const pin = readPin()
      if (!pin.equals(refusedPin)) {
        refusedPin.fill(0)
        refusedPin = undefined
        lost = undefined
      }
      pin.fill(0)
    },
    close: async () => {
      const current = opening
      opening = undefined
      const opened = current?.then((one) => one.close())
      // A call that never returns keeps nobody from ending, be it one that opens the token.
      const closed = Promise.allSettled([closing, opened])
      await withDeadline(closed, CLOSE_MS_MAX).catch(() => undefined)
    },
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Pkcs11Error && error.code === 'PKCS11_NO_KEY'

type Operation<T> = (connection: Connection, session: bigint) => Promise<T>

async function withDeadline<T>(pending: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Pkcs11Error('PKCS11_TIMEOUT', `no answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
  })
  try {
    return await Promise.race([pending, deadline])
  } finally {
    clearTimeout(timer)
  }
}
