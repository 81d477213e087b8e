import { isOfPin } from './ckr.ts'
import { type Cryptoki, loadCryptoki } from './cryptoki.ts'
import { ckrOf, Pkcs11Error } from './pkcs11-error.ts'
import { pinStateOf, slotOf } from './slots.ts'

/** A module that was initialized, and a token of it into which the user has logged in. */
export interface Connection {
  readonly cryptoki: Cryptoki
  readonly slot: bigint
  /** Handles of keys that were found, by their ids in hex. */
  readonly handles: Map<string, bigint>
  /** Runs an operation in a session of its own: one that failed leaves its session in nobody knows what state. */
  inSession<T>(operation: (session: bigint) => Promise<T>): Promise<T>
  /** Waits for operations that run, and gives the module up. Never throws: what is lost is lost. */
  close(): Promise<void>
}

/** struct CK_C_INITIALIZE_ARGS: four functions for locks, flags, a pointer (PKCS #11 v2.40, 3.7). */
const INITIALIZE_WORDS = 6
const FLAGS_AT = 4
/** Calls come from several threads, which lock as the system does. */
const CKF_OS_LOCKING_OK = 2n
const CKF_RW_SESSION = 2
const CKF_SERIAL_SESSION = 4
const CKU_USER = 1
const PIN_BYTES_MAX = 1024

/**
 * @param readPin its memory is cleared after it was shown to the token
 * @throws Pkcs11Error PKCS11_MODULE, PKCS11_TOKEN, PKCS11_PIN, PKCS11_CKR; what `readPin` throws
 */
export async function connect(
  module: string,
  label: string,
  readPin: () => Buffer,
): Promise<Connection> {
  const cryptoki = loadCryptoki(module)
  await initialize(cryptoki)
  try {
    const slot = await slotOf(cryptoki, label)
    const sessions = [await openSession(cryptoki, slot)]
    await logIn(cryptoki, slot, sessions[0] ?? 0n, readPin)
    return connected(cryptoki, slot, sessions)
  } catch (error) {
    await finalize(cryptoki)
    throw error
  }
}

function connected(cryptoki: Cryptoki, slot: bigint, free: bigint[]): Connection {
  const running = new Set<Promise<unknown>>()
  const inSession = async <T>(operation: (session: bigint) => Promise<T>): Promise<T> => {
    const session = free.pop() ?? (await openSession(cryptoki, slot))
    try {
      const result = await operation(session)
      free.push(session)
      return result
    } catch (error) {
      await cryptoki.call('C_CloseSession', session).catch(() => undefined)
      throw error
    }
  }
  return {
    ...{ cryptoki, slot, handles: new Map() },
    inSession: (operation) => {
      const result = inSession(operation)
      const settled = result.then(
        () => undefined,
        () => undefined,
      )
      running.add(settled)
      void settled.then(() => running.delete(settled))
      return result
    },
    close: async () => {
      // What becomes of a call that runs while the module is finalized, nobody says (PKCS #11 v2.40, 5.4).
      while (running.size > 0) await Promise.all(running)
      await finalize(cryptoki)
    },
  }
}

async function initialize(cryptoki: Cryptoki): Promise<void> {
  const args = new BigUint64Array(INITIALIZE_WORDS)
  args[FLAGS_AT] = CKF_OS_LOCKING_OK
  try {
    await cryptoki.call('C_Initialize', args)
  } catch (cause) {
    if (ckrOf(cause) === 'CKR_CRYPTOKI_ALREADY_INITIALIZED') return
    const ckr = ckrOf(cause)
    throw new Pkcs11Error('PKCS11_MODULE', 'it cannot be initialized', { ckr, cause })
  }
}

async function finalize(cryptoki: Cryptoki): Promise<void> {
  await cryptoki.call('C_Finalize', null).catch(() => undefined)
}

/** With the right to write, as keys are made and destroyed in it. */
async function openSession(cryptoki: Cryptoki, slot: bigint): Promise<bigint> {
  const session = new BigUint64Array(1)
  const flags = CKF_SERIAL_SESSION | CKF_RW_SESSION
  await cryptoki.call('C_OpenSession', slot, flags, null, null, session)
  return session[0] ?? 0n
}

/** Logs all sessions of the process in (PKCS #11 v2.40, 5.6). A PIN that would lock the token if it is wrong is not tried. */
async function logIn(
  cryptoki: Cryptoki,
  slot: bigint,
  session: bigint,
  readPin: () => Buffer,
): Promise<void> {
  const state = await pinStateOf(cryptoki, slot)
  if (state !== 'open') throw new Pkcs11Error('PKCS11_PIN', PIN_STATES[state])
  const pin = readPin()
  try {
    if (pin.length > PIN_BYTES_MAX) throw new Pkcs11Error('PKCS11_PIN', 'it is too long to be one')
    await cryptoki.call('C_Login', session, CKU_USER, pin, pin.length)
  } catch (cause) {
    const ckr = ckrOf(cause)
    if (ckr === 'CKR_USER_ALREADY_LOGGED_IN') return
    if (!isOfPin(ckr)) throw cause
    throw new Pkcs11Error('PKCS11_PIN', `C_Login: ${ckr}`, { ckr })
  } finally {
    pin.fill(0)
  }
}

const PIN_STATES = {
  final: 'the next wrong PIN would lock the token: log in once by hand',
  locked: 'the token has locked its PIN',
} as const
