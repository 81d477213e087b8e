import type { Pkcs11ErrorCode } from 'metabind-pkcs11'
import { causeChain, type ErrorCode, MetabindError, systemReason } from '../errors.ts'
import { readGuardedFile } from './guarded-file.ts'
import type { TokenOfKeys } from './pkcs11-keys.ts'

/** The token of the configuration. All methods throw MetabindError REGISTRAR_HSM, REGISTRAR_PIN, REGISTRAR_BUSY. */
export interface KeyToken extends TokenOfKeys {
  /** Opens it and logs in: one try. */
  open(): Promise<void>
  /** Lets a PIN be tried again after one was refused, if the file has another one now. */
  takeNewPin(): void
  close(): Promise<void>
}

/** Where it is. */
export interface Pkcs11Place {
  /** A library, as a path. */
  readonly module: string
  /** The token's label. */
  readonly token: string
  /** A file with the user's PIN. */
  readonly pin: string
}

const PIN_BYTES_MAX = 1024

/** What speaks to it is loaded only here. @param onChange told once of each fault, and of its end with undefined */
export async function openKeyToken(
  { module, token: label, pin }: Pkcs11Place,
  onChange: (lost: unknown) => void,
): Promise<KeyToken> {
  const { Pkcs11Error, pkcs11Token } = await import('metabind-pkcs11')
  const token = pkcs11Token({
    module,
    label,
    readPin: () => pinIn(pin),
    onChange,
  })
  const told = async <T>(pending: Promise<T>): Promise<T> => {
    try {
      return await pending
    } catch (cause) {
      const code = cause instanceof Pkcs11Error ? codeOf(cause.code) : 'REGISTRAR_HSM'
      throw new MetabindError(code, asSentence(causeChain(cause)))
    }
  }
  return {
    open: () => told(token.open()),
    generate: (type, label) => told(token.generate(type, label)),
    sign: (key, bytes) => told(token.sign(key, bytes)),
    destroy: (id) => told(token.destroy(id)),
    takeNewPin: token.takeNewPin,
    close: token.close,
  }
}

function codeOf(code: Pkcs11ErrorCode): ErrorCode {
  if (code === 'PKCS11_BUSY') return 'REGISTRAR_BUSY'
  return code === 'PKCS11_PIN' ? 'REGISTRAR_PIN' : 'REGISTRAR_HSM'
}

function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/** One line: editors end it. An empty one would be a try as any other. */
function pinIn(path: string): Buffer {
  const read = guarded(path)
  const end = /\r?\n?$/.exec(read.toString('latin1'))?.index ?? read.length
  const pin = Buffer.alloc(end)
  read.copy(pin)
  read.fill(0)
  if (end === 0) throw new Error(`keys.pkcs11.pin: ${path} is empty`)
  return pin
}

function guarded(path: string): Buffer {
  try {
    return readGuardedFile(path, PIN_BYTES_MAX + 2)
  } catch (error) {
    throw new Error(`keys.pkcs11.pin: ${path}: ${systemReason(error) ?? causeChain(error)}`)
  }
}

/** Whether the token could not be used, or not now: what does not need it goes on. */
export function isTokenFault(error: unknown): boolean {
  const codes: readonly ErrorCode[] = ['REGISTRAR_HSM', 'REGISTRAR_PIN', 'REGISTRAR_BUSY']
  return error instanceof MetabindError && codes.includes(error.code)
}
